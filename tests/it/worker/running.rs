//! The worker as the daemon runs it: hints, sweeps, slots, and an orderly stop.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use tillbox::config::Span;
use tillbox::observe::liveness::QueueFault;
use tillbox::platform::queue::Queue;
use tillbox::storage::TenantWork;
use tillbox::worker::handlers::{self, Handler, Handlers, OutboundJob};
use tillbox::worker::{JobError, Worker};
use tokio::sync::Semaphore;

use super::{doing, enqueue, jobs, run, until};
use crate::support::{TestApp, logs};

/// The longest wait for an event that is expected at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for any job of a test to end.
const LONG: Duration = Duration::from_secs(30);
const CALL: &str = "test.call";

/// A gate that blocks calls until the test opens it, and counts them.
struct Gate {
    came: Semaphore,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    const fn shut() -> Self {
        Self {
            came: Semaphore::const_new(0),
            open: Mutex::new(false),
            opened: Condvar::new(),
        }
    }

    fn pass(&self) {
        self.came.add_permits(1);
        let open = self.open.lock().expect("nobody panics before the gate");
        drop(self.opened.wait_while(open, |open| !*open));
    }

    fn open(&self) {
        *self.open.lock().expect("nobody panics before the gate") = true;
        self.opened.notify_all();
    }

    /// Waits until one more call has arrived.
    async fn visited(&self) {
        let came = tokio::time::timeout(PATIENCE, self.came.acquire()).await;
        came.expect("a call comes")
            .expect("it is never closed")
            .forget();
    }
}

/// A handler that waits at a gate of its own.
macro_rules! gate {
    ($gate:ident, $handlers:ident) => {
        static $gate: Gate = Gate::shut();
        const $handlers: Handlers = {
            fn call(_: &OutboundJob<'_>) -> Result<(), JobError> {
                $gate.pass();
                Ok(())
            }
            Handlers(&[(CALL, Handler::Outbound(call))])
        };
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_job_on_hint_and_waits_for_it_on_stop() {
    gate!(GATE, HANDLERS);
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let worker = Worker::start_with(app.app(), HANDLERS);
    enqueue(&shop, Queue::Default, CALL, doing("it"));
    GATE.visited().await;
    assert_eq!(jobs(&shop, CALL), ["running|1|0"]);
    let stop = tokio::spawn(worker.stop(LONG));
    GATE.open();
    stop.await.unwrap();
    assert_eq!(jobs(&shop, CALL), ["completed|1|0"]);
}

/// The worker checks once a second and sweeps once a minute. A hundred jobs one after the other
/// would take longer than `PATIENCE` if it did not start at the hint.
#[tokio::test(flavor = "multi_thread")]
async fn starts_each_job_on_hint_without_sweep() {
    gate!(GATE, HANDLERS);
    GATE.open();
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let worker = Worker::start_with(app.app(), HANDLERS);
    let one_after_the_other = async {
        for _ in 0..100 {
            enqueue(&shop, Queue::Default, CALL, doing("it"));
            GATE.visited().await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, one_after_the_other).await;
    done.expect("each begins when it is queued");
    worker.stop(LONG).await;
    assert_eq!(jobs(&shop, CALL).len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn gives_unfinished_job_back_on_stop() {
    gate!(GATE, HANDLERS);
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let worker = Worker::start_with(app.app(), HANDLERS);
    enqueue(&shop, Queue::Default, CALL, doing("it"));
    GATE.visited().await;
    worker.stop(Duration::ZERO).await;
    assert_eq!(
        jobs(&shop, CALL),
        ["available|0|0"],
        "its attempt is not counted"
    );
    GATE.open();

    // The next worker finds it without any hint.
    let worker = Worker::start_with(app.app(), HANDLERS);
    GATE.visited().await;
    worker.stop(LONG).await;
    assert_eq!(jobs(&shop, CALL), ["completed|1|0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_as_many_calls_as_queue_has_workers() {
    gate!(GATE, HANDLERS);
    let app = TestApp::with(false, |config| config.queue.default.workers = 2);
    let (first, second) = (app.tenant("first"), app.tenant("second"));
    for _ in 0..3 {
        enqueue(&first, Queue::Default, CALL, doing("it"));
        enqueue(&second, Queue::Default, CALL, doing("it"));
    }
    let worker = Worker::start_with(app.app(), HANDLERS);
    GATE.visited().await;
    GATE.visited().await;
    let running = "SELECT count(*) FROM job WHERE state = 'running'";
    assert_eq!(first.count(running) + second.count(running), 2);
    GATE.open();
    for _ in 0..4 {
        GATE.visited().await;
    }
    worker.stop(LONG).await;
    assert_eq!(jobs(&first, CALL), ["completed|1|0"; 3]);
    assert_eq!(jobs(&second, CALL), ["completed|1|0"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_leftover_jobs_in_first_sweep_and_skips_broken_file() {
    gate!(GATE, HANDLERS);
    let app = TestApp::start();
    let (broken, whole) = (app.tenant("broken"), app.tenant("whole"));
    enqueue(&whole, Queue::Default, CALL, doing("it"));
    app.stop();
    std::fs::write(broken.path(), b"no database at all").unwrap();
    app.resume();
    GATE.open();
    let worker = Worker::start_with(app.app(), HANDLERS);
    GATE.visited().await;
    worker.stop(LONG).await;
    assert_eq!(jobs(&whole, CALL), ["completed|1|0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_timeout_as_failed_attempt() {
    gate!(GATE, HANDLERS);
    let app = TestApp::with(false, |config| {
        config.queue.default.timeout = Span::secs(1);
        config.queue.default.tries = 1;
    });
    let shop = app.tenant("corner");
    let worker = Worker::start_with(app.app(), HANDLERS);
    enqueue(&shop, Queue::Default, CALL, doing("it"));
    GATE.visited().await;
    until("the time-out is recorded", || {
        jobs(&shop, CALL) == ["discarded|1|0"]
    })
    .await;
    let process = app.app();
    let health = || {
        process
            .observation
            .liveness
            .queue(process.ports.clock.as_ref())
    };
    let found = (
        health(),
        process
            .stores
            .pauses
            .count_under_way(Queue::Default, Some(shop.id)),
    );
    // Whatever the result: a call blocked at the gate would keep the test from ending.
    GATE.open();
    assert_eq!(
        found,
        (Err(QueueFault::Hanging(1)), 1),
        "its thread and its slot are occupied until it ends"
    );
    until("it has ended after all", || health() == Ok(())).await;
    assert_eq!(
        process.stores.pauses.count_under_way(Queue::Default, None),
        0
    );
    drop(process);
    worker.stop(LONG).await;
    let errors = shop.rows("SELECT errors ->> '$[0].error' FROM job WHERE state = 'discarded'");
    assert_eq!(
        errors,
        ["timeout after 1s; it is unknown whether the call took effect"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_nothing_when_idle() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    shop.product("A-1", 100).await;
    run(&app, handlers::ALL);
    // Expired jobs would be deleted with its next batch, for which there is no cause.
    app.advance(Duration::from_secs(30 * 86_400));
    assert!(shop.count("SELECT count(*) FROM job WHERE state = 'completed'") > 0);
    let (writes, commits) = (db.stats().requests(), db.stats().commits());
    let reads = db.stats().statements();
    let worker = Worker::start(app.app());
    // The first sweep has visited the shop when it has read there.
    let swept = async {
        while db.stats().statements() == reads {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, swept)
        .await
        .expect("a sweep visits the shop");
    worker.stop(LONG).await;
    assert_eq!(
        (db.stats().requests(), db.stats().commits()),
        (writes, commits)
    );
}

/// A COMMIT whose sync failed may have been kept all the same. Then the job is marked as running,
/// and nobody runs it.
#[tokio::test(flavor = "multi_thread")]
async fn runs_job_claimed_by_failed_batch() {
    gate!(GATE, HANDLERS);
    GATE.open();
    let app = TestApp::start();
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Default, CALL, doing("it"));
    let lock = rusqlite::Connection::open(shop.path()).expect("opens");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let worker = Worker::start_with(app.app(), HANDLERS);
    let failed = async {
        let id = shop.id.to_string();
        while logs()
            .of_tenant(&id)
            .saying("jobs could not be run; retrying")
            .lines()
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, failed)
        .await
        .expect("the batch fails");
    lock.execute_batch(
        "UPDATE job SET state = 'running', attempt = attempt + 1 WHERE kind = 'test.call'; COMMIT",
    )
    .expect("as if it had been kept");
    app.advance(Duration::from_secs(3));
    GATE.visited().await;
    worker.stop(LONG).await;
    assert_eq!(
        jobs(&shop, CALL),
        ["completed|1|0"],
        "its attempt is counted once"
    );
}

/// A batch that was under way when the clock was set back returns with a time of the old clock, and
/// once waited for it until the next sweep.
#[tokio::test(flavor = "multi_thread")]
async fn retries_batch_at_new_time_when_clock_is_set_back_meanwhile() {
    static GATE: Gate = Gate::shut();
    const HANDLERS: Handlers = {
        fn call(_: &mut TenantWork<'_>, _: &str) -> Result<(), JobError> {
            let is_first = !*GATE.open.lock().expect("nobody panics before the gate");
            GATE.pass();
            if is_first {
                Err(JobError::transient("not yet"))
            } else {
                Ok(())
            }
        }
        Handlers(&[(CALL, Handler::Local(call))])
    };
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let worker = Worker::start_with(app.app(), HANDLERS);
    enqueue(&shop, Queue::Default, CALL, doing("it"));
    GATE.visited().await;
    let before = app.now().to_string();
    app.clock().set(app.now().plus_millis(-400 * 86_400_000));
    let now = app.now().to_string();
    let noticed = || {
        let lines = logs().saying("the clock was set back; due times are checked again");
        let lines =
            lines.only(|line| line["from"] == before.as_str() && line["to"] == now.as_str());
        !lines.lines().is_empty()
    };
    until("the step back is noticed", noticed).await;
    GATE.open();
    until("it is tried again", || {
        jobs(&shop, CALL) == ["completed|2|0"]
    })
    .await;
    worker.stop(LONG).await;
}
