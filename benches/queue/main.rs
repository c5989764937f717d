//! How fast jobs are queued, run and finished, as a ratio to what the disk can do, measured in the
//! same run; and what a house at rest costs: `cargo bench --bench queue`.
//!
//! (a) the raw limit: rusqlite writing the same two changes of a job's row, its insertion and its
//! completion, so many of each to a commit; (b) the library: jobs that do nothing are enqueued,
//! each enqueuer's next when the one before is on disk, while the worker runs and finishes them; a
//! round ends when the last of them is completed on disk; (c) a daemon with 1,000 shops and no
//! work: memory, time of the processor, bytes written.
//!
//! `cargo bench --bench queue -- jobs` measures (a) and (b) alone; the other part is `idle`.
//!
//! Absolute figures drift between machines and hours; quote the ratios. `TILLBOX_BENCH_SECONDS`
//! sets how long each round takes (default 3), `TILLBOX_BENCH_TENANTS` and
//! `TILLBOX_BENCH_IDLE_SECONDS` how many shops rest and for how long (1,000 and 60),
//! `TILLBOX_BENCH_DIR` the directory whose disk is measured (default: the system's temporary one).

#![forbid(unsafe_code)]

#[path = "../sale/figures.rs"]
mod figures;
mod idle;
mod library;
mod raw;

use std::path::PathBuf;
use std::time::Duration;

use figures::table;

/// How many enqueue at a time, and how many of each change are in one commit of the raw limit.
const ENQUEUERS: [usize; 2] = [1, 64];

/// As the daemon has it.
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
        table(
            "(a) raw rows, so many jobs to a commit",
            &ENQUEUERS,
            &raw,
            None,
        );
        let library = ENQUEUERS.map(|enqueuers| {
            library::run(
                &dir.path().join(format!("library-{enqueuers}")),
                enqueuers,
                round,
            )
        });
        table(
            "(b) enqueue, run and finish, so many enqueuers",
            &ENQUEUERS,
            &library,
            Some(&raw),
        );
        println!("    aim at 64: at least 50 % of (a)");
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

/// Whether a part was named on the command line; all are wanted when none was.
fn is_wanted(part: &str) -> bool {
    // `cargo bench` adds an option of its own.
    let mut named = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .peekable();
    named.peek().is_none() || named.any(|argument| argument == part)
}
