//! Retention: many short transactions and not the one of the job's end, so it is run like an
//! outbound_job. Done twice, there is nothing left the second time.

use super::{OutboundJob, payload};
use crate::tenant::retention::{self, PruneJob};
use crate::worker::JobError;

pub(super) fn prune(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
    let job: PruneJob = payload(outbound_job.payload)?;
    Ok(retention::run_job(outbound_job.db, &job, || {
        outbound_job.left() > outbound_job.limit / 6
    })?)
}
