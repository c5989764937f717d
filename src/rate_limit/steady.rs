//! Time that only goes forward, made of a wall clock that does not.
//!
//! It counts the steps that the wall clock takes forward. A clock that is set back is a step of
//! nothing, and from there on it counts again: nobody is locked out until the old time has come
//! round. A clock that is set forward looks like a wait; it fills each bucket once, and no bucket
//! holds more than one window.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use governor::nanos::Nanos;

use crate::primitives::{Clock, Timestamp};

/// The longest step that counts: every bucket is full after a step of one window, and no window is
/// longer than an hour. So a clock of the year 9999 cannot bring the count to its end.
const STEP_MAX_MS: i64 = 3_600_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// The steady time of a process, from 0 at its start.
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

    /// The steady time in nanoseconds, and what the wall clock shows at it.
    pub(super) fn read(&self) -> (u64, Timestamp) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: of two readings that pass each other, the second would be a step
        // back and the next one a step too far.
        let wall = self.clock.now();
        let step = (wall.as_millis() - count.wall.as_millis()).clamp(0, STEP_MAX_MS);
        count.elapsed_ns += step.unsigned_abs() * NANOS_PER_MS;
        count.wall = wall;
        (count.elapsed_ns, wall)
    }
}

/// The steady time for one governor. That takes its first reading for the beginning of its count,
/// and has to count from the beginning of the steady time as the buckets do, whenever it was made:
/// so the first reading is 0.
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
    fn it_counts_what_goes_forward() {
        let start = Timestamp::parse("2026-01-15T10:00:00Z").unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let steady = Steady::new(clock.clone());
        let seconds = |steady: &Steady| steady.read().0 / 1_000_000_000;
        clock.advance(Duration::from_secs(5));
        assert_eq!(seconds(&steady), 5);
        clock.set(start.plus_millis(-3_600_000));
        assert_eq!(seconds(&steady), 5, "set back: nothing");
        clock.advance(Duration::from_secs(2));
        assert_eq!(seconds(&steady.clone()), 7, "and on from there");
        clock.set(Timestamp::parse("9999-12-01T00:00:00Z").unwrap());
        assert_eq!(seconds(&steady), 3_607, "a leap is an hour at most");
    }
}
