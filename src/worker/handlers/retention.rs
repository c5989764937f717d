//! Retention: many short transactions and not the one of the job's end, so it is run like an errand. Done twice, there is nothing left the second time.

use super::{Errand, payload};
use crate::tenant::retention::{self, PruneJob};
use crate::worker::JobError;

pub(super) fn prune(errand: &Errand<'_>) -> Result<(), JobError> {
    let job: PruneJob = payload(errand.payload)?;
    Ok(retention::run_job(errand.db, &job, || {
        errand.left() > errand.limit / 6
    })?)
}
