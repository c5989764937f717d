//! The latency of a sale while a million rows are pruned, compared with the latency without pruning
//! in the same run: `cargo bench --bench retention`.
//!
//! Eight clients sell through the library, with the daemon's transactions, a real file and real
//! syncs. `RETENTION_ROWS` sets another number of rows.

#[path = "../sale/library.rs"]
#[expect(dead_code, reason = "the sale bench uses the rest")]
mod library;
#[path = "../sale/metric.rs"]
#[expect(dead_code, reason = "the sale bench uses the rest")]
mod metric;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tillbox::platform::retention;
use tillbox::primitives::{Origin, Slug};
use tillbox::storage::StorageError;
use tillbox::tenant::retention::{CutOffs, Table};

use library::{BenchShop, sale};
use metric::{Metric, now, since_us};

const CLIENTS: usize = 8;
/// Length of the round without pruning.
const QUIET: Duration = Duration::from_secs(10);

fn main() {
    let rows: u64 =
        std::env::var("RETENTION_ROWS").map_or(1_000_000, |text| text.parse().expect("a number"));
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut shop = BenchShop::open(dir.path());
    fill(&mut shop, rows);
    // Warms the caches.
    sell_until(&shop, |begun| begun.elapsed() > QUIET / 5);
    let quiet = sell_until(&shop, |begun| begun.elapsed() > QUIET);
    let is_over = AtomicBool::new(false);
    let (busy, took, ran) = std::thread::scope(|scope| {
        let pruning = scope.spawn(|| {
            let begun = now();
            let cut_offs = CutOffs::at(shop.app.ports.clock.now(), 365, 365);
            let ran = retention::prune(
                &shop.db,
                &Origin::system(),
                Table::ALL,
                &cut_offs,
                None,
                || true,
            )
            .expect("pruned");
            is_over.store(true, Ordering::Release);
            (begun.elapsed(), ran)
        });
        let busy = sell_until(&shop, |_| is_over.load(Ordering::Acquire));
        let (took, ran) = pruning.join().expect("the thread ends");
        (busy, took, ran)
    });
    let line = |what: &str, metric: &Metric| {
        let (p50, p99) = (metric.percentile_ms(0.5), metric.p99_ms());
        println!(
            "    {what:<8} {:>6.0} sales/s   p50 {p50:>6.2} ms   p99 {p99:>6.2} ms",
            metric.rate()
        );
    };
    println!(
        "\n{CLIENTS} clients, {} rows pruned in {:.1} s",
        ran.rows(),
        took.as_secs_f64()
    );
    line("without", &quiet);
    line("during", &busy);
    let ratio = busy.p99_ms() / quiet.p99_ms();
    println!("    p99 during ÷ without: {ratio:.2} (aim: at most 2)");
    drop(shop.db);
    shop.app.close();
    assert!(ran.rows() as u64 >= rows, "all old rows are pruned");
}

/// Adds old rows: half audit entries, half stored answers with their bodies. Their content does not
/// affect the pruning.
fn fill(shop: &mut BenchShop, rows: u64) {
    shop.app.stores.registry.close_all();
    let conn = rusqlite::Connection::open(shop.db.path()).expect("opens");
    let sql = format!(
        "PRAGMA synchronous=OFF; BEGIN;
         WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n <= {half})
         INSERT INTO audit_log (at, actor, action, subject, details, prev_hash, hash)
           SELECT 0, 'system', 'order.paid', 'order:01961f0e-4c7a-7000-8000-000000000001', \
           '{{\"total_minor\":595}}', zeroblob(32), randomblob(32) FROM n;
         WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {half})
         INSERT INTO idempotency_key (key, request_hash, status, body, created_at)
           SELECT 'shop old ' || n, zeroblob(32), 201, randomblob(500), 0 FROM n;
         COMMIT; PRAGMA wal_checkpoint(TRUNCATE);",
        half = rows / 2
    );
    conn.execute_batch(&sql).expect("filled");
    drop(conn);
    let slug = Slug::parse("bench").expect("good");
    let access = shop
        .app
        .stores
        .directory
        .tenant_of_slug(&slug)
        .wait()
        .expect("reads")
        .expect("is there");
    shop.db = shop.app.stores.registry.open(&access).expect("opens");
}

/// Sells with all clients until `is_over` returns true.
fn sell_until(shop: &BenchShop, is_over: impl Fn(Instant) -> bool + Sync) -> Metric {
    let begun = now();
    let latencies = std::thread::scope(|scope| {
        let client = || {
            let mut own = Vec::new();
            while !is_over(begun) {
                let (policy, command) = (shop.app.policy.clone(), sale(shop.products));
                let sent = now();
                let sold = shop.db.write(Origin::system(), move |work| {
                    let sold = tillbox::tenant::sales::record(
                        work,
                        &policy,
                        &Default::default(),
                        &command,
                    );
                    drop(sold.expect("sold"));
                    Ok::<_, StorageError>(())
                });
                sold.wait().expect("sold");
                own.push(since_us(sent));
            }
            own
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("the thread ends"))
            .collect()
    });
    Metric::new(latencies, begun.elapsed())
}
