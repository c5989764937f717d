//! L5: what the moving parts of the process show of themselves. The worker and `serve` write it, `/health` reads it, and neither knows the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::platform::queue::Queue;
use crate::primitives::Timestamp;
use crate::primitives::limits::{BEAT_STALE_MS, JOB_LATE_MS, PROBE_MS, SCHEDULER_STALE_MS};

/// Stands for "never" where an instant is kept as a number.
const NEVER: i64 = i64::MIN;
/// Stands for "it was, and has ended" there.
const ENDED: i64 = i64::MIN + 1;

/// Signs of life.
#[derive(Debug)]
pub struct Pulse {
    ready: AtomicBool,
    beat_at: AtomicI64,
    oldest_due: AtomicI64,
    oldest_of_queues: [AtomicI64; Queue::ALL.len()],
    scheduler_beat_at: AtomicI64,
    hanging: Arc<()>,
    probe: tokio::sync::Mutex<Option<Probe>>,
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
    /// So many outward calls run on although the time-out of their queue is over. Each keeps its place in the queue until it ends.
    #[error("{0} calls go on after their queue's time-out, each in a place of its queue; if they do not end, restart the process")]
    Hanging(usize),
    /// A job that is due since then is still waiting.
    #[error("a job has been waiting since {0}")]
    Late(Timestamp),
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            ready: AtomicBool::new(false),
            beat_at: AtomicI64::new(NEVER),
            oldest_due: AtomicI64::new(NEVER),
            oldest_of_queues: [const { AtomicI64::new(NEVER) }; Queue::ALL.len()],
            scheduler_beat_at: AtomicI64::new(NEVER),
            hanging: Arc::default(),
            probe: tokio::sync::Mutex::default(),
        }
    }
}

impl Pulse {
    /// Says whether requests are welcome: after the start-up, and no longer once the end has begun.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Whether requests are welcome.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The worker lives; `oldest_due` is the earliest instant at which something that still waits is or was due.
    pub fn beat(&self, now: Timestamp, oldest_due: Option<Timestamp>) {
        let oldest = oldest_due.map_or(NEVER, Timestamp::as_millis);
        self.oldest_due.store(oldest, Ordering::Release);
        self.beat_at.store(now.as_millis(), Ordering::Release);
    }

    /// Since when the oldest of what waits in each queue is due, whether the queue is paused or not; in the order of [`Queue::ALL`].
    pub fn note_queues(&self, oldest: impl Fn(Queue) -> Option<Timestamp>) {
        for (queue, stored) in Queue::ALL.iter().zip(&self.oldest_of_queues) {
            stored.store(oldest(*queue).map_or(NEVER, Timestamp::as_millis), Ordering::Release);
        }
    }

    /// The earliest instant at which something that waits in a queue is or was due, when the worker last looked; for each queue.
    pub fn oldest_of_queues(&self) -> impl Iterator<Item = (Queue, Option<Timestamp>)> + '_ {
        Queue::ALL
            .iter()
            .zip(&self.oldest_of_queues)
            .map(|(queue, stored)| (*queue, instant(stored)))
    }

    /// The worker has ended in an orderly way.
    pub fn stopped(&self) {
        self.beat_at.store(NEVER, Ordering::Release);
    }

    /// The scheduler lives.
    pub fn scheduler_beat(&self, now: Timestamp) {
        self.scheduler_beat_at.store(now.as_millis(), Ordering::Release);
    }

    /// The scheduler has ended.
    pub fn scheduler_stopped(&self) {
        self.scheduler_beat_at.store(ENDED, Ordering::Release);
    }

    /// An outward call has not ended in its time; it hangs until what is given here is dropped.
    pub fn call_hangs(&self) -> Hanging {
        let _counted = self.hanging.clone();
        Hanging { _counted }
    }

    /// Whether the scheduler works, if there is one: the process of a command has none.
    fn scheduler(&self, now: Timestamp) -> Result<(), QueueFault> {
        let beat_at = match self.scheduler_beat_at.load(Ordering::Acquire) {
            NEVER => return Ok(()),
            ENDED => return Err(QueueFault::SchedulerStopped),
            ms => Timestamp::from_millis_clamped(ms),
        };
        if !is_recent(beat_at, now, SCHEDULER_STALE_MS) {
            return Err(QueueFault::SchedulerSilent(beat_at));
        }
        Ok(())
    }

    /// When the worker last showed itself; nothing while it does not run.
    pub fn beat_at(&self) -> Option<Timestamp> {
        instant(&self.beat_at)
    }

    /// The earliest instant at which something that still waits is or was due, when the worker last looked.
    pub fn oldest_due(&self) -> Option<Timestamp> {
        instant(&self.oldest_due)
    }

    /// Whether the queue works.
    ///
    /// # Errors
    /// [`QueueFault`].
    pub fn queue(&self, now: Timestamp) -> Result<(), QueueFault> {
        let beat_at = instant(&self.beat_at).ok_or(QueueFault::Stopped)?;
        if !is_recent(beat_at, now, BEAT_STALE_MS) {
            return Err(QueueFault::Silent(beat_at));
        }
        self.scheduler(now)?;
        let hanging = Arc::strong_count(&self.hanging) - 1;
        if hanging > 0 {
            return Err(QueueFault::Hanging(hanging));
        }
        match instant(&self.oldest_due) {
            Some(due) if now.as_millis() - due.as_millis() > JOB_LATE_MS => Err(QueueFault::Late(due)),
            _ => Ok(()),
        }
    }

    /// The last finding about the landlord's file, behind a lock, so that one caller at a time probes and those who come meanwhile wait
    /// for its finding.
    pub const fn last_probe(&self) -> &tokio::sync::Mutex<Option<Probe>> {
        &self.probe
    }
}

impl Probe {
    /// Whether the finding is fresh enough to stand at `now`. A clock that was set back must not keep one for ever.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        (0..PROBE_MS).contains(&(now.as_millis() - self.at.as_millis()))
    }
}

/// Whether something lives that showed itself at `beat_at`. One that did so by a clock that was set back since does so again soon, by the clock as it is now.
fn is_recent(beat_at: Timestamp, now: Timestamp, stale_ms: i64) -> bool {
    (now.as_millis() - beat_at.as_millis()).abs() <= stale_ms
}

fn instant(stored: &AtomicI64) -> Option<Timestamp> {
    let ms = stored.load(Ordering::Acquire);
    (ms != NEVER).then(|| Timestamp::from_millis_clamped(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis_clamped(ms)
    }

    #[test]
    fn the_queue_works_while_it_beats_and_nothing_is_late() {
        let pulse = Pulse::default();
        assert_eq!(pulse.queue(at(0)), Err(QueueFault::Stopped));
        pulse.beat(at(0), None);
        assert_eq!(pulse.queue(at(BEAT_STALE_MS)), Ok(()));
        assert_eq!(pulse.queue(at(BEAT_STALE_MS + 1)), Err(QueueFault::Silent(at(0))));
        pulse.beat(at(JOB_LATE_MS), Some(at(0)));
        assert_eq!(pulse.queue(at(JOB_LATE_MS)), Ok(()));
        assert_eq!(pulse.queue(at(JOB_LATE_MS + 1)), Err(QueueFault::Late(at(0))));
        pulse.beat(at(JOB_LATE_MS), Some(at(JOB_LATE_MS * 2)));
        assert_eq!(pulse.queue(at(JOB_LATE_MS + 1)), Ok(()));
        assert!(pulse.queue(at(-BEAT_STALE_MS)).is_err(), "a beat that lies ahead proves nothing");
        pulse.stopped();
        assert_eq!(pulse.queue(at(JOB_LATE_MS + 1)), Err(QueueFault::Stopped));
    }

    #[test]
    fn the_queue_fails_while_a_call_hangs() {
        let pulse = Pulse::default();
        pulse.beat(at(0), None);
        let (first, second) = (pulse.call_hangs(), pulse.call_hangs());
        assert_eq!(pulse.queue(at(0)), Err(QueueFault::Hanging(2)));
        drop(first);
        assert_eq!(pulse.queue(at(0)), Err(QueueFault::Hanging(1)));
        drop(second);
        assert_eq!(pulse.queue(at(0)), Ok(()));
    }

    #[test]
    fn the_queue_fails_with_its_scheduler_and_heals_with_it() {
        let pulse = Pulse::default();
        pulse.beat(at(0), None);
        assert_eq!(pulse.queue(at(0)), Ok(()));
        pulse.scheduler_beat(at(0));
        pulse.beat(at(SCHEDULER_STALE_MS + 1), None);
        assert_eq!(pulse.queue(at(SCHEDULER_STALE_MS)), Ok(()));
        assert_eq!(pulse.queue(at(SCHEDULER_STALE_MS + 1)), Err(QueueFault::SchedulerSilent(at(0))));
        pulse.scheduler_beat(at(SCHEDULER_STALE_MS));
        assert_eq!(pulse.queue(at(SCHEDULER_STALE_MS + 1)), Ok(()));
        pulse.scheduler_stopped();
        assert_eq!(pulse.queue(at(SCHEDULER_STALE_MS + 1)), Err(QueueFault::SchedulerStopped));
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
