//! Every figure there is, with what it means. The names follow Prometheus: base units, `_total` for
//! what only grows, the unit last.

/// What kind of figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often which size was met.
    Histogram,
}

/// A figure and its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it says.
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

/// All of them, by name.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    counter("process_cpu_seconds_total", "Processor time that the process has taken."),
    gauge("process_max_fds", "File descriptors that the process may have open."),
    gauge("process_open_fds", "File descriptors that the process has open."),
    gauge("process_resident_memory_bytes", "Memory of the process that is in RAM."),
    gauge("process_start_time_seconds", "When the process started, since 1970 UTC."),
    gauge("process_threads", "Threads of the process."),
    gauge("process_virtual_memory_bytes", "Addresses that the process has reserved."),
    gauge("tillbox_build_info", "The version of the program and of the SQLite in it; always 1."),
    counter("tillbox_cache_requests_total", "Questions to a cache; `outcome` says whether it had \
        the answer."),
    gauge("tillbox_clock_trusted", "1 when nothing speaks against the machine's clock; with 0 \
        nothing is deleted by age."),
    histogram("tillbox_commit_duration_seconds", "How long a COMMIT took, its fsync included."),
    counter("tillbox_commit_failures_total", "Batches of requests that were not committed: the \
        disk was full or failed, or somebody held the file's lock."),
    counter("tillbox_commit_replays_total", "Batches that were run again because one request in \
        them failed after it had written."),
    histogram("tillbox_commit_requests", "How many requests were in one COMMIT."),
    counter("tillbox_commits_total", "Transactions that are on disk."),
    gauge("tillbox_disk_free_bytes", "Room on the disk of the data directory."),
    gauge("tillbox_disk_reserve_bytes", "Room that is kept free: with less than that nothing is \
        sold."),
    gauge("tillbox_disk_size_bytes", "The size of the disk of the data directory."),
    counter("tillbox_http_bodies_refused_total", "Request bodies that were refused because \
        server.body_memory was used up."),
    gauge("tillbox_http_body_memory_bytes", "Memory of server.body_memory that arriving request \
        bodies take."),
    gauge("tillbox_http_connections", "Connections that are open."),
    counter("tillbox_http_connections_refused_total", "Connections that were refused because there \
        were too many, of their address, of this machine or in all."),
    counter("tillbox_http_connections_total", "Connections that were accepted."),
    histogram("tillbox_http_request_duration_seconds", "How long a request took from its head to \
        its answer."),
    gauge("tillbox_http_requests_in_flight", "Requests that are being answered."),
    counter("tillbox_http_requests_total", "Requests that were answered, by route and status. A \
        path that there is not is the route `unmatched`."),
    counter("tillbox_http_bad_requests_total", "Requests that could not be read as HTTP and \
        reached no route."),
    histogram("tillbox_job_duration_seconds",
        "How long an attempt at a job took, by queue and kind."),
    histogram("tillbox_job_wait_seconds", "How long a job was due before it began, by queue and \
        kind."),
    counter("tillbox_jobs_total", "Attempts at jobs that have ended, by queue, kind and outcome."),
    counter("tillbox_log_lines_dropped_total", "Lines of the log that are in no file: the disk was \
        full or failed, or did not keep up."),
    counter("tillbox_log_lines_held_back_total", "Lines about refusals that were not written \
        because there were too many of their kind, by kind."),
    counter("tillbox_overloads_total", "Requests that were refused because too many waited for one \
        file."),
    gauge("tillbox_queue_heartbeat_timestamp_seconds", "When the worker last showed itself, since \
        1970 UTC; 0 when it does not run."),
    gauge("tillbox_queue_jobs", "Jobs of all stores, by queue and state, as each store that writes \
        was last counted (once a minute). `held` are in no other state; completed ones are not \
        counted."),
    gauge("tillbox_queue_lag_seconds", "For how long the oldest job that is due has been waiting, \
        paused queues apart; 0 when none is."),
    gauge("tillbox_queue_oldest_ready_age_seconds", "For how long the oldest job of a queue that \
        is due has been waiting, a paused one too; 0 when none is."),
    counter("tillbox_rate_limited_total", "Requests that were refused because their caller asked \
        too often, by policy."),
    gauge("tillbox_ready", "1 when requests are welcome."),
    gauge("tillbox_tenants_open", "Tenants whose files are open."),
    gauge("tillbox_tenants_open_max", "Tenants whose files may be open at a time."),
    gauge("tillbox_tenants_storage_limited", "Tenants whose growth is refused because they use up \
        their share of the disk."),
    gauge("tillbox_tenants_unavailable", "Tenants whose files could not be used when that was last \
        tried."),
];
