//! `[queue.NAME]`: how many work on a queue, how often they try and how long they wait in between.
//!
//! The queues are fixed: each job kind names its own, so a queue made up in a file would never get a job.

use super::error::Faults;
use super::units::Span;
use crate::primitives::limits::JOB_RETRY_MAX_MS;
use serde::{Deserialize, Serialize};

/// The longest list of waits.
const MAX_BACKOFF_STEPS: usize = 32;

/// The settings of one queue. There is no `Default`: each queue has its own.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Jobs that run at a time.
    pub workers: u32,
    /// Attempts before a job is discarded.
    pub tries: u32,
    /// Waits after the first, second, … failed attempt; the last one repeats.
    pub backoff: Vec<Span>,
    /// The longest run of one attempt.
    pub timeout: Span,
}

/// All queues.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queues {
    /// What has no queue of its own.
    pub default: Queue,
    /// The audit trail.
    pub audit: Queue,
    /// Effects on the books.
    pub financial: Queue,
    /// Subscriptions and their payments.
    pub billing: Queue,
    /// What may wait.
    pub low: Queue,
}

impl Default for Queues {
    fn default() -> Self {
        let queue = |workers, tries| Queue {
            workers,
            tries,
            backoff: vec![Span::secs(5), Span::secs(30), Span::secs(60)],
            timeout: Span::secs(60),
        };
        Self {
            // Mail goes out here, and a mail server may be away for hours: fifteen tries reach over about six of them.
            default: Queue {
                backoff: [5, 30, 120, 600, 1_800].map(Span::secs).into(),
                ..queue(4, 15)
            },
            audit: queue(2, 10),
            financial: queue(2, 10),
            billing: queue(2, 10),
            low: queue(1, 3),
        }
    }
}

impl Queues {
    /// Every queue with its name.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &Queue); 5] {
        [
            ("default", &self.default),
            ("audit", &self.audit),
            ("financial", &self.financial),
            ("billing", &self.billing),
            ("low", &self.low),
        ]
    }

    /// The queue called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Queue> {
        let (_, queue) = self.all().into_iter().find(|(own, _)| *own == name)?;
        Some(queue)
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        for (name, queue) in self.all() {
            queue.check(&format!("queue.{name}"), faults);
        }
    }
}

impl Queue {
    fn check(&self, prefix: &str, faults: &mut Faults) {
        faults.within(format!("{prefix}.workers"), self.workers, 1..=64);
        faults.within(format!("{prefix}.tries"), self.tries, 1..=100);
        let timeouts = Span::secs(1)..=Span::secs(3_600);
        faults.within(format!("{prefix}.timeout"), self.timeout, timeouts);
        let backoff = format!("{prefix}.backoff");
        if self.backoff.is_empty() || self.backoff.len() > MAX_BACKOFF_STEPS {
            faults.add(&backoff, format!("needs 1 to {MAX_BACKOFF_STEPS} waits"));
        }
        for wait in &self.backoff {
            faults.within(&backoff, *wait, Span::millis(1)..=Span::millis(JOB_RETRY_MAX_MS.unsigned_abs()));
        }
        if !self.backoff.is_sorted() {
            faults.add(&backoff, "a wait is shorter than the one before it");
        }
    }
}
