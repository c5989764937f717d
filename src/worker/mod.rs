//! L6: runs the jobs of all shops. What a job is stands in `platform::queue`; here is when it runs
//! and what becomes of it.
//!
//! - `ready_queue` remembers which shop has something to do; `batch` is what is done in a shop's
//!   transaction; `handlers` are the kinds of job; `dispatch` is the loop around them,
//!   `outbound_job` an outbound call, `sweep` the search for work that no hint told of; `idle` the
//!   same steps without a loop.
//! - A job whose effects are in its shop's file is completed in the transaction of those effects:
//!   exactly once. An outbound one is marked as running, carried out with no transaction open, and
//!   finished in a second one: at least once, with a stable id.
//! - The table is the truth. All that is in memory here can be lost at any moment.

mod batch;
mod dispatch;
pub mod handlers;
mod idle;
mod job_error;
mod outbound_job;
pub mod ready_queue;
mod shared;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::app::App;
pub use batch::Tally;
use dispatch::Dispatcher;
pub use handlers::Handlers;
pub use idle::{run_until_idle, run_until_idle_with};
pub use job_error::JobError;

/// The worker of the process.
#[derive(Debug)]
pub enum Worker {}

/// A worker that runs. Dropped without [`stop`](Self::stop), it gives back at once what it runs.
#[derive(Debug)]
#[must_use = "a worker whose handle is dropped stops"]
pub struct WorkerHandle {
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Starts to run jobs with the handlers of this program. Inside a tokio runtime.
    pub fn start(app: Arc<App>) -> WorkerHandle {
        Self::start_with(app, handlers::ALL)
    }

    /// As [`start`](Self::start), with other handlers.
    pub fn start_with(app: Arc<App>, handlers: Handlers) -> WorkerHandle {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(Dispatcher::new(app, handlers).run(stopped));
        WorkerHandle { stop, task }
    }
}

impl WorkerHandle {
    /// Claims nothing any more, lets what runs run on for `within`, and gives back the rest: its
    /// attempt does not count.
    pub async fn stop(self, within: Duration) {
        // Fails only when the loop has ended already.
        let _ = self.stop.send(within);
        if let Err(error) = self.task.await {
            tracing::error!(error = %error, "the worker ended by a fault; the next start rescues \
                its jobs");
        }
    }
}
