//! The time that rate limits run on: the machine's uptime. A clock that is set, forward or back,
//! changes no limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::nanos::Nanos;

use crate::primitives::{Clock, Timestamp};

/// The uptime since the limits of this process began; 0 at its start.
#[derive(Clone)]
pub(super) struct Uptime {
    clock: Arc<dyn Clock>,
    start: Duration,
}

impl Uptime {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let start = clock.uptime();
        Self { clock, start }
    }

    /// The uptime in nanoseconds, and the wall-clock time at the same instant.
    pub(super) fn read(&self) -> (u64, Timestamp) {
        let elapsed = self.clock.uptime().saturating_sub(self.start);
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        (elapsed_ns, self.clock.now())
    }
}

/// The uptime for one governor. Governor counts from its first reading, but must count from the
/// beginning of the uptime, as the buckets do, whenever it was created: so its first reading is 0.
#[derive(Clone)]
pub(super) struct FromZero {
    uptime: Uptime,
    has_begun: Arc<AtomicBool>,
}

impl FromZero {
    pub(super) fn new(uptime: &Uptime) -> Self {
        Self {
            uptime: uptime.clone(),
            has_begun: Arc::default(),
        }
    }
}

impl governor::clock::Clock for FromZero {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        if self.has_begun.swap(true, Ordering::AcqRel) {
            Nanos::new(self.uptime.read().0)
        } else {
            Nanos::new(0)
        }
    }
}
