//! Fairness: a backlog of one shop does not delay the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use serde_json::json;
use tillbox::platform::queue::{self, NewJob, Queue};
use tillbox::primitives::Origin;
use tillbox::primitives::id::JobId;
use tillbox::primitives::limits::CLAIM_MAX;
use tillbox::storage::{StorageError, TenantWork};
use tillbox::tenant::jobs as operator;
use tillbox::worker::handlers::{Handler, Handlers, OutboundJob};
use tillbox::worker::{JobError, Worker};
use tokio::sync::Semaphore;

use super::{completed, doing, enqueue, jobs, run};
use crate::support::{TestApp, TestShop};

const PATIENCE: Duration = Duration::from_secs(30);
const CALL: &str = "test.call";
const STEP: &str = "test.step";
const MANY: usize = 100_000;

/// A door that admits a number of callers, and records their names.
struct Door {
    came: Semaphore,
    names: Mutex<Vec<String>>,
    admitted: Mutex<usize>,
    opened: Condvar,
}

impl Door {
    const fn shut() -> Self {
        Self {
            came: Semaphore::const_new(0),
            names: Mutex::new(Vec::new()),
            admitted: Mutex::new(0),
            opened: Condvar::new(),
        }
    }

    fn pass(&self, name: &str) {
        self.names
            .lock()
            .expect("nobody panics")
            .push(name.to_owned());
        self.came.add_permits(1);
        let admitted = self.admitted.lock().expect("nobody panics");
        *self
            .opened
            .wait_while(admitted, |admitted| *admitted == 0)
            .expect("nobody panics") -= 1;
    }

    fn admit(&self, more: usize) {
        *self.admitted.lock().expect("nobody panics") += more;
        self.opened.notify_all();
    }

    /// Waits for one more caller, and returns the names of all.
    async fn visited(&self) -> Vec<String> {
        let came = tokio::time::timeout(PATIENCE, self.came.acquire()).await;
        came.expect("a caller comes")
            .expect("it is never closed")
            .forget();
        self.names.lock().expect("nobody panics").clone()
    }
}

fn name(payload: &str) -> String {
    let payload: serde_json::Value = serde_json::from_str(payload).expect("JSON");
    payload["what"].as_str().expect("a name").to_owned()
}

/// Inserts `MANY` jobs at once. The first has another payload.
fn heap(shop: &TestShop, queue: &str, kind: &str, first: &str, rest: &str) {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {})
         INSERT INTO job (id, queue, kind, payload, priority, state, attempt, rescues, \
         scheduled_at, errors)
         SELECT randomblob(16), '{queue}', '{kind}', json_object('what', iif(i = 0, '{first}', \
         '{rest}')), 0, 'available', 0, 0, 0, '[]' FROM n;",
        MANY - 1
    );
    shop.raw(&sql).expect("a heap");
}

/// One shop has 100,000 jobs, another gets one. Among outbound jobs, the other's waits for the one
/// that runs. Among local jobs, it waits for the rest of the batch under way.
#[tokio::test(flavor = "multi_thread")]
async fn serves_quiet_tenant_beside_noisy_neighbour() {
    static CALLS: Door = Door::shut();
    static STEPS: Door = Door::shut();
    static STEPS_RUN: AtomicUsize = AtomicUsize::new(0);
    static STEPS_BEFORE: AtomicUsize = AtomicUsize::new(usize::MAX);
    fn call(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
        CALLS.pass(&name(outbound_job.payload));
        Ok(())
    }
    fn step(_: &mut TenantWork<'_>, payload: &str) -> Result<(), JobError> {
        match name(payload).as_str() {
            "first" => STEPS.pass("busy"),
            "quiet" => {
                STEPS_BEFORE.store(STEPS_RUN.load(Ordering::SeqCst), Ordering::SeqCst);
                STEPS.pass("quiet");
            }
            _ => {}
        }
        STEPS_RUN.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    const HANDLERS: Handlers = Handlers(&[
        (CALL, Handler::Outbound(call)),
        (STEP, Handler::Local(step)),
    ]);

    let app = TestApp::with(false, |config| {
        config.queue.default.workers = 1;
        config.queue.low.workers = 1;
    });
    let (busy, quiet) = (app.tenant("busy"), app.tenant("quiet"));
    heap(&busy, "default", CALL, "busy", "busy");
    heap(&busy, "low", STEP, "first", "busy");
    let worker = Worker::start_with(app.app(), HANDLERS);

    // The local job first: while its batch waits at the door, its shop's file starts no other
    // batch.
    assert_eq!(STEPS.visited().await, ["busy"]);
    enqueue(&quiet, Queue::Low, STEP, doing("quiet"));
    STEPS.admit(1);
    assert_eq!(STEPS.visited().await, ["busy", "quiet"]);
    let before = STEPS_BEFORE.load(Ordering::SeqCst);
    assert!(
        (1..=CLAIM_MAX as usize).contains(&before),
        "{before} jobs of the other came first"
    );
    STEPS.admit(usize::MAX / 2);

    assert_eq!(CALLS.visited().await, ["busy"]);
    enqueue(&quiet, Queue::Default, CALL, doing("quiet"));
    CALLS.admit(1);
    assert_eq!(CALLS.visited().await, ["busy", "quiet"]);
    CALLS.admit(1);
    assert_eq!(CALLS.visited().await, ["busy", "quiet", "busy"]);
    worker.stop(Duration::ZERO).await;
    CALLS.admit(1);
    assert_eq!(jobs(&quiet, CALL), ["completed|1|0"]);
    let left =
        busy.count("SELECT count(*) FROM job WHERE kind = 'test.call' AND state = 'available'");
    assert_eq!(left, MANY as i64 - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_concurrent_jobs_per_tenant() {
    static CALLS: Door = Door::shut();
    fn call(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
        CALLS.pass(&name(outbound_job.payload));
        Ok(())
    }
    const HANDLERS: Handlers = Handlers(&[(CALL, Handler::Outbound(call))]);
    let app = TestApp::with(false, |config| {
        config.queue.default.workers = 3;
        config.queue.default.tenant_limit = 2;
    });
    let (busy, quiet) = (app.tenant("busy"), app.tenant("quiet"));
    for _ in 0..5 {
        enqueue(&busy, Queue::Default, CALL, doing("busy"));
    }
    let worker = Worker::start_with(app.app(), HANDLERS);
    CALLS.visited().await;
    CALLS.visited().await;
    enqueue(&quiet, Queue::Default, CALL, doing("quiet"));
    assert_eq!(
        CALLS.visited().await,
        ["busy", "busy", "quiet"],
        "the third slot was free for it"
    );
    assert_eq!(
        busy.count("SELECT count(*) FROM job WHERE state = 'running'"),
        2
    );
    CALLS.admit(6);
    for _ in 0..3 {
        CALLS.visited().await;
    }
    worker.stop(PATIENCE).await;
    assert_eq!(jobs(&busy, CALL), ["completed|1|0"; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_other_tenants_when_queue_is_paused_for_one() {
    static CALLS: Door = Door::shut();
    fn call(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
        CALLS.pass(&name(outbound_job.payload));
        Ok(())
    }
    const HANDLERS: Handlers = Handlers(&[(CALL, Handler::Outbound(call))]);
    CALLS.admit(100);
    let app = TestApp::start();
    let (still, other) = (app.tenant("still"), app.tenant("other"));
    let paused = app
        .app()
        .stores
        .pauses
        .pause(Origin::system(), Queue::Default, Some(still.id))
        .await;
    assert_eq!(paused.unwrap(), app.now());
    app.restart();
    let worker = Worker::start_with(app.app(), HANDLERS);
    enqueue(&still, Queue::Default, CALL, doing("still"));
    for _ in 0..5 {
        enqueue(&other, Queue::Default, CALL, doing("other"));
        assert!(!CALLS.visited().await.contains(&"still".to_owned()));
    }
    enqueue(&still, Queue::Low, CALL, doing("low"));
    assert_eq!(
        CALLS.visited().await.pop().as_deref(),
        Some("low"),
        "its other queues are open"
    );
    // A job that waits because of a pause is not late.
    app.advance(Duration::from_secs(3600));
    let process = app.app();
    let beaten = async {
        let (liveness, clock) = (&process.observation.liveness, process.ports.clock.as_ref());
        while liveness.queue(clock).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, beaten)
        .await
        .expect("the queue is well");
    drop(process);
    assert_eq!(jobs(&still, CALL), ["available|0|0", "completed|1|0"]);
    app.app()
        .stores
        .pauses
        .resume(Origin::system(), Queue::Default, None)
        .await
        .unwrap();
    assert!(
        app.app()
            .stores
            .pauses
            .is_paused_for(Queue::Default, still.id),
        "that was the pause of all shops"
    );
    app.app()
        .stores
        .pauses
        .resume(Origin::system(), Queue::Default, Some(still.id))
        .await
        .unwrap();
    assert_eq!(CALLS.visited().await.pop().as_deref(), Some("still"));
    worker.stop(PATIENCE).await;
    assert_eq!(jobs(&still, CALL), ["completed|1|0"; 2]);
}

static ORDER: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn runs_lowest_priority_value_first() {
    fn step(_: &mut TenantWork<'_>, payload: &str) -> Result<(), JobError> {
        ORDER.lock().expect("nobody panics").push(name(payload));
        Ok(())
    }
    const HANDLERS: Handlers = Handlers(&[(STEP, Handler::Local(step))]);
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let later = app.now().plus_millis(1_000);
    let push = move |work: &mut TenantWork<'_>| {
        for (what, priority, run_at) in [
            ("usual", 0, None),
            ("late", 5, None),
            ("usual too", 0, None),
            ("soon", -5, None),
            ("soon, and later", -5, Some(later)),
        ] {
            let new = NewJob {
                priority,
                run_at,
                ..NewJob::new(Queue::Low, STEP, &json!({"what": what}))
            };
            queue::enqueue(work, &new)?;
        }
        Ok::<_, StorageError>(())
    };
    shop.write(push).unwrap();
    app.advance(Duration::from_secs(2));
    assert_eq!(run(&app, HANDLERS), completed(5));
    let order = ORDER.lock().expect("nobody panics").clone();
    assert_eq!(
        order,
        ["soon", "soon, and later", "usual", "usual too", "late"]
    );
}

/// Jobs are cancelled while the worker claims them: each is either run or cancelled, and never
/// both.
#[tokio::test(flavor = "multi_thread")]
async fn never_runs_cancelled_job() {
    static RAN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    fn call(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
        RAN.lock()
            .expect("nobody panics")
            .push(outbound_job.job_id.to_string().replace('-', ""));
        Ok(())
    }
    const HANDLERS: Handlers = Handlers(&[(CALL, Handler::Outbound(call))]);
    const JOBS: usize = 200;
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let push = |work: &mut TenantWork<'_>| {
        (0..JOBS).try_for_each(|_| {
            queue::enqueue(work, &NewJob::new(Queue::Default, CALL, &json!({}))).map(drop)
        })
    };
    shop.write(push).unwrap();
    let mut ids = shop.rows(&format!(
        "SELECT lower(hex(id)) FROM job WHERE kind = '{CALL}' ORDER BY seq"
    ));
    let db = shop.db();
    let worker = Worker::start_with(app.app(), HANDLERS);
    // From the end, towards the worker, which claims from the beginning.
    ids.reverse();
    let (mut cancelled, mut refused) = (Vec::new(), 0);
    for id in ids {
        let job = JobId::from_bytes(u128::from_str_radix(&id, 16).expect("an id").to_be_bytes());
        match db
            .write(Origin::operator(), move |work| {
                operator::remove_job(work, job)
            })
            .await
        {
            Ok(operator::Removed::Cancelled) => cancelled.push(id),
            Ok(other) => panic!("{other:?}"),
            Err(operator::JobRefused::Running | operator::JobRefused::Completed) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let done = async {
        while shop.count(&format!(
            "SELECT count(*) FROM job WHERE kind = '{CALL}' AND state IN ('available', 'running')"
        )) > 0
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("all end");
    worker.stop(PATIENCE).await;
    drop(db);
    let ran = RAN.lock().expect("nobody panics").clone();
    assert_eq!((ran.len(), ran.len() + cancelled.len()), (refused, JOBS));
    assert!(
        !ran.iter().any(|id| cancelled.contains(id)),
        "one that was cancelled was run"
    );
    assert!(!cancelled.is_empty());
}
