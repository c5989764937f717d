//! What has ended goes in the end: completed jobs soon, those that were given up or cancelled after
//! days, in which an operator can look at them.
//!
//! A few rows with each turn that a shop has anyway, so that sales go on in between, and a shop at
//! rest is left alone: what it keeps of its last hour goes with its next turn.

use crate::primitives::Timestamp;
use crate::primitives::limits::JOBS_TRIMMED_MAX;
use crate::storage::{Rows, StorageError, TenantWork, params, statements};

statements! {
    OLD_COMPLETED = "SELECT seq FROM job INDEXED BY job_completed_at WHERE state = 'completed' AND \
        finalized_at < ?1 ORDER BY finalized_at LIMIT ?2";
    OLD_GIVEN_UP = "SELECT seq FROM job INDEXED BY job_given_up_at WHERE state IN ('cancelled', \
        'discarded') AND finalized_at < ?1
                    ORDER BY finalized_at LIMIT ?2";
    REMOVE = "DELETE FROM job WHERE seq = ?1 AND state IN ('completed', 'cancelled', 'discarded')";
}

/// Until when what has ended goes.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Jobs that were completed before this instant.
    pub completed_before: Timestamp,
    /// Jobs that were given up or cancelled before this instant.
    pub given_up_before: Timestamp,
}

/// Removes some of the jobs that have long ended; says whether there may be more.
///
/// # Errors
/// [`StorageError`].
pub fn trim(work: &mut TenantWork, ended: Ended) -> Result<bool, StorageError> {
    let mut has_more = false;
    for (statement, before) in [
        (&OLD_COMPLETED, ended.completed_before),
        (&OLD_GIVEN_UP, ended.given_up_before),
    ] {
        // Nearly always there are none, and then this was one look at an index.
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
