//! The rate at which jobs are enqueued, run and finished, as a ratio to the raw limit of the disk
//! in the same run, and the cost of an idle daemon: `cargo bench --bench queue`.
//!
//! (a) The raw limit: rusqlite writes the same two changes of a job's row, its insertion and its
//! completion, many to a commit.
//! (b) The library: jobs without effect are enqueued while the worker runs and finishes them. Each
//! enqueuer waits until its last job is on disk. A round ends when the last job is completed on
//! disk.
//! (c) A daemon with 1,000 tenants and no work: memory, processor time, bytes written.
//!
//! `cargo bench --bench queue -- jobs` measures (a) and (b) alone; the other part is `idle`.
//!
//! Absolute numbers drift between machines and hours; quote the ratios. `TILLBOX_BENCH_SECONDS`
//! sets the length of a round (default 3), `TILLBOX_BENCH_TENANTS` and `TILLBOX_BENCH_IDLE_SECONDS`
//! the number of idle tenants and the time (1,000 and 60), `TILLBOX_BENCH_DIR` the directory whose
//! disk is measured (default: the system's temporary one).

#![forbid(unsafe_code)]

mod idle;
mod library;
#[path = "../sale/metric.rs"]
mod metric;
mod raw;

use std::path::PathBuf;
use std::time::Duration;

use metric::table;

/// Concurrent enqueuers, and changes of each kind in one commit of the raw limit.
const ENQUEUERS: [usize; 2] = [1, 64];

/// The allocator of the daemon.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let seconds: f64 = setting("TILLBOX_BENCH_SECONDS", 3.0);
    let round = Duration::from_secs_f64(seconds);
    let base = std::env::var_os("TILLBOX_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base).expect("a directory to measure in");
    println!("disk: {}   round: {seconds} s", dir.path().display());
    if is_wanted("jobs") {
        let raw =
            ENQUEUERS.map(|batch| raw::run(&dir.path().join(format!("raw-{batch}")), batch, round));
        table("(a) raw rows, by jobs per commit", &ENQUEUERS, &raw, None);
        let library = ENQUEUERS.map(|enqueuers| {
            library::run(
                &dir.path().join(format!("library-{enqueuers}")),
                enqueuers,
                round,
            )
        });
        table(
            "(b) enqueue, run and finish, by enqueuers",
            &ENQUEUERS,
            &library,
            Some(&raw),
        );
        println!("    aim with 64 enqueuers: at least 50 % of (a)");
    }
    if is_wanted("idle") {
        let (tenants, seconds) = (
            setting("TILLBOX_BENCH_TENANTS", 1_000),
            setting("TILLBOX_BENCH_IDLE_SECONDS", 60),
        );
        idle::run(
            &dir.path().join("idle"),
            tenants,
            Duration::from_secs(seconds),
        );
    }
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Returns whether a part runs: it is named on the command line, or none is.
fn is_wanted(part: &str) -> bool {
    // `cargo bench` adds an option of its own.
    let mut named = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .peekable();
    named.peek().is_none() || named.any(|argument| argument == part)
}
