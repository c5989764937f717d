//! `[queue]`: the number of running jobs and the retention of finished ones. `[queue.NAME]`: the
//! workers, attempts and waits of one queue.
//!
//! The queues are fixed: each job kind names its queue, so a new queue in a file would never get a
//! job.

use std::fmt;

use super::error::Faults;
use super::units::Span;
use crate::primitives::limits::JOB_RETRY_MAX_MS;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

const MAX_BACKOFF_STEPS: usize = 32;
/// The longest wait after a failure.
const LONGEST: Span = Span::millis(JOB_RETRY_MAX_MS.unsigned_abs());
/// The allowed retention of finished jobs.
const KEPT: std::ops::RangeInclusive<Span> = Span::secs(60)..=Span::secs(3_660 * 86_400);

/// The longest waits after failed attempts. Each wait is random up to this limit, so that jobs that
/// failed together are not retried together.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Backoff {
    /// The waits after the first, second, … failure; the last one repeats.
    List(Vec<Span>),
    /// `initial` after the first failure, then multiplied by `factor` each time, up to `max`.
    Exponential(Exponential),
}

/// Exponentially growing waits.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// The wait after the first failure.
    pub initial: Span,
    /// The ratio of each wait to the one before.
    pub factor: u32,
    /// The longest wait.
    pub max: Span,
}

impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Waits;
        impl<'de> Visitor<'de> for Waits {
            type Value = Backoff;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a list of waits such as [\"5s\", \"30s\"], or { initial = \"5s\", \
                    factor = 2, max = \"30m\" }",
                )
            }

            fn visit_seq<A: SeqAccess<'de>>(self, waits: A) -> Result<Backoff, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(waits)).map(Backoff::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Backoff, A::Error> {
                Exponential::deserialize(MapAccessDeserializer::new(members))
                    .map(Backoff::Exponential)
            }
        }
        deserializer.deserialize_any(Waits)
    }
}

impl Backoff {
    /// Returns the longest wait after the `attempt`th failure.
    #[must_use]
    pub fn longest(&self, attempt: i64) -> Span {
        let before = u32::try_from((attempt - 1).max(0)).unwrap_or(u32::MAX);
        match self {
            Self::List(waits) => {
                let index = (before as usize).min(waits.len().saturating_sub(1));
                waits.get(index).copied().unwrap_or(Span::millis(1))
            }
            Self::Exponential(Exponential {
                initial,
                factor,
                max,
            }) => {
                let grown = u64::from(*factor)
                    .checked_pow(before)
                    .and_then(|times| times.checked_mul(initial.as_millis()));
                Span::millis(grown.unwrap_or(u64::MAX).min(max.as_millis()))
            }
        }
    }

    fn check(&self, key: &str, faults: &mut Faults) {
        match self {
            Self::List(waits) => {
                if waits.is_empty() || waits.len() > MAX_BACKOFF_STEPS {
                    faults.add(key, format!("needs 1 to {MAX_BACKOFF_STEPS} waits"));
                }
                for wait in waits {
                    faults.within(key, *wait, Span::millis(1)..=LONGEST);
                }
                if !waits.is_sorted() {
                    faults.add(key, "a wait is shorter than the one before it");
                }
            }
            Self::Exponential(Exponential {
                initial,
                factor,
                max,
            }) => {
                faults.within(
                    format!("{key}.initial"),
                    *initial,
                    Span::millis(1)..=LONGEST,
                );
                faults.within(format!("{key}.factor"), *factor, 1..=100);
                faults.within(format!("{key}.max"), *max, Span::millis(1)..=LONGEST);
                if max < initial {
                    faults.add(format!("{key}.max"), "is shorter than the first wait");
                }
            }
        }
    }
}

/// The settings of one queue. No `Default`: each queue has its own defaults.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Jobs that run at a time.
    pub workers: u32,
    /// The maximum of running jobs of one tenant.
    pub tenant_limit: u32,
    /// The queue with the lower priority number gets a free slot first. A queue that was passed
    /// over several times goes first anyway.
    pub priority: u32,
    /// Attempts before a job is discarded.
    pub tries: u32,
    pub backoff: Backoff,
    /// The longest run of one attempt.
    pub timeout: Span,
}

/// All queues.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queues {
    /// Jobs that run at a time, over all queues.
    pub running_max: u32,
    /// The retention of completed jobs.
    pub keep_completed: Span,
    /// The retention of discarded and cancelled jobs.
    pub keep_discarded: Span,
    /// Jobs of kinds without their own queue.
    pub default: Queue,
    /// Jobs of the audit trail.
    pub audit: Queue,
    /// Jobs that affect the books.
    pub financial: Queue,
    /// Subscriptions and their payments, and alerts.
    pub billing: Queue,
    /// Jobs that may wait.
    pub low: Queue,
}

impl Default for Queues {
    fn default() -> Self {
        let queue = |workers, tries, priority| Queue {
            workers,
            // A tenant with a slow file or mail server leaves a slot for the others.
            tenant_limit: if workers > 1 { workers - 1 } else { 1 },
            priority,
            tries,
            backoff: Backoff::List([5, 30, 60].map(Span::secs).into()),
            timeout: Span::secs(60),
        };
        Self {
            // More than the default workers of all queues together: no queue waits for another.
            running_max: 32,
            keep_completed: Span::secs(3_600),
            keep_discarded: Span::secs(7 * 86_400),
            // This queue sends mail, and a mail server may be down for hours: fifteen attempts
            // cover about three hours, six at most.
            default: Queue {
                backoff: Backoff::List([5, 30, 120, 600, 1_800].map(Span::secs).into()),
                ..queue(4, 15, 20)
            },
            audit: queue(2, 10, 30),
            financial: queue(2, 10, 10),
            // A hanging mail alert leaves slots for the webhook alert.
            billing: queue(4, 10, 20),
            low: queue(2, 3, 40),
        }
    }
}

impl Queues {
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

    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Queue> {
        let (_, queue) = self.all().into_iter().find(|(own, _)| *own == name)?;
        Some(queue)
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        faults.within("queue.running_max", self.running_max, 1..=320);
        faults.within("queue.keep_completed", self.keep_completed, KEPT);
        faults.within("queue.keep_discarded", self.keep_discarded, KEPT);
        for (name, queue) in self.all() {
            queue.check(&format!("queue.{name}"), faults);
        }
    }
}

impl Queue {
    fn check(&self, prefix: &str, faults: &mut Faults) {
        faults.within(format!("{prefix}.workers"), self.workers, 1..=64);
        faults.within(format!("{prefix}.tenant_limit"), self.tenant_limit, 1..=64);
        faults.within(format!("{prefix}.priority"), self.priority, 0..=100);
        faults.within(format!("{prefix}.tries"), self.tries, 1..=100);
        let timeouts = Span::secs(1)..=Span::secs(3_600);
        faults.within(format!("{prefix}.timeout"), self.timeout, timeouts);
        self.backoff.check(&format!("{prefix}.backoff"), faults);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::load_text;

    fn exponential(text: &str) -> Backoff {
        let config = load_text(&format!("queue.low.backoff = {text}"), &[]).unwrap();
        config.queue.low.backoff
    }

    #[test]
    fn grows_waits_up_to_the_maximum() {
        let backoff = exponential("{ initial = '5s', factor = 2, max = '1m' }");
        let waits = [1, 2, 3, 4, 5, 6, 99, i64::MAX].map(|attempt| backoff.longest(attempt));
        assert_eq!(waits, [5, 10, 20, 40, 60, 60, 60, 60].map(Span::secs));
        let same = exponential("{ initial = '5s', factor = 1, max = '1m' }");
        assert_eq!(
            [1, 99].map(|attempt| same.longest(attempt)),
            [5, 5].map(Span::secs)
        );
        let config = load_text(
            "",
            &[(
                "TILLBOX_QUEUE__LOW__BACKOFF",
                "{ initial = '5s', factor = 2, max = '1m' }",
            )],
        )
        .unwrap();
        assert_eq!(config.queue.low.backoff, backoff);
        assert_eq!(load_text(&config.show(), &[]).unwrap(), config);
    }

    #[test]
    fn rejects_zero_and_shrinking_waits() {
        let refused = |text: &str| {
            load_text(&format!("queue.low.backoff = {text}"), &[])
                .unwrap_err()
                .to_string()
        };
        let texts = [
            "{ initial = '0s', factor = 2, max = '1m' }",
            "{ initial = '5s', factor = 0, max = '1m' }",
            "{ initial = '5s', factor = 2, max = '4s' }",
            "{ initial = '5s', factor = 2, max = '25h' }",
        ];
        insta::assert_snapshot!(texts.map(refused).join("\n"), @r"
        queue.low.backoff.initial: 0s is not between 1ms and 1d
        queue.low.backoff.factor: 0 is not between 1 and 100
        queue.low.backoff.max: is shorter than the first wait
        queue.low.backoff.max: 25h is not between 1ms and 1d
        ");
    }
}
