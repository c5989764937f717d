//! Appends queued audit entries to the chain.

use super::payload;
use crate::platform::audit::AuditEntry;
use crate::storage::TenantWork;
use crate::tenant::audit;
use crate::worker::JobError;

pub(super) fn append(work: &mut TenantWork<'_>, text: &str) -> Result<(), JobError> {
    let entry: AuditEntry = payload(text)?;
    Ok(audit::append(work, &entry)?)
}
