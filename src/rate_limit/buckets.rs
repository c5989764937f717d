//! The buckets of one policy, one per caller and limited in number.
//!
//! A bucket is one number: the instant at which it will be full again (governor calls it the
//! theoretical arrival time). Removing a full bucket changes nothing. When the table is full, the
//! bucket nearest to full is removed, because that grants the fewest requests. To have its own
//! empty bucket removed, a caller would need a full table of callers that used at least as much;
//! those could make more requests than the removed bucket grants.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use governor::nanos::Nanos;
use governor::state::StateStore;

use super::Caller;
use crate::primitives::sync;

/// Full buckets removed with each request: more than the one it adds, so that the buckets of a
/// flood are removed.
const REMOVED_PER_REQUEST: usize = 2;

/// The buckets; a clone shares them.
#[derive(Clone)]
pub(super) struct Buckets {
    capacity: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    full_at: HashMap<Caller, u64>,
    order: BTreeSet<(u64, Caller)>,
}

impl Inner {
    fn remove_first(&mut self) {
        if let Some((_, caller)) = self.order.pop_first() {
            self.full_at.remove(&caller);
        }
    }
}

impl Buckets {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            inner: Arc::default(),
        }
    }

    /// The instant at which a caller's bucket will be full, in nanoseconds of uptime.
    pub(super) fn full_at(&self, caller: Caller) -> Option<u64> {
        self.inner().full_at.get(&caller).copied()
    }

    pub(super) fn set(&self, caller: Caller, full_at: u64) {
        let mut inner = self.inner();
        match inner.full_at.insert(caller, full_at) {
            Some(before) => {
                inner.order.remove(&(before, caller));
            }
            None => {
                if inner.order.len() >= self.capacity {
                    inner.remove_first();
                }
            }
        }
        inner.order.insert((full_at, caller));
    }

    /// Limits the time at which each bucket is full to `latest`.
    pub(super) fn fill_by(&self, latest: u64) {
        let mut inner = self.inner();
        let later: Vec<(u64, Caller)> = inner
            .order
            .iter()
            .rev()
            .take_while(|(full_at, _)| *full_at > latest)
            .copied()
            .collect();
        for (full_at, caller) in later {
            inner.order.remove(&(full_at, caller));
            inner.order.insert((latest, caller));
            inner.full_at.insert(caller, latest);
        }
    }

    /// Removes a few full buckets.
    pub(super) fn remove_full(&self, now: u64) {
        let mut inner = self.inner();
        for _ in 0..REMOVED_PER_REQUEST {
            if inner
                .order
                .first()
                .is_some_and(|(full_at, _)| *full_at <= now)
            {
                inner.remove_first();
            }
        }
    }

    /// The emptiest buckets first, at most `limit`; full ones are left out.
    pub(super) fn emptiest(&self, now: u64, limit: usize) -> Vec<(Caller, u64)> {
        let inner = self.inner();
        let lacking = inner
            .order
            .iter()
            .rev()
            .take_while(|(full_at, _)| *full_at > now);
        lacking
            .take(limit)
            .map(|(full_at, caller)| (*caller, *full_at))
            .collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inner().order.len()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        sync::lock(&self.inner)
    }
}

impl StateStore for Buckets {
    type Key = Caller;

    // The policy's lock is held around each call, so no other call changes the bucket in between.
    fn measure_and_replace<T, F, E>(&self, caller: &Caller, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, full_at) = f(self.full_at(*caller).map(Nanos::new))?;
        self.set(*caller, full_at.as_u64());
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn caller(number: u32) -> Caller {
        Caller::of_address(Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn removes_bucket_nearest_to_full_when_capacity_is_reached() {
        let buckets = Buckets::new(1_000);
        buckets.set(caller(0), 500);
        for number in 1..1_000_000 {
            buckets.set(caller(number), 100 + u64::from(number % 7));
        }
        assert_eq!(buckets.len(), 1_000);
        assert_eq!(
            buckets.full_at(caller(0)),
            Some(500),
            "the empty one is kept"
        );
        let inner = buckets.inner();
        assert_eq!(inner.full_at.len(), inner.order.len());
    }

    #[test]
    fn removes_full_buckets_a_few_at_a_time() {
        let buckets = Buckets::new(10);
        for number in 0..5 {
            buckets.set(caller(number), 10 + u64::from(number));
        }
        buckets.set(caller(0), 12);
        assert_eq!(buckets.emptiest(12, 9), [(caller(4), 14), (caller(3), 13)]);
        assert_eq!(buckets.emptiest(0, 1), [(caller(4), 14)]);
        buckets.remove_full(9);
        assert_eq!(buckets.len(), 5);
        buckets.remove_full(13);
        assert_eq!(buckets.len(), 3);
        buckets.remove_full(13);
        assert_eq!(buckets.emptiest(0, 9), [(caller(4), 14)]);
    }
}
