//! One outward job: carried out with no transaction open, finished in a transaction of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::JobError;
use super::handlers::Errand;
use super::shared::{Door, Shared};
use super::turn::{Started, finish, guarded};
use crate::app::App;
use crate::platform::queue::Job;
use crate::primitives::Origin;
use crate::primitives::id::TenantId;
use crate::primitives::limits::TURN_RETRY_MS;
use crate::storage::{Database, StorageErrorKind, Tenant};

/// How long to wait before the end of a job is noted again.
const REST: Duration = Duration::from_millis(TURN_RETRY_MS.unsigned_abs());

/// The right to run one job of a queue at a time; the dispatcher is told when it is free again.
#[derive(Debug)]
pub(super) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    bell: Arc<Notify>,
}

impl Slot {
    pub(super) const fn new(permit: OwnedSemaphorePermit, bell: Arc<Notify>) -> Self {
        Self {
            permit: Some(permit),
            bell,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.bell.notify_one();
    }
}

/// Runs the handler. Blocks for as long as it does.
pub(super) fn carry_out(app: &App, db: &Database<Tenant>, started: &Started) -> Result<(), JobError> {
    let errand = Errand {
        app,
        db,
        job_id: started.job.id,
        payload: &started.job.payload,
    };
    guarded(|| (started.call)(&errand))
}

/// Runs an outward job to its end: the call, within the queue's time-out, and what becomes of the job.
pub(super) async fn run(shared: Arc<Shared>, tenant: TenantId, db: Database<Tenant>, started: Started, slot: Slot) {
    let limit = Duration::from(shared.rules.of_queue(started.job.queue).timeout);
    let job = started.job.clone();
    let app = shared.app.clone();
    let call = tokio::task::spawn_blocking(move || {
        // The slot goes with the thread and not with the time-out: calls that hang keep theirs, so they never pile up.
        let _slot = slot;
        carry_out(&app, &db, &started)
    });
    let outcome = match tokio::time::timeout(limit, call).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(JobError::passing(format!("the call was broken off: {error}"))),
        Err(_) => Err(JobError::passing(format!(
            "no answer within {limit:?}; whether it was carried out is not known"
        ))),
    };
    settle(&shared, tenant, &job, Arc::new(outcome)).await;
    shared.has_ended(job.id);
}

/// Notes what was carried out, as often as it takes: a job that stayed `running` would wait for the next start of the process.
async fn settle(shared: &Arc<Shared>, tenant: TenantId, job: &Job, outcome: Arc<Result<(), JobError>>) {
    loop {
        match shared.open(tenant).await {
            Door::Gone => return,
            Door::Open(db) => {
                let (rules, ended, outcome) = (shared.rules.clone(), job.clone(), outcome.clone());
                let finished = db.write(Origin::system(), move |work| finish(work, &rules, &ended, &outcome));
                match finished.await {
                    Ok(_) => return,
                    Err(error) if error.kind() == StorageErrorKind::UnexpectedRows => return,
                    Err(error) => {
                        tracing::warn!(tenant_id = %tenant, job_id = %job.id, error = %error, "the end of a job could not be noted yet");
                    }
                }
            }
            Door::NotYet | Door::Unavailable => {}
        }
        tokio::time::sleep(REST).await;
    }
}
