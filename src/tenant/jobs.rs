//! What an operator sees of a shop's jobs, and does to them: look, retry, cancel, forget.
//!
//! A job that runs is left alone: nobody can call back what is under way outside. What has run is
//! done and stays. A change and its entry in the shop's own audit trail are one transaction.
//! Looking is bounded: a state that few jobs are in has an index of its own, and of all the others
//! so many rows are looked at for one page and no more.

use serde_json::json;

use super::audit;
use crate::platform::epoch::{self, Released};
use crate::platform::queue::{Queue, State, own_epoch};
use crate::primitives::id::JobId;
use crate::primitives::limits::{JOBS_CHANGED_MAX, JOBS_LOOKED_AT_MAX};
use crate::primitives::{Class, Refusal, Timestamp};
use crate::storage::{Row, Rows, StorageError, TenantView, TenantWork, Wake, params, statements};

/// A job as lists show it, from an index or the whole table.
macro_rules! list {
    ($from:literal) => {
        concat!(
            "SELECT seq, id, queue, kind, state, attempt, max_attempts, rescues, scheduled_at, \
             attempted_at, finalized_at,
             json_array_length(errors), json_extract(errors, '$[#-1]'), priority, epoch, ",
            own_epoch!(),
            " FROM job ",
            $from,
            " AND seq < ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3) AND (?5 IS \
             NULL OR state = ?5)
             AND (?6 IS NULL OR (epoch <> ",
            own_epoch!(),
            " AND state IN ('available', 'scheduled', 'retryable')) = ?6) ORDER BY seq DESC LIMIT \
             ?4"
        )
    };
}

/// How many jobs wait, apart from those that are held.
macro_rules! count {
    ($from:literal) => {
        concat!(
            "SELECT queue, state, epoch <> ",
            own_epoch!(),
            ", count(*) FROM job ",
            $from
        )
    };
}

statements! {
    // Without the hint SQLite would walk all that has ever run, for the sake of the order.
    LIST_READY = list!("INDEXED BY job_ready WHERE state = 'available'");
    LIST_WAITING = list!("INDEXED BY job_waiting WHERE state IN ('scheduled', 'retryable')");
    LIST_RUNNING = list!("INDEXED BY job_running WHERE state = 'running'");
    LIST_GIVEN_UP = list!("INDEXED BY job_given_up WHERE state IN ('cancelled', 'discarded')");
    LIST_ANY = list!("WHERE seq >= ?7");
    FLOOR = "SELECT seq FROM job WHERE seq < ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2";
    PLACE = "SELECT seq FROM job WHERE id = ?1";
    FIND = concat!(
        "SELECT seq, id, queue, kind, state, attempt, max_attempts, rescues, scheduled_at, \
         attempted_at, finalized_at,
         json_array_length(errors), json_extract(errors, '$[#-1]'), priority, epoch, ",
        own_epoch!(),
        ", payload, errors FROM job WHERE id = ?1"
    );
    HAS_TWIN = concat!(
        "SELECT count(*) FROM job WHERE unique_key = (SELECT unique_key FROM job WHERE seq = ?1) \
         AND seq <> ?1 AND epoch = ",
        own_epoch!(),
        " AND unique_key IS NOT NULL AND state IN ('available', 'scheduled', 'running', \
         'retryable')"
    );
    RETRY = concat!(
        "UPDATE job SET state = 'available', attempt = ?2, rescues = ?3, scheduled_at = ?4, \
         finalized_at = NULL, epoch = ",
        own_epoch!(),
        " WHERE seq = ?1 AND state IN ('available', 'scheduled', 'retryable', 'cancelled', \
         'discarded')"
    );
    CANCEL = "UPDATE job SET state = 'cancelled', finalized_at = ?2 WHERE seq = ?1 AND state IN \
        ('available', 'scheduled', 'retryable')";
    FORGET = "DELETE FROM job WHERE seq = ?1 AND state = 'discarded'";
    DISCARDED = "SELECT seq, id FROM job INDEXED BY job_given_up
                 WHERE state IN ('cancelled', 'discarded') AND state = 'discarded' AND seq > ?1 \
                 AND (?2 IS NULL OR queue = ?2) ORDER BY seq LIMIT ?3";
    COUNT_READY = count!("INDEXED BY job_ready WHERE state = 'available' GROUP BY queue, epoch");
    COUNT_WAITING = count!("INDEXED BY job_waiting WHERE state IN ('scheduled', 'retryable') GROUP \
        BY queue, epoch, state");
    COUNT_RUNNING = "SELECT queue, state, 0, count(*) FROM job INDEXED BY job_running WHERE state \
        = 'running' GROUP BY queue";
    COUNT_GIVEN_UP = "SELECT queue, state, 0, count(*) FROM job INDEXED BY job_given_up WHERE \
        state IN ('cancelled', 'discarded') GROUP BY queue, state";
    OLDEST_READY = concat!(
        "SELECT scheduled_at FROM job WHERE state = 'available' AND queue = ?1 AND epoch = ",
        own_epoch!(),
        " ORDER BY priority, seq LIMIT 1"
    );
}

/// A job as lists show it.
#[derive(Clone, Debug)]
pub struct JobLine {
    /// Its place.
    pub seq: i64,
    pub id: JobId,
    /// Its queue.
    pub queue: Queue,
    /// Which handler runs it.
    pub kind: String,
    /// Where it is in its life.
    pub state: State,
    /// How often it was tried.
    pub attempt: i64,
    /// Its own limit of attempts, if it has one.
    pub max_attempts: Option<i64>,
    /// How often it was rescued from a process that had died.
    pub rescues: i64,
    /// When it is or was due.
    pub scheduled_at: Timestamp,
    /// When it was last tried.
    pub attempted_at: Option<Timestamp>,
    /// When it ended.
    pub finalized_at: Option<Timestamp>,
    /// How many errors it has.
    pub errors: i64,
    /// The last of them, as JSON.
    pub last_error: Option<String>,
    /// Which of those that are ready goes first: the lower.
    pub priority: i64,
    /// Why it does not run although it waits, if it does not.
    pub held: Option<Hold>,
}

/// Why a job is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is of an older epoch of its file: what it does outside may have been done already.
    OlderEpoch,
    /// Nothing runs its kind.
    UnknownKind,
}

impl Hold {
    /// Its word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OlderEpoch => "older_epoch",
            Self::UnknownKind => "unknown_kind",
        }
    }

    const fn of(state: State, epoch: i64, own: i64) -> Option<Self> {
        match state {
            State::Available | State::Scheduled | State::Retryable if epoch < 0 => {
                Some(Self::UnknownKind)
            }
            State::Available | State::Scheduled | State::Retryable if epoch != own => {
                Some(Self::OlderEpoch)
            }
            _ => None,
        }
    }
}

/// A job, whole.
#[derive(Clone, Debug)]
pub struct WholeJob {
    /// What lists show of it.
    pub line: JobLine,
    /// What its handler needs, as JSON.
    pub payload: String,
    /// Every error with its time, as JSON.
    pub errors: String,
}

/// Which jobs are wanted.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those of this queue.
    pub queue: Option<Queue>,
    /// Only those of this kind.
    pub kind: Option<String>,
    /// Only those that are held, or that are not.
    pub held: Option<bool>,
}

/// What was found for a page.
#[derive(Clone, Debug)]
pub struct FoundJobs {
    /// The jobs, the newest first.
    pub lines: Vec<JobLine>,
    /// The rest is before this place; `None` when there is no rest.
    pub next: Option<i64>,
}

/// How many jobs of a queue are in a state, and whether they are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Their queue.
    pub queue: Queue,
    /// Their state.
    pub state: State,
    /// Whether they wait to be released.
    pub held: bool,
    /// How many they are.
    pub jobs: i64,
}

/// Why a job stays as it is; the first that applies wins.
#[derive(Debug, thiserror::Error)]
pub enum JobRefused {
    /// There is no such job.
    #[error(
        "there is no such job; `GET /v1/landlord/queue/jobs` and `tillbox queue failed` show those \
         there are"
    )]
    NotFound,
    /// It is being carried out.
    #[error("the job is running; wait for its end")]
    Running,
    /// It has been carried out.
    #[error("the job is completed; there is nothing left to do")]
    Completed,
    /// Another job does what this one would.
    #[error(
        "another job with the same unique key has not ended yet; that one does what this one would"
    )]
    Superseded,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal for JobRefused {
    fn class(&self) -> Class {
        match self {
            Self::NotFound => Class::NotFound,
            Self::Running | Self::Completed | Self::Superseded => Class::Conflict,
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "job_not_found",
            Self::Running => "job_running",
            Self::Completed => "job_completed",
            Self::Superseded => "job_superseded",
            Self::Storage(error) => error.code(),
        }
    }
}

/// What became of a job that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It had not begun, and never will.
    Cancelled,
    /// It was given up, and its row is gone.
    Forgotten,
    /// It was cancelled before.
    Already,
}

/// What is done to all jobs that were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// They are tried again.
    Retry,
    /// They go.
    Forget,
}

/// How far a sweep has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Jobs that were retried or forgotten.
    pub changed: u32,
    /// Jobs that another one supersedes: they stay.
    pub skipped: u32,
    /// Where to go on; `None` at the end.
    pub next: Option<i64>,
}

fn line(row: &Row<'_>) -> rusqlite::Result<JobLine> {
    Ok(JobLine {
        seq: row.get(0)?,
        id: row.get(1)?,
        queue: row.get(2)?,
        kind: row.get(3)?,
        state: row.get(4)?,
        attempt: row.get(5)?,
        max_attempts: row.get(6)?,
        rescues: row.get(7)?,
        scheduled_at: row.get(8)?,
        attempted_at: row.get(9)?,
        finalized_at: row.get(10)?,
        errors: row.get(11)?,
        last_error: row.get(12)?,
        priority: row.get(13)?,
        held: Hold::of(row.get(4)?, row.get(14)?, row.get(15)?),
    })
}

/// Jobs before a place, the newest first. A page may have fewer rows than `limit`, or none, and go
/// on all the same.
pub fn list_jobs(
    view: &TenantView,
    filter: &JobFilter,
    before: i64,
    limit: u32,
) -> Result<FoundJobs, StorageError> {
    let (fetch, kind) = (limit + 1, filter.kind.as_deref());
    let indexed = match filter.state {
        Some(State::Available) => Some(&LIST_READY),
        Some(State::Scheduled | State::Retryable) => Some(&LIST_WAITING),
        Some(State::Running) => Some(&LIST_RUNNING),
        Some(State::Cancelled | State::Discarded) => Some(&LIST_GIVEN_UP),
        Some(State::Completed) | None => None,
    };
    let (mut lines, floor) = match indexed {
        Some(statement) => (
            view.all(
                statement,
                params![before, filter.queue, kind, fetch, filter.state, filter.held],
                line,
            )?,
            None,
        ),
        None => {
            let floor: Option<i64> =
                view.find(&FLOOR, params![before, JOBS_LOOKED_AT_MAX], |row| {
                    row.get(0)
                })?;
            // The row at the floor is the first that is not looked at.
            let from = floor.map_or(i64::MIN, |floor| floor + 1);
            let row = params![
                before,
                filter.queue,
                kind,
                fetch,
                filter.state,
                filter.held,
                from
            ];
            (
                view.all(&LIST_ANY, row, line)?,
                floor.map(|floor| floor + 1),
            )
        }
    };
    let has_more = lines.len() > limit as usize;
    lines.truncate(limit as usize);
    let next = if has_more {
        lines.last().map(|line| line.seq)
    } else {
        floor
    };
    Ok(FoundJobs { lines, next })
}

/// Whether a job is in this file.
pub fn has_job(view: &TenantView, id: JobId) -> Result<bool, StorageError> {
    Ok(view
        .find(&PLACE, params![id], |row| row.get::<_, i64>(0))?
        .is_some())
}

/// A job, whole.
///
/// # Errors
/// `NotFound`, or the storage's.
pub fn require_job(view: &TenantView, id: JobId) -> Result<WholeJob, JobRefused> {
    let whole = |row: &Row<'_>| {
        Ok(WholeJob {
            line: line(row)?,
            payload: row.get(16)?,
            errors: row.get(17)?,
        })
    };
    view.find(&FIND, params![id], whole)?
        .ok_or(JobRefused::NotFound)
}

/// How many jobs of each queue are in which state, but for the completed ones: they are many, and
/// nobody waits for them. The same may come several times, in parts.
pub fn count_jobs(view: &TenantView) -> Result<Vec<Depth>, StorageError> {
    let mut depths = Vec::new();
    for statement in [
        &COUNT_READY,
        &COUNT_WAITING,
        &COUNT_RUNNING,
        &COUNT_GIVEN_UP,
    ] {
        depths.extend(view.all(statement, [], |row| {
            Ok(Depth {
                queue: row.get(0)?,
                state: row.get(1)?,
                held: row.get(2)?,
                jobs: row.get(3)?,
            })
        })?);
    }
    Ok(depths)
}

/// Since when the job of a queue that is next is ready.
pub fn find_oldest_ready(
    view: &TenantView,
    queue: Queue,
) -> Result<Option<Timestamp>, StorageError> {
    view.find(&OLDEST_READY, params![queue], |row| row.get(0))
}

fn subject(id: JobId) -> String {
    format!("job:{id}")
}

/// Makes a job available now: one that was given up or cancelled begins anew, with all its
/// attempts; one that waits for its time keeps those that it has had. One that is held is released
/// by it. Says whether that changed anything, which it does not for one that is available already.
pub fn retry_job(work: &mut TenantWork, id: JobId) -> Result<bool, JobRefused> {
    let WholeJob { line: job, .. } = require_job(work, id)?;
    let (attempt, rescues) = match job.state {
        State::Available if job.held.is_none() => return Ok(false),
        State::Running => return Err(JobRefused::Running),
        State::Completed => return Err(JobRefused::Completed),
        State::Available | State::Scheduled | State::Retryable => (job.attempt, job.rescues),
        State::Cancelled | State::Discarded => (0, 0),
    };
    if work.one(&HAS_TWIN, params![job.seq], |row| row.get::<_, i64>(0))? > 0 {
        return Err(JobRefused::Superseded);
    }
    let now = work.now();
    work.change(
        &RETRY,
        params![job.seq, attempt, rescues, now],
        Rows::Exactly(1),
    )?;
    work.wake(Wake {
        queue: job.queue.as_str(),
        at: now,
    });
    audit::record(
        work,
        "job.retried",
        &subject(id),
        json!({"queue": job.queue, "kind": job.kind, "was": job.state}),
    )?;
    Ok(true)
}

/// Cancels a job that has not begun, or forgets one that was given up.
pub fn remove_job(work: &mut TenantWork, id: JobId) -> Result<Removed, JobRefused> {
    let WholeJob { line: job, .. } = require_job(work, id)?;
    let now = work.now();
    let (removed, action) = match job.state {
        State::Running => return Err(JobRefused::Running),
        State::Completed => return Err(JobRefused::Completed),
        State::Cancelled => return Ok(Removed::Already),
        State::Available | State::Scheduled | State::Retryable => {
            work.change(&CANCEL, params![job.seq, now], Rows::Exactly(1))?;
            (Removed::Cancelled, "job.cancelled")
        }
        State::Discarded => {
            work.change(&FORGET, params![job.seq], Rows::Exactly(1))?;
            (Removed::Forgotten, "job.forgotten")
        }
    };
    audit::record(
        work,
        action,
        &subject(id),
        json!({"queue": job.queue, "kind": job.kind, "was": job.state}),
    )?;
    Ok(removed)
}

/// Retries or forgets the jobs that were given up, of one queue or of all, from a place on: so many
/// that sales go on meanwhile. Whatever is in another state by then is left alone.
pub fn sweep_discarded(
    work: &mut TenantWork,
    sweep: Sweep,
    queue: Option<Queue>,
    after: i64,
) -> Result<Swept, StorageError> {
    let place = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, JobId>(1)?));
    let found = work.all(&DISCARDED, params![after, queue, JOBS_CHANGED_MAX], place)?;
    let next = found
        .last()
        .filter(|_| found.len() == JOBS_CHANGED_MAX as usize)
        .map(|(seq, _)| *seq);
    let (mut changed, mut skipped) = (0, 0);
    for (_, id) in found {
        let done = match sweep {
            Sweep::Retry => retry_job(work, id).map(drop),
            Sweep::Forget => remove_job(work, id).map(drop),
        };
        match done {
            Ok(()) => changed += 1,
            Err(JobRefused::Storage(error)) => return Err(error),
            Err(_) => skipped += 1,
        }
    }
    Ok(Swept {
        changed,
        skipped,
        next,
    })
}

/// Releases jobs that are held, so many that sales go on meanwhile; to be called again while there
/// are more.
pub fn release_jobs(work: &mut TenantWork) -> Result<Released, StorageError> {
    let released = epoch::release(work)?;
    if released.released + released.superseded > 0 {
        let epoch = epoch::current(work)?;
        let details = json!({"jobs": released.released, "superseded": released.superseded});
        audit::record(work, "jobs.released", &format!("epoch:{epoch}"), details)?;
    }
    Ok(released)
}
