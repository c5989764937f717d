//! L6: runs the jobs of all tenants. `platform::queue` defines what a job is; this module decides
//! when it runs and handles its outcome.
//!
//! - `ready_queue` records which tenant has work. `batch` is the work done in one transaction of a
//!   tenant. `handlers` are the kinds of job. `dispatch` is the loop around them, `outbound_job` an
//!   outbound call, `sweep` the search for work without a hint, and `idle` the same steps without a
//!   loop.
//! - A job whose effects are in its tenant's file is completed in the transaction of those effects:
//!   exactly once. An outbound job is marked as running, executed with no transaction open, and
//!   finished in a second transaction: at least once, with a stable id.
//! - The table is authoritative. All state in memory can be lost at any moment.

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
pub use batch::JobCounts;
use dispatch::Dispatcher;
pub use handlers::Handlers;
pub use idle::{run_until_idle, run_until_idle_with};
pub use job_error::JobError;

#[derive(Debug)]
pub enum Worker {}

/// A running worker. Dropped without [`stop`](Self::stop), it returns its running jobs at once.
#[derive(Debug)]
#[must_use = "a worker whose handle is dropped stops"]
pub struct WorkerHandle {
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Starts to run jobs with the handlers of this program. Requires a tokio runtime.
    pub fn start(app: Arc<App>) -> WorkerHandle {
        Self::start_with(app, handlers::ALL)
    }

    /// Starts to run jobs with other handlers.
    pub fn start_with(app: Arc<App>, handlers: Handlers) -> WorkerHandle {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(Dispatcher::new(app, handlers).run(stopped));
        WorkerHandle { stop, task }
    }
}

impl WorkerHandle {
    /// Stops claiming jobs, lets running jobs continue for `within`, and returns the rest to their
    /// queues. The attempt of a returned job does not count.
    pub async fn stop(self, within: Duration) {
        // Fails only when the loop has already ended.
        let _ = self.stop.send(within);
        if let Err(error) = self.task.await {
            tracing::error!(error = %error, "the worker failed; the next start rescues its jobs");
        }
    }
}
