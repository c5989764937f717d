//! The port to the wall clock. The ambient clocks are banned by lint everywhere else.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Timestamp;

/// Says what time it is. Read once per transaction, so that all rows of one call agree.
pub trait Clock: Send + Sync {
    /// The present instant, to the millisecond, UTC.
    fn now(&self) -> Timestamp;

    /// How long the machine has been up, sleep included. Nobody sets it: what [`now`](Self::now)
    /// moves by and this does not is a clock that was set.
    fn uptime(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
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

/// How long something took. For figures: nothing is decided by it, and nothing of it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to measure.
    #[expect(
        clippy::disallowed_methods,
        reason = "a figure; the wall clock may be set while it is measured"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has been since.
    pub fn read(self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock that stands still until it is told to move: for tests and replays.
#[derive(Debug)]
pub struct ManualClock {
    shows: AtomicI64,
    up_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            shows: AtomicI64::new(now.as_millis()),
            up_ms: AtomicU64::new(0),
        }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.shows.fetch_add(ms, Ordering::SeqCst);
        self.up_ms.fetch_add(ms.unsigned_abs(), Ordering::SeqCst);
    }

    /// Sets it, forward or back, while no time passes.
    pub fn set(&self, now: Timestamp) {
        self.shows.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis_clamped(self.shows.load(Ordering::SeqCst))
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.up_ms.load(Ordering::SeqCst))
    }
}
