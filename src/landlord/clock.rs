//! Whether the clock is trusted. What deletes by age asks here first: a clock that was set a year
//! ahead makes everything old.
//!
//! While the process runs, the clock on the wall is held against how long the machine has been up,
//! which nobody sets: what the one moved by and the other did not is a clock that was set. Over a
//! restart there is only what was written down: a clock behind the latest instant that was seen, or
//! more than a week beyond the last one at which nothing spoke against it, is not trusted either.
//! ClockSuspicion is written down before anything is decided, and lasts over restarts.
//!
//! It ends by the operator's word, and by itself
//! - when the same process sees the clock come back to what it should show;
//! - when a clock that was behind at a start has come round: it shows what a process that started
//!   now would believe. (A battery that is empty, and a time server that answers later than this
//!   program starts. What was written meanwhile bears old times, and is kept in its place all the
//!   same: the trail and the movements of stock go by their order.)
//! - when the clock has gone well for a week in which processes ran, nobody set it, and it was not
//!   further than 60 days from the last instant at which nothing spoke against it: holidays, a
//!   machine that was paused, a correction by hand. A clock that is years ahead is never trusted
//!   for waiting: a battery that fails, or a year that is mistyped, deletes nothing. Whoever sets
//!   it ahead by less and leaves it so for a week has a week's receipts that say so.
//!
//! Deliberately absent: a time server. Whoever sets the clock is asked whether they meant it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::primitives::limits::{
    CLOCK_CLOSED_MAX_MS, CLOCK_GAP_MAX_MS, CLOCK_STEADY_MS, CLOCK_STEADY_RECORD_MS,
    CLOCK_STEP_MAX_MS, CLOCK_TRUST_RECORD_MS,
};
use crate::primitives::{Clock, Origin, Timestamp};
use crate::storage::{
    LandlordView, LandlordWork, Row, Rows, StorageError, params, statements, text_enum,
};
use crate::tenancy::Directory;
use crate::tenancy::commands::record_audit;

statements! {
    TRUST = "SELECT trusted_at, suspect_at, suspicion, cause, steady_from, steady_ms, looked_at \
        FROM clock_trust WHERE singleton = 1";
    SEEN_BEFORE = "SELECT seen_at FROM clock_latest WHERE singleton = 1";
    SET_TRUST = "INSERT INTO clock_trust (singleton, trusted_at) VALUES (1, ?1)
                 ON CONFLICT (singleton) DO UPDATE SET trusted_at = excluded.trusted_at, \
                 suspect_at = NULL, suspicion = NULL, cause = NULL,
                   steady_from = NULL, steady_ms = 0, looked_at = NULL, webhook_notified_at = \
                   NULL, mail_notified_at = NULL";
    SET_SUSPECT = "INSERT INTO clock_trust (singleton, trusted_at, suspect_at, suspicion, cause, \
        steady_from, looked_at) VALUES (1, ?1, ?2, ?3, ?4, ?2, ?2)
                 ON CONFLICT (singleton) DO UPDATE SET trusted_at = excluded.trusted_at, \
                 suspect_at = excluded.suspect_at, suspicion = excluded.suspicion,
                   cause = excluded.cause, steady_from = excluded.steady_from, steady_ms = 0, \
                   looked_at = excluded.looked_at,
                   webhook_notified_at = NULL, mail_notified_at = NULL";
    SET_STEADY = "UPDATE clock_trust SET steady_from = ?1, steady_ms = ?2, looked_at = ?3 WHERE \
        singleton = 1";
    // The times that it may go back.
    RESET_SEEN = "INSERT INTO clock_latest (singleton, seen_at) VALUES (1, ?1) ON CONFLICT \
        (singleton) DO UPDATE SET seen_at = excluded.seen_at";
    NOTIFIED = "SELECT webhook_notified_at IS NOT NULL, mail_notified_at IS NOT NULL FROM \
        clock_trust WHERE singleton = 1";
    WEBHOOK_NOTIFIED = "UPDATE clock_trust SET webhook_notified_at = ?1 WHERE singleton = 1 AND \
        suspect_at = ?2";
    MAIL_NOTIFIED = "UPDATE clock_trust SET mail_notified_at = ?1 WHERE singleton = 1 AND \
        suspect_at = ?2";
}

text_enum! {
    /// How a suspicion came.
    Cause {
        /// At a start the clock showed less than it had shown before.
        Behind = "behind",
        /// At a start more time was said to have passed than a machine is down for.
        Gap = "gap",
        /// While a process ran the clock was set.
        Set = "set",
    }
}

/// Why the clock is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ClockSuspicion {
    /// What the clock showed when it began.
    pub since: Timestamp,
    /// What speaks against it.
    pub reason: String,
    /// How it ends, as the end of a sentence.
    pub ends: String,
}

/// Who tells the operator of a suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeChannel {
    /// The webhook.
    Webhook,
    /// A mail.
    Mail,
}

/// A look at the clock: what it showed, and how long the machine had been up.
type Look = (Timestamp, Duration);

/// A suspicion, and what speaks for the clock since.
struct Held {
    suspicion: ClockSuspicion,
    cause: Cause,
    /// The last instant at which nothing spoke against the clock.
    trusted: Timestamp,
    /// What it showed when it was last moved by what did not pass.
    steady_from: Timestamp,
    /// For how long processes have seen it go well since, and how much of that is written down.
    steady_ms: i64,
    noted_ms: i64,
    last: Last,
}

/// The look before.
enum Last {
    /// This process's.
    Own(Look),
    /// That of a process before, as far as it was written down.
    Earlier(Option<Timestamp>),
}

/// How a suspicion ends.
enum End {
    /// It is over.
    Now(&'static str),
    /// When the clock shows this.
    At(Timestamp),
    /// When the clock has gone well for so much longer.
    After(i64),
    /// When the operator says so.
    Word,
}

#[derive(Default)]
struct State {
    /// The last look at which nothing spoke against the clock; `None` before there was one in this
    /// process.
    anchor: Option<Look>,
    /// When it was last written down that nothing does.
    noted: Option<Timestamp>,
    held: Option<Held>,
}

/// What was found last, for those who may not wait.
#[derive(Default)]
struct Found {
    has_looked: bool,
    suspicion: Option<ClockSuspicion>,
}

/// Looks at the clock.
pub struct ClockWatch {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    found: Mutex<Found>,
}

impl ClockWatch {
    /// Over the landlord's file; looks at nothing yet.
    pub fn new(directory: Arc<Directory>, clock: Arc<dyn Clock>) -> Self {
        Self {
            directory,
            clock,
            state: Mutex::default(),
            found: Mutex::default(),
        }
    }

    /// Looks at the clock, and says why it is not trusted, if it is not. Writes when that changes,
    /// once a day, and each hour while it is not. Blocks.
    ///
    /// # Errors
    /// [`StorageError`], of the landlord's file; then nothing may be deleted.
    pub fn observe(&self) -> Result<Option<ClockSuspicion>, StorageError> {
        let mut state = self.state();
        let look = (self.clock.now(), self.clock.uptime());
        let against = match (&state.held, state.anchor) {
            (Some(_), _) => None,
            (None, Some(anchor)) => self.speaks_against(anchor, look.0),
            (None, None) => self.look_back(&mut state, look.0)?,
        };
        if let Some((cause, reason, trusted)) = against {
            self.begin(&mut state, look, cause, reason, trusted)?;
        }
        if state.held.is_some() {
            self.look_again(&mut state, look)?;
        } else {
            state.anchor = Some(look);
            self.note_trust(&mut state, look.0)?;
        }
        Ok(self.show(&state))
    }

    /// Whether the clock is trusted now: as last observed, and no step since. Reads no file and
    /// waits for nobody; who observes at this moment leaves it open, and then it is not. Not either
    /// before the first look.
    pub fn is_trusted(&self) -> bool {
        let Ok(state) = self.state.try_lock() else {
            return false;
        };
        state.held.is_none()
            && state
                .anchor
                .is_some_and(|anchor| self.step_since(anchor).abs() <= CLOCK_STEP_MAX_MS)
    }

    /// The suspicion that was found when somebody last observed. Reads no file and waits for
    /// nobody.
    pub fn last_suspicion(&self) -> Option<ClockSuspicion> {
        self.found().suspicion.clone()
    }

    /// Whether the clock was trusted when somebody last observed; not before that.
    pub fn was_trusted(&self) -> bool {
        let found = self.found();
        found.has_looked && found.suspicion.is_none()
    }

    /// By how much the clock was set since then, in milliseconds.
    fn step_since(&self, then: Look) -> i64 {
        step((self.clock.now(), self.clock.uptime()), then)
    }

    /// The operator's word that the clock is right now: suspicion is over, and what it showed
    /// before counts no more. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn confirm(&self, origin: Origin) -> Result<Timestamp, StorageError> {
        let mut state = self.state();
        let write = self
            .directory
            .database()
            .write(origin, |work: &mut LandlordWork<'_>| {
                let now = work.now();
                work.change(&SET_TRUST, params![now], Rows::Exactly(1))?;
                work.change(&RESET_SEEN, params![now], Rows::Exactly(1))?;
                record_audit(
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
            noted: Some(now),
            held: None,
        };
        self.show(&state);
        Ok(now)
    }

    /// While the process runs: whether the clock was set since the last look.
    fn speaks_against(&self, anchor: Look, now: Timestamp) -> Option<(Cause, String, Timestamp)> {
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

    /// The first look of a process: what was written down speaks against the clock, or does not; or
    /// it is a suspicion.
    fn look_back(
        &self,
        state: &mut State,
        now: Timestamp,
    ) -> Result<Option<(Cause, String, Timestamp)>, StorageError> {
        let (trusted, held) = self.directory.read(move |view| stored(view, now)).wait()?;
        if held.is_some() {
            state.held = held;
            return Ok(None);
        }
        state.noted = trusted;
        let seen = self.directory.read(seen).wait()?;
        if let Some(latest) = trusted.max(seen).filter(|latest| is_behind(now, *latest)) {
            let reason = format!("it has shown {latest} before");
            return Ok(Some((Cause::Behind, reason, trusted.unwrap_or(latest))));
        }
        let gap =
            trusted.filter(|trusted| now.as_millis() - trusted.as_millis() > CLOCK_GAP_MAX_MS);
        Ok(gap.map(|trusted| {
            let days = (now.as_millis() - trusted.as_millis()) / (24 * 60 * 60 * 1000);
            let reason = format!(
                "{days} days are said to have passed since {trusted}, when this program ran last"
            );
            (Cause::Gap, reason, trusted)
        }))
    }

    /// ClockSuspicion begins, and is written down first.
    fn begin(
        &self,
        state: &mut State,
        look: Look,
        cause: Cause,
        reason: String,
        trusted: Timestamp,
    ) -> Result<(), StorageError> {
        let now = look.0;
        tracing::warn!(target: "security", since = %now, reason, "the clock is not trusted; \
            nothing is deleted by age until it is (tillbox retention status says more)");
        let noted = reason.clone();
        let write = self
            .directory
            .database()
            .write(Origin::system(), move |work| {
                work.change(
                    &SET_SUSPECT,
                    params![trusted, now, noted, cause],
                    Rows::Exactly(1),
                )
            });
        write.wait()?;
        let suspicion = ClockSuspicion {
            since: now,
            reason,
            ends: String::new(),
        };
        state.held = Some(Held {
            suspicion,
            cause,
            trusted,
            steady_from: now,
            steady_ms: 0,
            noted_ms: 0,
            last: Last::Own(look),
        });
        Ok(())
    }

    /// A look at a clock that is not trusted: whether it is now.
    fn look_again(&self, state: &mut State, look: Look) -> Result<(), StorageError> {
        let has_come_back = state
            .anchor
            .is_some_and(|anchor| step(look, anchor).abs() <= CLOCK_STEP_MAX_MS);
        let knows_better = state.anchor.is_some();
        let Some(held) = &mut state.held else {
            return Ok(());
        };
        let is_steady = held.take(look);
        let latest = self
            .directory
            .read(seen)
            .wait()?
            .map_or(held.trusted, |seen| seen.max(held.trusted));
        let end = if has_come_back {
            End::Now("it shows what it should")
        } else {
            held.end(look.0, latest)
        };
        if let End::Now(why) = end {
            return self.believe(state, look, why, has_come_back);
        }
        held.suspicion.ends = match end {
            // Only the process that saw the clock being set knows what it should show.
            End::At(latest) if !knows_better => {
                format!("by itself once it shows {latest}, or by your word that it is right")
            }
            end => end.to_string(),
        };
        if !is_steady || held.steady_ms - held.noted_ms >= CLOCK_STEADY_RECORD_MS {
            let (now, from, ms) = (look.0, held.steady_from, held.steady_ms);
            let write = self
                .directory
                .database()
                .write(Origin::system(), move |work| {
                    work.change(&SET_STEADY, params![from, ms, now], Rows::Exactly(1))
                });
            write.wait()?;
            held.noted_ms = ms;
        }
        Ok(())
    }

    /// ClockSuspicion ends by itself. Where the clock has come back, what it showed meanwhile was
    /// wrong and counts no more.
    fn believe(
        &self,
        state: &mut State,
        look: Look,
        why: &'static str,
        forgets: bool,
    ) -> Result<(), StorageError> {
        let (now, _) = look;
        let suspect_since = state.held.as_ref().map(|held| held.suspicion.since);
        let write = self.directory.database().write(
            Origin::system(),
            move |work: &mut LandlordWork<'_>| {
                work.change(&SET_TRUST, params![now], Rows::Exactly(1))?;
                if forgets {
                    work.change(&RESET_SEEN, params![now], Rows::Exactly(1))?;
                }
                let details = json!({"shows": now, "suspect_since": suspect_since, "because": why});
                record_audit(work, "clock.trusted", "landlord:clock", details)
            },
        );
        write.wait()?;
        tracing::info!(%now, because = why, "the clock is trusted again");
        *state = State {
            anchor: Some(look),
            noted: Some(now),
            held: None,
        };
        Ok(())
    }

    /// Writes down that nothing speaks against the clock, once a day.
    fn note_trust(&self, state: &mut State, now: Timestamp) -> Result<(), StorageError> {
        let is_fresh = |noted: Timestamp| {
            (0..CLOCK_TRUST_RECORD_MS).contains(&(now.as_millis() - noted.as_millis()))
        };
        if state.noted.is_some_and(is_fresh) {
            return Ok(());
        }
        let write = self
            .directory
            .database()
            .write(Origin::system(), move |work| {
                work.change(&SET_TRUST, params![now], Rows::Exactly(1))
            });
        write.wait()?;
        state.noted = Some(now);
        Ok(())
    }

    fn show(&self, state: &State) -> Option<ClockSuspicion> {
        let suspicion = state.held.as_ref().map(|held| held.suspicion.clone());
        *self.found() = Found {
            has_looked: true,
            suspicion: suspicion.clone(),
        };
        suspicion
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By how much the clock was set between two looks, in milliseconds.
fn step((now, up): Look, (then, up_then): Look) -> i64 {
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

impl Held {
    /// Takes a look for or against the clock; whether it was for it. Over a restart it is judged as
    /// a start is.
    fn take(&mut self, look: Look) -> bool {
        let passed = match self.last {
            Last::Own(before) => (step(look, before).abs() <= CLOCK_STEP_MAX_MS)
                .then(|| millis(look.1.saturating_sub(before.1))),
            Last::Earlier(None) => Some(0),
            Last::Earlier(Some(before)) => {
                let gap = look.0.as_millis().saturating_sub(before.as_millis());
                (-CLOCK_STEP_MAX_MS..=CLOCK_GAP_MAX_MS)
                    .contains(&gap)
                    .then_some(0)
            }
        };
        self.last = Last::Own(look);
        match passed {
            Some(ms) => self.steady_ms = self.steady_ms.saturating_add(ms),
            None => (self.steady_from, self.steady_ms) = (look.0, 0),
        }
        passed.is_some()
    }

    /// How it ends, by what the clock shows now and the latest instant that was seen.
    fn end(&self, now: Timestamp, latest: Timestamp) -> End {
        let since_trusted =
            |then: Timestamp| then.as_millis().saturating_sub(self.trusted.as_millis());
        if is_behind(now, latest) {
            End::At(latest)
        } else if self.cause == Cause::Behind && since_trusted(now) <= CLOCK_GAP_MAX_MS {
            End::Now("it has come round to what it has shown before")
        } else if since_trusted(self.steady_from) > CLOCK_CLOSED_MAX_MS {
            End::Word
        } else if self.steady_ms >= CLOCK_STEADY_MS {
            End::Now("it has gone well for a week")
        } else {
            End::After(CLOCK_STEADY_MS - self.steady_ms)
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now(_) => f.write_str("now"),
            Self::At(latest) => write!(
                f,
                "by itself once it shows {latest} or what it should, or by your word that it is \
                 right"
            ),
            Self::After(ms) => {
                let hours = (ms + 3_599_999) / 3_600_000;
                write!(
                    f,
                    "by itself when it has gone well for {hours} more hours in which this program \
                     runs, or by your word that it is right"
                )
            }
            Self::Word => f.write_str("by your word that it is right, and not by itself"),
        }
    }
}

/// The last instant at which nothing spoke against the clock, and the suspicion that lasts.
fn stored(
    view: &LandlordView,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Held>), StorageError> {
    let found = view.find(&TRUST, [], |row: &Row<'_>| {
        let trusted: Timestamp = row.get(0)?;
        let (since, reason): (Option<Timestamp>, Option<String>) = (row.get(1)?, row.get(2)?);
        let (cause, steady_from): (Option<Cause>, Option<Timestamp>) = (row.get(3)?, row.get(4)?);
        let (steady_ms, looked_at): (i64, Option<Timestamp>) = (row.get(5)?, row.get(6)?);
        let held = since.zip(reason).map(|(since, reason)| Held {
            suspicion: ClockSuspicion {
                since,
                reason,
                ends: String::new(),
            },
            cause: cause.unwrap_or(Cause::Set),
            trusted,
            steady_from: steady_from.unwrap_or(now),
            steady_ms,
            noted_ms: steady_ms,
            last: Last::Earlier(looked_at),
        });
        Ok((trusted, held))
    })?;
    Ok(found.map_or((None, None), |(trusted, held)| (Some(trusted), held)))
}

fn seen(view: &LandlordView) -> Result<Option<Timestamp>, StorageError> {
    view.find(&SEEN_BEFORE, [], |row| row.get(0))
}

/// Who has told the operator of the suspicion that lasts.
///
/// # Errors
/// [`StorageError`].
pub fn find_notified(view: &LandlordView) -> Result<Vec<NoticeChannel>, StorageError> {
    let told = view.find(&NOTIFIED, [], |row| {
        Ok([
            (NoticeChannel::Webhook, row.get(0)?),
            (NoticeChannel::Mail, row.get(1)?),
        ])
    })?;
    Ok(told
        .into_iter()
        .flatten()
        .filter(|(_, has_notified)| *has_notified)
        .map(|(channel, _)| channel)
        .collect())
}

/// Writes down that the operator was told of the suspicion that began then; one that is over
/// meanwhile, or another, needs none of it.
///
/// # Errors
/// [`StorageError`].
pub fn set_notified(
    work: &mut LandlordWork,
    channel: NoticeChannel,
    since: Timestamp,
) -> Result<(), StorageError> {
    let statement = match channel {
        NoticeChannel::Webhook => &WEBHOOK_NOTIFIED,
        NoticeChannel::Mail => &MAIL_NOTIFIED,
    };
    let now = work.now();
    work.change(statement, params![now, since], Rows::AtMostOne)
        .map(drop)
}
