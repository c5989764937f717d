//! L5: what the moving parts of the process show of themselves. The worker and `serve` write it,
//! `/health` reads it, and neither knows the other.
//!
//! How long a part has been silent goes by how long the machine has been up: a clock that is set
//! silences nobody. What the clock showed is for people.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::platform::queue::Queue;
use crate::primitives::limits::{HEARTBEAT_STALE_MS, JOB_LATE_MS, PROBE_MS, SCHEDULER_STALE_MS};
use crate::primitives::{Clock, Timestamp};

/// Stands for "never" where an instant is kept as a number.
const NEVER: i64 = i64::MIN;
/// Stands for "it was, and has ended" there.
const ENDED: i64 = i64::MIN + 1;

/// Signs of life.
#[derive(Debug)]
pub struct Liveness {
    ready: AtomicBool,
    worker: Heartbeat,
    oldest_due: AtomicI64,
    oldest_of_queues: [AtomicI64; Queue::ALL.len()],
    scheduler: Heartbeat,
    hanging: Arc<()>,
    probe: tokio::sync::Mutex<Option<Probe>>,
}

/// The last sign of life of one part.
#[derive(Debug)]
struct Heartbeat {
    /// What the clock showed.
    at: AtomicI64,
    /// How long the machine had been up.
    up_ms: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            at: AtomicI64::new(NEVER),
            up_ms: AtomicU64::new(0),
        }
    }
}

impl Heartbeat {
    fn note(&self, clock: &dyn Clock) {
        // Whoever sees the new instant sees the new time as well.
        self.up_ms.store(up_ms(clock), Ordering::Release);
        self.at.store(clock.now().as_millis(), Ordering::Release);
    }

    fn is_stale(&self, clock: &dyn Clock, stale_ms: i64) -> bool {
        let silent_ms = up_ms(clock).saturating_sub(self.up_ms.load(Ordering::Acquire));
        silent_ms > stale_ms.unsigned_abs()
    }
}

fn up_ms(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.uptime().as_millis()).unwrap_or(u64::MAX)
}

/// A call that hangs.
#[derive(Debug)]
pub struct Hanging {
    _counted: Arc<()>,
}

/// What was last found of the landlord's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// When it was found.
    pub at: Timestamp,
    /// What is wrong with it, if anything is.
    pub fault: Option<String>,
}

/// Why the queue does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueFault {
    /// The worker was not started, or it has been stopped.
    #[error("the worker does not run")]
    Stopped,
    /// The worker has shown no sign of life since then.
    #[error("the worker has been silent since {0}")]
    Silent(Timestamp),
    /// The scheduler was stopped, or has ended.
    #[error("the scheduler does not run")]
    SchedulerStopped,
    /// The scheduler has shown no sign of life since then.
    #[error("the scheduler has been silent since {0}")]
    SchedulerSilent(Timestamp),
    /// So many outward calls run on although the time-out of their queue is over. Each keeps its
    /// place in the queue until it ends.
    #[error(
        "{0} calls go on after their queue's time-out, each in a place of its queue; if they do \
         not end, restart the process"
    )]
    Hanging(usize),
    /// A job that is due since then is still waiting.
    #[error("a job has been waiting since {0}")]
    Late(Timestamp),
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            ready: AtomicBool::new(false),
            worker: Heartbeat::default(),
            oldest_due: AtomicI64::new(NEVER),
            oldest_of_queues: [const { AtomicI64::new(NEVER) }; Queue::ALL.len()],
            scheduler: Heartbeat::default(),
            hanging: Arc::default(),
            probe: tokio::sync::Mutex::default(),
        }
    }
}

impl Liveness {
    /// Says whether requests are welcome: after the start-up, and no longer once the end has begun.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Whether requests are welcome.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The worker lives; `oldest_due` is the earliest instant at which something that still waits
    /// is or was due.
    pub fn heartbeat(&self, clock: &dyn Clock, oldest_due: Option<Timestamp>) {
        let oldest = oldest_due.map_or(NEVER, Timestamp::as_millis);
        self.oldest_due.store(oldest, Ordering::Release);
        self.worker.note(clock);
    }

    /// Since when the oldest of what waits in each queue is due, whether the queue is paused or
    /// not; in the order of [`Queue::ALL`].
    pub fn note_queues(&self, oldest: impl Fn(Queue) -> Option<Timestamp>) {
        for (queue, stored) in Queue::ALL.iter().zip(&self.oldest_of_queues) {
            stored.store(
                oldest(*queue).map_or(NEVER, Timestamp::as_millis),
                Ordering::Release,
            );
        }
    }

    /// The earliest instant at which something that waits in a queue is or was due, when the worker
    /// last looked; for each queue.
    pub fn oldest_of_queues(&self) -> impl Iterator<Item = (Queue, Option<Timestamp>)> + '_ {
        Queue::ALL
            .iter()
            .zip(&self.oldest_of_queues)
            .map(|(queue, stored)| (*queue, instant(stored)))
    }

    /// The worker has ended in an orderly way.
    pub fn stopped(&self) {
        self.worker.at.store(NEVER, Ordering::Release);
    }

    /// The scheduler lives.
    pub fn scheduler_heartbeat(&self, clock: &dyn Clock) {
        self.scheduler.note(clock);
    }

    /// The scheduler has ended.
    pub fn scheduler_stopped(&self) {
        self.scheduler.at.store(ENDED, Ordering::Release);
    }

    /// An outward call has not ended in its time; it hangs until what is given here is dropped.
    pub fn call_hangs(&self) -> Hanging {
        let _counted = self.hanging.clone();
        Hanging { _counted }
    }

    /// Whether the scheduler works, if there is one: the process of a command has none.
    fn scheduler(&self, clock: &dyn Clock) -> Result<(), QueueFault> {
        let heartbeat_at = match self.scheduler.at.load(Ordering::Acquire) {
            NEVER => return Ok(()),
            ENDED => return Err(QueueFault::SchedulerStopped),
            ms => Timestamp::from_millis_clamped(ms),
        };
        if self.scheduler.is_stale(clock, SCHEDULER_STALE_MS) {
            return Err(QueueFault::SchedulerSilent(heartbeat_at));
        }
        Ok(())
    }

    /// When the worker last showed itself; nothing while it does not run.
    pub fn heartbeat_at(&self) -> Option<Timestamp> {
        instant(&self.worker.at)
    }

    /// The earliest instant at which something that still waits is or was due, when the worker last
    /// looked.
    pub fn oldest_due(&self) -> Option<Timestamp> {
        instant(&self.oldest_due)
    }

    /// Whether the queue works.
    ///
    /// # Errors
    /// [`QueueFault`].
    pub fn queue(&self, clock: &dyn Clock) -> Result<(), QueueFault> {
        let heartbeat_at = instant(&self.worker.at).ok_or(QueueFault::Stopped)?;
        if self.worker.is_stale(clock, HEARTBEAT_STALE_MS) {
            return Err(QueueFault::Silent(heartbeat_at));
        }
        self.scheduler(clock)?;
        let hanging = Arc::strong_count(&self.hanging) - 1;
        if hanging > 0 {
            return Err(QueueFault::Hanging(hanging));
        }
        match instant(&self.oldest_due) {
            Some(due) if clock.now().as_millis() - due.as_millis() > JOB_LATE_MS => {
                Err(QueueFault::Late(due))
            }
            _ => Ok(()),
        }
    }

    /// The last finding about the landlord's file, behind a lock, so that one caller at a time
    /// probes and those who come meanwhile wait for its finding.
    pub const fn last_probe(&self) -> &tokio::sync::Mutex<Option<Probe>> {
        &self.probe
    }
}

impl Probe {
    /// Whether the finding is fresh enough to stand at `now`. A clock that was set back must not
    /// keep one for ever.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        (0..PROBE_MS).contains(&(now.as_millis() - self.at.as_millis()))
    }
}

fn instant(stored: &AtomicI64) -> Option<Timestamp> {
    let ms = stored.load(Ordering::Acquire);
    (ms != NEVER).then(|| Timestamp::from_millis_clamped(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::ManualClock;
    use std::time::Duration;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis_clamped(ms)
    }

    fn pass(clock: &ManualClock, ms: i64) {
        clock.advance(Duration::from_millis(ms.unsigned_abs()));
    }

    #[test]
    fn the_queue_works_while_it_beats_and_nothing_is_late() {
        let (pulse, clock) = (Liveness::default(), ManualClock::new(at(0)));
        assert_eq!(pulse.queue(&clock), Err(QueueFault::Stopped));
        pulse.heartbeat(&clock, None);
        pass(&clock, HEARTBEAT_STALE_MS);
        assert_eq!(pulse.queue(&clock), Ok(()));
        pass(&clock, 1);
        assert_eq!(pulse.queue(&clock), Err(QueueFault::Silent(at(0))));
        pass(&clock, JOB_LATE_MS - HEARTBEAT_STALE_MS - 1);
        pulse.heartbeat(&clock, Some(at(0)));
        assert_eq!(pulse.queue(&clock), Ok(()));
        pass(&clock, 1);
        assert_eq!(pulse.queue(&clock), Err(QueueFault::Late(at(0))));
        pulse.heartbeat(&clock, Some(at(JOB_LATE_MS * 2)));
        assert_eq!(pulse.queue(&clock), Ok(()));
        pulse.stopped();
        assert_eq!(pulse.queue(&clock), Err(QueueFault::Stopped));
    }

    #[test]
    fn a_clock_that_is_set_silences_nobody_and_keeps_nobody_alive() {
        let (pulse, clock) = (Liveness::default(), ManualClock::new(at(0)));
        pulse.heartbeat(&clock, None);
        pulse.scheduler_heartbeat(&clock);
        for ms in [
            -3_600_000,
            -SCHEDULER_STALE_MS - 1,
            SCHEDULER_STALE_MS + 1,
            31_536_000_000,
        ] {
            clock.set(at(ms));
            assert_eq!(pulse.queue(&clock), Ok(()), "{ms}");
        }
        pass(&clock, HEARTBEAT_STALE_MS + 1);
        clock.set(at(0));
        assert_eq!(pulse.queue(&clock), Err(QueueFault::Silent(at(0))));
        pulse.heartbeat(&clock, None);
        pass(&clock, SCHEDULER_STALE_MS);
        pulse.heartbeat(&clock, None);
        clock.set(at(0));
        assert_eq!(pulse.queue(&clock), Err(QueueFault::SchedulerSilent(at(0))));
    }

    #[test]
    fn the_queue_fails_while_a_call_hangs() {
        let (pulse, clock) = (Liveness::default(), ManualClock::new(at(0)));
        pulse.heartbeat(&clock, None);
        let (first, second) = (pulse.call_hangs(), pulse.call_hangs());
        assert_eq!(pulse.queue(&clock), Err(QueueFault::Hanging(2)));
        drop(first);
        assert_eq!(pulse.queue(&clock), Err(QueueFault::Hanging(1)));
        drop(second);
        assert_eq!(pulse.queue(&clock), Ok(()));
    }

    #[test]
    fn the_queue_fails_with_its_scheduler_and_heals_with_it() {
        let (pulse, clock) = (Liveness::default(), ManualClock::new(at(0)));
        pulse.heartbeat(&clock, None);
        assert_eq!(pulse.queue(&clock), Ok(()));
        pulse.scheduler_heartbeat(&clock);
        pass(&clock, SCHEDULER_STALE_MS);
        pulse.heartbeat(&clock, None);
        assert_eq!(pulse.queue(&clock), Ok(()));
        pass(&clock, 1);
        assert_eq!(pulse.queue(&clock), Err(QueueFault::SchedulerSilent(at(0))));
        pulse.scheduler_heartbeat(&clock);
        assert_eq!(pulse.queue(&clock), Ok(()));
        pulse.scheduler_stopped();
        assert_eq!(pulse.queue(&clock), Err(QueueFault::SchedulerStopped));
    }

    #[test]
    fn a_finding_stands_for_a_second_and_survives_no_clock_that_was_set_back() {
        let found = Probe {
            at: at(PROBE_MS),
            fault: None,
        };
        assert!(found.is_fresh(at(PROBE_MS)) && found.is_fresh(at(2 * PROBE_MS - 1)));
        assert!(!found.is_fresh(at(2 * PROBE_MS)) && !found.is_fresh(at(0)));
    }
}
