//! Tests of `/metrics`. The counters belong to the whole process, and parallel tests change them:
//! exact values are tested beside `note_request`. These tests check that events show at all, in the
//! Prometheus format, and that no input increases the number of series.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::Method;
use serde_json::json;
use tillbox::observe::telemetry::{Kind, METRICS};
use tillbox::platform::queue::Queue;
use tillbox::worker::Worker;

use crate::support::jobs::{id, insert};
use crate::support::{TestApp, TestShop};

/// Samples by name and labels; parsing checks their families.
struct Samples(BTreeMap<String, f64>);

impl Samples {
    async fn of(app: &TestApp) -> Self {
        let answer = app.get("/metrics").send().await.expect(200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        Self::parse(&answer.text())
    }

    fn parse(text: &str) -> Self {
        let (mut samples, mut helped, mut typed) =
            (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(!help.is_empty() && helped.insert(name), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(helped.contains(name), "{name} has a type and no help");
                assert!(
                    typed.insert(name, kind).is_none(),
                    "duplicate metric {name}"
                );
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let name = series.split('{').next().unwrap_or_default();
                let family = family(name, &typed);
                let metric = METRICS.iter().find(|metric| metric.name == family);
                let kind = match metric
                    .unwrap_or_else(|| panic!("{family} is not in the list"))
                    .kind
                {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                };
                assert_eq!(typed.get(family), Some(&kind), "{line}");
                let value: f64 = value
                    .parse()
                    .unwrap_or_else(|_| panic!("no number: {line}"));
                assert!(value.is_finite(), "{line}");
                assert!(
                    samples.insert(series.to_owned(), value).is_none(),
                    "duplicate sample {line}"
                );
            }
        }
        Self(samples)
    }

    /// Sums all samples of a name that have all of these labels.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let fits = |series: &str| {
            series.split('{').next() == Some(name)
                && labels.iter().all(|label| series.contains(label))
        };
        self.0
            .iter()
            .filter(|(series, _)| fits(series))
            .map(|(_, value)| value)
            .sum()
    }

    fn one(&self, name: &str) -> f64 {
        *self
            .0
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing"))
    }

    fn labels(&self, label: &str) -> BTreeSet<&str> {
        let start = format!("{label}=\"");
        let values = self
            .0
            .keys()
            .filter_map(|series| series.split(start.as_str()).nth(1)?.split('"').next());
        values.collect()
    }
}

/// Finds the family of a sample: the samples of a distribution have their own names.
fn family<'a>(name: &'a str, typed: &BTreeMap<&str, &str>) -> &'a str {
    let parts = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|part| name.strip_suffix(part));
    parts
        .clone()
        .find(|stem| typed.get(stem) == Some(&"histogram"))
        .unwrap_or(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_events_in_metrics() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let worker = Worker::start(app.app());
    let before = Samples::of(&app).await;
    let tea = shop.product("TEA", 450).await;
    let sale = json!({"lines": [{"product_id": tea, "quantity": 1}], "payments": [{"method": "cash",
        "amount_minor": 450}]});
    shop.sale("k", sale).await.expect(201);
    shop.post("/v1/sales")
        .key("x")
        .json(json!({}))
        .send()
        .await
        .refused(422, "validation_failed");
    app.get("/nowhere")
        .send()
        .await
        .refused(404, "route_not_found");
    let after = Samples::of(&app).await;
    let grown = |name: &str, labels: &[&str]| after.sum(name, labels) - before.sum(name, labels);
    let sales = ["method=\"POST\"", "route=\"/v1/sales\""];
    for (least, name, labels) in [
        (
            1.0,
            "tillbox_http_requests_total",
            &[&sales[..], &["status=\"201\""]].concat()[..],
        ),
        (
            1.0,
            "tillbox_http_requests_total",
            &[&sales[..], &["status=\"422\""]].concat(),
        ),
        (
            1.0,
            "tillbox_http_requests_total",
            &["route=\"unmatched\"", "status=\"404\""],
        ),
        (2.0, "tillbox_http_request_duration_seconds_count", &sales),
        (2.0, "tillbox_commits_total", &["file=\"tenant\""]),
        (
            2.0,
            "tillbox_commit_duration_seconds_count",
            &["file=\"tenant\""],
        ),
        (2.0, "tillbox_commit_requests_sum", &["file=\"tenant\""]),
        (
            1.0,
            "tillbox_cache_requests_total",
            &["cache=\"directory\"", "outcome=\"hit\""],
        ),
    ] {
        assert!(grown(name, labels) >= least, "{name} {labels:?}");
    }
    check_buckets(&after, &sales);
    check_process_samples(&after, app.now().as_millis() / 1000);
    worker.stop(Duration::from_secs(30)).await;
    app.get("/metrics")
        .header("x-tillbox-tenant", "nobody")
        .send()
        .await
        .expect(200);
}

/// Checks the histogram of request durations for the route with these labels.
fn check_buckets(after: &Samples, sales: &[&str]) {
    let slow = after.sum(
        "tillbox_http_request_duration_seconds_bucket",
        &[sales, &["le=\"+Inf\""]].concat(),
    );
    assert_eq!(
        slow,
        after.sum("tillbox_http_request_duration_seconds_count", sales),
        "all are in the last bucket"
    );
    assert!(
        after.sum(
            "tillbox_http_request_duration_seconds_bucket",
            &["le=\"0.005\""]
        ) > 0.0,
        "buckets and no quantiles"
    );
    assert!(
        after.one("tillbox_http_requests_in_flight") >= 1.0,
        "this request"
    );
}

/// Checks the samples of the process and its files, with one open tenant and a running worker.
fn check_process_samples(after: &Samples, started: i64) {
    assert_eq!(after.one("tillbox_tenants_open"), 1.0);
    assert_eq!(after.one("tillbox_tenants_unavailable"), 0.0);
    assert_eq!(after.one("tillbox_ready"), 0.0);
    assert!(
        after.one("tillbox_disk_free_bytes") > 0.0
            && after.one("tillbox_disk_free_bytes") < after.one("tillbox_disk_size_bytes")
    );
    assert_eq!(after.one("tillbox_disk_reserve_bytes"), f64::from(64 << 20));
    assert_eq!(after.one("process_start_time_seconds") as i64, started);
    assert_eq!(
        after.one("tillbox_queue_heartbeat_timestamp_seconds") as i64,
        started,
        "the worker runs"
    );
    assert!(
        after.one("process_resident_memory_bytes") > 1e6
            && after.one("process_threads") > 1.0
            && after.one("process_open_fds") > 3.0
    );
    assert!(
        after.one("process_open_fds") <= after.one("process_max_fds")
            && after.one("process_cpu_seconds_total") > 0.0
    );
    assert_eq!(
        after.sum(
            "tillbox_build_info",
            &[
                &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
                "sqlite=\"3."
            ]
        ),
        1.0
    );
}

/// Waits until the worker has counted. It counts by the machine's clock, the first time at once.
async fn wait_until_counted(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .expect("the worker counts");
}

const STATES: [&str; 7] = [
    "available",
    "scheduled",
    "running",
    "retryable",
    "held",
    "discarded",
    "cancelled",
];

/// Inserts jobs of the queue `low`: two available, two scheduled, one discarded and one held.
fn insert_jobs(shop: &TestShop) {
    for (number, state) in [
        "available",
        "available",
        "scheduled",
        "scheduled",
        "discarded",
        "available",
    ]
    .into_iter()
    .enumerate()
    {
        shop.raw(&insert(number, "low", "kind.of_old", state))
            .expect("a job");
    }
    let held = id(5).replace('-', "");
    shop.raw(&format!("UPDATE job SET epoch = -1 WHERE id = x'{held}'"))
        .expect("held");
}

/// The number of series of a metric.
fn series(samples: &Samples, name: &str) -> usize {
    let names = samples.0.keys().map(|series| series.split('{').next());
    names.filter(|series| *series == Some(name)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_queue_depths_by_state_and_resets_them_to_zero() {
    let app = TestApp::start();
    let shop = app.tenant("depths");
    app.work_off();
    app.admin("/v1/landlord/queue/low/pause")
        .send()
        .await
        .expect(200);
    insert_jobs(&shop);
    let running = app.app();
    let depth = || -> i64 {
        let depths = running.observation.job_stats.snapshot(app.now()).depths;
        depths
            .iter()
            .filter(|depth| depth.queue == Queue::Low)
            .map(|depth| depth.jobs)
            .sum()
    };
    let has_due = || {
        running
            .observation
            .liveness
            .oldest_of_queues()
            .any(|(queue, due)| queue == Queue::Low && due.is_some())
    };
    let worker = Worker::start(app.app());
    wait_until_counted(|| depth() == 6 && has_due()).await;
    let samples = Samples::of(&app).await;
    let jobs = |samples: &Samples, state: &str| {
        samples.one(&format!(
            "tillbox_queue_jobs{{queue=\"low\",state=\"{state}\"}}"
        ))
    };
    let states = STATES;
    let counts = states.map(|state| jobs(&samples, state));
    assert_eq!(counts, [2.0, 2.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
    let age = "tillbox_queue_oldest_ready_age_seconds{queue=\"low\"}";
    assert_eq!(
        samples.one(age),
        f64::from(i32::try_from(app.now().as_millis() / 1000).expect("before 2038"))
    );
    let all = Queue::ALL.len();
    assert_eq!(series(&samples, "tillbox_queue_jobs"), all * states.len());
    assert_eq!(
        series(&samples, "tillbox_queue_oldest_ready_age_seconds"),
        all
    );
    worker.stop(Duration::from_secs(30)).await;

    // States without jobs show 0, not the last value.
    app.admin("/v1/landlord/queue/flush")
        .send()
        .await
        .expect(200);
    shop.raw("DELETE FROM job WHERE kind = 'kind.of_old'")
        .expect("gone");
    let worker = Worker::start(app.app());
    wait_until_counted(|| depth() == 0 && !has_due()).await;
    let samples = Samples::of(&app).await;
    assert_eq!(states.map(|state| jobs(&samples, state)), [0.0; 7]);
    assert_eq!(samples.one(age), 0.0);
    assert_eq!(series(&samples, "tillbox_queue_jobs"), all * states.len());
    worker.stop(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn bounds_number_of_series_for_any_input_and_tenant_count() {
    let app = TestApp::start();
    let shops: Vec<_> = (0..4)
        .map(|number| app.tenant(&format!("growth-{number}")))
        .collect();
    for number in 0..50 {
        let path = format!("/growth-path-{number}");
        app.get(&path).send().await.expect(404);
        app.get(&format!("/v1/orders/growth-id-{number}"))
            .send()
            .await
            .expect(401);
        let method = Method::from_bytes(format!("GROWTH{number}").as_bytes()).expect("a word");
        app.call(method, "/v1/sales").send().await.expect(405);
        shops[number % 4]
            .get(&format!("/v1/catalog/products?sku=growth-{number}"))
            .send()
            .await
            .expect(200);
    }
    let samples = Samples::of(&app).await;
    let ids: Vec<String> = shops.iter().map(|shop| shop.id.to_string()).collect();
    for series in samples.0.keys() {
        let series = series.to_lowercase();
        assert!(
            !series.contains("growth") && !ids.iter().any(|id| series.contains(id.as_str())),
            "{series}"
        );
    }
    let known: BTreeSet<String> = super::routes::routes()
        .iter()
        .filter_map(|route| Some(route.split_once(' ')?.0.to_owned()))
        .collect();
    for route in samples.labels("route") {
        let is_known = known.contains(route)
            || matches!(route, "unmatched" | "/openapi.json")
            || route.starts_with("/v1/admin/");
        assert!(is_known, "{route} is no route");
    }
    assert!(samples.labels("method").is_subset(&BTreeSet::from([
        "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "other"
    ])));
}

/// Every counted metric is in the list with its type, and every listed metric is counted.
#[test]
fn lists_all_counted_metrics() {
    let mut counted: BTreeMap<String, Kind> = BTreeMap::new();
    let mut named = String::new();
    for source in crate::tidy::source::all()
        .into_iter()
        .filter(|source| !source.product.is_empty())
    {
        let product = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        for (call, kind) in [
            ("counter!(", Kind::Counter),
            ("gauge!(", Kind::Gauge),
            ("histogram!(", Kind::Histogram),
        ] {
            for (place, _) in product.match_indices(call) {
                let rest = product[place + call.len()..].trim_start();
                let Some(name) = rest
                    .strip_prefix('"')
                    .and_then(|rest| rest.split('"').next())
                else {
                    continue;
                };
                let known = *counted.entry(name.to_owned()).or_insert(kind);
                assert_eq!(known, kind, "{name} is of two kinds");
            }
        }
        if !source.path.ends_with("telemetry/list.rs") {
            named.push_str(product);
        }
    }
    for (name, kind) in &counted {
        let metric = METRICS.iter().find(|metric| metric.name == name);
        assert_eq!(
            metric.map(|metric| metric.kind),
            Some(*kind),
            "{name} is counted but not described in the list of metrics"
        );
    }
    for metric in METRICS {
        assert!(
            named.contains(&format!("\"{}\"", metric.name)),
            "{} is listed but never counted",
            metric.name
        );
    }
}
