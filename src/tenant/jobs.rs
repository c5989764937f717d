//! Jobs of a shop as an operator sees and changes them: list, retry, cancel, delete.
//!
//! A running job is left alone: its effect outside cannot be called back. A completed job stays. A
//! change and its entry in the shop's audit trail are one transaction. Reads are bounded: a state
//! that few jobs are in has its own index, and for the other states one page reads a limited number
//! of rows.

use serde_json::json;

use crate::platform::audit;
use crate::platform::epoch::{self, Released};
use crate::platform::queue::{Queue, State, own_epoch};
use crate::primitives::id::JobId;
use crate::primitives::limits::{JOBS_CHANGED_MAX, JOBS_SCANNED_MAX};
use crate::primitives::{Timestamp, refusals};
use crate::storage::{Row, Rows, StorageError, TenantView, TenantWork, Wake, params, statements};

/// Columns that [`line`] reads.
macro_rules! columns {
    () => {
        concat!(
            "seq, id, queue, kind, state, attempt, max_attempts, rescues, scheduled_at, \
             attempted_at, finalized_at, json_array_length(errors) AS error_count, \
             json_extract(errors, '$[#-1]') AS last_error, priority, epoch, ",
            own_epoch!(),
            " AS own_epoch"
        )
    };
}

/// A page of jobs, from an index or the detail table.
macro_rules! list {
    ($from:literal) => {
        concat!(
            "SELECT ",
            columns!(),
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

/// Counts of waiting jobs; those that are held are counted apart.
macro_rules! count {
    ($from:literal) => {
        concat!(
            "SELECT queue, state, epoch <> ",
            own_epoch!(),
            " AS held, count(*) AS jobs FROM job ",
            $from
        )
    };
}

statements! {
    // Without the hint SQLite would walk all completed jobs because of the ORDER BY.
    LIST_READY = list!("INDEXED BY job_ready WHERE state = 'available'");
    LIST_WAITING = list!("INDEXED BY job_waiting WHERE state IN ('scheduled', 'retryable')");
    LIST_RUNNING = list!("INDEXED BY job_running WHERE state = 'running'");
    LIST_GIVEN_UP = list!("INDEXED BY job_unsuccessful WHERE state IN ('cancelled', 'discarded')");
    LIST_ANY = list!("WHERE seq >= ?7");
    FLOOR = "SELECT seq FROM job WHERE seq < ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2";
    FIND_SEQ = "SELECT seq FROM job WHERE id = ?1";
    FIND = concat!(
        "SELECT ",
        columns!(),
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
    DISCARDED = "SELECT seq, id FROM job INDEXED BY job_unsuccessful
                 WHERE state IN ('cancelled', 'discarded') AND state = 'discarded' AND seq > ?1 \
                 AND (?2 IS NULL OR queue = ?2) ORDER BY seq LIMIT ?3";
    COUNT_READY = count!("INDEXED BY job_ready WHERE state = 'available' GROUP BY queue, epoch");
    COUNT_WAITING = count!("INDEXED BY job_waiting WHERE state IN ('scheduled', 'retryable') GROUP \
        BY queue, epoch, state");
    COUNT_RUNNING = "SELECT queue, state, 0 AS held, count(*) AS jobs FROM job INDEXED BY \
        job_running WHERE state = 'running' GROUP BY queue";
    COUNT_GIVEN_UP = "SELECT queue, state, 0 AS held, count(*) AS jobs FROM job INDEXED BY \
        job_unsuccessful WHERE state IN ('cancelled', 'discarded') GROUP BY queue, state";
    OLDEST_READY = concat!(
        "SELECT scheduled_at FROM job WHERE state = 'available' AND queue = ?1 AND epoch = ",
        own_epoch!(),
        " ORDER BY priority, seq LIMIT 1"
    );
}

/// A job in a list.
#[derive(Clone, Debug)]
pub struct JobLine {
    /// Sequence number.
    pub seq: i64,
    pub id: JobId,
    pub queue: Queue,
    /// Names the handler.
    pub kind: String,
    pub state: State,
    /// Attempts so far.
    pub attempt: i64,
    /// The job's own limit of attempts, if it has one.
    pub max_attempts: Option<i64>,
    /// Rescues after the process that ran it had died.
    pub rescues: i64,
    /// The instant at which it is or was due.
    pub scheduled_at: Timestamp,
    /// The instant of the last attempt.
    pub attempted_at: Option<Timestamp>,
    pub finalized_at: Option<Timestamp>,
    /// The number of its errors.
    pub errors: i64,
    /// The last error, as JSON.
    pub last_error: Option<String>,
    /// Ready jobs run by priority, the lowest number first.
    pub priority: i64,
    /// The reason why a waiting job does not run.
    pub held: Option<Hold>,
}

/// Reasons why a job is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It belongs to an older epoch of its file: its effect outside may have happened already.
    OlderEpoch,
    /// No handler runs its kind.
    UnknownKind,
}

impl Hold {
    /// The value in API responses.
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

/// A job with its payload and errors.
#[derive(Clone, Debug)]
pub struct JobDetail {
    pub line: JobLine,
    /// The handler's input, as JSON.
    pub payload: String,
    /// Every error with its time, as JSON.
    pub errors: String,
}

/// A filter over jobs.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub state: Option<State>,
    pub queue: Option<Queue>,
    pub kind: Option<String>,
    /// Only held jobs, or only others.
    pub held: Option<bool>,
}

/// A page of jobs.
#[derive(Clone, Debug)]
pub struct JobPage {
    /// The newest first.
    pub lines: Vec<JobLine>,
    /// The next page has jobs before this sequence number; `None` at the end.
    pub next: Option<i64>,
}

/// The number of jobs of a queue in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    pub queue: Queue,
    pub state: State,
    /// Whether they wait to be released.
    pub held: bool,
    pub jobs: i64,
}

refusals! {
    /// Reasons to refuse a change of a job; the first that applies wins.
    pub enum JobRefused {
        NotFound: NotFound "job_not_found",
            "no such job; `GET /v1/landlord/queue/jobs` and `tillbox queue failed` list the \
             existing jobs";
        Running: Conflict "job_running", "the job is running; wait for its end";
        Completed: Conflict "job_completed", "the job is completed; there is nothing left to do";
        /// Another job has the same effect.
        Superseded: Conflict "job_superseded",
            "another job with the same unique key has not ended yet and has the same effect; wait \
             for its end";
    }
    inherits { Storage(StorageError) }
}

/// The outcome of removing a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was waiting, and will never run.
    Cancelled,
    /// It was discarded, and its row is deleted.
    Forgotten,
    /// It was cancelled before.
    Already,
}

/// A change of all discarded jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    Retry,
    /// Their rows are deleted.
    Forget,
}

/// Progress of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Jobs retried or deleted.
    pub changed: u32,
    /// Jobs that stay because another one supersedes them.
    pub skipped: u32,
    /// The sequence number after which to continue; `None` at the end.
    pub next: Option<i64>,
}

fn line(row: &Row<'_>) -> rusqlite::Result<JobLine> {
    Ok(JobLine {
        seq: row.get("seq")?,
        id: row.get("id")?,
        queue: row.get("queue")?,
        kind: row.get("kind")?,
        state: row.get("state")?,
        attempt: row.get("attempt")?,
        max_attempts: row.get("max_attempts")?,
        rescues: row.get("rescues")?,
        scheduled_at: row.get("scheduled_at")?,
        attempted_at: row.get("attempted_at")?,
        finalized_at: row.get("finalized_at")?,
        errors: row.get("error_count")?,
        last_error: row.get("last_error")?,
        priority: row.get("priority")?,
        held: Hold::of(row.get("state")?, row.get("epoch")?, row.get("own_epoch")?),
    })
}

/// Lists jobs before a sequence number, the newest first. A page may have fewer rows than `limit`,
/// or none, although more pages follow.
pub fn list_jobs(
    view: &TenantView,
    filter: &JobFilter,
    before: i64,
    limit: u32,
) -> Result<JobPage, StorageError> {
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
                view.find(&FLOOR, params![before, JOBS_SCANNED_MAX], |row| row.get(0))?;
            // The row at the floor is the first one not read.
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
    Ok(JobPage { lines, next })
}

/// Whether a job is in this file.
pub fn has_job(view: &TenantView, id: JobId) -> Result<bool, StorageError> {
    Ok(view
        .find(&FIND_SEQ, params![id], |row| row.get::<_, i64>(0))?
        .is_some())
}

/// Finds a job with its payload and errors.
///
/// # Errors
/// `NotFound`.
pub fn require_job(view: &TenantView, id: JobId) -> Result<JobDetail, JobRefused> {
    let detail = |row: &Row<'_>| {
        Ok(JobDetail {
            line: line(row)?,
            payload: row.get("payload")?,
            errors: row.get("errors")?,
        })
    };
    view.find(&FIND, params![id], detail)?
        .ok_or(JobRefused::NotFound)
}

/// Counts the jobs of each queue and state except completed ones: those are many and wait for
/// nothing. One queue and state may occur several times; add them up.
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
                queue: row.get("queue")?,
                state: row.get("state")?,
                held: row.get("held")?,
                jobs: row.get("jobs")?,
            })
        })?);
    }
    Ok(depths)
}

/// The instant since which the next job of a queue is ready.
pub fn find_oldest_ready(
    view: &TenantView,
    queue: Queue,
) -> Result<Option<Timestamp>, StorageError> {
    view.find(&OLDEST_READY, params![queue], |row| row.get(0))
}

fn subject(id: JobId) -> String {
    format!("job:{id}")
}

/// Makes a job available now. A discarded or cancelled job starts again with all its attempts; a
/// waiting one keeps its count of attempts. A held job is released. Returns whether anything
/// changed: an available job stays as it is.
pub fn retry_job(work: &mut TenantWork, id: JobId) -> Result<bool, JobRefused> {
    let JobDetail { line: job, .. } = require_job(work, id)?;
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

/// Cancels a job that has not started, or deletes a discarded one.
pub fn remove_job(work: &mut TenantWork, id: JobId) -> Result<Removed, JobRefused> {
    let JobDetail { line: job, .. } = require_job(work, id)?;
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

/// Retries or deletes discarded jobs of one queue or of all, after a sequence number. Limited per
/// call, so that sales go on in between. A job that is in another state by then is left alone.
pub fn sweep_discarded(
    work: &mut TenantWork,
    sweep: Sweep,
    queue: Option<Queue>,
    after: i64,
) -> Result<Swept, StorageError> {
    let seq_and_id = |row: &Row<'_>| Ok((row.get::<_, i64>("seq")?, row.get::<_, JobId>("id")?));
    let found = work.all(
        &DISCARDED,
        params![after, queue, JOBS_CHANGED_MAX],
        seq_and_id,
    )?;
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

/// Releases held jobs. Limited per call, so that sales go on in between; call it again while there
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
