//! `/metrics`: the metrics of the process, in the text format of Prometheus.
//!
//! Anybody who reaches the port may read them, as with `/health`. They describe the process; no
//! label names a tenant, a path or a person. A public proxy should not forward this path.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use metrics::{Gauge, counter, gauge, histogram};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use crate::app::{App, Observation, Ports};
use crate::observe::telemetry::process::{self, float, seconds};
use crate::observe::telemetry::{self, MetricsText};
use crate::platform::queue::{Queue, State as JobState};
use crate::primitives::{Class, Timestamp};
use crate::storage::file;
use crate::tenant::jobs::Depth;

/// The media type of the Prometheus text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The job states that are exported; `None` stands for held jobs in any state. Completed jobs are
/// many and not exported.
const JOB_STATES: [Option<JobState>; 7] = [
    Some(JobState::Available),
    Some(JobState::Scheduled),
    Some(JobState::Running),
    Some(JobState::Retryable),
    None,
    Some(JobState::Discarded),
    Some(JobState::Cancelled),
];

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(get_metrics))
}

/// Returns the metrics in the text format of Prometheus: requests, commits, caches, queues and
/// their jobs, disk space, and process resources. No metric names a tenant, and no key is needed. A
/// public proxy should not forward this path.
#[utoipa::path(get, path = "/metrics", tag = "health", security(()), responses((status = 200,
    description = "the metrics", body = String, content_type = "text/plain")))]
async fn get_metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    // Reads the disk and /proc and formats a few hundred lines: not on a thread of the runtime.
    let text = tokio::task::spawn_blocking(move || render(&app)).await;
    let fault = |_| {
        Problem::new(
            Class::Internal,
            "internal_error",
            "the metrics could not be collected; the log has the cause under this request_id",
        )
    };
    Ok(([(CONTENT_TYPE, TEXT)], text.map_err(fault)?).into_response())
}

fn render(app: &App) -> String {
    let mut sheet = MetricsText::default();
    let build = format!(
        "version=\"{}\",sqlite=\"{}\"",
        env!("CARGO_PKG_VERSION"),
        file::sqlite_version()
    );
    sheet.put_labelled("tillbox_build_info", &build, 1.0);
    sheet.put(
        "tillbox_ready",
        f64::from(app.observation.liveness.is_ready()),
    );
    sheet.put(
        "tillbox_clock_trusted",
        f64::from(app.stores.clock_watch.was_trusted()),
    );
    let open = app.stores.registry.list_open().len();
    sheet.put("tillbox_tenants_open", float(open as u64));
    sheet.put(
        "tillbox_tenants_open_max",
        f64::from(app.config.storage.open_tenants),
    );
    sheet.put(
        "tillbox_tenants_unavailable",
        float(app.stores.registry.list_unavailable().len() as u64),
    );
    sheet.put(
        "tillbox_tenants_storage_limited",
        float(app.limits.shares.count_limited() as u64),
    );
    sheet.put(
        "tillbox_disk_reserve_bytes",
        float(app.config.storage.disk_reserve.as_bytes()),
    );
    if let Some(room) = app.limits.space.measure() {
        sheet.put("tillbox_disk_free_bytes", float(room.free));
        sheet.put("tillbox_disk_size_bytes", float(room.size));
    }
    let body_memory = &app.limits.body_memory;
    sheet.put("tillbox_http_body_memory_bytes", float(body_memory.used()));
    let now = app.ports.clock.now().as_millis();
    let lag_ms = app
        .observation
        .liveness
        .oldest_due()
        .map_or(0, |due| (now - due.as_millis()).max(0));
    sheet.put("tillbox_queue_lag_seconds", seconds(lag_ms));
    let beat_ms = app
        .observation
        .liveness
        .heartbeat_at()
        .map_or(0, |beat| beat.as_millis());
    sheet.put(
        "tillbox_queue_heartbeat_timestamp_seconds",
        seconds(beat_ms),
    );
    put_queues(&mut sheet, &app.ports, &app.observation);
    process::put(&mut sheet, app.observation.started_at.as_millis());
    sheet.into_text() + &telemetry::render()
}

/// Writes the queue depths. Each queue and state has its sample, so that an empty one reports 0.
fn put_queues(sheet: &mut MetricsText, ports: &Ports, observation: &Observation) {
    let now = ports.clock.now();
    let depths = observation.job_stats.snapshot(now).depths;
    let jobs = |queue: Queue, state: Option<JobState>| -> i64 {
        let same =
            |depth: &&Depth| depth.queue == queue && (!depth.held).then_some(depth.state) == state;
        depths.iter().filter(same).map(|depth| depth.jobs).sum()
    };
    let of_queue = |queue: &Queue| {
        let queue = *queue;
        JOB_STATES.map(|state| {
            let word = state.map_or("held", JobState::as_str);
            let count = u64::try_from(jobs(queue, state)).unwrap_or(0);
            (format!("queue=\"{queue}\",state=\"{word}\""), float(count))
        })
    };
    sheet.put_each("tillbox_queue_jobs", Queue::ALL.iter().flat_map(of_queue));
    let age = |due: Timestamp| (now.as_millis() - due.as_millis()).max(0);
    let ages = observation.liveness.oldest_of_queues();
    let ages = ages.map(|(queue, due)| (format!("queue=\"{queue}\""), seconds(due.map_or(0, age))));
    sheet.put_each("tillbox_queue_oldest_ready_age_seconds", ages);
}

/// Records an answered request. `route` is the matched pattern.
pub(super) fn record_request(
    method: &Method,
    route: Option<&str>,
    status: StatusCode,
    took: Duration,
) {
    let (method, route) = (
        method_label(method),
        route.unwrap_or("unmatched").to_owned(),
    );
    let status = status.as_str().to_owned();
    histogram!("tillbox_http_request_duration_seconds", "method" => method,
        "route" => route.clone())
    .record(took);
    counter!("tillbox_http_requests_total", "method" => method, "route" => route,
        "status" => status)
    .increment(1);
}

/// Returns the label of a method. Clients may send any word as a method, so unknown ones share one
/// label.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Counts a request or connection in progress until it is dropped.
pub(super) struct InFlight(Gauge);

impl InFlight {
    pub(super) fn request() -> Self {
        Self::of(gauge!("tillbox_http_requests_in_flight"))
    }

    /// Counts an accepted connection: over TCP, or over the admin socket.
    pub(super) fn connection(is_remote: bool) -> Self {
        let listener = if is_remote { "tcp" } else { "unix" };
        counter!("tillbox_http_connections_total", "listener" => listener).increment(1);
        Self::of(gauge!("tillbox_http_connections", "listener" => listener))
    }

    fn of(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_requests_once_by_route() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let odd = Method::from_bytes(b"FETCH").unwrap();
            let took = Duration::from_millis(3);
            record_request(&Method::GET, Some("/v1/orders/{id}"), StatusCode::OK, took);
            record_request(&Method::GET, Some("/v1/orders/{id}"), StatusCode::OK, took);
            record_request(
                &Method::GET,
                Some("/v1/orders/{id}"),
                StatusCode::NOT_FOUND,
                took,
            );
            record_request(&odd, None, StatusCode::NOT_FOUND, took);
            let in_flight = InFlight::request();
            drop((InFlight::request(), InFlight::connection(true)));
            std::mem::forget(in_flight);
        });
        let text = recorder.handle().render();
        for line in [
            "tillbox_http_requests_total{method=\"GET\",route=\"/v1/orders/{id}\",status=\"200\"} \
             2",
            "tillbox_http_requests_total{method=\"GET\",route=\"/v1/orders/{id}\",status=\"404\"} \
             1",
            "tillbox_http_requests_total{method=\"other\",route=\"unmatched\",status=\"404\"} 1",
            "tillbox_http_request_duration_seconds_count{method=\"GET\",route=\"/v1/orders/{id}\"} \
             3",
            "tillbox_http_requests_in_flight 1",
            "tillbox_http_connections{listener=\"tcp\"} 0",
            "tillbox_http_connections_total{listener=\"tcp\"} 1",
        ] {
            assert!(
                text.lines().any(|of| of == line),
                "{line} is missing in\n{text}"
            );
        }
    }
}
