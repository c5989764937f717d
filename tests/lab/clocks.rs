//! Clock jumps: 400 days back, ten years ahead, hour by hour; at the start of the process and while
//! it runs. Records keep the order in which things happened, numbers have no gap, nothing is done
//! twice, and nothing waits until the clock reaches the old time again.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;
use tillbox::maintenance::scheduler::{TASKS, run_due};
use tillbox::primitives::{Clock as _, Origin, Timestamp};
use tillbox::storage::DataDir;
use tillbox::tenant::confirmation::CONFIRMATION;
use tillbox::tenant::inventory;
use tillbox::worker::handlers::{self, Handler, Handlers, OutboundJob};
use tillbox::worker::{self, JobError, Worker};
use tokio::runtime::Runtime;

use crate::instance::{self, Call, Instance, Reply};
use crate::oracle::{self, Verdict};
use crate::power::scratch;
use crate::rng::Rng;
use crate::table::{Finding, Kind, Row};

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The clock jumps of one trial, in order.
const JUMPS: &[(&str, &[i64])] = &[
    ("400 days back", &[-400 * DAY_MS]),
    ("ten years ahead", &[3_652 * DAY_MS]),
    (
        "ten years ahead and back again",
        &[3_652 * DAY_MS, -3_652 * DAY_MS],
    ),
    (
        "400 days back and ahead again",
        &[-400 * DAY_MS, 400 * DAY_MS],
    ),
    ("back by hours", &[-HOUR_MS; 6]),
    ("ahead by hours", &[HOUR_MS; 6]),
    (
        "to and fro by hours",
        &[HOUR_MS, -HOUR_MS, -HOUR_MS, HOUR_MS, HOUR_MS, -2 * HOUR_MS],
    ),
];
/// Interval between two checks of an expected state.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Longest wait for a state that should be reached at once.
const TIMEOUT: Duration = Duration::from_secs(30);
/// One trial in this many has a running worker; such a trial takes about a second.
const TRIALS_PER_WORKER: usize = 8;

/// Runs the trials with clock jumps.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let failures = |trial: &dyn Fn(u64, usize) -> Verdict, cases: Range<usize>| -> Vec<Finding> {
        let tried = cases.map(|case| {
            trial(seed, case).map_err(|found| {
                found.at(format_args!("case {case}, {}", JUMPS[case % JUMPS.len()].0))
            })
        });
        tried.filter_map(Result::err).collect()
    };
    let running = cases.start..cases.start + cases.len().div_ceil(TRIALS_PER_WORKER);
    vec![
        Row::new(
            "clock set",
            cases.len(),
            failures(&try_jumps, cases.clone()),
        ),
        Row::new(
            "clock set while jobs run",
            running.len(),
            failures(&try_jumps_with_worker, running),
        ),
    ]
}

/// Ids of the confirmation jobs whose first attempt was made. That attempt fails before the mail is
/// sent.
static TRIED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static HANDLERS: LazyLock<Handlers> = LazyLock::new(|| {
    let all = handlers::ALL.0.iter().map(|(kind, handler)| match *kind {
        CONFIRMATION => (CONFIRMATION, Handler::Outbound(send_at_second)),
        kind => (kind, *handler),
    });
    Handlers(Box::leak(all.collect()))
});

fn send_at_second(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
    if TRIED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(outbound_job.job_id.to_string())
    {
        return Err(JobError::transient("the mail server is unavailable"));
    }
    let Some(Handler::Outbound(send)) = handlers::ALL.find(CONFIRMATION) else {
        return Err(JobError::permanent("no handler for confirmations"));
    };
    send(outbound_job)
}

/// A shop whose clock jumps.
struct ClockedShop {
    dir: TempDir,
    runtime: Runtime,
    instance: Option<Instance>,
    now: Timestamp,
    seed: u64,
    secret: String,
    file: PathBuf,
    revoked: String,
    product: String,
    keys: usize,
    /// Invoice numbers in the order of issue.
    invoices: Vec<String>,
}

impl ClockedShop {
    fn open(seed: u64) -> Verdict<Self> {
        // An earlier trial may have had jobs with the same ids.
        TRIED.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let dir = scratch();
        DataDir::prepare(dir.path()).expect("the directory is prepared");
        fs::create_dir(dir.path().join("outbox")).expect("a directory");
        let mut shop = Self {
            runtime: instance::runtime(2),
            instance: Some(Instance::start(dir.path(), seed).map_err(|error| error.to_string())?),
            now: instance::start(),
            seed,
            secret: String::new(),
            file: PathBuf::new(),
            revoked: String::new(),
            product: String::new(),
            keys: 0,
            invoices: Vec::new(),
            dir,
        };
        let body = json!({"slug": "corner", "name": "corner", "no_tax": true});
        let made = shop.landlord(Method::POST, "/v1/landlord/tenants", body, 201)?;
        shop.secret = made.text("/api_key");
        shop.file = shop
            .dir
            .path()
            .join("tenants")
            .join(format!("{}.db", made.text("/id")));
        let body = json!({"name": "a key", "scopes": ["orders"]});
        let key = shop.landlord(
            Method::POST,
            "/v1/landlord/tenants/corner/api-keys",
            body,
            201,
        )?;
        shop.landlord(
            Method::DELETE,
            &format!("/v1/landlord/api-keys/{}", key.text("/id")),
            Value::Null,
            204,
        )?;
        shop.revoked = key.text("/api_key");
        let product = json!({"sku": "TEA", "name": "Tea", "price_minor": 450, "track_stock": true});
        shop.product = shop.post("/v1/catalog/products", product, 201)?.text("/id");
        let delivery =
            json!({"product_id": shop.product, "quantity_delta": 1_000, "reason": "delivery"});
        shop.post("/v1/inventory/adjustments", delivery, 201)?;
        Ok(shop)
    }

    fn instance(&self) -> &Instance {
        self.instance.as_ref().expect("the process runs")
    }

    fn send(&self, call: &Call) -> Reply {
        self.runtime.block_on(self.instance().send(call))
    }

    fn require(&self, call: &Call, status: u16) -> Verdict<Reply> {
        let reply = self.send(call);
        if reply.status == status {
            Ok(reply)
        } else {
            Err(format!(
                "{} {}: expected status {status}, got {reply:?}",
                call.method, call.path
            )
            .into())
        }
    }

    fn landlord(&self, method: Method, path: &str, body: Value, status: u16) -> Verdict<Reply> {
        let call = Call {
            method,
            path: path.to_owned(),
            secret: None,
            idempotency_key: None,
            body,
        };
        self.require(&call, status)
    }

    fn call(&mut self, path: &str, body: Value) -> Call {
        self.keys += 1;
        Call {
            method: Method::POST,
            path: path.to_owned(),
            secret: Some(self.secret.clone()),
            idempotency_key: Some(format!("till {}", self.keys)),
            body,
        }
    }

    fn post(&mut self, path: &str, body: Value, status: u16) -> Verdict<Reply> {
        let call = self.call(path, body);
        self.require(&call, status)
    }

    fn get(&self, path: &str) -> Verdict<Reply> {
        let call = Call {
            method: Method::GET,
            path: path.to_owned(),
            secret: Some(self.secret.clone()),
            idempotency_key: None,
            body: Value::Null,
        };
        self.require(&call, 200)
    }

    fn count(&self, sql: &str) -> Verdict<i64> {
        let count = || {
            let conn = Connection::open_with_flags(&self.file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            conn.query_row(sql, [], |row| row.get(0))
        };
        count().map_err(|error: rusqlite::Error| format!("{sql}: {error}").into())
    }

    fn require_count(&self, sql: &str, expected: i64) -> Verdict {
        let found = self.count(sql)?;
        let kind = if found > expected {
            Kind::Doubled
        } else {
            Kind::Lost
        };
        if found == expected {
            Ok(())
        } else {
            Err(Finding::new(
                kind,
                format!("{sql}: expected {expected}, found {found}"),
            ))
        }
    }

    fn place(&mut self) -> Verdict<(Call, Reply)> {
        let cart = self.post("/v1/carts", json!({}), 201)?.text("/id");
        let item = json!({"product_id": self.product, "quantity": 2});
        self.post(&format!("/v1/carts/{cart}/items"), item, 201)?;
        let body = json!({"cart_id": cart, "payment_method": "cash", "email": "bob@example.org"});
        let checkout = self.call("/v1/checkout", body);
        let placed = self.require(&checkout, 201)?;
        Ok((checkout, placed))
    }

    fn sale(&self, id: Option<&str>) -> Value {
        let mut sale = json!({"lines": [{"product_id": self.product, "quantity": 1}],
            "payments": [{"method": "cash", "amount_minor": 450}], "email": "ada@example.org"});
        if let Some(id) = id {
            sale["id"] = json!(id);
        }
        sale
    }

    fn jump(&mut self, by: i64, at_start: bool) -> Verdict {
        self.now = self.now.plus_millis(by);
        if at_start {
            self.instance.take().expect("the process runs").stop();
            self.seed = Rng::new(self.seed, 1).next();
            let instance = Instance::start_at(self.dir.path(), self.seed, self.now);
            self.instance =
                Some(instance.map_err(|error| format!("the process does not start: {error}"))?);
        } else {
            self.instance().clock.set(self.now);
        }
        Ok(())
    }

    /// Runs one pass of the worker and its sweep.
    fn pass(&self) -> Verdict {
        let instance = self.instance();
        worker::run_until_idle_with(&instance.app, *HANDLERS);
        for access in oracle::tenants(instance)? {
            let db = instance
                .app
                .stores
                .registry
                .open(&access)
                .map_err(|error| error.to_string())?;
            let ended = db
                .write(Origin::system(), inventory::expire_reservations)
                .wait();
            ended.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Runs the tasks that are due and the jobs that they enqueue.
///
/// No entry is old enough to be pruned, whatever the clock shows, so the first entries must stay.
/// While the clock is suspect, retention does not run at all.
fn run_tasks(shop: &ClockedShop) -> Verdict {
    const RUNS: &str = "SELECT count(*) FROM job WHERE kind = 'retention.prune'";
    let runs = shop.count(RUNS)?;
    let done = run_due(&shop.instance().app, TASKS);
    for (task, done) in done {
        done.map_err(|error| format!("{task}: {error}"))?;
    }
    shop.pass()?;
    for table in ["audit_log", "inventory_movement"] {
        shop.require_count(&format!("SELECT min(seq) FROM {table}"), 1)?;
    }
    match shop.instance().app.stores.clock_watch.observe() {
        Ok(None) => Ok(()),
        Ok(Some(_)) => shop.require_count(RUNS, runs),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Calls that were answered before a clock jump, with the answers that they must get after it.
struct KnownAnswers {
    sale: (Call, Reply),
    again: Vec<(Call, u16)>,
    sold_with_id: String,
}

fn make_known_calls(shop: &mut ClockedShop, rng: &mut Rng) -> Verdict<KnownAnswers> {
    let body = shop.sale(None);
    let sale = shop.call("/v1/sales", body);
    let sold = shop.require(&sale, 201)?;
    shop.invoices.push(sold.text("/invoice/number"));
    let id = format!(
        "{:08x}-0000-7000-8000-{:012x}",
        rng.below(1 << 32),
        rng.below(1 << 48)
    );
    let body = shop.sale(Some(&id));
    let own = shop.call("/v1/sales", body);
    let sold_with_id = shop.require(&own, 201)?;
    shop.invoices.push(sold_with_id.text("/invoice/number"));
    let (checkout, placed) = shop.place()?;
    let body = json!({"payment_id": placed.text("/payment/id")});
    let confirm = shop.call("/v1/checkout/confirm-payment", body);
    let paid = shop.require(&confirm, 200)?;
    shop.invoices.push(paid.text("/invoice/number"));
    let (_, placed) = shop.place()?;
    let cancel = shop.call(
        &format!("/v1/orders/{}/cancel", placed.text("/order/id")),
        Value::Null,
    );
    shop.require(&cancel, 200)?;
    // One order stays pending and holds its stock.
    shop.place()?;
    Ok(KnownAnswers {
        sale: (sale, sold),
        again: vec![(own, 201), (checkout, 409), (confirm, 409), (cancel, 409)],
        sold_with_id: sold_with_id.text("/order/id"),
    })
}

fn check_known_calls(shop: &mut ClockedShop, known: &KnownAnswers, by: i64) -> Verdict {
    if by < DAY_MS {
        // An idempotency key is valid for a day.
        let again = shop.send(&known.sale.0);
        if again != known.sale.1 {
            let text = format!(
                "a repeated sale was first answered {:?}, and now {again:?}",
                known.sale.1
            );
            return Err(Finding::new(Kind::Doubled, text));
        }
    }
    for (call, status) in &known.again {
        // A till that lost its keys sends the request under a new key. The request itself
        // identifies it.
        let again = Call {
            idempotency_key: call
                .idempotency_key
                .as_ref()
                .map(|key| format!("{key}, after {}", shop.now)),
            ..call.clone()
        };
        let reply = shop.require(&again, *status)?;
        if *status == 201 && reply.text("/order/id") != known.sold_with_id {
            return Err(Finding::new(
                Kind::Doubled,
                format!("a sale with a client id was recorded twice: {reply:?}"),
            ));
        }
    }
    let call = Call {
        method: Method::GET,
        secret: Some(shop.revoked.clone()),
        path: "/v1/orders".to_owned(),
        idempotency_key: None,
        body: Value::Null,
    };
    shop.require(&call, 401)?;
    check_order(shop)
}

/// Checks that the lists are sorted by the order of events, newest first, whatever the timestamps
/// say.
fn check_order(shop: &ClockedShop) -> Verdict {
    let numbers = |path: &str| -> Verdict<Vec<String>> {
        let page = shop.get(path)?;
        let rows = page.body["data"].as_array().into_iter().flatten();
        Ok(rows
            .map(|row| row["number"].as_str().unwrap_or_default().to_owned())
            .collect())
    };
    let orders = numbers("/v1/orders?limit=200")?;
    let expected: Vec<String> = (1..=orders.len())
        .rev()
        .map(|number| format!("ORD-{number:06}"))
        .collect();
    let mut issued = shop.invoices.clone();
    issued.reverse();
    for (found, expected) in [
        (orders, expected),
        (numbers("/v1/invoices?limit=200")?, issued),
    ] {
        if found != expected {
            return Err(
                format!("wrong order of a list: expected {expected:?}, found {found:?}").into(),
            );
        }
    }
    Ok(())
}

/// Runs one trial: one shop, one sequence of jumps, applied while the process runs or while it is
/// stopped.
fn try_jumps(seed: u64, case: usize) -> Verdict {
    let mut rng = Rng::new(seed, case as u64);
    let (_, jumps) = JUMPS[case % JUMPS.len()];
    let at_start = case / JUMPS.len() % 2 == 1;
    let mut shop = ClockedShop::open(rng.next())?;
    for by in jumps {
        let known = make_known_calls(&mut shop, &mut rng)?;
        // The due jobs run. The mails fail and wait for their next attempt.
        shop.pass()?;
        run_tasks(&shop)?;
        let (orders, revenue) = (
            "SELECT count(*) FROM sales_order",
            "SELECT sum(amount_minor) FROM ledger_transfer",
        );
        let counts = (shop.count(orders)?, shop.count(revenue)?);
        shop.jump(*by, at_start)?;
        shop.pass()?;
        run_tasks(&shop)?;
        shop.require_count("SELECT sum(reserved) FROM stock", 0)?;
        check_known_calls(&mut shop, &known, *by)?;
        shop.require_count(orders, counts.0)?;
        shop.require_count(revenue, counts.1)?;
    }
    if jumps.iter().any(|by| by.abs() > DAY_MS) {
        let waiting = "SELECT count(*) FROM job WHERE state = 'retryable' AND attempt > 1";
        shop.require_count(waiting, 0)?;
    }
    // No pause between attempts is longer than a day, wherever the clock went in the meantime.
    for _ in 0..2 {
        shop.jump(DAY_MS + HOUR_MS, false)?;
        shop.pass()?;
        run_tasks(&shop)?;
    }
    let known = make_known_calls(&mut shop, &mut rng)?;
    check_known_calls(&mut shop, &known, 0)?;
    for _ in 0..3 {
        shop.pass()?;
        shop.jump(HOUR_MS, false)?;
    }
    let verdict = oracle::jobs(shop.instance()).and_then(|()| oracle::books(shop.instance()));
    shop.instance.take().expect("the process runs").stop();
    verdict
}

/// Runs one trial with a running worker: a mail waits for its second attempt when the clock jumps.
/// The second attempt is made, and no third one.
fn try_jumps_with_worker(seed: u64, case: usize) -> Verdict {
    let mut rng = Rng::new(seed, case as u64);
    let (_, jumps) = JUMPS[case % JUMPS.len()];
    let mut shop = ClockedShop::open(rng.next())?;
    let app = shop.instance().app.clone();
    let worker = shop
        .runtime
        .block_on(async { Worker::start_with(app, *HANDLERS) });
    let verdict = run_with_worker(&mut shop, jumps);
    shop.runtime.block_on(worker.stop(TIMEOUT));
    let verdict = verdict
        .and_then(|()| oracle::jobs(shop.instance()))
        .and_then(|()| oracle::books(shop.instance()));
    shop.instance.take().expect("the process runs").stop();
    verdict
}

fn run_with_worker(shop: &mut ClockedShop, jumps: &[i64]) -> Verdict {
    for by in jumps {
        let body = shop.sale(None);
        let sold = shop.post("/v1/sales", body, 201)?;
        shop.invoices.push(sold.text("/invoice/number"));
        wait_for(
            shop,
            "SELECT count(*) FROM job WHERE state = 'retryable'",
            1,
            Duration::ZERO,
        )?;
        shop.jump(*by, false)?;
        if (-DAY_MS..0).contains(by) {
            // Too small a jump to distinguish the job's pause from a long one: the time passes
            // normally.
            shop.jump(-*by, false)?;
        }
        if by.abs() < DAY_MS {
            shop.jump(HOUR_MS, false)?;
        }
        wait_for(
            shop,
            "SELECT count(*) FROM job WHERE state IN ('available', 'running', 'retryable')",
            0,
            POLL_INTERVAL,
        )?;
        shop.now = shop.instance().clock.now();
        check_order(shop)?;
    }
    Ok(())
}

/// Waits until a query returns `expected`; each check advances the clock by `passes`. While a state
/// should be reached at once, the clock must still advance: a batch that the machine was too busy
/// for is tried again in two seconds, which a stopped clock never reaches.
fn wait_for(shop: &ClockedShop, sql: &str, expected: i64, passes: Duration) -> Verdict {
    let poll_until = async {
        let mut polls = tokio::time::interval(POLL_INTERVAL);
        loop {
            polls.tick().await;
            shop.instance().clock.advance(passes);
            if shop.count(sql)? == expected {
                return Ok(());
            }
        }
    };
    shop.runtime
        .block_on(async { tokio::time::timeout(TIMEOUT, poll_until).await })
        .unwrap_or_else(|_| {
            Err(format!("{sql} does not reach {expected} while the worker runs").into())
        })
}
