//! L5: the list of maintenance tasks with their schedules, used by the scheduler and shown to the
//! operator.
//!
//! A new task is an entry in [`TASKS`]. A task that deletes by age sets `deletes`: it is held while
//! the clock is not trusted (`landlord/clock.rs`).

use std::sync::Arc;

use super::{clock_notice, integrity, log_files, rate_fetch, retention};
use crate::app::App;
use crate::config::Config;
use crate::primitives::{Recurrence, Timestamp};
use crate::storage::StorageError;

/// A maintenance task.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// The name in the landlord's file and in the log. Never change it: a new name is a new task.
    pub name: &'static str,
    pub when: When,
    /// Whether it deletes by age: then it is held while the clock is not trusted.
    pub deletes: bool,
    /// Runs the task on a thread that may block. A long one checks `app.stores.tasks.is_stopping()`
    /// regularly. After a crash it may run twice.
    pub run: fn(&Arc<App>, Timestamp) -> Result<(), String>,
}

/// The schedule of a task.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Due at each recurrence since the last run.
    Recurs(fn(&Config) -> Recurrence),
    /// Due at an instant that the task stores itself, read every few seconds; never while there is
    /// none. Reading it writes nothing.
    At(fn(&App, Timestamp) -> Result<Option<Timestamp>, StorageError>),
}

/// All tasks of this program.
pub const TASKS: &[Task] = &[
    Task {
        name: "retention",
        when: When::Recurs(|config| config.retention.recurrence()),
        deletes: true,
        run: retention::begin_retention,
    },
    Task {
        name: "integrity",
        when: When::Recurs(|config| config.retention.at(integrity::CHECK_SCHEDULE)),
        deletes: false,
        run: integrity::check_changed,
    },
    Task {
        name: "log_files",
        when: When::Recurs(|config| config.retention.at(log_files::LOGS_SCHEDULE)),
        deletes: true,
        run: |app, _| log_files::remove_old_logs(app).map_err(|error| error.to_string()),
    },
    Task {
        name: "exchange_rates",
        when: When::At(rate_fetch::next_at),
        deletes: false,
        run: |app, now| {
            rate_fetch::fetch_due(app, now)
                .map(drop)
                .map_err(|error| error.to_string())
        },
    },
    Task {
        name: "clock_alert",
        when: When::At(clock_notice::next_at),
        deletes: false,
        run: |app, now| clock_notice::notify(app, now),
    },
];

/// The last and the next run of a task.
#[derive(Clone, Copy, Debug)]
pub struct TaskStatus {
    pub task: &'static str,
    /// `None` before the first run.
    pub last_run_at: Option<Timestamp>,
    /// In the past while the task is held or running; `None` while it is not due at all.
    pub next_run_at: Option<Timestamp>,
}

/// Lists the status of all tasks. Blocks.
pub fn list_tasks(app: &App) -> Result<Vec<TaskStatus>, StorageError> {
    let now = app.ports.clock.now();
    let status = |task: &Task| {
        let done = app.stores.tasks.find(task.name)?;
        Ok(TaskStatus {
            task: task.name,
            last_run_at: done.and_then(|done| done.ran_at),
            next_run_at: match task.when {
                When::Recurs(recurrence) => {
                    done.and_then(|done| recurrence(&app.config).next_after(done.up_to))
                }
                When::At(next_at) => next_at(app, now)?,
            },
        })
    };
    TASKS.iter().map(status).collect()
}
