//! Deletes expired data. It needs many short transactions, not only the one that completes the job,
//! so it runs as an outbound job. A second run finds nothing to delete.

use super::{OutboundJob, payload};
use crate::tenant::retention::{self, PruneJob};
use crate::worker::JobError;

pub(super) fn prune(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
    let job: PruneJob = payload(outbound_job.payload)?;
    Ok(retention::run_job(outbound_job.db, &job, || {
        outbound_job.remaining() > outbound_job.limit / 6
    })?)
}
