//! The first sweep over all shops: none waits for another's file, and idle files are closed again.

use std::time::Duration;

use rusqlite::Connection;
use tillbox::platform::queue::{self, NewJob, Queue};
use tillbox::worker::handlers::{self, Handler, Handlers, OutboundJob};
use tillbox::worker::{JobError, Worker};

use super::{doing, enqueue, jobs, run, until};
use crate::support::{TestApp, TestShop, logs};

const CALL: &str = "test.call";

fn at_once(_: &OutboundJob<'_>) -> Result<(), JobError> {
    Ok(())
}

const HANDLERS: Handlers = Handlers(&[(CALL, Handler::Outbound(at_once))]);

/// The lock stands for anything that makes a file open slowly. SQLite waits five seconds for it.
#[tokio::test(flavor = "multi_thread")]
async fn serves_others_while_one_file_opens_slowly() {
    let app = TestApp::start();
    let [first, slow, last] = ["first", "slow", "last"].map(|slug| app.tenant(slug));
    for shop in [&first, &slow, &last] {
        enqueue(shop, Queue::Default, CALL, doing("it"));
    }
    app.stop();
    let lock = Connection::open(slow.path()).expect("opens");
    lock.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
        .expect("locked");
    app.resume();
    let worker = Worker::start_with(app.app(), HANDLERS);
    let is_done = |shop: &TestShop| jobs(shop, CALL) == ["completed|1|0"];
    until("the others are served", || {
        is_done(&first) && is_done(&last)
    })
    .await;
    lock.execute_batch("COMMIT").expect("unlocked");
    drop(lock);
    until("the slow one is", || is_done(&slow)).await;
    worker.stop(Duration::from_secs(30)).await;
    let unavailable = logs()
        .of_tenant(&slow.id.to_string())
        .saying("tenant unavailable");
    assert_eq!(
        unavailable.lines().len(),
        0,
        "it was waited for: {unavailable:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closes_idle_file_after_sweep_and_runs_its_job_on_time() {
    let app = TestApp::start();
    let (resting, delayed, busy) = (
        app.tenant("resting"),
        app.tenant("delayed"),
        app.tenant("busy"),
    );
    // Jobs that the creation of a shop enqueues.
    run(&app, handlers::ALL);
    let hour = Duration::from_secs(3_600);
    let due = app.now().plus_millis(3_600_000);
    let later = NewJob {
        run_at: Some(due),
        ..NewJob::new(Queue::Default, CALL, &doing("it"))
    };
    delayed
        .write(move |work| queue::enqueue(work, &later))
        .expect("the job is written");
    enqueue(&busy, Queue::Default, CALL, doing("it"));
    app.restart();
    let worker = Worker::start_with(app.app(), HANDLERS);
    until("the busy one has run its job", || {
        jobs(&busy, CALL) == ["completed|1|0"]
    })
    .await;
    until("the delayed one is known", || {
        app.app().observation.liveness.oldest_due() == Some(due)
    })
    .await;
    until("only the busy one is open", || {
        app.app().stores.registry.list_open() == [busy.id]
    })
    .await;
    assert_eq!(jobs(&delayed, CALL), ["scheduled|0|0"]);
    app.advance(hour);
    until("the delayed one is opened for its job", || {
        jobs(&delayed, CALL) == ["completed|1|0"]
    })
    .await;
    let open = app.app().stores.registry.list_open();
    assert!(!open.contains(&resting.id), "{open:?}");
    worker.stop(Duration::from_secs(30)).await;
}
