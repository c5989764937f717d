//! `kill -9` under load at arbitrary moments: every acknowledged sale exists, once.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use tillbox::primitives::limits::RESCUES_MAX;

use super::run::run;
use crate::support::process::{Client, Daemon};

const ROUNDS: usize = 6;
const CLIENTS: usize = 8;
/// Acknowledged sales before the process is killed. The scheduler decides the moment within the
/// next sale.
const SALES_PER_ROUND: usize = 60;
const ON_HAND: i64 = 1_000_000;

/// The requests of a client: key, body, and the answer if one arrived.
type Sales = Arc<Mutex<HashMap<String, (Value, Option<Vec<u8>>)>>>;

fn sale(product: &str, number: usize) -> Value {
    let mut body = json!({"lines": [{"product_id": product, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": 250}]});
    if number.is_multiple_of(5) {
        body["email"] = json!("anna@example.org");
    }
    body
}

/// Sells until the connection breaks.
fn sell(client: &mut Client, name: &str, product: &str, sales: &Sales, acknowledged: &AtomicUsize) {
    for number in 0.. {
        let (key, body) = (format!("{name}-{number}"), sale(product, number));
        sales
            .lock()
            .expect("no panic")
            .insert(key.clone(), (body.clone(), None));
        let Ok(answer) = client.post("/v1/sales", &key, &body) else {
            return;
        };
        let answer = answer.expect(201);
        sales
            .lock()
            .expect("no panic")
            .insert(key, (body, Some(answer.body)));
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

/// One round of sales, ended by a kill.
fn round(daemon: &mut Daemon, number: usize, api_key: &str, product: &str, sales: &Sales) {
    let acknowledged = AtomicUsize::new(0);
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let mut connection = daemon.client().with_key(api_key);
            let (name, acknowledged) = (format!("r{number}-c{client}"), &acknowledged);
            clients.push(
                scope.spawn(move || sell(&mut connection, &name, product, sales, acknowledged)),
            );
        }
        while acknowledged.load(Ordering::SeqCst) < SALES_PER_ROUND {
            assert!(
                !clients.iter().all(thread::ScopedJoinHandle::is_finished),
                "the clients stopped selling"
            );
            thread::yield_now();
        }
        daemon.kill();
    });
}

/// Sends everything again: an acknowledged sale gets its original answer, any other is carried out
/// now or was before.
fn send_again(client: &mut Client, sales: &Sales) {
    for (key, (body, answer)) in sales.lock().expect("no panic").iter_mut() {
        let again = client
            .post("/v1/sales", key, body)
            .expect("an answer")
            .expect(201);
        if let Some(first) = answer {
            assert_eq!(
                again.header("idempotent-replayed"),
                Some("true"),
                "{key} was acknowledged and is gone"
            );
            assert_eq!(&again.body, first, "{key} has another answer now");
        }
        *answer = Some(again.body);
    }
}

/// The file of the only shop.
fn file(dir: &Path) -> rusqlite::Connection {
    let file = std::fs::read_dir(dir.join("tenants"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path());
    let file = file
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .collect::<Vec<_>>();
    rusqlite::Connection::open(&file[0]).expect("a plain SQLite file")
}

fn counts(dir: &Path) -> [i64; 8] {
    let conn = file(dir);
    let tables = [
        "sales_order",
        "payment",
        "financial_order",
        "invoice",
        "financial_transaction",
        "ledger_entry",
        "inventory_movement WHERE kind = 'sale'",
        "job WHERE payload LIKE '%order.paid%' OR json_extract(payload, '$.action') = 'order.paid'",
    ];
    tables.map(|table| {
        conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get(0)
        })
        .expect("counts")
    })
}

/// Creates a shop with one stocked product. Returns its key and the product's id.
fn open_shop(daemon: &Daemon, dir: &Path) -> (String, String) {
    let made = run(
        dir,
        &[
            "tenant", "create", "--no-tax", "corner", "--name", "Corner", "--json",
        ],
    )
    .code(0);
    let made: Value = serde_json::from_str(&made.stdout).expect("JSON");
    let api_key = made["api_key"].as_str().expect("a key").to_owned();
    let product = json!({"sku": "APPLE", "name": "Apple", "price_minor": 250, "track_stock": true});
    let mut client = daemon.client().with_key(&api_key);
    let product = client
        .post("/v1/catalog/products", "product", &product)
        .expect("an answer");
    let product = product.expect(201).string("/id");
    let count = json!({"product_id": product, "quantity_delta": ON_HAND, "reason": "delivery"});
    let counted = client
        .post("/v1/inventory/adjustments", "delivery", &count)
        .expect("an answer");
    counted.expect(201);
    (api_key, product)
}

#[test]
fn keeps_every_acknowledged_sale_once_when_killed_under_load() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), &[]);
    let (api_key, product) = open_shop(&daemon, dir.path());
    let sales = Sales::default();
    for number in 0..ROUNDS {
        round(&mut daemon, number, &api_key, &product, &sales);
        daemon = daemon.kill_and_restart();
        send_again(&mut daemon.client().with_key(&api_key), &sales);
    }

    let sold = i64::try_from(sales.lock().expect("no panic").len()).expect("a few");
    let stock = daemon
        .client()
        .with_key(&api_key)
        .get(&format!("/v1/inventory/stock/{product}"))
        .expect("an answer")
        .json();
    assert_eq!(stock["on_hand"], ON_HAND - sold, "each sale took one, once");
    run(dir.path(), &["integrity", "check"]).code(0);
    assert_eq!(daemon.terminate().code(), Some(0));
    assert_eq!(
        counts(dir.path()),
        [sold; 8],
        "nothing is half done, nothing is doubled"
    );
}

/// A job in which the process dies again and again is taken for the cause and discarded; other jobs
/// run. The mail server accepts connections and stays silent, so the process is always killed
/// within that job.
#[test]
fn discards_job_when_process_dies_in_it_repeatedly() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!(
        "smtp://{}",
        listener.local_addr().expect("it has an address")
    );
    let (called, calls) = channel();
    // Ends with the process of the test. Callers are kept waiting.
    thread::spawn(move || {
        listener
            .incoming()
            .map_while(Result::ok)
            .try_for_each(|caller| called.send(caller))
    });
    let mut kept = Vec::new();
    let mut wait_for_call = || {
        kept.push(
            calls
                .recv_timeout(Duration::from_secs(60))
                .expect("the job is carried out"),
        )
    };

    let dir = tempfile::tempdir().expect("a directory");
    let start = || {
        Daemon::start_with(
            dir.path(),
            &[],
            &[("TILLBOX_MAIL__SMTP_URL", Path::new(&url))],
        )
    };
    let mut daemon = start();
    let (api_key, product) = open_shop(&daemon, dir.path());
    let sell = |daemon: &Daemon, key: &str| {
        let sold = daemon
            .client()
            .with_key(&api_key)
            .post("/v1/sales", key, &sale(&product, 0));
        sold.expect("an answer").expect(201);
    };
    sell(&daemon, "poison");
    for _ in 0..=RESCUES_MAX {
        wait_for_call();
        daemon.kill();
        daemon = start();
    }
    let failed = run(dir.path(), &["queue", "failed", "--json"]).code(0);
    assert!(failed.stdout.contains("\"discarded\""), "{failed:?}");
    sell(&daemon, "next");
    wait_for_call();
    daemon.kill();
    let jobs = file(dir.path());
    let mut jobs = jobs
        .prepare(
            "SELECT state || '|' || rescues || '|' || coalesce(errors ->> '$[0].error', '') \
            FROM job WHERE kind = 'orders.confirmation' ORDER BY seq",
        )
        .expect("reads");
    let jobs = jobs.query_map([], |row| row.get(0)).expect("reads");
    let jobs: Vec<String> = jobs.map(|job| job.expect("a row")).collect();
    let poison = format!(
        "discarded|{}|the process died repeatedly while this job ran",
        RESCUES_MAX + 1
    );
    assert_eq!(jobs, [poison, "running|0|".to_owned()]);
}
