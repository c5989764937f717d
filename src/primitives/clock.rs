//! The port to the wall clock. A lint bans the ambient clocks everywhere else.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Timestamp;

/// The source of the time. Read once per transaction, so that all rows of one call agree.
pub trait Clock: Send + Sync {
    /// The present instant in UTC, to the millisecond.
    fn now(&self) -> Timestamp;

    /// The machine's uptime, sleep included. Nobody sets it: when [`now`](Self::now) progresses
    /// differently, the clock was set.
    fn uptime(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the wall clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::from_millis_clamped(jiff::Timestamp::now().as_millisecond())
    }

    fn uptime(&self) -> Duration {
        let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(
            u64::try_from(up.tv_sec).unwrap_or(0),
            u32::try_from(up.tv_nsec).unwrap_or(0),
        )
    }
}

/// A measured duration, for metrics only: no decision depends on it, and it is not stored.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts the measurement.
    #[expect(
        clippy::disallowed_methods,
        reason = "for metrics; the wall clock may be set during the measurement"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn read(self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock that moves only when a test or replay moves it.
#[derive(Debug)]
pub struct ManualClock {
    now_ms: AtomicI64,
    up_ms: AtomicU64,
}

impl ManualClock {
    pub fn new(now: Timestamp) -> Self {
        Self {
            now_ms: AtomicI64::new(now.as_millis()),
            up_ms: AtomicU64::new(0),
        }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
        self.up_ms.fetch_add(ms.unsigned_abs(), Ordering::SeqCst);
    }

    /// Sets the clock, forward or back, without letting time pass.
    pub fn set(&self, now: Timestamp) {
        self.now_ms.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis_clamped(self.now_ms.load(Ordering::SeqCst))
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.up_ms.load(Ordering::SeqCst))
    }
}
