//! A process that ends in the middle of a job, orderly or not.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use tillbox::platform::queue::Queue;
use tillbox::primitives::limits::RESCUES_MAX;
use tillbox::worker::handlers::{Handler, Handlers, OutboundJob};
use tillbox::worker::{JobError, Worker};
use tokio::sync::Semaphore;

use super::{completed, doing, enqueue, jobs, run};
use crate::support::{TestApp, logs};

const PATIENCE: Duration = Duration::from_secs(30);
const CALL: &str = "test.call";

static CAME: Semaphore = Semaphore::const_new(0);
static MAY_GO: Mutex<usize> = Mutex::new(0);
static GO: Condvar = Condvar::new();

fn stand(_: &OutboundJob<'_>) -> Result<(), JobError> {
    CAME.add_permits(1);
    let may_go = MAY_GO.lock().expect("nobody panics");
    *GO.wait_while(may_go, |may_go| *may_go == 0)
        .expect("nobody panics") -= 1;
    Ok(())
}

fn at_once(_: &OutboundJob<'_>) -> Result<(), JobError> {
    Ok(())
}

const STANDING: Handlers = Handlers(&[(CALL, Handler::Outbound(stand))]);
const QUICK: Handlers = Handlers(&[(CALL, Handler::Outbound(at_once))]);

/// Thirty restarts in the middle of a job count no attempt: the job is given back each time, and is
/// not poison. Crashes count none either, but they count as rescues. A job that was rescued too
/// often is taken for their cause.
#[tokio::test(flavor = "multi_thread")]
async fn counts_no_attempt_for_restart_or_rescue() {
    let app = TestApp::with(false, |config| config.queue.default.tries = 1);
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Default, CALL, doing("it"));
    for restart in 1..=30 {
        let worker = Worker::start_with(app.app(), STANDING);
        let came = tokio::time::timeout(PATIENCE, CAME.acquire()).await;
        came.expect("the job is carried out")
            .expect("it is never closed")
            .forget();
        assert_eq!(jobs(&shop, CALL), ["running|1|0"], "restart {restart}");
        worker.stop(Duration::ZERO).await;
        *MAY_GO.lock().expect("nobody panics") += 1;
        GO.notify_all();
        app.restart();
        assert_eq!(jobs(&shop, CALL), ["available|0|0"], "restart {restart}");
    }
    assert_eq!(run(&app, QUICK), completed(1));
    assert_eq!(jobs(&shop, CALL), ["completed|1|0"]);

    // The state that a process leaves when it dies in the middle of a call.
    enqueue(&shop, Queue::Default, CALL, doing("it"));
    let die = || {
        app.stop();
        shop.raw(
            "UPDATE job SET state = 'running', attempt = attempt + 1 WHERE state = \
            'available' AND kind = 'test.call'",
        )
        .expect("marked");
        app.resume();
        // The first use opens the file, and the orphans are rescued.
        drop(shop.db());
    };
    for crash in 1..=RESCUES_MAX {
        die();
        assert_eq!(jobs(&shop, CALL)[1], format!("available|0|{crash}"));
    }
    die();
    assert_eq!(
        jobs(&shop, CALL)[1],
        format!("discarded|1|{}", RESCUES_MAX + 1)
    );
    let failed = logs().of_tenant(&shop.id.to_string()).saying("job failed");
    assert_eq!(failed.lines().len(), 1, "{failed:?}");
    assert_eq!(run(&app, QUICK).total(), 0);
}
