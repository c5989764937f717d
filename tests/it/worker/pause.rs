//! A paused queue: none of its jobs starts between the answer to the pause and the resumption, over
//! restarts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use tillbox::platform::queue::Queue;
use tillbox::primitives::Origin;
use tillbox::storage::TenantWork;
use tillbox::worker::handlers::{Handler, Handlers, OutboundJob};
use tillbox::worker::{JobError, Worker};
use tokio::sync::Semaphore;

use super::{doing, enqueue, jobs, until};
use crate::support::{TestApp, TestShop};

/// The longest wait for an event that is expected at once.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSED: &str = "test.paused";
const OPEN: &str = "test.open";

static CAME: Semaphore = Semaphore::const_new(0);

fn call(_: &OutboundJob<'_>) -> Result<(), JobError> {
    CAME.add_permits(1);
    Ok(())
}

const HANDLERS: Handlers = Handlers(&[
    (PAUSED, Handler::Outbound(call)),
    (OPEN, Handler::Outbound(call)),
]);

/// Waits until one more call has started.
async fn visited() {
    let came = tokio::time::timeout(PATIENCE, CAME.acquire()).await;
    came.expect("a call comes")
        .expect("it is never closed")
        .forget();
}

/// Runs jobs of an open queue one after the other, behind one of a paused queue. By then the
/// dispatcher has seen the paused one several times.
async fn pass_by(shop: &TestShop) {
    for _ in 0..5 {
        enqueue(shop, Queue::Default, OPEN, doing("it"));
        visited().await;
    }
    assert_eq!(jobs(shop, PAUSED), ["available|0|0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_nothing_while_queue_is_paused() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let worker = Worker::start_with(app.app(), HANDLERS);
    enqueue(&shop, Queue::Default, OPEN, doing("it"));
    visited().await;
    app.app()
        .stores
        .pauses
        .pause(Origin::system(), Queue::Low, None)
        .await
        .unwrap();
    enqueue(&shop, Queue::Low, PAUSED, doing("it"));
    pass_by(&shop).await;
    // A job that waits because of a pause is not late.
    app.advance(Duration::from_secs(3600));
    pass_by(&shop).await;
    worker.stop(PATIENCE).await;
    assert_eq!(jobs(&shop, PAUSED), ["available|0|0"]);

    app.restart();
    let worker = Worker::start_with(app.app(), HANDLERS);
    pass_by(&shop).await;
    let process = app.app();
    let beaten = async {
        while process
            .observation
            .liveness
            .queue(process.ports.clock.as_ref())
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, beaten)
        .await
        .expect("the queue is well");
    drop(process);
    app.app()
        .stores
        .pauses
        .resume(Origin::system(), Queue::Low, None)
        .await
        .unwrap();
    visited().await;
    worker.stop(PATIENCE).await;
    assert_eq!(jobs(&shop, PAUSED), ["completed|1|0"]);
}

const RACED: &str = "test.raced";
const HOLD: &str = "test.hold";

static HELD: Semaphore = Semaphore::const_new(0);
static LET_GO: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// A local job: its batch does not end before it does.
fn hold(_: &mut TenantWork<'_>, _: &str) -> Result<(), JobError> {
    HELD.add_permits(1);
    let let_go = LET_GO.0.lock().expect("nobody panics");
    drop(LET_GO.1.wait_while(let_go, |let_go| !*let_go));
    Ok(())
}

fn raced(_: &OutboundJob<'_>) -> Result<(), JobError> {
    CALLS.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

/// The batch has checked that the queue is not paused and has claimed the call, but is not
/// committed. The pause is answered before the commit.
#[tokio::test(flavor = "multi_thread")]
async fn starts_no_call_claimed_before_pause() {
    const HANDLERS: Handlers = Handlers(&[
        (RACED, Handler::Outbound(raced)),
        (HOLD, Handler::Local(hold)),
    ]);
    let app = TestApp::start();
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Default, RACED, doing("it"));
    enqueue(&shop, Queue::Default, HOLD, doing("it"));
    let worker = Worker::start_with(app.app(), HANDLERS);
    let held = tokio::time::timeout(PATIENCE, HELD.acquire()).await;
    held.expect("the batch has started")
        .expect("it is never closed")
        .forget();
    app.app()
        .stores
        .pauses
        .pause(Origin::system(), Queue::Default, None)
        .await
        .unwrap();
    assert_eq!(
        app.app()
            .stores
            .pauses
            .count_under_way(Queue::Default, None),
        0
    );
    *LET_GO.0.lock().expect("nobody panics") = true;
    LET_GO.1.notify_all();
    until("the batch is committed", || {
        jobs(&shop, HOLD) == ["completed|1|0"]
    })
    .await;
    until("the call has ended or was given back", || {
        !jobs(&shop, RACED)[0].starts_with("running")
    })
    .await;
    assert_eq!(
        jobs(&shop, RACED),
        ["available|0|0"],
        "no attempt is counted"
    );
    assert_eq!(CALLS.load(Ordering::SeqCst), 0);
    app.app()
        .stores
        .pauses
        .resume(Origin::system(), Queue::Default, None)
        .await
        .unwrap();
    until("it is carried out", || {
        jobs(&shop, RACED) == ["completed|1|0"]
    })
    .await;
    worker.stop(PATIENCE).await;
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
}
