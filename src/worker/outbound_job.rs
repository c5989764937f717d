//! One outbound job: executed with no transaction open, finished in a transaction of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::JobError;
use super::batch::{Rules, Started, catch_panic, finish};
use super::handlers::OutboundJob;
use super::ready_queue::ReadyQueue;
use super::shared::{OpenResult, Shared};
use crate::app::App;
use crate::observe::job_stats::Ran;
use crate::platform::queue::{self, Job, Queue};
use crate::primitives::id::TenantId;
use crate::primitives::limits::BATCH_RETRY_MS;
use crate::primitives::{Origin, Stopwatch};
use crate::storage::{Database, StorageError, StorageErrorKind, Tenant, TenantWork};

/// Extra time to wait beyond the call's own limit. A call that respects its limit reports its
/// outcome itself.
const GRACE: Duration = Duration::from_secs(1);
/// Delay before the outcome of a job is stored again.
const STORE_RETRY: Duration = Duration::from_millis(BATCH_RETRY_MS.unsigned_abs());

/// A tenant's right to run one job of a queue. Dropping it notifies the dispatcher.
#[derive(Debug)]
pub(super) struct Slot {
    /// One permit of the queue, and one of all queues together.
    permits: Option<[OwnedSemaphorePermit; 2]>,
    ready_queue: Arc<ReadyQueue>,
    queue: Queue,
    tenant: TenantId,
}

impl Slot {
    /// A slot that was [leased](ReadyQueue::lease) with a batch.
    pub(super) const fn new(
        permits: [OwnedSemaphorePermit; 2],
        ready_queue: Arc<ReadyQueue>,
        queue: Queue,
        tenant: TenantId,
    ) -> Self {
        Self {
            permits: Some(permits),
            ready_queue,
            queue,
            tenant,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permits.take());
        self.ready_queue.release_slot(self.queue, self.tenant);
        self.ready_queue.wakeup().notify_one();
    }
}

/// Runs the handler. Blocks until it returns.
pub(super) fn execute(
    app: &App,
    db: &Database<Tenant>,
    started: &Started,
    limit: Duration,
    stopwatch: Stopwatch,
) -> Result<(), JobError> {
    let outbound_job = OutboundJob {
        ports: &app.ports,
        mailer: &app.mailer,
        alert_recipients: &app.alert_recipients,
        db,
        job_id: started.job.id,
        payload: &started.job.payload,
        limit,
        stopwatch,
    };
    catch_panic(|| (started.call)(&outbound_job))
}

/// Runs an outbound job to its end: the call, within the queue's timeout, and the stored outcome.
pub(super) async fn run(
    shared: Arc<Shared>,
    tenant: TenantId,
    db: Database<Tenant>,
    started: Started,
    slot: Slot,
) {
    let limit = Duration::from(shared.rules.queue_settings(started.job.queue).timeout);
    let (job, wait) = (started.job.clone(), started.wait);
    let app = shared.app.clone();
    let watch = Stopwatch::start();
    let mut call = tokio::task::spawn_blocking(move || {
        // The slot belongs to the thread, not to the timeout: hanging calls keep their slots, so
        // they never pile up.
        let _slot = slot;
        // A pause may have been confirmed while the batch that claimed the job was being committed.
        let _in_progress = app.stores.pauses.begin(started.job.queue, tenant)?;
        Some(execute(&app, &db, &started, limit, watch))
    });
    let outcome = match tokio::time::timeout(limit + GRACE, &mut call).await {
        Ok(Ok(Some(outcome))) => outcome,
        Ok(Ok(None)) => {
            store_outcome(&shared, tenant, &job, |work, _, job| {
                queue::give_back(work, job).map(drop)
            })
            .await;
            return shared.remove_running(job.id);
        }
        Ok(Err(error)) => Err(JobError::transient(format!(
            "the call was aborted: {error}"
        ))),
        Err(_) => {
            let hung = shared.app.observation.liveness.call_hangs();
            tokio::spawn(async move {
                // The job's outcome is already decided, however the call ends.
                let _ = call.await;
                drop(hung);
            });
            Err(JobError::transient(format!(
                "timeout after {limit:?}; it is unknown whether the call took effect"
            )))
        }
    };
    let run = watch.read();
    let stored = store_outcome(&shared, tenant, &job, move |work, rules, job| {
        finish(work, rules, job, &outcome)
    })
    .await;
    shared.remove_running(job.id);
    if let Some(outcome) = stored {
        let ran = Ran {
            queue: job.queue,
            kind: job.kind,
            outcome,
            wait,
            run,
        };
        shared
            .app
            .observation
            .job_stats
            .record(shared.app.ports.clock.now(), &[ran]);
    }
}

/// Stores the outcome of a job, retrying until it succeeds: a job that stays `running` would wait
/// for the next start of the process. Returns `None` when the tenant or the job is gone.
async fn store_outcome<R, F>(
    shared: &Arc<Shared>,
    tenant: TenantId,
    job: &Job,
    store: F,
) -> Option<R>
where
    R: Send + Unpin + 'static,
    F: Fn(&mut TenantWork<'_>, &Rules, &Job) -> Result<R, StorageError> + Send + Sync + 'static,
{
    let store = Arc::new(store);
    loop {
        match shared.open(tenant).await {
            OpenResult::Deleted => return None,
            OpenResult::Open(db) => {
                let (rules, ended, store) = (shared.rules.clone(), job.clone(), store.clone());
                match db
                    .write(Origin::system(), move |work| store(work, &rules, &ended))
                    .await
                {
                    Ok(stored) => return Some(stored),
                    Err(error) if error.kind() == StorageErrorKind::UnexpectedRows => return None,
                    Err(error) => {
                        tracing::warn!(tenant_id = %tenant, job_id = %job.id, error = %error, "the \
                            outcome of a job could not be stored; retrying");
                    }
                }
            }
            OpenResult::Retry | OpenResult::Unavailable => {}
        }
        tokio::time::sleep(STORE_RETRY).await;
    }
}
