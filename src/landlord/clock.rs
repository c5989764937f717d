//! The clock watch: decides whether the clock is trusted. Code that deletes by age checks it first,
//! because a clock that was set a year ahead makes everything old.
//!
//! While the process runs, the wall clock is compared with the machine's uptime, which nobody sets:
//! a difference between their advances means that the clock was set. Across a restart only stored
//! values help: the clock is not trusted when it is behind the latest time seen, or more than a
//! week beyond the last time at which it was trusted. A suspicion is stored before anything is
//! decided, and survives restarts.
//!
//! It ends when the operator confirms the clock, and by itself
//!
//! - when the same process sees the clock return to the expected time;
//! - when a clock that was behind at a start has caught up: it shows a time that a process starting
//!   now would trust. (Example: an empty battery, and a time server that answers after this program
//!   has started. Rows written in between have old timestamps but keep their position: the audit
//!   trail and the stock movements are ordered by sequence.)
//! - when the clock has run steadily for a week in which processes ran, nobody set it, and it was
//!   not further than 60 days from the last trusted time: holidays, a paused machine, a manual
//!   correction. A clock that is years ahead is never trusted merely by waiting: a failing battery
//!   or a mistyped year deletes nothing. An operator who sets the clock ahead by less and leaves it
//!   so for a week has a week of receipts that show it.
//!
//! Deliberately absent: a time server. The operator who set the clock is asked to confirm it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::json;

use crate::platform::alerts::AlertChannel;
use crate::platform::audit;
use crate::primitives::limits::{
    CLOCK_CLOSED_MAX_MS, CLOCK_GAP_MAX_MS, CLOCK_STEADY_MS, CLOCK_STEADY_RECORD_MS,
    CLOCK_STEP_MAX_MS, CLOCK_TRUST_RECORD_MS,
};
use crate::primitives::sync;
use crate::primitives::{Clock, Origin, Timestamp};
use crate::storage::{
    LandlordView, LandlordWork, Row, Rows, StorageError, params, statements, text_enum,
};
use crate::tenancy::Directory;

/// The name of the alert about the present suspicion.
const ALERT: &str = "clock_suspected";

statements! {
    TRUST = "SELECT trusted_at, suspect_at, suspicion, cause, steady_from, steady_ms, checked_at
        FROM clock_trust WHERE singleton = 1";
    SEEN_BEFORE = "SELECT seen_at FROM clock_latest WHERE singleton = 1";
    SET_TRUST = "INSERT INTO clock_trust (singleton, trusted_at) VALUES (1, ?1)
        ON CONFLICT (singleton)
        DO UPDATE SET trusted_at = excluded.trusted_at, suspect_at = NULL, suspicion = NULL,
        cause = NULL, steady_from = NULL, steady_ms = 0, checked_at = NULL";
    SET_SUSPECT = "INSERT INTO clock_trust (singleton, trusted_at, suspect_at, suspicion, cause,
        steady_from, checked_at) VALUES (1, ?1, ?2, ?3, ?4, ?2, ?2) ON CONFLICT (singleton)
        DO UPDATE SET trusted_at = excluded.trusted_at, suspect_at = excluded.suspect_at,
        suspicion = excluded.suspicion, cause = excluded.cause,
        steady_from = excluded.steady_from, steady_ms = 0, checked_at = excluded.checked_at";
    SET_STEADY = "UPDATE clock_trust SET steady_from = ?1, steady_ms = ?2, checked_at = ?3
        WHERE singleton = 1";
    // Used only when the stored time may go back.
    RESET_SEEN = "INSERT INTO clock_latest (singleton, seen_at) VALUES (1, ?1)
        ON CONFLICT (singleton) DO UPDATE SET seen_at = excluded.seen_at";
    NOTIFIED = "SELECT channel FROM alert_notice WHERE alert = ?1";
    SET_NOTIFIED = "INSERT INTO alert_notice (alert, channel, notified_at)
        SELECT ?1, ?2, ?3 FROM clock_trust WHERE singleton = 1 AND suspect_at = ?4
        ON CONFLICT (alert, channel) DO UPDATE SET notified_at = excluded.notified_at";
    FORGET_NOTIFIED = "DELETE FROM alert_notice WHERE alert = ?1";
}

text_enum! {
    /// The cause of a suspicion.
    Cause {
        /// At a start, the clock showed an earlier time than before.
        Behind = "behind",
        /// At a start, more time had passed than a machine is normally stopped for.
        Gap = "gap",
        /// The clock was set while a process ran.
        Set = "set",
    }
}

/// The reason why the clock is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ClockSuspicion {
    /// The time that the clock showed when the suspicion began.
    pub since: Timestamp,
    pub reason: String,
    /// The condition that ends the suspicion, as the end of a sentence.
    pub ends: String,
}

impl fmt::Display for ClockSuspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.since, self.reason)
    }
}

/// A reading of the clock: its time, and the machine's uptime.
type Reading = (Timestamp, Duration);

/// A suspicion, and the evidence for the clock since then.
struct ActiveSuspicion {
    suspicion: ClockSuspicion,
    cause: Cause,
    /// The last time at which the clock was trusted.
    trusted: Timestamp,
    /// The time that the clock showed after it was last set.
    steady_from: Timestamp,
    /// Milliseconds for which processes have seen it run steadily since, and how many of these are
    /// stored.
    steady_ms: i64,
    stored_ms: i64,
    previous: PreviousReading,
}

/// The previous reading.
enum PreviousReading {
    /// By this process.
    Own(Reading),
    /// By an earlier process, as far as it was stored.
    Earlier(Option<Timestamp>),
}

/// The condition that ends a suspicion.
enum Resolution {
    /// The suspicion has ended, for this reason.
    Now(&'static str),
    /// When the clock shows this time.
    At(Timestamp),
    /// When the clock has run steadily for this many more milliseconds.
    After(i64),
    /// When the operator confirms the clock.
    Confirmation,
}

#[derive(Default)]
struct State {
    /// The last trusted reading; `None` before the first one of this process.
    anchor: Option<Reading>,
    /// The last time at which trust was stored.
    stored_at: Option<Timestamp>,
    active: Option<ActiveSuspicion>,
}

/// The last result, for callers that must not wait.
#[derive(Default)]
struct LastResult {
    has_observed: bool,
    suspicion: Option<ClockSuspicion>,
}

/// Observes the clock.
pub struct ClockWatch {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    last_result: Mutex<LastResult>,
}

impl ClockWatch {
    /// Reads neither the file nor the clock yet.
    pub fn new(directory: Arc<Directory>, clock: Arc<dyn Clock>) -> Self {
        Self {
            directory,
            clock,
            state: Mutex::default(),
            last_result: Mutex::default(),
        }
    }

    /// Observes the clock and returns why it is not trusted, if so. Writes when the result changes,
    /// once a day while the clock is trusted, and every hour while it is not. Blocks.
    ///
    /// # Errors
    /// A [`StorageError`] of the landlord's file; nothing may be deleted then.
    pub fn observe(&self) -> Result<Option<ClockSuspicion>, StorageError> {
        let mut state = self.state();
        let reading = (self.clock.now(), self.clock.uptime());
        let suspicion = match (&state.active, state.anchor) {
            (Some(_), _) => None,
            (None, Some(anchor)) => self.detect_step(anchor, reading.0),
            (None, None) => self.compare_with_stored(&mut state, reading.0)?,
        };
        if let Some((cause, reason, trusted)) = suspicion {
            self.begin(&mut state, reading, cause, reason, trusted)?;
        }
        if state.active.is_some() {
            self.reassess(&mut state, reading)?;
        } else {
            state.anchor = Some(reading);
            self.store_trust(&mut state, reading.0)?;
        }
        Ok(self.publish(&state))
    }

    /// Whether the clock is trusted now: at the last observation, and not set since. Reads no file
    /// and never waits. Returns `false` while another thread observes, and before the first
    /// observation.
    pub fn is_trusted(&self) -> bool {
        let Ok(state) = self.state.try_lock() else {
            return false;
        };
        state.active.is_none()
            && state
                .anchor
                .is_some_and(|anchor| self.step_since(anchor).abs() <= CLOCK_STEP_MAX_MS)
    }

    /// The suspicion at the last observation. Reads no file and never waits.
    pub fn last_suspicion(&self) -> Option<ClockSuspicion> {
        self.last_result().suspicion.clone()
    }

    /// Whether the clock was trusted at the last observation; `false` before the first one.
    pub fn was_trusted(&self) -> bool {
        let last_result = self.last_result();
        last_result.has_observed && last_result.suspicion.is_none()
    }

    /// Milliseconds by which the clock was set since then.
    fn step_since(&self, then: Reading) -> i64 {
        step((self.clock.now(), self.clock.uptime()), then)
    }

    /// Records the operator's confirmation that the clock is right: the suspicion ends, and times
    /// seen before are forgotten. Blocks.
    pub fn confirm(&self, origin: Origin) -> Result<Timestamp, StorageError> {
        let mut state = self.state();
        let write = self
            .directory
            .database()
            .write(origin, |work: &mut LandlordWork<'_>| {
                let now = work.now();
                set_trust(work, now)?;
                work.change(&RESET_SEEN, params![now], Rows::Exactly(1))?;
                audit::record(
                    work,
                    "clock.confirmed",
                    "landlord:clock",
                    json!({"shows": now}),
                )?;
                Ok::<_, StorageError>(now)
            });
        let now = write.wait()?;
        *state = State {
            anchor: Some((self.clock.now(), self.clock.uptime())),
            stored_at: Some(now),
            active: None,
        };
        self.publish(&state);
        Ok(now)
    }

    /// Detects that the clock was set since the last reading of this process.
    fn detect_step(&self, anchor: Reading, now: Timestamp) -> Option<(Cause, String, Timestamp)> {
        let step = self.step_since(anchor);
        (step.abs() > CLOCK_STEP_MAX_MS).then(|| {
            let direction = if step > 0 { "forward" } else { "back" };
            let reason = format!(
                "it was set {direction} by {} s, from {}",
                step.abs() / 1000,
                now.plus_millis(-step)
            );
            (Cause::Set, reason, anchor.0)
        })
    }

    /// At the first observation of a process: loads a stored suspicion, or compares the clock with
    /// the stored times.
    fn compare_with_stored(
        &self,
        state: &mut State,
        now: Timestamp,
    ) -> Result<Option<(Cause, String, Timestamp)>, StorageError> {
        let (trusted, active) = self.directory.read(move |view| load(view, now)).wait()?;
        if active.is_some() {
            state.active = active;
            return Ok(None);
        }
        state.stored_at = trusted;
        let seen = self.directory.read(load_seen).wait()?;
        if let Some(latest) = trusted.max(seen).filter(|latest| is_behind(now, *latest)) {
            let reason = format!("it showed a later time before: {latest}");
            return Ok(Some((Cause::Behind, reason, trusted.unwrap_or(latest))));
        }
        let gap =
            trusted.filter(|trusted| now.as_millis() - trusted.as_millis() > CLOCK_GAP_MAX_MS);
        Ok(gap.map(|trusted| {
            let days = (now.as_millis() - trusted.as_millis()) / (24 * 60 * 60 * 1000);
            let reason =
                format!("it shows {days} days after {trusted}, when this program last ran");
            (Cause::Gap, reason, trusted)
        }))
    }

    /// Stores a suspicion, and then activates it.
    fn begin(
        &self,
        state: &mut State,
        reading: Reading,
        cause: Cause,
        reason: String,
        trusted: Timestamp,
    ) -> Result<(), StorageError> {
        let now = reading.0;
        tracing::warn!(target: "security", since = %now, reason, "the clock is not trusted; \
            nothing is deleted by age (see tillbox retention status)");
        let stored_reason = reason.clone();
        let write = self
            .directory
            .database()
            .write(Origin::system(), move |work| {
                work.change(&FORGET_NOTIFIED, params![ALERT], Rows::Any)?;
                work.change(
                    &SET_SUSPECT,
                    params![trusted, now, stored_reason, cause],
                    Rows::Exactly(1),
                )
            });
        write.wait()?;
        let suspicion = ClockSuspicion {
            since: now,
            reason,
            ends: String::new(),
        };
        state.active = Some(ActiveSuspicion {
            suspicion,
            cause,
            trusted,
            steady_from: now,
            steady_ms: 0,
            stored_ms: 0,
            previous: PreviousReading::Own(reading),
        });
        Ok(())
    }

    /// Checks whether a clock that is not trusted can be trusted now.
    fn reassess(&self, state: &mut State, reading: Reading) -> Result<(), StorageError> {
        let has_returned = state
            .anchor
            .is_some_and(|anchor| step(reading, anchor).abs() <= CLOCK_STEP_MAX_MS);
        let knows_expected_time = state.anchor.is_some();
        let Some(active) = &mut state.active else {
            return Ok(());
        };
        let is_steady = active.add_reading(reading);
        let latest = self
            .directory
            .read(load_seen)
            .wait()?
            .map_or(active.trusted, |seen| seen.max(active.trusted));
        let end = if has_returned {
            Resolution::Now("it shows the expected time again")
        } else {
            active.end(reading.0, latest)
        };
        if let Resolution::Now(why) = end {
            return self.restore_trust(state, reading, why, has_returned);
        }
        active.suspicion.ends = match end {
            // Only the process that saw the change knows the expected time.
            Resolution::At(latest) if !knows_expected_time => {
                format!("by itself when it shows {latest}, or when you confirm that it is right")
            }
            end => end.to_string(),
        };
        if !is_steady || active.steady_ms - active.stored_ms >= CLOCK_STEADY_RECORD_MS {
            let (now, from, ms) = (reading.0, active.steady_from, active.steady_ms);
            let write = self
                .directory
                .database()
                .write(Origin::system(), move |work| {
                    work.change(&SET_STEADY, params![from, ms, now], Rows::Exactly(1))
                });
            write.wait()?;
            active.stored_ms = ms;
        }
        Ok(())
    }

    /// Ends the suspicion without the operator. When the clock has returned, the times that it
    /// showed meanwhile were wrong and are forgotten.
    fn restore_trust(
        &self,
        state: &mut State,
        reading: Reading,
        why: &'static str,
        forget_seen: bool,
    ) -> Result<(), StorageError> {
        let (now, _) = reading;
        let suspect_since = state.active.as_ref().map(|active| active.suspicion.since);
        let write = self.directory.database().write(
            Origin::system(),
            move |work: &mut LandlordWork<'_>| {
                set_trust(work, now)?;
                if forget_seen {
                    work.change(&RESET_SEEN, params![now], Rows::Exactly(1))?;
                }
                let details = json!({"shows": now, "suspect_since": suspect_since, "because": why});
                audit::record(work, "clock.trusted", "landlord:clock", details)
            },
        );
        write.wait()?;
        tracing::info!(%now, because = why, "the clock is trusted again");
        *state = State {
            anchor: Some(reading),
            stored_at: Some(now),
            active: None,
        };
        Ok(())
    }

    /// Stores once a day that the clock is trusted.
    fn store_trust(&self, state: &mut State, now: Timestamp) -> Result<(), StorageError> {
        let is_fresh = |stored: Timestamp| {
            (0..CLOCK_TRUST_RECORD_MS).contains(&(now.as_millis() - stored.as_millis()))
        };
        if state.stored_at.is_some_and(is_fresh) {
            return Ok(());
        }
        let write = self
            .directory
            .database()
            .write(Origin::system(), move |work| set_trust(work, now));
        write.wait()?;
        state.stored_at = Some(now);
        Ok(())
    }

    fn publish(&self, state: &State) -> Option<ClockSuspicion> {
        let suspicion = state.active.as_ref().map(|active| active.suspicion.clone());
        *self.last_result() = LastResult {
            has_observed: true,
            suspicion: suspicion.clone(),
        };
        suspicion
    }

    fn state(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }

    fn last_result(&self) -> MutexGuard<'_, LastResult> {
        sync::lock(&self.last_result)
    }
}

/// Milliseconds by which the clock was set between two readings.
fn step((now, up): Reading, (then, up_then): Reading) -> i64 {
    let passed = millis(up.saturating_sub(up_then));
    now.as_millis()
        .saturating_sub(then.as_millis())
        .saturating_sub(passed)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn is_behind(now: Timestamp, latest: Timestamp) -> bool {
    now.plus_millis(CLOCK_STEP_MAX_MS) < latest
}

impl ActiveSuspicion {
    /// Adds a reading to the evidence, and returns whether it supports the clock. Across a restart
    /// it is judged as at a start.
    fn add_reading(&mut self, reading: Reading) -> bool {
        let passed = match self.previous {
            PreviousReading::Own(before) => (step(reading, before).abs() <= CLOCK_STEP_MAX_MS)
                .then(|| millis(reading.1.saturating_sub(before.1))),
            PreviousReading::Earlier(None) => Some(0),
            PreviousReading::Earlier(Some(before)) => {
                let gap = reading.0.as_millis().saturating_sub(before.as_millis());
                (-CLOCK_STEP_MAX_MS..=CLOCK_GAP_MAX_MS)
                    .contains(&gap)
                    .then_some(0)
            }
        };
        self.previous = PreviousReading::Own(reading);
        match passed {
            Some(ms) => self.steady_ms = self.steady_ms.saturating_add(ms),
            None => (self.steady_from, self.steady_ms) = (reading.0, 0),
        }
        passed.is_some()
    }

    /// Determines how the suspicion ends, from the current time and the latest time seen.
    fn end(&self, now: Timestamp, latest: Timestamp) -> Resolution {
        let since_trusted =
            |then: Timestamp| then.as_millis().saturating_sub(self.trusted.as_millis());
        if is_behind(now, latest) {
            Resolution::At(latest)
        } else if self.cause == Cause::Behind && since_trusted(now) <= CLOCK_GAP_MAX_MS {
            Resolution::Now("it has caught up with the time that it showed before")
        } else if since_trusted(self.steady_from) > CLOCK_CLOSED_MAX_MS {
            Resolution::Confirmation
        } else if self.steady_ms >= CLOCK_STEADY_MS {
            Resolution::Now("it has run steadily for a week")
        } else {
            Resolution::After(CLOCK_STEADY_MS - self.steady_ms)
        }
    }
}

impl std::fmt::Display for Resolution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now(_) => f.write_str("now"),
            Self::At(latest) => write!(
                f,
                "by itself when it shows {latest} or the expected time, or when you confirm that \
                it is right"
            ),
            Self::After(ms) => {
                let hours = (ms + 3_599_999) / 3_600_000;
                write!(
                    f,
                    "by itself after {hours} more hours in which this program runs and the clock \
                    is steady, or when you confirm that it is right"
                )
            }
            Self::Confirmation => {
                f.write_str("when you confirm that it is right; it does not end by itself")
            }
        }
    }
}

/// The last time at which the clock was trusted, and the suspicion that lasts.
fn load(
    view: &LandlordView,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<ActiveSuspicion>), StorageError> {
    let row = view.find(&TRUST, [], |row: &Row<'_>| {
        let trusted: Timestamp = row.get("trusted_at")?;
        let since: Option<Timestamp> = row.get("suspect_at")?;
        let reason: Option<String> = row.get("suspicion")?;
        let cause: Option<Cause> = row.get("cause")?;
        let steady_from: Option<Timestamp> = row.get("steady_from")?;
        let (steady_ms, checked_at) = (row.get("steady_ms")?, row.get("checked_at")?);
        let active = since.zip(reason).map(|(since, reason)| ActiveSuspicion {
            suspicion: ClockSuspicion {
                since,
                reason,
                ends: String::new(),
            },
            cause: cause.unwrap_or(Cause::Set),
            trusted,
            steady_from: steady_from.unwrap_or(now),
            steady_ms,
            stored_ms: steady_ms,
            previous: PreviousReading::Earlier(checked_at),
        });
        Ok((trusted, active))
    })?;
    Ok(row.map_or((None, None), |(trusted, active)| (Some(trusted), active)))
}

fn load_seen(view: &LandlordView) -> Result<Option<Timestamp>, StorageError> {
    view.find(&SEEN_BEFORE, [], |row| row.get(0))
}

/// Stores that the clock was trusted at `now`; a suspicion and its notices are over.
fn set_trust(work: &mut LandlordWork<'_>, now: Timestamp) -> Result<(), StorageError> {
    work.change(&FORGET_NOTIFIED, params![ALERT], Rows::Any)?;
    work.change(&SET_TRUST, params![now], Rows::Exactly(1))
        .map(drop)
}

/// Lists the channels that have notified the operator of the current suspicion.
pub fn find_notified(view: &LandlordView) -> Result<Vec<AlertChannel>, StorageError> {
    view.all(&NOTIFIED, params![ALERT], |row| row.get(0))
}

/// Stores that the operator was notified of the suspicion that began at `since`. Does nothing when
/// that one has ended in the meantime.
pub fn set_notified(
    work: &mut LandlordWork,
    channel: AlertChannel,
    since: Timestamp,
) -> Result<(), StorageError> {
    let row = params![ALERT, channel, work.now(), since];
    work.change(&SET_NOTIFIED, row, Rows::AtMostOne).map(drop)
}
