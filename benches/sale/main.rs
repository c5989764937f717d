//! The rate at which sales are written, as a ratio to the raw limit of the disk in the same run:
//! `cargo bench`.
//!
//! (a) The raw limit: rusqlite writes the exact rows of one paid sale, including its stored answer,
//! 64 to a commit, `synchronous=FULL`.
//! (b) The library: `sales::record` under an idempotency key writes the same rows through the
//! group-committing writer.
//! (c) The daemon: `POST /v1/sales` to a process of its own; client and daemon share the machine.
//! (d) The same while a neighbour tenant sells as fast as it can, or has a damaged file.
//! (e) The same beside 4,096 hostile connections.
//! Also a product read by id over HTTP, compared with a constant answer of the same server.
//!
//! `cargo bench --bench sale -- library` measures (a) and that part alone; the others are `daemon`,
//! `neighbours`, `hostile` and `reads`.
//!
//! Absolute numbers drift between machines and hours; quote the ratios. `TILLBOX_BENCH_SECONDS`
//! sets the length of a round (default 3), `TILLBOX_BENCH_DIR` the directory whose disk is measured
//! (default: the system's temporary one).

#![forbid(unsafe_code)]

mod client;
mod daemon;
#[expect(dead_code, reason = "another program uses the rest of it")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod hostile;
mod library;
mod metric;
mod raw;

use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::Neighbour;
use metric::table;

/// Clients in each of the three rounds.
const CLIENTS: [usize; 3] = [1, 8, 64];

/// The allocator of the daemon.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let seconds = std::env::var("TILLBOX_BENCH_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3.0);
    let round = Duration::from_secs_f64(seconds);
    let base = std::env::var_os("TILLBOX_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base).expect("a directory to measure in");
    println!(
        "disk: {}   round: {seconds} s   sale: 2 lines with counted stock, tax, cash",
        dir.path().display()
    );

    let template = library::template(&dir.path().join("template"));
    let raw = CLIENTS.map(|batch| {
        raw::run(
            &template,
            &dir.path().join(format!("raw-{batch}")),
            batch,
            raw::Ids::Blob,
            round,
        )
    });
    table("(a) raw rows, by sales per commit", &CLIENTS, &raw, None);
    let text_ids = raw::run(
        &template,
        &dir.path().join("raw-text"),
        64,
        raw::Ids::Text,
        round,
    );
    println!(
        "    ids as TEXT instead of BLOB, 64: {:.0}/s, {:.2} of BLOB",
        text_ids.rate(),
        text_ids.rate() / raw[2].rate()
    );

    if is_wanted("library") {
        let library = CLIENTS.map(|clients| {
            library::run(
                &dir.path().join(format!("library-{clients}")),
                clients,
                round,
            )
        });
        table(
            "(b) sales::record, by callers",
            &CLIENTS,
            &library,
            Some(&raw),
        );
    }
    if is_wanted("daemon") {
        let one = CLIENTS.map(|clients| {
            daemon::sales(
                &dir.path().join(format!("one-{clients}")),
                clients,
                1,
                round,
            )
        });
        table(
            "(c) POST /v1/sales, by clients, one tenant",
            &CLIENTS,
            &one,
            Some(&raw),
        );
        println!(
            "    p99 at 64 clients: {:.1} times that of (a)   (aim: at most 2)",
            one[2].p99_ms() / raw[2].p99_ms()
        );
        let eight = CLIENTS.map(|clients| {
            daemon::sales(
                &dir.path().join(format!("eight-{clients}")),
                clients,
                8,
                round,
            )
        });
        table(
            "(c) POST /v1/sales, by clients, eight tenants",
            &CLIENTS,
            &eight,
            Some(&raw),
        );
    }
    if is_wanted("neighbours") {
        neighbours(dir.path(), round);
    }
    if is_wanted("hostile") {
        hostile(&dir.path().join("hostile"), round);
    }
    if is_wanted("reads") {
        reads(&dir.path().join("reads"), round);
    }
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

/// Measures the latency of a tenant whose neighbour is busy or damaged.
fn neighbours(dir: &Path, round: Duration) {
    const CLIENTS: usize = 4;
    let beside = |neighbour| {
        daemon::sales_beside_neighbour(
            &dir.join(format!("beside-{neighbour:?}")),
            neighbour,
            CLIENTS,
            round,
        )
    };
    let alone = beside(Neighbour::Idle);
    println!(
        "\n(d) POST /v1/sales by {CLIENTS} clients of one tenant: p99 {:.2} ms beside an idle \
         neighbour",
        alone.p99_ms()
    );
    for (neighbour, what) in [
        (Neighbour::Busy, "a busy neighbour with as many clients"),
        (
            Neighbour::Damaged,
            "a damaged neighbour with as many clients",
        ),
    ] {
        let metric = beside(neighbour);
        println!(
            "    {:>4.2} times that beside {what}   (aim: at most 1.50)",
            metric.p99_ms() / alone.p99_ms()
        );
    }
}

/// Measures the latency of a shop's customers while strangers hold as many connections as they get.
fn hostile(dir: &Path, round: Duration) {
    const CLIENTS: usize = 4;
    let measured = hostile::sales(dir, CLIENTS, round);
    let (alone, beside) = (measured.alone.p99_ms(), measured.beside.p99_ms());
    let [before, after] = measured.memory_mib;
    println!(
        "\n(e) POST /v1/sales by {CLIENTS} clients: p99 {alone:.2} ms alone, {:.2} times that \
         beside {} hostile connections, {} of them open   (aim: at most 1.50)",
        beside / alone,
        hostile::CONNECTIONS,
        measured.open
    );
    println!("    memory of the daemon: {before} MiB before, {after} MiB with them");
}

fn reads(dir: &Path, round: Duration) {
    let (product, constant) = daemon::reads(dir, 32, round);
    let ratio = product.rate() / constant.rate();
    println!(
        "\nGET a product by its id, 32 clients: {:.0}/s, {ratio:.2} of a constant answer \
         ({:.0}/s)   (aim: at least 0.50)",
        product.rate(),
        constant.rate()
    );
}
