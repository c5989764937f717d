//! Deletion of ended jobs: completed ones after an hour, discarded ones after a week, in small
//! batches, and never in an idle shop.

use std::time::Duration;

use tillbox::config::Config;
use tillbox::platform::queue::Queue;
use tillbox::primitives::Origin;
use tillbox::storage::TenantWork;
use tillbox::worker::handlers::{Handler, Handlers};
use tillbox::worker::{JobError, Worker};

use super::{completed, doing, enqueue, jobs, run};
use crate::support::jobs::insert;
use crate::support::{TestApp, TestShop, blocking};

const KIND: &str = "test.trim";
const OLD: &str = "kind.of_old";
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn step(_: &mut TenantWork<'_>, payload: &str) -> Result<(), JobError> {
    if payload.contains("fail") {
        Err(JobError::permanent("never"))
    } else {
        Ok(())
    }
}

const HANDLERS: Handlers = Handlers(&[(KIND, Handler::Local(step))]);

/// A process that has checked its clock, as the scheduler's first step does: before that nothing is
/// deleted.
fn trusted() -> TestApp {
    trusted_with(|_| {})
}

fn trusted_with(settings: impl FnOnce(&mut Config)) -> TestApp {
    let app = TestApp::with(false, settings);
    let running = app.app();
    blocking(|| running.stores.clock_watch.observe()).expect("the clock is checked");
    app
}

fn states(shop: &TestShop) -> Vec<String> {
    jobs(shop, KIND)
        .iter()
        .map(|job| job.split('|').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn deletes_completed_jobs_after_an_hour_and_discarded_after_a_week() {
    let app = trusted();
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Low, KIND, doing("it"));
    enqueue(&shop, Queue::Low, KIND, doing("fail"));
    run(&app, HANDLERS);
    shop.raw(&insert(1, "low", OLD, "scheduled")).unwrap();
    app.advance(HOUR);
    run(&app, HANDLERS);
    assert_eq!(states(&shop), ["completed", "discarded"], "not early");
    app.advance(Duration::from_millis(1));
    run(&app, HANDLERS);
    assert_eq!(states(&shop), ["discarded"]);
    app.advance(DAY * 7 - HOUR - Duration::from_millis(1));
    run(&app, HANDLERS);
    assert_eq!(
        states(&shop),
        ["discarded"],
        "the operator has a week to decide"
    );
    app.advance(Duration::from_millis(1));
    run(&app, HANDLERS);
    assert_eq!(states(&shop), [""; 0]);
    assert_eq!(
        jobs(&shop, OLD),
        ["scheduled|2|1"],
        "jobs that have not ended stay"
    );
    shop.assert_integrity();
}

#[test]
fn reads_retention_times_from_settings() {
    let app = trusted_with(|config| {
        config.queue.keep_completed = "2d".parse().unwrap();
        config.queue.keep_discarded = "1h".parse().unwrap();
    });
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Low, KIND, doing("it"));
    enqueue(&shop, Queue::Low, KIND, doing("fail"));
    run(&app, HANDLERS);
    app.advance(HOUR * 2);
    assert_eq!(run(&app, HANDLERS), completed(0));
    assert_eq!(states(&shop), ["completed"]);
}

/// Many ended jobs are deleted in many small transactions, each in a batch of its own, once the
/// shop has a job to run.
#[tokio::test(flavor = "multi_thread")]
async fn deletes_many_jobs_in_small_batches() {
    let app = trusted();
    let shop = app.tenant("corner");
    shop.raw(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
         INSERT INTO job (id, queue, kind, payload, priority, state, attempt, rescues, \
         scheduled_at, finalized_at, errors)
         SELECT randomblob(16), 'low', 'kind.of_old', '{}', 0, 'completed', 1, 0, 0, 1000, '[]' \
         FROM n;",
    )
    .unwrap();
    let db = shop.db();
    let worker = Worker::start_with(app.app(), HANDLERS);
    let requests = db.stats().requests();
    enqueue(&shop, Queue::Low, KIND, doing("it"));
    let gone = async {
        while shop.count("SELECT count(*) FROM job WHERE kind = 'kind.of_old'") > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone)
        .await
        .expect("all go");
    worker.stop(Duration::from_secs(30)).await;
    let batches = db.stats().requests() - requests;
    assert!(
        (8..=16).contains(&batches),
        "2,000 rows in {batches} transactions"
    );
    drop(db);
    assert_eq!(states(&shop), ["completed"]);
}

/// The clock is set forward and back again. Jobs that ended in a future that did not come are kept
/// until then, and nothing fails.
#[test]
fn deletes_nothing_early_when_clock_is_wrong() {
    let app = trusted();
    let shop = app.tenant("corner");
    let now = app.now();
    app.advance(DAY * 365);
    enqueue(&shop, Queue::Low, KIND, doing("fail"));
    run(&app, HANDLERS);
    app.clock().set(now);
    enqueue(&shop, Queue::Low, KIND, doing("it"));
    assert_eq!(run(&app, HANDLERS), completed(1));
    app.clock().set(now.plus_millis(-3_600_000));
    enqueue(&shop, Queue::Low, KIND, doing("it"));
    assert_eq!(
        run(&app, HANDLERS),
        completed(1),
        "an hour back, and it is run all the same"
    );
    assert_eq!(states(&shop), ["discarded", "completed", "completed"]);
}

/// Neither a clock that was set ahead nor one that has not been checked makes anything old.
#[test]
fn deletes_nothing_while_clock_is_suspect() {
    let app = trusted();
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Low, KIND, doing("fail"));
    run(&app, HANDLERS);
    app.clock().set(app.now().plus(400 * DAY));
    let next = |app: &TestApp| {
        enqueue(&shop, Queue::Low, KIND, doing("it"));
        run(app, HANDLERS);
        states(&shop)
    };
    assert_eq!(next(&app), ["discarded", "completed"]);
    app.restart();
    app.advance(DAY);
    assert_eq!(next(&app), ["discarded", "completed", "completed"]);
    let running = app.app();
    blocking(|| running.stores.clock_watch.confirm(Origin::system()))
        .expect("the operator confirms the clock");
    drop(running);
    assert_eq!(
        next(&app),
        ["completed", "completed"],
        "those of the last hour"
    );
}
