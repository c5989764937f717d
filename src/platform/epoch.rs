//! The epoch of a file, and held jobs of other epochs.
//!
//! A copy of a file contains jobs that the original may have run since: their mails are sent, their
//! payments charged. Replacing a file by a copy (a restore, a clone, an accepted loss) therefore
//! raises its epoch with [`raise`], in a separate transaction before the file is used. Jobs carry
//! the epoch in which they were created, and only those of the file's current epoch run. The others
//! are held: they are kept and listed and are never overdue, until [`release`] or a single removal.
//!
//! A job of an unknown kind is held as well, by a negative epoch. It uses no attempt, and returns
//! automatically when a program starts that knows its kind ([`return_known`]).

use serde_json::json;

use super::queue::{Job, Queue, error_record, own_epoch};
use crate::primitives::limits::JOBS_RELEASED_MAX;
use crate::storage::{Row, Rows, StorageError, TenantView, TenantWork, Wake, params, statements};

/// Waiting jobs of other epochs than the file's.
macro_rules! held {
    ($states:literal) => {
        concat!(
            "SELECT seq, unique_key, epoch FROM job WHERE ",
            $states,
            " AND queue = ?1 AND epoch > 0 AND epoch < ",
            own_epoch!(),
            " LIMIT ?2"
        )
    };
}

statements! {
    NUMBER = "SELECT number FROM epoch WHERE singleton = 1";
    RAISE = "UPDATE epoch SET number = number + 1, raised_at = ?1, reason = ?2 WHERE singleton = 1";
    HOLD = "UPDATE job SET epoch = -abs(epoch), errors = json_insert(errors, '$[#]', json(?2)) \
        WHERE seq = ?1 AND state = 'available'";
    BY_SEQ = "SELECT seq, unique_key, epoch FROM job WHERE seq = ?1";
    HELD_READY = held!("state = 'available'");
    HELD_WAITING = held!("state IN ('scheduled', 'retryable')");
    UNKNOWN = "SELECT seq, unique_key, epoch FROM job WHERE state = 'available' AND queue = ?1 AND \
        epoch < 0
               AND kind IN (SELECT value FROM json_each(?3)) LIMIT ?2";
    HAS_UNKNOWN = "SELECT 1 FROM job WHERE state = 'available' AND queue = ?1 AND epoch < 0 AND \
        kind IN (SELECT value FROM json_each(?2)) LIMIT 1";
    HAS_TWIN = "SELECT 1 FROM job WHERE unique_key = ?1 AND epoch = ?2 AND seq <> ?3 AND \
        unique_key IS NOT NULL
                AND state IN ('available', 'scheduled', 'running', 'retryable')";
    GIVE_EPOCH = "UPDATE job SET epoch = ?2 WHERE seq = ?1";
    SUPERSEDE = "UPDATE job SET state = 'cancelled', finalized_at = ?2, errors = \
        json_insert(errors, '$[#]', json(?3)) WHERE seq = ?1";
}

struct Held {
    seq: i64,
    unique_key: Option<String>,
    epoch: i64,
}

/// The result of a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Jobs that may run now.
    pub released: u32,
    /// Jobs that were cancelled because a newer one with the same unique key is waiting.
    pub superseded: u32,
    /// Whether more jobs may be held.
    pub has_more: bool,
}

fn held(row: &Row<'_>) -> rusqlite::Result<Held> {
    Ok(Held {
        seq: row.get("seq")?,
        unique_key: row.get("unique_key")?,
        epoch: row.get("epoch")?,
    })
}

/// The epoch of the file.
pub fn current(view: &TenantView) -> Result<i64, StorageError> {
    view.one(&NUMBER, [], |row| row.get(0))
}

/// Raises the epoch, which holds all unfinished jobs of the file. For a restore, a clone and any
/// other start from a copy; repeating it is safe. `reason` is kept in the file for an operator.
/// Returns the new epoch.
pub fn raise(work: &mut TenantWork, reason: &str) -> Result<i64, StorageError> {
    let now = work.now();
    work.change(&RAISE, params![now, reason], Rows::Exactly(1))?;
    current(work)
}

/// Holds a ready job of an unknown kind, without using an attempt.
pub fn hold_unknown(work: &mut TenantWork, job: &Job) -> Result<(), StorageError> {
    let now = work.now();
    if let Some(own) = work.find(&BY_SEQ, params![job.seq], held)?
        && has_twin(work, &own, -own.epoch.abs())?
    {
        return supersede(work, &own);
    }
    let error = error_record(
        job.attempt - 1,
        now,
        "no handler for this kind of job; held until a program that knows it starts",
    );
    work.change(&HOLD, params![job.seq, error], Rows::Exactly(1))
        .map(drop)
}

fn has_twin(view: &TenantView, of: &Held, epoch: i64) -> Result<bool, StorageError> {
    match &of.unique_key {
        None => Ok(false),
        Some(key) => Ok(view
            .find(&HAS_TWIN, params![key, epoch, of.seq], |_| Ok(()))?
            .is_some()),
    }
}

fn supersede(work: &mut TenantWork, held: &Held) -> Result<(), StorageError> {
    let now = work.now();
    let error = error_record(0, now, "another job with the same unique key is waiting");
    work.change(&SUPERSEDE, params![held.seq, now, error], Rows::Exactly(1))
        .map(drop)
}

/// Gives held jobs their epoch; cancels a job that would be the second with its unique key.
fn give_epoch(
    work: &mut TenantWork,
    found: Vec<Held>,
    epoch: impl Fn(&Held) -> i64,
    released: &mut Released,
) -> Result<(), StorageError> {
    for held in found {
        let epoch = epoch(&held);
        if has_twin(work, &held, epoch)? {
            supersede(work, &held)?;
            released.superseded += 1;
        } else {
            work.change(&GIVE_EPOCH, params![held.seq, epoch], Rows::Exactly(1))?;
            released.released += 1;
        }
    }
    Ok(())
}

/// Releases a batch of held jobs, small enough that sales run in between. Call it again while
/// `has_more`.
pub fn release(work: &mut TenantWork) -> Result<Released, StorageError> {
    let (own, at) = (current(work)?, work.now());
    let mut released = Released::default();
    for queue in Queue::ALL {
        for statement in [&HELD_READY, &HELD_WAITING] {
            let found = work.all(statement, params![queue, JOBS_RELEASED_MAX], held)?;
            released.has_more |= found.len() == JOBS_RELEASED_MAX as usize;
            if !found.is_empty() {
                give_epoch(work, found, |_| own, &mut released)?;
                work.wake(Wake {
                    queue: queue.as_str(),
                    at,
                });
            }
            if released.has_more {
                return Ok(released);
            }
        }
    }
    Ok(released)
}

/// Whether a file holds jobs of `kinds` because an earlier program did not know them.
pub fn has_known(view: &TenantView, kinds: &[&str]) -> Result<bool, StorageError> {
    let kinds = json!(kinds).to_string();
    for queue in Queue::ALL {
        if view
            .find(&HAS_UNKNOWN, params![queue, kinds], |_| Ok(()))?
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Restores the epoch of a batch of jobs of `kinds` that an earlier program did not know. Call it
/// again while `has_more`.
pub fn return_known(work: &mut TenantWork, kinds: &[&str]) -> Result<Released, StorageError> {
    let (kinds, at) = (json!(kinds).to_string(), work.now());
    let mut released = Released::default();
    for queue in Queue::ALL {
        let found = work.all(&UNKNOWN, params![queue, JOBS_RELEASED_MAX, kinds], held)?;
        released.has_more |= found.len() == JOBS_RELEASED_MAX as usize;
        if !found.is_empty() {
            give_epoch(work, found, |held| held.epoch.abs(), &mut released)?;
            work.wake(Wake {
                queue: queue.as_str(),
                at,
            });
        }
    }
    Ok(released)
}
