//! L5: what the jobs of the last hour were like, in memory: how many, how long they waited and ran,
//! how deep the queues were when they were last counted.
//!
//! The worker notes them, the operator's API and the metrics read them, and neither knows the
//! other. Bounded: so many kinds, each with histograms of a fixed size. All of it is gone with the
//! process; nothing is decided by it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::platform::queue::Queue;
use crate::primitives::Timestamp;
use crate::primitives::id::TenantId;
use crate::primitives::limits::STATS_KINDS_MAX;
use crate::storage::{Database, Tenant};
use crate::tenant::jobs::Depth;

/// An hour, in parts that are forgotten one by one.
const SLOTS: usize = 12;
const SLOT_MS: i64 = 5 * 60 * 1000;
/// Four to each doubling, from a microsecond to an hour and beyond.
const BUCKETS: usize = 132;
/// The name under which the kinds beyond the bound are counted.
const OTHER: &str = "other";

/// How a job left its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Completed,
    /// Failed, and due again later.
    Retried,
    /// Given up.
    Discarded,
    /// Held, because nothing runs its kind.
    Held,
}

impl Outcome {
    /// Its word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Retried => "retried",
            Self::Discarded => "discarded",
            Self::Held => "held",
        }
    }
}

/// A job that left its turn.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its queue.
    pub queue: Queue,
    /// Its kind.
    pub kind: String,
    /// How it went.
    pub outcome: Outcome,
    /// How long it had been due when it began.
    pub wait: Duration,
    /// How long it ran.
    pub run: Duration,
}

/// The figures of all queues.
#[derive(Debug, Default)]
pub struct JobStats(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    kinds: BTreeMap<(Queue, String), [Slot; SLOTS]>,
    depths: HashMap<TenantId, (Count, Vec<Depth>)>,
    /// Shops that are gone: a count that was under way when one was removed does not bring it back.
    /// An id is never given twice.
    gone: HashSet<TenantId>,
}

/// When a shop's jobs were counted: by the opening of its file, because each counts its commits
/// from the beginning, and the commits since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    opening: u64,
    commits: u64,
}

impl Count {
    /// What a count that begins now will have seen at least.
    pub fn of(db: &Database<Tenant>) -> Self {
        Self {
            opening: db.opening(),
            commits: db.stats().commits(),
        }
    }
}

/// Five minutes of one kind.
#[derive(Clone, Debug, Default)]
struct Slot {
    number: i64,
    outcomes: [u64; 4],
    wait: Histogram,
    run: Histogram,
}

#[derive(Clone, Debug)]
struct Histogram(Box<[u32; BUCKETS]>);

impl Default for Histogram {
    fn default() -> Self {
        Self(Box::new([0; BUCKETS]))
    }
}

impl Histogram {
    /// Where a length of time is counted: exact below four microseconds, within a quarter above.
    fn bucket(us: u64) -> usize {
        let Some(octave) = us.checked_ilog2().filter(|octave| *octave >= 2) else {
            return usize::try_from(us).unwrap_or(0);
        };
        let quarter = (us >> (octave - 2)) & 3;
        ((octave as usize - 1) * 4 + usize::try_from(quarter).unwrap_or(0)).min(BUCKETS - 1)
    }

    /// The longest time that is counted there.
    const fn upper_us(bucket: usize) -> u64 {
        if bucket < 4 {
            return bucket as u64;
        }
        let (octave, quarter) = (bucket / 4 + 1, (bucket % 4) as u64);
        ((5 + quarter) << (octave - 2)) - 1
    }

    fn note(&mut self, length: Duration) {
        let us = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let count = &mut self.0[Self::bucket(us)];
        *count = count.saturating_add(1);
    }

    fn add(&mut self, other: &Self) {
        self.0
            .iter_mut()
            .zip(other.0.iter())
            .for_each(|(sum, more)| *sum = sum.saturating_add(*more));
    }

    /// So many of a hundred were not longer.
    fn percentile_us(&self, percent: u64) -> Option<u64> {
        let total: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let wanted = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.0.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        });
        found.map(Self::upper_us)
    }
}

/// What the last hour's jobs of a kind were like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindStats {
    /// Their queue.
    pub queue: Queue,
    /// Their kind.
    pub kind: String,
    /// Done.
    pub completed: u64,
    /// Attempts that failed and are made again.
    pub retried: u64,
    /// Given up.
    pub discarded: u64,
    /// Held.
    pub held: u64,
    /// Half of them waited no longer once they were due.
    pub wait_p50_us: Option<u64>,
    /// All but one of a hundred waited no longer.
    pub wait_p99_us: Option<u64>,
    /// Half of them ran no longer.
    pub run_p50_us: Option<u64>,
    /// All but one of a hundred ran no longer.
    pub run_p99_us: Option<u64>,
}

/// All figures at an instant.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By queue and kind.
    pub kinds: Vec<KindStats>,
    /// How many jobs of all shops are in which state; as of the last count, which each shop that
    /// writes has once a minute.
    pub depths: Vec<Depth>,
}

impl JobStats {
    /// Notes jobs that have left their turns, here and in the metrics.
    pub fn note(&self, now: Timestamp, ran: &[Ran]) {
        if ran.is_empty() {
            return;
        }
        let number = now.as_millis().div_euclid(SLOT_MS);
        let index = usize::try_from(number.rem_euclid(SLOTS as i64)).unwrap_or(0);
        let mut inner = self.inner();
        // The jobs of a turn are mostly of one kind: its place is looked up once for all of them.
        for same in
            ran.chunk_by(|a, b| (a.queue, &a.kind, a.outcome) == (b.queue, &b.kind, b.outcome))
        {
            let Some(first) = same.first() else { continue };
            let (kind, outcome) = (inner.bounded(first), first.outcome);
            let labels = [
                ("queue", first.queue.as_str().to_owned()),
                ("kind", kind.clone()),
            ];
            metrics::counter!(
                "tillbox_jobs_total",
                [&labels[..], &[("outcome", outcome.as_str().to_owned())]]
                    .concat()
                    .as_slice()
            )
            .increment(same.len() as u64);
            let waits = metrics::histogram!("tillbox_job_wait_seconds", &labels);
            let runs = metrics::histogram!("tillbox_job_duration_seconds", &labels);
            let slot = &mut inner.kinds.entry((first.queue, kind)).or_default()[index];
            if slot.number != number {
                *slot = Slot {
                    number,
                    ..Slot::default()
                };
            }
            slot.outcomes[outcome as usize] += same.len() as u64;
            for ran in same {
                slot.wait.note(ran.wait);
                slot.run.note(ran.run);
                waits.record(ran.wait);
                runs.record(ran.run);
            }
        }
    }

    /// Whether a shop's jobs were counted since its file last changed.
    pub fn is_counted(&self, tenant: TenantId, count: Count) -> bool {
        self.inner()
            .depths
            .get(&tenant)
            .is_some_and(|(counted, _)| *counted == count)
    }

    /// Notes how many of a shop's jobs are in which state.
    pub fn note_depths(&self, tenant: TenantId, count: Count, depths: Vec<Depth>) {
        let mut inner = self.inner();
        if !inner.gone.contains(&tenant) {
            // A shop without jobs need not be kept in mind but for its count, which is small.
            inner.depths.insert(tenant, (count, depths));
        }
    }

    /// Forgets a shop that is gone.
    pub fn forget(&self, tenant: TenantId) {
        let mut inner = self.inner();
        inner.depths.remove(&tenant);
        inner.gone.insert(tenant);
    }

    /// The figures of the hour up to `now`.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let number = now.as_millis().div_euclid(SLOT_MS);
        let inner = self.inner();
        let kinds = inner.kinds.iter().filter_map(|((queue, kind), slots)| {
            let mut sum = Slot::default();
            for slot in slots
                .iter()
                .filter(|slot| (0..SLOTS as i64).contains(&(number - slot.number)))
            {
                sum.outcomes
                    .iter_mut()
                    .zip(slot.outcomes)
                    .for_each(|(sum, more)| *sum += more);
                sum.wait.add(&slot.wait);
                sum.run.add(&slot.run);
            }
            let of = |outcome: Outcome| sum.outcomes[outcome as usize];
            (sum.outcomes != [0; 4]).then(|| KindStats {
                queue: *queue,
                kind: kind.clone(),
                completed: of(Outcome::Completed),
                retried: of(Outcome::Retried),
                discarded: of(Outcome::Discarded),
                held: of(Outcome::Held),
                wait_p50_us: sum.wait.percentile_us(50),
                wait_p99_us: sum.wait.percentile_us(99),
                run_p50_us: sum.run.percentile_us(50),
                run_p99_us: sum.run.percentile_us(99),
            })
        });
        let mut depths: Vec<Depth> = Vec::new();
        for depth in inner.depths.values().flat_map(|(_, depths)| depths) {
            let same = |known: &&mut Depth| {
                (known.queue, known.state, known.held) == (depth.queue, depth.state, depth.held)
            };
            match depths.iter_mut().find(same) {
                Some(known) => known.jobs += depth.jobs,
                None => depths.push(*depth),
            }
        }
        let kinds = kinds.collect();
        Snapshot { kinds, depths }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The kind that a job is counted under. What nothing runs may have any name, and has none of
    /// its own here.
    fn bounded(&self, ran: &Ran) -> String {
        let is_known = || {
            self.kinds
                .keys()
                .any(|(queue, kind)| *queue == ran.queue && *kind == ran.kind)
        };
        if ran.outcome != Outcome::Held && (self.kinds.len() < STATS_KINDS_MAX || is_known()) {
            ran.kind.clone()
        } else {
            OTHER.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::queue::State;

    fn ran(kind: &str, outcome: Outcome, us: u64) -> Ran {
        Ran {
            queue: Queue::Low,
            kind: kind.to_owned(),
            outcome,
            wait: Duration::from_micros(2 * us),
            run: Duration::from_micros(us),
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis_clamped(ms)
    }

    #[test]
    fn a_length_is_counted_within_a_quarter_of_itself() {
        for us in (0..5_000).chain([1 << 20, 3_600_000_000, 12_345_678_901]) {
            let upper = Histogram::upper_us(Histogram::bucket(us));
            assert!(upper >= us && upper <= us + us / 4, "{us}: {upper}");
        }
        assert_eq!(Histogram::bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn figures_are_those_of_the_last_hour() {
        let figures = JobStats::default();
        let many: Vec<Ran> = (1..=100)
            .map(|us| ran("a", Outcome::Completed, us * 1_000))
            .collect();
        figures.note(at(0), &many);
        figures.note(
            at(SLOT_MS),
            &[
                ran("a", Outcome::Retried, 1),
                ran("b", Outcome::Discarded, 1),
            ],
        );
        let kinds = figures.snapshot(at(SLOT_MS)).kinds;
        assert_eq!(kinds.len(), 2);
        let a = &kinds[0];
        assert_eq!(
            (a.kind.as_str(), a.completed, a.retried, a.discarded),
            ("a", 100, 1, 0)
        );
        assert!((50_000..=62_500).contains(&a.run_p50_us.unwrap()), "{a:?}");
        assert!((99_000..=125_000).contains(&a.run_p99_us.unwrap()), "{a:?}");
        assert!(
            (198_000..=250_000).contains(&a.wait_p99_us.unwrap()),
            "{a:?}"
        );
        let later = figures.snapshot(at(SLOT_MS * SLOTS as i64)).kinds;
        assert_eq!(
            (later[0].completed, later[0].retried),
            (0, 1),
            "the first five minutes are forgotten"
        );
        assert_eq!(figures.snapshot(at(SLOT_MS * 13)).kinds, []);
        figures.note(at(SLOT_MS * 12), &[ran("a", Outcome::Completed, 1)]);
        assert_eq!(
            figures.snapshot(at(SLOT_MS * 12)).kinds[0].completed,
            1,
            "the place of the first is its own again"
        );
    }

    #[test]
    fn kinds_beyond_the_bound_and_those_that_nothing_runs_are_counted_together() {
        let figures = JobStats::default();
        for number in 0..STATS_KINDS_MAX * 2 {
            figures.note(
                at(0),
                &[ran(&format!("kind.{number}"), Outcome::Completed, 1)],
            );
            figures.note(at(0), &[ran(&format!("gone.{number}"), Outcome::Held, 1)]);
        }
        let kinds = figures.snapshot(at(0)).kinds;
        assert!(kinds.len() <= STATS_KINDS_MAX + 1, "{}", kinds.len());
        let completed: u64 = kinds.iter().map(|kind| kind.completed).sum();
        let held: u64 = kinds.iter().map(|kind| kind.held).sum();
        assert_eq!((completed, held), (128, 128));
        assert!(kinds.iter().all(|kind| !kind.kind.starts_with("gone")));
    }

    #[test]
    fn depths_are_those_of_the_last_count_of_each_shop() {
        let figures = JobStats::default();
        let depth = |jobs| Depth {
            queue: Queue::Low,
            state: State::Available,
            held: false,
            jobs,
        };
        let count = |opening, commits| Count { opening, commits };
        let [first, second] = [1, 2].map(|number| TenantId::from_bytes([number; 16]));
        figures.note_depths(first, count(1, 1), vec![depth(5)]);
        figures.note_depths(second, count(2, 1), vec![depth(7)]);
        assert_eq!(figures.snapshot(at(0)).depths, [depth(12)]);
        assert!(figures.is_counted(first, count(1, 1)) && !figures.is_counted(first, count(1, 2)));
        assert!(
            !figures.is_counted(first, count(3, 1)),
            "a file that was opened again counts its commits anew"
        );
        figures.note_depths(first, count(1, 2), vec![depth(1)]);
        figures.forget(second);
        assert_eq!(figures.snapshot(at(0)).depths, [depth(1)]);
        figures.note_depths(second, count(2, 2), vec![depth(7)]);
        assert_eq!(
            figures.snapshot(at(0)).depths,
            [depth(1)],
            "a count that ends after the removal brings nothing back"
        );
    }
}
