//! L5: what comes round in this house, and when: one list, by which the scheduler acts and of which
//! the operator is told.
//!
//! A new task is a line in [`TASKS`]. One that deletes by age says so: it is held while the clock
//! is not trusted (`landlord/clock.rs`).

use std::sync::Arc;

use super::{all_files, clock_notice, rate_fetch};
use crate::app::App;
use crate::config::Config;
use crate::primitives::{Recurrence, Timestamp};
use crate::storage::StorageError;

/// Something that comes round.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Its name in the landlord's file and in the log. Never changed: under another name it would
    /// be another task.
    pub name: &'static str,
    /// When it is due.
    pub when: When,
    /// Whether it deletes by age, and is held while the clock is not trusted.
    pub deletes: bool,
    /// Does it, on a thread that may block. What goes on for long looks at
    /// `app.tasks.is_stopping()` now and then. May be done twice after a crash.
    pub run: fn(&Arc<App>, Timestamp) -> Result<(), String>,
}

/// When a task is due.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Each time that it has come round since it was last done.
    Recurs(fn(&Config) -> Recurrence),
    /// At an instant that it keeps itself, looked up every few seconds; never, while there is none.
    /// A look writes nothing.
    Says(fn(&App, Timestamp) -> Result<Option<Timestamp>, StorageError>),
}

/// What comes round in this house.
pub const TASKS: &[Task] = &[
    Task {
        name: "retention",
        when: When::Recurs(|config| config.retention.recurrence()),
        deletes: true,
        run: all_files::begin_retention,
    },
    Task {
        name: "integrity",
        when: When::Recurs(|config| config.retention.at(all_files::CHECK_SCHEDULE)),
        deletes: false,
        run: all_files::check_changed,
    },
    Task {
        name: "log_files",
        when: When::Recurs(|config| config.retention.at(all_files::LOGS_SCHEDULE)),
        deletes: true,
        run: |app, _| all_files::remove_old_logs(app).map_err(|error| error.to_string()),
    },
    Task {
        name: "exchange_rates",
        when: When::Says(rate_fetch::next_at),
        deletes: false,
        run: |app, now| {
            rate_fetch::fetch_due(app, now)
                .map(drop)
                .map_err(|error| error.to_string())
        },
    },
    Task {
        name: "clock_alert",
        when: When::Says(clock_notice::next_at),
        deletes: false,
        run: |app, now| clock_notice::tell(app, now),
    },
];

/// When a task was last done, and when it comes next.
#[derive(Clone, Copy, Debug)]
pub struct TaskStatus {
    pub task: &'static str,
    /// `None` before the first time.
    pub last_run_at: Option<Timestamp>,
    /// In the past while it is held or under way; `None` while it does not come.
    pub next_run_at: Option<Timestamp>,
}

/// Where each task stands. Blocks.
pub fn list_tasks(app: &App) -> Result<Vec<TaskStatus>, StorageError> {
    let now = app.clock.now();
    let round = |task: &Task| {
        let done = app.tasks.find(task.name)?;
        Ok(TaskStatus {
            task: task.name,
            last_run_at: done.and_then(|done| done.ran_at),
            next_run_at: match task.when {
                When::Recurs(recurrence) => {
                    done.and_then(|done| recurrence(&app.config).next_after(done.up_to))
                }
                When::Says(next_at) => next_at(app, now)?,
            },
        })
    };
    TASKS.iter().map(round).collect()
}
