//! How fast a sale is written, as a ratio to what the disk can do, measured in the same run: `cargo
//! bench`.
//!
//! (a) the raw limit: rusqlite writing the very rows of one paid sale, its stored answer among
//! them, 64 to a commit, `synchronous=FULL`; (b) the library: `sales::record` under an idempotency
//! key, through the group-committing writer: the same rows; (c) the daemon: `POST /v1/sales` to a
//! process of its own, client and daemon sharing the machine; (d): the same while the shop's
//! neighbour sells as fast as it can, or has a damaged file; (e): the same beside 4,096 hostile
//! connections; and a product read by id over HTTP beside a constant answer of the same server.
//!
//! `cargo bench --bench sale -- library` measures (a) and that part alone; the others are `daemon`,
//! `neighbours`, `hostile` and `reads`.
//!
//! Absolute figures drift between machines and hours; quote the ratios. `TILLBOX_BENCH_SECONDS`
//! sets how long each round takes (default 3), `TILLBOX_BENCH_DIR` the directory whose disk is
//! measured (default: the system's temporary one).

#![forbid(unsafe_code)]

mod client;
mod daemon;
mod figures;
mod hostile;
mod library;
mod raw;

use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::Neighbour;
use figures::table;

/// How many clients share the work, in the three rounds.
const CLIENTS: [usize; 3] = [1, 8, 64];

/// As the daemon has it.
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
    table("(a) raw rows, so many to a commit", &CLIENTS, &raw, None);
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
            "(b) sales::record, so many callers",
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
            "(c) POST /v1/sales, so many clients, one tenant",
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
            "(c) POST /v1/sales, so many clients, eight tenants",
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

/// Whether a part was named on the command line; all are wanted when none was.
fn is_wanted(part: &str) -> bool {
    // `cargo bench` adds an option of its own.
    let mut named = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .peekable();
    named.peek().is_none() || named.any(|argument| argument == part)
}

/// How long a shop's customers wait when its neighbour is busy or ill.
fn neighbours(dir: &Path, round: Duration) {
    const CLIENTS: usize = 4;
    let beside = |neighbour| {
        daemon::beside(
            &dir.join(format!("beside-{neighbour:?}")),
            neighbour,
            CLIENTS,
            round,
        )
    };
    let alone = beside(Neighbour::Rests);
    println!(
        "\n(d) POST /v1/sales by {CLIENTS} clients of one shop: p99 {:.2} ms while its neighbour \
         rests",
        alone.p99_ms()
    );
    for (neighbour, what) in [
        (
            Neighbour::Sells,
            "sells as fast as as many clients can send",
        ),
        (
            Neighbour::IsDamaged,
            "has a damaged file that as many clients ask for",
        ),
    ] {
        let figure = beside(neighbour);
        println!(
            "    {:>4.2} times that while it {what}   (aim: at most 1.50)",
            figure.p99_ms() / alone.p99_ms()
        );
    }
}

/// How long a shop's customers wait when strangers hold as many connections as they get.
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
