//! Deletes finished jobs: completed ones soon, discarded and cancelled ones after days, in which an
//! operator can inspect them.
//!
//! Each batch of a tenant deletes a few rows, so that sales run in between, and an idle tenant is
//! not disturbed: the jobs of its last hour go with its next batch.

use crate::primitives::Timestamp;
use crate::primitives::limits::JOBS_TRIMMED_MAX;
use crate::storage::{Rows, StorageError, TenantWork, params, statements};

statements! {
    OLD_COMPLETED = "SELECT seq FROM job INDEXED BY job_completed_at WHERE state = 'completed' AND \
        finalized_at < ?1 ORDER BY finalized_at LIMIT ?2";
    OLD_GIVEN_UP = "SELECT seq FROM job INDEXED BY job_unsuccessful_at WHERE state IN \
        ('cancelled', 'discarded') AND finalized_at < ?1
                    ORDER BY finalized_at LIMIT ?2";
    REMOVE = "DELETE FROM job WHERE seq = ?1 AND state IN ('completed', 'cancelled', 'discarded')";
}

/// The cut-offs of finished jobs.
#[derive(Clone, Copy, Debug)]
pub struct TrimCutOffs {
    /// For completed jobs.
    pub completed_before: Timestamp,
    /// For discarded and cancelled jobs.
    pub given_up_before: Timestamp,
}

/// Deletes some of the jobs before the cut-offs; returns whether more may remain.
pub fn trim(work: &mut TenantWork, cut_offs: TrimCutOffs) -> Result<bool, StorageError> {
    let mut has_more = false;
    for (statement, before) in [
        (&OLD_COMPLETED, cut_offs.completed_before),
        (&OLD_GIVEN_UP, cut_offs.given_up_before),
    ] {
        // Mostly there are none, and this is a single index lookup.
        let old: Vec<i64> = work.all(statement, params![before, JOBS_TRIMMED_MAX], |row| {
            row.get(0)
        })?;
        has_more |= old.len() == JOBS_TRIMMED_MAX as usize;
        for seq in old {
            work.change(&REMOVE, params![seq], Rows::Exactly(1))?;
        }
    }
    Ok(has_more)
}
