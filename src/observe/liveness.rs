//! L5: liveness of the process's components. The worker and `serve` write it, `/health` reads it,
//! and neither depends on the other.
//!
//! The time since a heartbeat is measured by the machine's uptime, so setting the clock does not
//! affect it. Clock times are for display.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::platform::queue::Queue;
use crate::primitives::limits::{HEARTBEAT_STALE_MS, JOB_LATE_MS, PROBE_MS, SCHEDULER_STALE_MS};
use crate::primitives::{Clock, Timestamp};

/// Represents "never" where an instant is stored as a number.
const NEVER: i64 = i64::MIN;
/// Represents "has ended" there.
const ENDED: i64 = i64::MIN + 1;

/// Heartbeats of the components, and the state of the queues.
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

/// The last heartbeat of one component.
#[derive(Debug)]
struct Heartbeat {
    /// The clock's time.
    at: AtomicI64,
    /// The machine's uptime.
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
    fn record(&self, clock: &dyn Clock) {
        // A reader that sees the new `at` also sees the new `up_ms`.
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

/// A call that has exceeded its timeout. It counts as hanging until this value is dropped.
#[derive(Debug)]
pub struct HangingCall {
    _counted: Arc<()>,
}

/// The last probe of the landlord's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub at: Timestamp,
    /// The fault, if any.
    pub fault: Option<String>,
}

/// The reason why the queue does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueFault {
    /// The worker was not started, or was stopped.
    #[error("the worker is not running")]
    Stopped,
    #[error("the worker has sent no heartbeat since {0}")]
    Silent(Timestamp),
    /// The scheduler was stopped or has ended.
    #[error("the scheduler is not running")]
    SchedulerStopped,
    #[error("the scheduler has sent no heartbeat since {0}")]
    SchedulerSilent(Timestamp),
    /// The number of outbound calls that continue after their queue's timeout. Each keeps its slot
    /// until it ends.
    #[error(
        "{0} calls continue after their queue's timeout, each in a slot of its queue; if they do \
        not end, restart the process"
    )]
    Hanging(usize),
    /// A job has been due since then and has not started.
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
    /// Sets whether requests are accepted: `true` after the start, `false` once the shutdown has
    /// begun.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Records a heartbeat of the worker; `oldest_due` is the earliest due time of waiting work.
    pub fn heartbeat(&self, clock: &dyn Clock, oldest_due: Option<Timestamp>) {
        let oldest = oldest_due.map_or(NEVER, Timestamp::as_millis);
        self.oldest_due.store(oldest, Ordering::Release);
        self.worker.record(clock);
    }

    /// Records the earliest due time of waiting work for each queue, paused or not.
    pub fn record_oldest_due(&self, oldest: impl Fn(Queue) -> Option<Timestamp>) {
        for (queue, stored) in Queue::ALL.iter().zip(&self.oldest_of_queues) {
            stored.store(
                oldest(*queue).map_or(NEVER, Timestamp::as_millis),
                Ordering::Release,
            );
        }
    }

    /// The earliest due time of waiting work for each queue, at the worker's last heartbeat.
    pub fn oldest_of_queues(&self) -> impl Iterator<Item = (Queue, Option<Timestamp>)> + '_ {
        Queue::ALL
            .iter()
            .zip(&self.oldest_of_queues)
            .map(|(queue, stored)| (*queue, instant(stored)))
    }

    /// Records that the worker has ended in an orderly way.
    pub fn worker_stopped(&self) {
        self.worker.at.store(NEVER, Ordering::Release);
    }

    /// Records a heartbeat of the scheduler.
    pub fn scheduler_heartbeat(&self, clock: &dyn Clock) {
        self.scheduler.record(clock);
    }

    /// Records that the scheduler has ended.
    pub fn scheduler_stopped(&self) {
        self.scheduler.at.store(ENDED, Ordering::Release);
    }

    /// Records that an outbound call has exceeded its timeout. It hangs until the returned value is
    /// dropped.
    pub fn call_hangs(&self) -> HangingCall {
        let _counted = self.hanging.clone();
        HangingCall { _counted }
    }

    /// Checks the scheduler, if there is one: the process of a command has none.
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

    /// The worker's last heartbeat; `None` while it is not running.
    pub fn heartbeat_at(&self) -> Option<Timestamp> {
        instant(&self.worker.at)
    }

    /// The earliest due time of waiting work, at the worker's last heartbeat.
    pub fn oldest_due(&self) -> Option<Timestamp> {
        instant(&self.oldest_due)
    }

    /// Checks that the worker and the scheduler run, that no call hangs, and that no job is late.
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

    /// The last probe of the landlord's file. Behind a lock, so that one caller at a time probes
    /// and concurrent callers wait for its result.
    pub const fn last_probe(&self) -> &tokio::sync::Mutex<Option<Probe>> {
        &self.probe
    }
}

impl Probe {
    /// Whether the probe may still be used at `now`. A clock that was set back does not keep an old
    /// one valid.
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
    fn fails_queue_when_heartbeat_is_stale_or_job_is_late() {
        let (liveness, clock) = (Liveness::default(), ManualClock::new(at(0)));
        assert_eq!(liveness.queue(&clock), Err(QueueFault::Stopped));
        liveness.heartbeat(&clock, None);
        pass(&clock, HEARTBEAT_STALE_MS);
        assert_eq!(liveness.queue(&clock), Ok(()));
        pass(&clock, 1);
        assert_eq!(liveness.queue(&clock), Err(QueueFault::Silent(at(0))));
        pass(&clock, JOB_LATE_MS - HEARTBEAT_STALE_MS - 1);
        liveness.heartbeat(&clock, Some(at(0)));
        assert_eq!(liveness.queue(&clock), Ok(()));
        pass(&clock, 1);
        assert_eq!(liveness.queue(&clock), Err(QueueFault::Late(at(0))));
        liveness.heartbeat(&clock, Some(at(JOB_LATE_MS * 2)));
        assert_eq!(liveness.queue(&clock), Ok(()));
        liveness.worker_stopped();
        assert_eq!(liveness.queue(&clock), Err(QueueFault::Stopped));
    }

    #[test]
    fn ignores_clock_changes_when_checking_heartbeats() {
        let (liveness, clock) = (Liveness::default(), ManualClock::new(at(0)));
        liveness.heartbeat(&clock, None);
        liveness.scheduler_heartbeat(&clock);
        for ms in [
            -3_600_000,
            -SCHEDULER_STALE_MS - 1,
            SCHEDULER_STALE_MS + 1,
            31_536_000_000,
        ] {
            clock.set(at(ms));
            assert_eq!(liveness.queue(&clock), Ok(()), "{ms}");
        }
        pass(&clock, HEARTBEAT_STALE_MS + 1);
        clock.set(at(0));
        assert_eq!(liveness.queue(&clock), Err(QueueFault::Silent(at(0))));
        liveness.heartbeat(&clock, None);
        pass(&clock, SCHEDULER_STALE_MS);
        liveness.heartbeat(&clock, None);
        clock.set(at(0));
        assert_eq!(
            liveness.queue(&clock),
            Err(QueueFault::SchedulerSilent(at(0)))
        );
    }

    #[test]
    fn fails_queue_while_call_hangs() {
        let (liveness, clock) = (Liveness::default(), ManualClock::new(at(0)));
        liveness.heartbeat(&clock, None);
        let (first, second) = (liveness.call_hangs(), liveness.call_hangs());
        assert_eq!(liveness.queue(&clock), Err(QueueFault::Hanging(2)));
        drop(first);
        assert_eq!(liveness.queue(&clock), Err(QueueFault::Hanging(1)));
        drop(second);
        assert_eq!(liveness.queue(&clock), Ok(()));
    }

    #[test]
    fn fails_queue_while_scheduler_is_silent() {
        let (liveness, clock) = (Liveness::default(), ManualClock::new(at(0)));
        liveness.heartbeat(&clock, None);
        assert_eq!(liveness.queue(&clock), Ok(()));
        liveness.scheduler_heartbeat(&clock);
        pass(&clock, SCHEDULER_STALE_MS);
        liveness.heartbeat(&clock, None);
        assert_eq!(liveness.queue(&clock), Ok(()));
        pass(&clock, 1);
        assert_eq!(
            liveness.queue(&clock),
            Err(QueueFault::SchedulerSilent(at(0)))
        );
        liveness.scheduler_heartbeat(&clock);
        assert_eq!(liveness.queue(&clock), Ok(()));
        liveness.scheduler_stopped();
        assert_eq!(liveness.queue(&clock), Err(QueueFault::SchedulerStopped));
    }

    #[test]
    fn expires_probe_after_a_second_or_when_clock_is_set_back() {
        let probe = Probe {
            at: at(PROBE_MS),
            fault: None,
        };
        assert!(probe.is_fresh(at(PROBE_MS)) && probe.is_fresh(at(2 * PROBE_MS - 1)));
        assert!(!probe.is_fresh(at(2 * PROBE_MS)) && !probe.is_fresh(at(0)));
    }
}
