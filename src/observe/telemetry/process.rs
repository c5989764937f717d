//! Resource usage of the process, under the names that all exporters use. Read only from
//! `/proc/self`, because the service's sandbox hides the rest of `/proc`.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::MetricsText;

/// Fields of `/proc/self/stat` after the program's name, counted from 0; the state is the first.
const UTIME: usize = 11;
const STIME: usize = 12;
const THREADS: usize = 17;
const VSIZE: usize = 20;
const RSS: usize = 21;

/// Adds the available metrics. `started_at_ms` is the start of the process, in milliseconds since
/// 1970 UTC.
pub fn put(text: &mut MetricsText, started_at_ms: i64) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat")
        .ok()
        .as_deref()
        .and_then(Stat::parse)
    {
        text.put(
            "process_cpu_seconds_total",
            float(stat.cpu_ticks) / float(rustix::param::clock_ticks_per_second()),
        );
        text.put(
            "process_resident_memory_bytes",
            float(stat.resident_pages) * float(rustix::param::page_size() as u64),
        );
        text.put("process_virtual_memory_bytes", float(stat.virtual_bytes));
        text.put("process_threads", float(stat.threads));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The directory itself is open while it is read.
        text.put(
            "process_open_fds",
            float(open.count().saturating_sub(1) as u64),
        );
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        text.put("process_max_fds", float(limit));
    }
    text.put("process_start_time_seconds", seconds(started_at_ms));
}

/// Converts milliseconds to seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "for display; milliseconds of 285,000 years are exact"
)]
pub fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Converts a count to a float.
#[expect(clippy::cast_precision_loss, reason = "for display")]
pub fn float(count: u64) -> f64 {
    count as f64
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name is in parentheses and may contain anything, including parentheses and spaces.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: number(UTIME)? + number(STIME)?,
            threads: number(THREADS)?,
            virtual_bytes: number(VSIZE)?,
            resident_pages: number(RSS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_fields_after_any_name() {
        let text = "7 (a ) b) S 1 7 7 0 -1 4194560 90 0 0 0 250 50 0 0 20 0 9 0 123 4096000 1000 \
            18446744073709551615 1";
        let stat = Stat {
            cpu_ticks: 300,
            threads: 9,
            virtual_bytes: 4_096_000,
            resident_pages: 1_000,
        };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("7 (x) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }
}
