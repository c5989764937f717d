//! L5: what comes round in this house, and when: one list, by which the scheduler acts and of which the operator is told.
//!
//! A new duty is a line in [`DUTIES`]. One that deletes by age says so: it is held while the clock is not believed (`tenancy/clock_watch.rs`).

use std::sync::Arc;

use crate::app::App;
use crate::config::Config;
use crate::primitives::{Recurrence, Timestamp};
use crate::storage::StorageError;
use crate::{clock_alert, fetching, upkeep};

/// Something that comes round.
#[derive(Clone, Copy, Debug)]
pub struct Duty {
    /// Its name in the landlord's file and in the log. Never changed: under another name it would be another duty.
    pub name: &'static str,
    /// When it is due.
    pub when: When,
    /// Whether it deletes by age, and is held while the clock is not believed.
    pub deletes: bool,
    /// Does it, on a thread that may block. What goes on for long looks at `app.duties.is_stopping()` now and then. May be done twice after a crash.
    pub run: fn(&Arc<App>, Timestamp) -> Result<(), String>,
}

/// When a duty is due.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Each time that it has come round since it was last done.
    Recurs(fn(&Config) -> Recurrence),
    /// At an instant that it keeps itself, looked up every few seconds; never, while there is none. A look writes nothing.
    Says(fn(&App, Timestamp) -> Result<Option<Timestamp>, StorageError>),
}

/// What comes round in this house.
pub const DUTIES: &[Duty] = &[
    Duty {
        name: "retention",
        when: When::Recurs(|config| config.retention.recurrence()),
        deletes: true,
        run: upkeep::begin_retention,
    },
    Duty {
        name: "integrity",
        when: When::Recurs(|config| config.retention.at(upkeep::CHECK_SCHEDULE)),
        deletes: false,
        run: upkeep::check_changed,
    },
    Duty {
        name: "log_files",
        when: When::Recurs(|config| config.retention.at(upkeep::LOGS_SCHEDULE)),
        deletes: true,
        run: |app, _| upkeep::remove_old_logs(app).map_err(|error| error.to_string()),
    },
    Duty {
        name: "exchange_rates",
        when: When::Says(fetching::next_at),
        deletes: false,
        run: |app, now| {
            fetching::fetch_due(app, now)
                .map(drop)
                .map_err(|error| error.to_string())
        },
    },
    Duty {
        name: "clock_alert",
        when: When::Says(clock_alert::next_at),
        deletes: false,
        run: |app, now| clock_alert::tell(app, now),
    },
];

/// When a duty was last done, and when it comes next.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Its name.
    pub duty: &'static str,
    /// `None` before the first time.
    pub last_run_at: Option<Timestamp>,
    /// In the past while it is held or under way; `None` while it does not come.
    pub next_run_at: Option<Timestamp>,
}

/// Where each duty stands. Blocks.
///
/// # Errors
/// [`StorageError`].
pub fn list_rounds(app: &App) -> Result<Vec<Round>, StorageError> {
    let now = app.clock.now();
    let round = |duty: &Duty| {
        let done = app.duties.find(duty.name)?;
        Ok(Round {
            duty: duty.name,
            last_run_at: done.and_then(|done| done.ran_at),
            next_run_at: match duty.when {
                When::Recurs(recurrence) => {
                    done.and_then(|done| recurrence(&app.config).next_after(done.up_to))
                }
                When::Says(next_at) => next_at(app, now)?,
            },
        })
    };
    DUTIES.iter().map(round).collect()
}
