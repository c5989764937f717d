//! One outbound job: carried out with no transaction open, finished in a transaction of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::JobError;
use super::batch::{Rules, Started, finish, guarded};
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

/// How much longer than its own limit a call is waited for: one that keeps to it says itself how it
/// ended.
const GRACE: Duration = Duration::from_secs(1);
/// How long to wait before the end of a job is noted again.
const REST: Duration = Duration::from_millis(BATCH_RETRY_MS.unsigned_abs());

/// A tenant's right to run one job of a queue; the dispatcher is told when it is free again.
#[derive(Debug)]
pub(super) struct Slot {
    /// The queue's place, and one of all queues together.
    permits: Option<[OwnedSemaphorePermit; 2]>,
    ready_queue: Arc<ReadyQueue>,
    queue: Queue,
    tenant: TenantId,
}

impl Slot {
    /// A place that was [taken](ReadyQueue::take) with a batch.
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
        self.ready_queue.give_up_place(self.queue, self.tenant);
        self.ready_queue.wakeup().notify_one();
    }
}

/// Runs the handler. Blocks for as long as it does.
pub(super) fn carry_out(
    app: &App,
    db: &Database<Tenant>,
    started: &Started,
    limit: Duration,
    begun: Stopwatch,
) -> Result<(), JobError> {
    let outbound_job = OutboundJob {
        app,
        db,
        job_id: started.job.id,
        payload: &started.job.payload,
        limit,
        begun,
    };
    guarded(|| (started.call)(&outbound_job))
}

/// Runs an outbound job to its end: the call, within the queue's time-out, and what becomes of the
/// job.
pub(super) async fn run(
    shared: Arc<Shared>,
    tenant: TenantId,
    db: Database<Tenant>,
    started: Started,
    slot: Slot,
) {
    let limit = Duration::from(shared.rules.of_queue(started.job.queue).timeout);
    let (job, wait) = (started.job.clone(), started.wait);
    let app = shared.app.clone();
    let watch = Stopwatch::start();
    let mut call = tokio::task::spawn_blocking(move || {
        // The slot goes with the thread and not with the time-out: calls that hang keep theirs, so
        // they never pile up.
        let _slot = slot;
        // A pause may have been answered while the batch that has claimed the job was on its way to
        // the disk.
        let _under_way = app.pauses.begin(started.job.queue, tenant)?;
        Some(carry_out(&app, &db, &started, limit, watch))
    });
    let outcome = match tokio::time::timeout(limit + GRACE, &mut call).await {
        Ok(Ok(Some(outcome))) => outcome,
        Ok(Ok(None)) => {
            keep_on(&shared, tenant, &job, |work, _, job| {
                queue::give_back(work, job).map(drop)
            })
            .await;
            return shared.has_ended(job.id);
        }
        Ok(Err(error)) => Err(JobError::passing(format!(
            "the call was broken off: {error}"
        ))),
        Err(_) => {
            let hung = shared.app.liveness.call_hangs();
            tokio::spawn(async move {
                // However it ends: what becomes of the job is decided already.
                let _ = call.await;
                drop(hung);
            });
            Err(JobError::passing(format!(
                "no answer within {limit:?}; whether it was carried out is not known"
            )))
        }
    };
    let run = watch.read();
    let done = keep_on(&shared, tenant, &job, move |work, rules, job| {
        finish(work, rules, job, &outcome)
    })
    .await;
    shared.has_ended(job.id);
    if let Some(outcome) = done {
        let ran = Ran {
            queue: job.queue,
            kind: job.kind,
            outcome,
            wait,
            run,
        };
        shared.app.job_stats.note(shared.app.clock.now(), &[ran]);
    }
}

/// Notes what has become of a job, as often as it takes: one that stayed `running` would wait for
/// the next start of the process. `None` when there is nothing to note any more.
async fn keep_on<R: Send + Unpin + 'static>(
    shared: &Arc<Shared>,
    tenant: TenantId,
    job: &Job,
    note: impl Fn(&mut TenantWork<'_>, &Rules, &Job) -> Result<R, StorageError> + Send + Sync + 'static,
) -> Option<R> {
    let note = Arc::new(note);
    loop {
        match shared.open(tenant).await {
            OpenResult::Deleted => return None,
            OpenResult::Open(db) => {
                let (rules, ended, note) = (shared.rules.clone(), job.clone(), note.clone());
                match db
                    .write(Origin::system(), move |work| note(work, &rules, &ended))
                    .await
                {
                    Ok(noted) => return Some(noted),
                    Err(error) if error.kind() == StorageErrorKind::UnexpectedRows => return None,
                    Err(error) => {
                        tracing::warn!(tenant_id = %tenant, job_id = %job.id, error = %error, "the \
                            end of a job could not be noted yet");
                    }
                }
            }
            OpenResult::Retry | OpenResult::Unavailable => {}
        }
        tokio::time::sleep(REST).await;
    }
}
