//! A clock that only goes forward, derived from a wall clock that does not.
//!
//! It adds up the forward steps of the wall clock. A step back counts as zero, and counting
//! continues from there: no caller is locked out until the old time is reached again. A step
//! forward looks like a wait; it fills each bucket once, and no bucket holds more than one window.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use governor::nanos::Nanos;

use crate::primitives::{Clock, Timestamp};

/// The longest step that is added: every bucket is full after one window, and no window is longer
/// than an hour. So a clock set to the year 9999 cannot make the count overflow.
const STEP_MAX_MS: i64 = 3_600_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// The steady time of a process; 0 at its start.
#[derive(Clone)]
pub(super) struct Steady {
    clock: Arc<dyn Clock>,
    count: Arc<Mutex<Count>>,
}

struct Count {
    wall: Timestamp,
    elapsed_ns: u64,
}

impl Steady {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let count = Count {
            wall: clock.now(),
            elapsed_ns: 0,
        };
        Self {
            clock,
            count: Arc::new(Mutex::new(count)),
        }
    }

    /// The steady time in nanoseconds, and the wall-clock time at the same instant.
    pub(super) fn read(&self) -> (u64, Timestamp) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: if two readings overtook each other, the second would be a step back
        // and the next one a step too far.
        let wall = self.clock.now();
        let step = (wall.as_millis() - count.wall.as_millis()).clamp(0, STEP_MAX_MS);
        count.elapsed_ns += step.unsigned_abs() * NANOS_PER_MS;
        count.wall = wall;
        (count.elapsed_ns, wall)
    }
}

/// The steady time for one governor. Governor counts from its first reading, but must count from
/// the beginning of the steady time, as the buckets do, whenever it was created: so its first
/// reading is 0.
#[derive(Clone)]
pub(super) struct FromZero {
    steady: Steady,
    has_begun: Arc<AtomicBool>,
}

impl FromZero {
    pub(super) fn new(steady: &Steady) -> Self {
        Self {
            steady: steady.clone(),
            has_begun: Arc::default(),
        }
    }
}

impl governor::clock::Clock for FromZero {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        if self.has_begun.swap(true, Ordering::AcqRel) {
            Nanos::new(self.steady.read().0)
        } else {
            Nanos::new(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::ManualClock;
    use std::time::Duration;

    #[test]
    fn adds_up_forward_steps() {
        let start = Timestamp::parse("2026-01-15T10:00:00Z").unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let steady = Steady::new(clock.clone());
        let seconds = |steady: &Steady| steady.read().0 / 1_000_000_000;
        clock.advance(Duration::from_secs(5));
        assert_eq!(seconds(&steady), 5);
        clock.set(start.plus_millis(-3_600_000));
        assert_eq!(seconds(&steady), 5, "a step back adds nothing");
        clock.advance(Duration::from_secs(2));
        assert_eq!(seconds(&steady.clone()), 7, "counting continues");
        clock.set(Timestamp::parse("9999-12-01T00:00:00Z").unwrap());
        assert_eq!(seconds(&steady), 3_607, "a step adds an hour at most");
    }
}
