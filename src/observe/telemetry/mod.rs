//! L5: the metrics of the process, in the Prometheus format.
//!
//! Any layer records counters and histograms with the macros of the crate `metrics`. Names and
//! meanings are in one list (`metric.rs`), and a test checks the sources against it. There is one
//! recorder per process, installed by `serve`: a command that ends after its work records nothing.
//! States such as open tenants or free disk space are not recorded; they are read when metrics are
//! requested, so that several instances in one process, as in the tests, stay separate: see
//! [`MetricsText`].
//!
//! Labels have few values, all known in advance: a route, not a path; a kind of file, not a tenant.
//! The size of the output therefore does not depend on requests or on the number of tenants, and it
//! reveals no tenant's name.

mod metric;
pub mod process;

pub use metric::{Kind, METRICS, Metric};

use std::fmt::Write as _;
use std::sync::OnceLock;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Buckets for durations of requests and commits, in seconds: from the time of a read to the
/// timeout of a client.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];
/// Buckets for the number of requests in one commit.
const REQUESTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// The counters and histograms of the process; empty when no recorder is installed.
#[derive(Clone, Copy, Debug)]
pub struct Recorder(());

/// Installs the recorder for the whole process. A second call returns the existing one.
///
/// # Panics
/// If another recorder was installed; this program has no other.
pub fn install() -> Recorder {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets(SECONDS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_requests".to_owned()), REQUESTS)
            })
            .expect("the buckets are not empty");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).expect("this is the only recorder of the process");
        METRICS.iter().for_each(describe);
        handle
    });
    Recorder(())
}

/// Registers the help text of a metric.
fn describe(metric: &Metric) {
    match metric.kind {
        Kind::Counter => describe_counter!(metric.name, Unit::Count, metric.help),
        Kind::Gauge => describe_gauge!(metric.name, Unit::Count, metric.help),
        Kind::Histogram => describe_histogram!(metric.name, Unit::Count, metric.help),
    }
}

impl Recorder {
    /// Moves measurements into the histogram buckets. Measurements are kept individually until
    /// then, so this must run regularly even when nobody reads the metrics.
    pub fn gather(self) {
        if let Some(handle) = RECORDER.get() {
            handle.run_upkeep();
        }
    }
}

/// Renders the recorded metrics as text.
pub fn render() -> String {
    RECORDER
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// Metrics that are read at the time of the request, in the same text format.
#[derive(Debug, Default)]
pub struct MetricsText(String);

impl MetricsText {
    /// Adds a listed metric.
    ///
    /// # Panics
    /// If the metric is not listed.
    pub fn put(&mut self, name: &str, value: f64) {
        self.put_labelled(name, "", value);
    }

    /// Adds a metric with labels in text form: `a="1",b="2"`.
    ///
    /// # Panics
    /// If the metric is not listed.
    pub fn put_labelled(&mut self, name: &str, labels: &str, value: f64) {
        self.put_each(name, [(labels.to_owned(), value)]);
    }

    /// Adds all samples of a metric, each with its labels.
    ///
    /// # Panics
    /// If the metric is not listed.
    pub fn put_each(&mut self, name: &str, samples: impl IntoIterator<Item = (String, f64)>) {
        let metric = METRICS
            .iter()
            .find(|metric| metric.name == name)
            .expect("a listed metric");
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => unreachable!("a histogram is recorded, not read"),
        };
        let mut text = format!("# HELP {name} {}\n# TYPE {name} {kind}\n", metric.help);
        for (labels, value) in samples {
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{labels}}}")
            };
            writeln!(text, "{name}{labels} {value}").expect("writing to a String cannot fail");
        }
        writeln!(self.0, "{text}").expect("writing to a String cannot fail");
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests;
