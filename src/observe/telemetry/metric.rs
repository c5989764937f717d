//! All metrics with their meaning. The names follow the Prometheus conventions: base units,
//! `_total` for counters, the unit last.

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only increases until the process ends.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// A distribution of sizes.
    Histogram,
}

/// A metric and its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Counter;
    Metric { name, kind, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Gauge;
    Metric { name, kind, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Histogram;
    Metric { name, kind, help }
}

/// All metrics, sorted by name.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    counter("process_cpu_seconds_total", "CPU time used by the process."),
    gauge("process_max_fds", "Limit on open file descriptors."),
    gauge("process_open_fds", "Open file descriptors."),
    gauge("process_resident_memory_bytes", "Resident memory of the process."),
    gauge("process_start_time_seconds", "Start time of the process, in seconds since 1970 UTC."),
    gauge("process_threads", "Threads of the process."),
    gauge("process_virtual_memory_bytes", "Virtual memory of the process."),
    gauge("tillbox_build_info", "Versions of the program and of its SQLite; always 1."),
    counter("tillbox_cache_requests_total", "Cache lookups; `outcome` is hit or miss."),
    gauge("tillbox_clock_trusted", "1 while the machine's clock is trusted; with 0 nothing is \
        deleted by age."),
    histogram("tillbox_commit_duration_seconds", "Duration of a COMMIT, including its fsync."),
    counter("tillbox_commit_failures_total", "Batches of requests that were not committed: the \
        disk was full or failed, or another process locked the file."),
    counter("tillbox_commit_replays_total", "Batches that were run again because a request in \
        them failed after it had written."),
    histogram("tillbox_commit_requests", "Requests in one COMMIT."),
    counter("tillbox_commits_total", "Committed transactions."),
    gauge("tillbox_disk_free_bytes", "Free space on the disk of the data directory."),
    gauge("tillbox_disk_reserve_bytes", "Reserved disk space; with less free space, sales are \
        refused."),
    gauge("tillbox_disk_size_bytes", "Size of the disk of the data directory."),
    counter("tillbox_http_bad_requests_total", "Requests that were not valid HTTP and reached no \
        route."),
    counter("tillbox_http_bodies_refused_total", "Request bodies refused because \
        server.body_memory was used up."),
    gauge("tillbox_http_body_memory_bytes", "Memory of server.body_memory in use by arriving \
        request bodies."),
    gauge("tillbox_http_connections", "Open connections."),
    counter("tillbox_http_connections_refused_total", "Connections refused because there were too \
        many, from their address, from this machine or in total."),
    counter("tillbox_http_connections_total", "Accepted connections."),
    histogram("tillbox_http_request_duration_seconds", "Time from the head of a request to its \
        response."),
    gauge("tillbox_http_requests_in_flight", "Requests in progress."),
    counter("tillbox_http_requests_total", "Answered requests, by route and status. An unknown \
        path counts as the route `unmatched`."),
    histogram("tillbox_job_duration_seconds",
        "Duration of an attempt at a job, by queue and kind."),
    histogram("tillbox_job_wait_seconds", "Time from when a job was due until it started, by \
        queue and kind."),
    counter("tillbox_jobs_total", "Ended attempts at jobs, by queue, kind and outcome."),
    counter("tillbox_log_lines_dropped_total", "Log lines that are in no file: the disk was full, \
        failed or too slow."),
    counter("tillbox_log_lines_held_back_total", "Log lines about refusals that were not \
        written because there were too many of their kind, by kind."),
    counter("tillbox_overloads_total", "Requests refused because too many waited for one file."),
    gauge("tillbox_queue_heartbeat_timestamp_seconds", "Last heartbeat of the worker, in seconds \
        since 1970 UTC; 0 while it is not running."),
    gauge("tillbox_queue_jobs", "Jobs of all tenants, by queue and state, at the last count; \
        tenants that write are counted once a minute. `held` jobs are in no other state; \
        completed jobs are not counted."),
    gauge("tillbox_queue_lag_seconds", "Age of the oldest due job, without paused queues; 0 when \
        there is none."),
    gauge("tillbox_queue_oldest_ready_age_seconds", "Age of the oldest due job of a queue, paused \
        or not; 0 when there is none."),
    counter("tillbox_rate_limited_total", "Requests refused because their caller exceeded a rate \
        limit, by policy."),
    gauge("tillbox_ready", "1 while requests are accepted."),
    gauge("tillbox_tenants_open", "Tenants whose files are open."),
    gauge("tillbox_tenants_open_max", "Limit on tenants whose files are open."),
    gauge("tillbox_tenants_storage_limited", "Tenants whose growth is refused because they use up \
        their share of the disk."),
    gauge("tillbox_tenants_unavailable", "Tenants whose files were unavailable at the last \
        attempt."),
];
