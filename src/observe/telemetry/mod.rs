//! L5: the figures of the process, as Prometheus reads them.
//!
//! Whoever has something to count says so with the macros of the crate `metrics`, on whatever layer
//! it is; what the figures are called and mean stands here, in one list (`list.rs`), and a test
//! holds the sources against it. There is one recorder for the whole process, installed by `serve`:
//! a command that ends after its work counts nothing. What is a state and not an event (open
//! stores, room on the disk) is not kept there but looked up when somebody asks, so that several
//! processes in one, as in the tests, do not tell of each other: see [`Sheet`].
//!
//! Labels have few values, all of them known beforehand: a route and never a path, a kind of file
//! and never a store. So the figures do not grow with what is sent or with how many stores there
//! are, and whoever reads them learns no store's name.

mod metric;
pub mod process;

pub use metric::{Kind, METRICS, Metric};

use std::fmt::Write as _;
use std::sync::OnceLock;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// What answers and commits take, in seconds: from what a read costs to what makes a client give
/// up.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];
/// How many requests are in one commit.
const REQUESTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// The counters and histograms of the process; empty where nobody installed a recorder.
#[derive(Clone, Copy, Debug)]
pub struct Recorder(());

/// Begins to count, for the whole process; a second call finds what the first one made.
///
/// # Panics
/// When another recorder than this one was installed: there is none in this program.
pub fn install() -> Recorder {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets(SECONDS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_requests".to_owned()), REQUESTS)
            })
            .expect("there are buckets");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).expect("this is the one recorder of the process");
        METRICS.iter().for_each(describe);
        handle
    });
    Recorder(())
}

/// Tells the recorder what a figure means, in the words of the list.
fn describe(figure: &Metric) {
    match figure.kind {
        Kind::Counter => describe_counter!(figure.name, Unit::Count, figure.help),
        Kind::Gauge => describe_gauge!(figure.name, Unit::Count, figure.help),
        Kind::Histogram => describe_histogram!(figure.name, Unit::Count, figure.help),
    }
}

impl Recorder {
    /// Puts what was measured into the buckets. Until then each measurement is kept, so somebody
    /// has to do this now and then, whether the figures are read or not.
    pub fn gather(self) {
        if let Some(handle) = RECORDER.get() {
            handle.run_upkeep();
        }
    }
}

/// What was counted, as text.
pub fn render() -> String {
    RECORDER
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// JobStats that are looked up when they are asked for, in the same form of text.
#[derive(Debug, Default)]
pub struct Sheet(String);

impl Sheet {
    /// Adds a figure of the list.
    ///
    /// # Panics
    /// When the list does not have it.
    pub fn put(&mut self, name: &str, value: f64) {
        self.put_labelled(name, "", value);
    }

    /// Adds one with labels, in their form of text: `a="1",b="2"`.
    ///
    /// # Panics
    /// When the list does not have it.
    pub fn put_labelled(&mut self, name: &str, labels: &str, value: f64) {
        self.put_each(name, [(labels.to_owned(), value)]);
    }

    /// Adds all samples of one, each with its labels.
    ///
    /// # Panics
    /// When the list does not have it.
    pub fn put_each(&mut self, name: &str, samples: impl IntoIterator<Item = (String, f64)>) {
        let figure = METRICS
            .iter()
            .find(|figure| figure.name == name)
            .expect("a figure of the list");
        let kind = match figure.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => unreachable!("a distribution cannot be looked up"),
        };
        let mut text = format!("# HELP {name} {}\n# TYPE {name} {kind}\n", figure.help);
        for (labels, value) in samples {
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{labels}}}")
            };
            writeln!(text, "{name}{labels} {value}").expect("a String takes every write");
        }
        writeln!(self.0, "{text}").expect("a String takes every write");
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests;
