//! Appends queued audit entries to the chain.

use super::payload;
use crate::platform::audit::{self, AuditEntry};
use crate::storage::TenantWork;
use crate::worker::JobError;

pub(super) fn append(work: &mut TenantWork<'_>, text: &str) -> Result<(), JobError> {
    let entry: AuditEntry = payload(text)?;
    Ok(audit::append(work, &entry)?)
}
