//! L5: statistics of the jobs of the last hour, in memory: counts, wait and run times, and the
//! queue depths at the last count.
//!
//! The worker records them, the operator's API and the metrics read them, and neither depends on
//! the other. Bounded: a limited number of kinds, each with histograms of fixed size. The
//! statistics end with the process; nothing is decided by them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::platform::queue::Queue;
use crate::primitives::Timestamp;
use crate::primitives::id::TenantId;
use crate::primitives::limits::STATS_KINDS_MAX;
use crate::primitives::sync;
use crate::storage::{Database, Tenant};
use crate::tenant::jobs::Depth;

/// The hour is divided into slots that expire one by one.
const SLOTS: usize = 12;
const SLOT_MS: i64 = 5 * 60 * 1000;
/// Four buckets for each doubling, from a microsecond to more than an hour.
const BUCKETS: usize = 132;
/// The name under which kinds beyond the limit are counted.
const OTHER: &str = "other";

/// The outcome of an attempt at a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Completed,
    /// Failed, and scheduled for a retry.
    Retried,
    /// Failed, and not retried.
    Discarded,
    /// Held, because no handler exists for its kind.
    Held,
}

impl Outcome {
    /// The value in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Retried => "retried",
            Self::Discarded => "discarded",
            Self::Held => "held",
        }
    }
}

/// An attempt at a job that has ended.
#[derive(Clone, Debug)]
pub struct Ran {
    pub queue: Queue,
    pub kind: String,
    pub outcome: Outcome,
    /// The time from when it was due until it started.
    pub wait: Duration,
    pub run: Duration,
}

/// The statistics of all queues.
#[derive(Debug, Default)]
pub struct JobStats(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    kinds: BTreeMap<(Queue, String), [Slot; SLOTS]>,
    depths: HashMap<TenantId, (Count, Vec<Depth>)>,
    /// Deleted tenants: a count in progress during a deletion does not bring one back. Ids are
    /// never reused.
    deleted: HashSet<TenantId>,
}

/// A point in the history of a tenant's file, at which its jobs were counted: the opening of the
/// file (each opening counts its commits from zero) and the commits since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    opening: u64,
    commits: u64,
}

impl Count {
    /// The point that a count starting now will include.
    pub fn of(db: &Database<Tenant>) -> Self {
        Self {
            opening: db.opening(),
            commits: db.stats().commits(),
        }
    }
}

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
    /// The bucket of a duration: exact below four microseconds, within a quarter above.
    fn bucket(us: u64) -> usize {
        let Some(octave) = us.checked_ilog2().filter(|octave| *octave >= 2) else {
            return usize::try_from(us).unwrap_or(0);
        };
        let quarter = (us >> (octave - 2)) & 3;
        ((octave as usize - 1) * 4 + usize::try_from(quarter).unwrap_or(0)).min(BUCKETS - 1)
    }

    /// The longest duration of a bucket.
    const fn upper_us(bucket: usize) -> u64 {
        if bucket < 4 {
            return bucket as u64;
        }
        let (octave, quarter) = (bucket / 4 + 1, (bucket % 4) as u64);
        ((5 + quarter) << (octave - 2)) - 1
    }

    fn record(&mut self, length: Duration) {
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

    /// The duration that `percent` per cent did not exceed.
    fn percentile_us(&self, percent: u64) -> Option<u64> {
        let total: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let rank = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.0.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        found.map(Self::upper_us)
    }
}

/// The statistics of one kind of job in the last hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindStats {
    pub queue: Queue,
    pub kind: String,
    pub completed: u64,
    /// Failed attempts with a retry scheduled.
    pub retried: u64,
    /// Failed, and not retried.
    pub discarded: u64,
    pub held: u64,
    /// The median wait after the due time.
    pub wait_p50_us: Option<u64>,
    /// The 99th percentile of the wait.
    pub wait_p99_us: Option<u64>,
    /// The median run time.
    pub run_p50_us: Option<u64>,
    /// The 99th percentile of the run time.
    pub run_p99_us: Option<u64>,
}

/// The statistics at an instant.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub kinds: Vec<KindStats>,
    /// Jobs of all tenants by queue and state, as of the last count. A tenant that writes is
    /// counted once a minute.
    pub depths: Vec<Depth>,
}

impl JobStats {
    /// Records ended attempts, here and in the metrics.
    pub fn record(&self, now: Timestamp, ran: &[Ran]) {
        if ran.is_empty() {
            return;
        }
        let number = now.as_millis().div_euclid(SLOT_MS);
        let index = usize::try_from(number.rem_euclid(SLOTS as i64)).unwrap_or(0);
        let mut inner = self.inner();
        // The jobs of a batch are mostly of one kind, so the entry is looked up once for all of
        // them.
        for same in
            ran.chunk_by(|a, b| (a.queue, &a.kind, a.outcome) == (b.queue, &b.kind, b.outcome))
        {
            let Some(first) = same.first() else { continue };
            let (kind, outcome) = (inner.counted_kind(first), first.outcome);
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
                slot.wait.record(ran.wait);
                slot.run.record(ran.run);
                waits.record(ran.wait);
                runs.record(ran.run);
            }
        }
    }

    /// Whether a tenant's jobs were counted after the last change of its file.
    pub fn is_counted(&self, tenant: TenantId, count: Count) -> bool {
        self.inner()
            .depths
            .get(&tenant)
            .is_some_and(|(counted, _)| *counted == count)
    }

    /// Records the number of a tenant's jobs by state.
    pub fn record_depths(&self, tenant: TenantId, count: Count, depths: Vec<Depth>) {
        let mut inner = self.inner();
        if !inner.deleted.contains(&tenant) {
            // A tenant without jobs is kept too, for its count, which is small.
            inner.depths.insert(tenant, (count, depths));
        }
    }

    /// Removes a deleted tenant.
    pub fn forget(&self, tenant: TenantId) {
        let mut inner = self.inner();
        inner.depths.remove(&tenant);
        inner.deleted.insert(tenant);
    }

    /// The statistics of the hour before `now`.
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
        sync::lock(&self.0)
    }
}

impl Inner {
    /// The kind under which a job is counted. Kinds without a handler may have any name, so they
    /// are counted together.
    fn counted_kind(&self, ran: &Ran) -> String {
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
    fn counts_duration_within_a_quarter() {
        for us in (0..5_000).chain([1 << 20, 3_600_000_000, 12_345_678_901]) {
            let upper = Histogram::upper_us(Histogram::bucket(us));
            assert!(upper >= us && upper <= us + us / 4, "{us}: {upper}");
        }
        assert_eq!(Histogram::bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn reports_last_hour_only() {
        let stats = JobStats::default();
        let many: Vec<Ran> = (1..=100)
            .map(|us| ran("a", Outcome::Completed, us * 1_000))
            .collect();
        stats.record(at(0), &many);
        stats.record(
            at(SLOT_MS),
            &[
                ran("a", Outcome::Retried, 1),
                ran("b", Outcome::Discarded, 1),
            ],
        );
        let kinds = stats.snapshot(at(SLOT_MS)).kinds;
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
        let later = stats.snapshot(at(SLOT_MS * SLOTS as i64)).kinds;
        assert_eq!(
            (later[0].completed, later[0].retried),
            (0, 1),
            "the first five minutes have expired"
        );
        assert_eq!(stats.snapshot(at(SLOT_MS * 13)).kinds, []);
        stats.record(at(SLOT_MS * 12), &[ran("a", Outcome::Completed, 1)]);
        assert_eq!(
            stats.snapshot(at(SLOT_MS * 12)).kinds[0].completed,
            1,
            "the expired slot is used again"
        );
    }

    #[test]
    fn counts_kinds_beyond_limit_and_without_handler_together() {
        let stats = JobStats::default();
        for number in 0..STATS_KINDS_MAX * 2 {
            stats.record(
                at(0),
                &[ran(&format!("kind.{number}"), Outcome::Completed, 1)],
            );
            stats.record(
                at(0),
                &[ran(&format!("deleted.{number}"), Outcome::Held, 1)],
            );
        }
        let kinds = stats.snapshot(at(0)).kinds;
        assert!(kinds.len() <= STATS_KINDS_MAX + 1, "{}", kinds.len());
        let completed: u64 = kinds.iter().map(|kind| kind.completed).sum();
        let held: u64 = kinds.iter().map(|kind| kind.held).sum();
        assert_eq!((completed, held), (128, 128));
        assert!(kinds.iter().all(|kind| !kind.kind.starts_with("deleted")));
    }

    #[test]
    fn sums_depths_of_each_tenants_last_count() {
        let stats = JobStats::default();
        let depth = |jobs| Depth {
            queue: Queue::Low,
            state: State::Available,
            held: false,
            jobs,
        };
        let count = |opening, commits| Count { opening, commits };
        let [first, second] = [1, 2].map(|number| TenantId::from_bytes([number; 16]));
        stats.record_depths(first, count(1, 1), vec![depth(5)]);
        stats.record_depths(second, count(2, 1), vec![depth(7)]);
        assert_eq!(stats.snapshot(at(0)).depths, [depth(12)]);
        assert!(stats.is_counted(first, count(1, 1)) && !stats.is_counted(first, count(1, 2)));
        assert!(
            !stats.is_counted(first, count(3, 1)),
            "a reopened file counts its commits from zero"
        );
        stats.record_depths(first, count(1, 2), vec![depth(1)]);
        stats.forget(second);
        assert_eq!(stats.snapshot(at(0)).depths, [depth(1)]);
        stats.record_depths(second, count(2, 2), vec![depth(7)]);
        assert_eq!(
            stats.snapshot(at(0)).depths,
            [depth(1)],
            "a count that ends after the deletion has no effect"
        );
    }
}
