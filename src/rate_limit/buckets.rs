//! The buckets of one group, by caller: so many and no more.
//!
//! A bucket is one number, the instant at which it will be full again (what governor calls the
//! theoretical arrival time). One that is full is forgotten, which changes nothing. When there is
//! no room for another one, the one that is nearest to full goes: that gives away least, and
//! whoever wants his own empty bucket forgotten has to bring as many callers as there is room for,
//! each of which has used at least as much. With those he could have asked more often than the one
//! forgotten bucket gives him.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::nanos::Nanos;
use governor::state::StateStore;

use super::Caller;

/// Full buckets that are forgotten with each request: more than it makes, so that what a flood left
/// behind goes.
const FORGOTTEN_AT_ONCE: usize = 2;

/// The buckets; a clone is the same ones.
#[derive(Clone)]
pub(super) struct Buckets {
    most: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    full_at: HashMap<Caller, u64>,
    order: BTreeSet<(u64, Caller)>,
}

impl Inner {
    fn forget_first(&mut self) {
        if let Some((_, caller)) = self.order.pop_first() {
            self.full_at.remove(&caller);
        }
    }
}

impl Buckets {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            inner: Arc::default(),
        }
    }

    /// When the bucket of a caller will be full, in nanoseconds of steady time.
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
                if inner.order.len() >= self.most {
                    inner.forget_first();
                }
            }
        }
        inner.order.insert((full_at, caller));
    }

    /// Makes all be full by then.
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

    /// Forgets a few of those that are full.
    pub(super) fn forget_full(&self, now: u64) {
        let mut inner = self.inner();
        for _ in 0..FORGOTTEN_AT_ONCE {
            if inner
                .order
                .first()
                .is_some_and(|(full_at, _)| *full_at <= now)
            {
                inner.forget_first();
            }
        }
    }

    /// Those that will be full last, at most `most`, the emptiest first.
    pub(super) fn emptiest(&self, now: u64, most: usize) -> Vec<(Caller, u64)> {
        let inner = self.inner();
        let lacking = inner
            .order
            .iter()
            .rev()
            .take_while(|(full_at, _)| *full_at > now);
        lacking
            .take(most)
            .map(|(full_at, caller)| (*caller, *full_at))
            .collect()
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inner().order.len()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Buckets {
    type Key = Caller;

    // Its group's lock is held around each call, so nobody changes the bucket in between.
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
    fn the_one_nearest_to_full_makes_room_and_the_emptiest_stays() {
        let buckets = Buckets::new(1_000);
        buckets.set(caller(0), 500);
        for number in 1..1_000_000 {
            buckets.set(caller(number), 100 + u64::from(number % 7));
        }
        assert_eq!(buckets.len(), 1_000);
        assert_eq!(
            buckets.full_at(caller(0)),
            Some(500),
            "the empty one is remembered"
        );
        let inner = buckets.inner();
        assert_eq!(inner.full_at.len(), inner.order.len());
    }

    #[test]
    fn full_ones_are_forgotten_a_few_at_a_time() {
        let buckets = Buckets::new(10);
        for number in 0..5 {
            buckets.set(caller(number), 10 + u64::from(number));
        }
        buckets.set(caller(0), 12);
        assert_eq!(buckets.emptiest(12, 9), [(caller(4), 14), (caller(3), 13)]);
        assert_eq!(buckets.emptiest(0, 1), [(caller(4), 14)]);
        buckets.forget_full(9);
        assert_eq!(buckets.len(), 5);
        buckets.forget_full(13);
        assert_eq!(buckets.len(), 3);
        buckets.forget_full(13);
        assert_eq!(buckets.emptiest(0, 9), [(caller(4), 14)]);
    }
}
