//! Whether the clock is believed. What deletes by age asks here first: a clock that was set a year ahead makes everything old.
//!
//! While the process runs, the clock on the wall is held against how long the machine has been up, which nobody sets: what the one moved by and the other
//! did not is a clock that was set. Over a restart there is only what was written down: a clock behind the latest instant that was seen, or more than a week
//! beyond the last one at which nothing spoke against it, is not believed either. Doubt is written down before anything is decided, and lasts over restarts
//! until the operator says that the clock is right, or the same process sees it come back to what it should show.
//! Deliberately absent: a time server. Whoever sets the clock is asked whether they meant it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::commands::note;
use super::directory::Directory;
use crate::primitives::limits::{CLOCK_GAP_MAX_MS, CLOCK_STEP_MAX_MS, CLOCK_TRUST_NOTED_MS};
use crate::primitives::{Clock, Origin, Timestamp};
use crate::storage::{LandlordView, LandlordWork, Row, Rows, StorageError, params, statements};

statements! {
    TRUST = "SELECT trusted_at, doubted_at, doubt, (SELECT seen_at FROM clock_mark WHERE singleton = 1) FROM clock_trust WHERE singleton = 1";
    SEEN_BEFORE = "SELECT seen_at FROM clock_mark WHERE singleton = 1";
    SET_TRUST = "INSERT INTO clock_trust (singleton, trusted_at) VALUES (1, ?1)
                 ON CONFLICT (singleton) DO UPDATE SET trusted_at = excluded.trusted_at, doubted_at = NULL, doubt = NULL";
    SET_DOUBT = "INSERT INTO clock_trust (singleton, trusted_at, doubted_at, doubt) VALUES (1, ?1, ?2, ?3)
                 ON CONFLICT (singleton) DO UPDATE SET doubted_at = excluded.doubted_at, doubt = excluded.doubt";
    // The one time that it may go back.
    RESET_SEEN = "INSERT INTO clock_mark (singleton, seen_at) VALUES (1, ?1) ON CONFLICT (singleton) DO UPDATE SET seen_at = excluded.seen_at";
}

/// Why the clock is not believed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Doubt {
    /// What the clock showed when it began.
    pub since: Timestamp,
    /// What speaks against it.
    pub reason: String,
}

#[derive(Default)]
struct State {
    /// What the clock showed and how long the machine had been up when nothing spoke against the clock last; `None` before the first look.
    anchor: Option<(Timestamp, Duration)>,
    /// When it was last written down that nothing does.
    noted: Option<Timestamp>,
    doubt: Option<Doubt>,
}

/// Looks at the clock.
pub struct ClockWatch {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// What is written down.
struct Stored {
    trusted_at: Option<Timestamp>,
    seen_at: Option<Timestamp>,
    doubt: Option<Doubt>,
}

impl ClockWatch {
    /// Over the landlord's file; looks at nothing yet.
    pub fn new(directory: Arc<Directory>, clock: Arc<dyn Clock>) -> Self {
        Self {
            directory,
            clock,
            state: Mutex::default(),
        }
    }

    /// Looks at the clock, and says why it is not believed, if it is not. Writes when that changes, and once a day. Blocks.
    ///
    /// # Errors
    /// [`StorageError`], of the landlord's file; then nothing may be deleted.
    pub fn observe(&self) -> Result<Option<Doubt>, StorageError> {
        let mut state = self.state();
        let (now, up) = (self.clock.now(), self.clock.uptime());
        let spoken = match state.anchor {
            None => self.look_back(&mut state, now)?,
            Some(anchor) => {
                let step = self.step_since(anchor);
                (step.abs() > CLOCK_STEP_MAX_MS).then(|| {
                    let direction = if step > 0 { "forward" } else { "back" };
                    format!("it was set {direction} by {} s, from {}", step.abs() / 1000, now.plus_millis(-step))
                })
            }
        };
        let Some(reason) = spoken else {
            state.anchor = state
                .anchor
                .map_or_else(|| state.doubt.is_none().then_some((now, up)), |_| Some((now, up)));
            if state.anchor.is_some() {
                self.note_trust(&mut state, now)?;
            }
            return Ok(state.doubt.clone());
        };
        if state.doubt.is_none() {
            let doubt = Doubt { since: now, reason };
            tracing::warn!(target: "security", since = %doubt.since, reason = doubt.reason, "the clock is not believed; nothing is deleted by age until the operator says that it is right (tillbox retention prune --clock-is-right)");
            let (trusted, noted) = (state.anchor.map_or(now, |(then, _)| then), doubt.clone());
            let write = self.directory.database().write(Origin::system(), move |work| {
                work.change(&SET_DOUBT, params![trusted, noted.since, noted.reason], Rows::Exactly(1))
            });
            write.wait()?;
            state.doubt = Some(doubt);
        }
        Ok(state.doubt.clone())
    }

    /// Whether the clock is believed now: as last observed, and no step since. Reads no file and waits for nobody; who observes at this moment leaves it open, and
    /// then it is not. Not either before the first look.
    pub fn is_believed(&self) -> bool {
        let Ok(state) = self.state.try_lock() else { return false };
        state.doubt.is_none()
            && state
                .anchor
                .is_some_and(|anchor| self.step_since(anchor).abs() <= CLOCK_STEP_MAX_MS)
    }

    /// By how much the clock was set since then, in milliseconds.
    fn step_since(&self, (then, up_then): (Timestamp, Duration)) -> i64 {
        let passed = i64::try_from(self.clock.uptime().saturating_sub(up_then).as_millis()).unwrap_or(i64::MAX);
        self.clock.now().as_millis().saturating_sub(then.as_millis()).saturating_sub(passed)
    }

    /// The operator's word that the clock is right now: doubt is over, and what it showed before counts no more. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn confirm(&self, origin: Origin) -> Result<Timestamp, StorageError> {
        let mut state = self.state();
        let write = self.directory.database().write(origin, |work: &mut LandlordWork<'_>| {
            let now = work.now();
            work.change(&SET_TRUST, params![now], Rows::Exactly(1))?;
            work.change(&RESET_SEEN, params![now], Rows::Exactly(1))?;
            note(work, "clock.confirmed", "house:clock", json!({"shows": now}))?;
            Ok::<_, StorageError>(now)
        });
        let now = write.wait()?;
        *state = State {
            anchor: Some((self.clock.now(), self.clock.uptime())),
            noted: Some(now),
            doubt: None,
        };
        Ok(now)
    }

    /// The first look of a process: what was written down speaks against the clock, or does not.
    fn look_back(&self, state: &mut State, now: Timestamp) -> Result<Option<String>, StorageError> {
        if state.doubt.is_some() {
            return Ok(None);
        }
        let stored = self.directory.read(stored).wait()?;
        if stored.doubt.is_some() {
            state.doubt = stored.doubt;
            return Ok(None);
        }
        state.noted = stored.trusted_at;
        let latest = stored.trusted_at.max(stored.seen_at);
        if let Some(latest) = latest.filter(|latest| now.plus_millis(CLOCK_STEP_MAX_MS) < *latest) {
            return Ok(Some(format!("it has shown {latest} before")));
        }
        let gap = stored
            .trusted_at
            .filter(|trusted| now.as_millis() - trusted.as_millis() > CLOCK_GAP_MAX_MS);
        Ok(gap.map(|trusted| {
            let days = (now.as_millis() - trusted.as_millis()) / (24 * 60 * 60 * 1000);
            format!("{days} days are said to have passed since {trusted}, when this program ran last")
        }))
    }

    /// Nothing speaks against the clock: doubt that this process has seen come is over, because the clock has come back.
    fn note_trust(&self, state: &mut State, now: Timestamp) -> Result<(), StorageError> {
        let is_fresh = |noted: Timestamp| (0..CLOCK_TRUST_NOTED_MS).contains(&(now.as_millis() - noted.as_millis()));
        if state.doubt.is_none() && state.noted.is_some_and(is_fresh) {
            return Ok(());
        }
        let write = self.directory.database().write(Origin::system(), move |work| {
            work.change(&SET_TRUST, params![now], Rows::Exactly(1))
        });
        write.wait()?;
        if state.doubt.take().is_some() {
            tracing::info!(%now, "the clock shows again what it should; it is believed");
        }
        state.noted = Some(now);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stored(view: &LandlordView) -> Result<Stored, StorageError> {
    let found = view.find(&TRUST, [], |row: &Row<'_>| {
        let since: Option<Timestamp> = row.get(1)?;
        let reason: Option<String> = row.get(2)?;
        Ok(Stored {
            trusted_at: Some(row.get(0)?),
            seen_at: row.get(3)?,
            doubt: since.zip(reason).map(|(since, reason)| Doubt { since, reason }),
        })
    })?;
    match found {
        Some(found) => Ok(found),
        None => Ok(Stored {
            trusted_at: None,
            seen_at: view.find(&SEEN_BEFORE, [], |row| row.get(0))?,
            doubt: None,
        }),
    }
}
