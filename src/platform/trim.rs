//! What has ended goes in the end: completed jobs soon, those that were given up or cancelled after days, in which an operator can look at them.
//!
//! A few rows with each turn that a shop has anyway, so that sales go on in between, and a shop at rest is left alone: what it keeps of its last hour goes
//! with its next turn.

use crate::primitives::Timestamp;
use crate::primitives::limits::JOBS_TRIMMED_MAX;
use crate::storage::{Rows, StorageError, TenantWork, params, statements};

statements! {
    TRIM_COMPLETED = "DELETE FROM job WHERE seq IN (SELECT seq FROM job INDEXED BY job_completed_at WHERE state = 'completed' AND finalized_at < ?1 ORDER BY finalized_at LIMIT ?2)";
    TRIM_GIVEN_UP = "DELETE FROM job WHERE seq IN (SELECT seq FROM job INDEXED BY job_given_up_at WHERE state IN ('cancelled', 'discarded') AND finalized_at < ?1
                     ORDER BY finalized_at LIMIT ?2)";
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
    let completed = work.change(&TRIM_COMPLETED, params![ended.completed_before, JOBS_TRIMMED_MAX], Rows::Any)?;
    let given_up = work.change(&TRIM_GIVEN_UP, params![ended.given_up_before, JOBS_TRIMMED_MAX], Rows::Any)?;
    Ok(completed.max(given_up) >= JOBS_TRIMMED_MAX as usize)
}
