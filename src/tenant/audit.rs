//! Audit entries of the shop. An entry is queued as a job of the `audit` queue in the transaction
//! of the change; the job's handler appends it to the chain. So the chain costs a sale one row, and
//! no change can be without its entry.

use serde_json::Value;

use crate::platform::audit::{self, AuditEntry};
use crate::platform::queue::{self, NewJob, Queue};
use crate::storage::{StorageError, TenantWork};

/// The kind of the job that appends an entry.
pub const APPEND_AUDIT: &str = "audit.append";

/// Records what just happened: `action` in the past tense, `subject` as `kind:id`.
pub fn record(
    work: &mut TenantWork,
    action: &str,
    subject: &str,
    details: Value,
) -> Result<(), StorageError> {
    let origin = work.origin();
    let entry = AuditEntry {
        at: work.now(),
        actor: origin.actor.to_string(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        request_id: origin.request_id.clone(),
        details,
    };
    queue::enqueue(work, &NewJob::new(Queue::Audit, APPEND_AUDIT, &entry)).map(drop)
}

/// Handles an [`APPEND_AUDIT`] job.
pub fn append(work: &mut TenantWork, entry: &AuditEntry) -> Result<(), StorageError> {
    audit::append(work, entry)
}
