//! L5: the memory budget for request bodies that are arriving, over all connections.
//!
//! - A body reserves memory as it arrives, not by its `Content-Length`. A body that is announced
//!   and never sent costs nothing.
//! - The first [`BODY_BYTES_FREE`] of every body are outside the budget. The connection limit
//!   bounds them, and a sale fits into them, so no sale is refused for lack of memory.
//! - Callers with a valid key have one half, callers without a key the other. Strangers cannot use
//!   up the tenants' half.
//!
//! No body waits for memory: two bodies that each hold some could wait for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::primitives::limits::BODY_BYTES_FREE;

/// The memory budget of the process.
#[derive(Debug)]
pub struct BodyMemory {
    keyed: Arc<Pool>,
    keyless: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    limit: u64,
    used: AtomicU64,
}

impl BodyMemory {
    /// Creates a budget of `bytes`, half of it for callers with a key.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let pool = || {
            Arc::new(Pool {
                limit: bytes / 2,
                used: AtomicU64::new(0),
            })
        };
        Self {
            keyed: pool(),
            keyless: pool(),
        }
    }

    /// Returns the share of one body. `has_key`: the caller showed a valid key.
    #[must_use]
    pub fn share(&self, has_key: bool) -> Share {
        let pool = if has_key { &self.keyed } else { &self.keyless };
        Share {
            pool: Some(pool.clone()),
            held: 0,
        }
    }

    /// Returns the bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.keyed.used.load(Ordering::Relaxed) + self.keyless.used.load(Ordering::Relaxed)
    }
}

/// The memory that one body uses. Dropping it returns the memory.
#[derive(Debug)]
pub struct Share {
    /// `None` for the operator's own commands, which have no budget.
    pool: Option<Arc<Pool>>,
    held: u64,
}

impl Share {
    /// Creates a share without a budget.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self {
            pool: None,
            held: 0,
        }
    }

    /// Grows to a buffer of `bytes` in all. Returns `false`, and reserves nothing, when the budget
    /// is used up.
    #[must_use]
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let wanted = (bytes as u64).saturating_sub(BODY_BYTES_FREE);
        let (Some(pool), Some(more)) = (&self.pool, wanted.checked_sub(self.held)) else {
            return true;
        };
        let grown = |used: u64| used.checked_add(more).filter(|sum| *sum <= pool.limit);
        let is_granted = more == 0
            || pool
                .used
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
                .is_ok();
        if is_granted {
            self.held = wanted;
        }
        is_granted
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.used.fetch_sub(self.held, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn grants_free_part_when_budget_is_used_up() {
        let memory = BodyMemory::new(64 * KIB as u64);
        let mut large = memory.share(false);
        assert!(large.grow_to(48 * KIB), "16 KiB free and the keyless half");
        assert_eq!(memory.used(), 32 * KIB as u64);
        let mut next = memory.share(false);
        assert!(next.grow_to(16 * KIB));
        assert!(!next.grow_to(16 * KIB + 1));
        assert!(!large.grow_to(48 * KIB + 1));
        assert!(large.grow_to(KIB), "it never shrinks, and is not refused");
        drop(large);
        assert!(next.grow_to(16 * KIB + 1));
        drop(next);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn keeps_half_for_callers_with_a_key() {
        let memory = BodyMemory::new(64 * KIB as u64);
        let mut stranger = memory.share(false);
        assert!(stranger.grow_to(48 * KIB));
        let mut tenant = memory.share(true);
        assert!(tenant.grow_to(48 * KIB));
        assert!(!tenant.grow_to(49 * KIB));
        let mut operator = Share::unlimited();
        assert!(operator.grow_to(usize::MAX));
        assert_eq!(memory.used(), 64 * KIB as u64);
    }

    #[test]
    fn never_exceeds_budget_when_many_grow_at_once() {
        let memory = BodyMemory::new(64 * KIB as u64);
        let granted: usize = std::thread::scope(|scope| {
            let grow = || {
                let mut shares: Vec<Share> = (0..64).map(|_| memory.share(false)).collect();
                let granted = shares
                    .iter_mut()
                    .filter_map(|share| share.grow_to(17 * KIB).then_some(1));
                let granted = granted.sum::<usize>();
                assert!(memory.used() <= 32 * KIB as u64);
                std::mem::forget(shares);
                granted
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(grow)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(granted, 32);
    }
}
