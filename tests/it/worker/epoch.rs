//! Jobs of a restored file are held until the operator releases them, and jobs of an unknown kind
//! until a program knows it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tillbox::platform::epoch;
use tillbox::platform::queue::{self, NewJob, Queue};
use tillbox::primitives::id::JobId;
use tillbox::primitives::{Origin, Timestamp};
use tillbox::storage::{StorageError, TenantWork};
use tillbox::tenant::jobs as operator;
use tillbox::worker::handlers::{Handler, Handlers};
use tillbox::worker::{JobError, Worker};

use super::{completed, doing, enqueue, jobs, run};
use crate::support::{TestApp, TestShop, blocking, logs};

const KIND: &str = "test.epoch";

fn nothing(_: &mut TenantWork<'_>, _: &str) -> Result<(), JobError> {
    Ok(())
}

const HANDLERS: Handlers = Handlers(&[(KIND, Handler::Local(nothing))]);
const NONE: Handlers = Handlers(&[]);

fn raise(shop: &TestShop) -> i64 {
    shop.write(|work| epoch::raise(work, "a test put it back"))
        .expect("it rises")
}

fn keyed(shop: &TestShop, run_at: Option<Timestamp>) -> bool {
    let new = NewJob {
        run_at,
        unique_key: Some("only one".to_owned()),
        ..NewJob::new(Queue::Low, KIND, &json!({}))
    };
    shop.write(move |work| queue::enqueue(work, &new))
        .expect("written")
}

fn next_due(shop: &TestShop) -> Option<Timestamp> {
    let db = shop.db();
    let next = blocking(|| db.read(|view| queue::next_due(view, Queue::Low)).wait());
    next.unwrap_or_else(|error: StorageError| panic!("{error}"))
}

#[test]
fn holds_jobs_of_older_epoch_until_released() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Low, KIND, doing("before"));
    let later = NewJob {
        run_at: Some(app.now().plus_millis(1_000)),
        ..NewJob::new(Queue::Low, KIND, &doing("later"))
    };
    shop.write(move |work| queue::enqueue(work, &later))
        .unwrap();
    assert_eq!(raise(&shop), 2);
    app.advance(Duration::from_secs(60));
    assert_eq!(
        next_due(&shop),
        None,
        "a held job sets no wakeup and is never late"
    );
    enqueue(&shop, Queue::Low, KIND, doing("after"));
    assert_eq!(run(&app, HANDLERS), completed(1));
    assert_eq!(
        jobs(&shop, KIND),
        ["available|0|0", "scheduled|0|0", "completed|1|0"]
    );
    app.restart();
    assert_eq!(
        run(&app, HANDLERS),
        completed(0),
        "a restart releases nothing"
    );

    let released = shop.write(operator::release_jobs).unwrap();
    assert_eq!(
        (released.released, released.superseded, released.has_more),
        (2, 0, false)
    );
    assert_eq!(run(&app, HANDLERS).completed, 2);
    let trail = shop.rows(
        "SELECT payload ->> '$.details.jobs' FROM job WHERE payload ->> \
        '$.action' = 'jobs.released'",
    );
    assert_eq!(trail, ["2"]);
}

/// The process died in the middle of a job, and the file was then restored: the job is rescued, and
/// held.
#[test]
fn rescues_and_holds_orphan_of_older_epoch() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Low, KIND, doing("before"));
    app.stop();
    shop.raw("UPDATE job SET state = 'running', attempt = 1; UPDATE epoch SET number = 2")
        .unwrap();
    app.resume();
    assert_eq!(run(&app, HANDLERS), completed(0));
    assert_eq!(jobs(&shop, KIND), ["available|0|1"]);
}

#[test]
fn releases_many_jobs_in_batches() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let push = |work: &mut TenantWork<'_>| {
        for number in 0..450 {
            queue::enqueue(
                work,
                &NewJob::new(Queue::Low, KIND, &json!({"number": number})),
            )?;
        }
        Ok::<_, StorageError>(())
    };
    shop.write(push).unwrap();
    raise(&shop);
    let batches: Vec<u32> = (0..3)
        .map(|_| shop.write(operator::release_jobs).unwrap().released)
        .collect();
    assert_eq!(batches, [200, 200, 50]);
    assert_eq!(run(&app, HANDLERS).completed, 450);
}

#[test]
fn supersedes_held_job_by_new_job_with_same_key() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let later = Some(app.now().plus_millis(3_600_000));
    assert!(keyed(&shop, None));
    raise(&shop);
    assert!(keyed(&shop, later), "the one that is held may never run");
    assert!(!keyed(&shop, None));
    raise(&shop);
    assert!(keyed(&shop, later));
    let released = shop.write(operator::release_jobs).unwrap();
    assert_eq!((released.released, released.superseded), (0, 2));
    assert_eq!(
        jobs(&shop, KIND),
        ["cancelled|0|0", "cancelled|0|0", "scheduled|0|0"]
    );
}

#[test]
fn releases_held_job_on_retry_and_never_lowers_epoch() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for what in ["first", "second"] {
        enqueue(&shop, Queue::Low, KIND, doing(what));
    }
    raise(&shop);
    let first = shop
        .rows(&format!(
            "SELECT lower(hex(id)) FROM job WHERE kind = '{KIND}' ORDER BY seq"
        ))
        .remove(0);
    let id = JobId::from_bytes(
        u128::from_str_radix(&first, 16)
            .expect("an id")
            .to_be_bytes(),
    );
    let db = shop.db();
    let retry = || {
        blocking(|| {
            db.write(Origin::operator(), move |work| {
                operator::retry_job(work, id)
            })
            .wait()
        })
        .unwrap()
    };
    assert!(retry());
    assert!(!retry(), "it is released already");
    drop(db);
    assert_eq!(run(&app, HANDLERS).completed, 1);
    assert_eq!(jobs(&shop, KIND), ["completed|1|0", "available|0|0"]);
    app.stop();
    for sql in [
        "UPDATE epoch SET number = 1",
        "DELETE FROM epoch",
        "UPDATE job SET epoch = 0",
    ] {
        shop.raw(sql).unwrap_err();
    }
    app.resume();
}

#[test]
fn holds_and_reports_job_of_unknown_kind() {
    let app = TestApp::with(false, |config| config.queue.low.tries = 1);
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Low, KIND, json!({"precious": 1}));
    let tally = run(&app, NONE);
    assert_eq!((tally.held, tally.discarded, tally.retried), (1, 0, 0));
    for _ in 0..3 {
        app.advance(Duration::from_secs(30 * 86_400));
        assert_eq!(run(&app, NONE).total(), 0, "it is reported once");
    }
    let kept = shop.rows(&format!(
        "SELECT state, attempt, payload FROM job WHERE kind = '{KIND}'"
    ));
    assert_eq!(kept, [r#"available|0|{"precious":1}"#]);
    let held_lines = logs().of_tenant(&shop.id.to_string()).saying("job held");
    assert!(
        held_lines.lines().len() == 1 && held_lines.contain("no handler for this kind of job"),
        "{held_lines:?}"
    );
    let errors = shop.rows(&format!(
        "SELECT errors ->> '$[0].error' FROM job WHERE kind = '{KIND}'"
    ));
    assert!(errors[0].contains("no handler for this kind"), "{errors:?}");
}

static RAN: AtomicUsize = AtomicUsize::new(0);

#[tokio::test(flavor = "multi_thread")]
async fn runs_held_job_when_kind_becomes_known() {
    fn count(_: &mut TenantWork<'_>, _: &str) -> Result<(), JobError> {
        RAN.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    const KNOWN: Handlers = Handlers(&[(KIND, Handler::Local(count))]);
    let app = TestApp::start();
    let (shop, restored) = (app.tenant("corner"), app.tenant("restored"));
    for shop in [&shop, &restored] {
        enqueue(shop, Queue::Low, KIND, doing("it"));
    }
    assert_eq!(run(&app, NONE).held, 2);
    raise(&restored);
    let worker = Worker::start_with(app.app(), KNOWN);
    let ran = async {
        while jobs(&shop, KIND) != ["completed|1|0"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ran)
        .await
        .expect("it is run");
    worker.stop(Duration::from_secs(30)).await;
    assert_eq!(RAN.load(Ordering::SeqCst), 1);
    assert_eq!(
        jobs(&restored, KIND),
        ["available|0|0"],
        "its epoch counts again, and is an older one"
    );
}

/// Replacing the row would let jobs run that another copy of the file may have run.
#[test]
fn rejects_raw_sql_that_lowers_epoch() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for sql in [
        "INSERT OR REPLACE INTO epoch (singleton, number, reason) VALUES (1, 1, 'x')",
        "UPDATE epoch SET number = 1",
        "DELETE FROM epoch",
    ] {
        assert!(shop.raw(sql).is_err(), "{sql}");
    }
}
