//! A paused queue: no job of it begins, from the answer to the pause to the resumption, whatever is restarted in between.

use std::time::Duration;

use tillbox::platform::queue::Queue;
use tillbox::primitives::Origin;
use tillbox::worker::handlers::{Errand, Handler, Handlers};
use tillbox::worker::{JobError, Worker};
use tokio::sync::Semaphore;

use super::{doing, enqueue, jobs};
use crate::support::{TestApp, TestShop};

/// The longest that a test waits for what it expects to happen at once.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSED: &str = "test.paused";
const OPEN: &str = "test.open";

static CAME: Semaphore = Semaphore::const_new(0);

fn call(_: &Errand<'_>) -> Result<(), JobError> {
    CAME.add_permits(1);
    Ok(())
}

const HANDLERS: Handlers = Handlers(&[(PAUSED, Handler::Outward(call)), (OPEN, Handler::Outward(call))]);

/// Waits until one more call has come.
async fn visited() {
    let came = tokio::time::timeout(PATIENCE, CAME.acquire()).await;
    came.expect("a call comes").expect("it is never closed").forget();
}

/// Jobs of an open queue are run one after the other, behind one of a paused queue: whoever gives turns has seen that one several times by then.
async fn pass_by(shop: &TestShop) {
    for _ in 0..5 {
        enqueue(shop, Queue::Default, OPEN, doing("it"));
        visited().await;
    }
    assert_eq!(jobs(shop, PAUSED), ["available|0|0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_begins_nothing_until_it_is_resumed() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let worker = Worker::start_with(app.app(), HANDLERS);
    enqueue(&shop, Queue::Default, OPEN, doing("it"));
    visited().await;
    app.app().pauses.pause(Origin::system(), Queue::Low, None).await.unwrap();
    enqueue(&shop, Queue::Low, PAUSED, doing("it"));
    pass_by(&shop).await;
    // What waits because somebody said so is not late.
    app.advance(Duration::from_secs(3600));
    pass_by(&shop).await;
    worker.stop(PATIENCE).await;
    assert_eq!(jobs(&shop, PAUSED), ["available|0|0"]);

    app.restart();
    let worker = Worker::start_with(app.app(), HANDLERS);
    pass_by(&shop).await;
    let process = app.app();
    let beaten = async {
        while process.pulse.queue(process.clock.now()).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, beaten).await.expect("the queue is well");
    drop(process);
    app.app().pauses.resume(Origin::system(), Queue::Low, None).await.unwrap();
    visited().await;
    worker.stop(PATIENCE).await;
    assert_eq!(jobs(&shop, PAUSED), ["completed|1|0"]);
}
