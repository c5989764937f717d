//! L5: rate limits. One limiter for each policy (a group of routes), with a bucket for each caller;
//! `http/limit.rs` applies them to requests.
//!
//! - Buckets are kept in memory and lost with the process. Only those of `login` are stored in the
//!   landlord's file, so that a restart does not grant ten more password attempts.
//! - The memory is bounded: each policy has a limited number of buckets (`buckets.rs`). There is no
//!   background work: without requests nothing runs.

mod buckets;
mod caller;
mod limiter;
mod log_lines;
mod policy;
mod uptime;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::config::RateLimits;
use crate::landlord::rate_buckets::{self, KeptBucket};
use crate::primitives::Clock;
use crate::primitives::limits::RATE_BUCKETS_KEPT_MAX;
use crate::storage::StorageError;
use crate::tenancy::Directory;

pub use caller::Caller;
pub use limiter::Standing;
pub use log_lines::{LineKind, LogLines};
pub use policy::Policy;

use limiter::Limiter;
use uptime::Uptime;

/// The limiters of the process.
pub struct RateLimiter {
    limiters: [Limiter; Policy::ALL.len()],
    /// Whether a stored bucket has changed since it was last written.
    is_unwritten: AtomicBool,
    /// The number of stored buckets.
    written: AtomicUsize,
    /// Whether the operator was warned of a proxy that sends no client addresses.
    has_warned_of_proxy: AtomicBool,
}

impl RateLimiter {
    /// Creates the limiters with their rates, and restores the buckets stored in the landlord's
    /// file. Blocks.
    pub fn load(
        rates: &RateLimits,
        clock: Arc<dyn Clock>,
        directory: &Directory,
    ) -> Result<Self, StorageError> {
        let rate_limiter = Self::new(rates, clock);
        let kept = directory.read(rate_buckets::list).wait()?;
        rate_limiter.written.store(kept.len(), Ordering::Relaxed);
        // A newer version may have stored buckets of policies that this one lacks.
        for bucket in kept
            .iter()
            .filter(|bucket| bucket.policy == Policy::Login.name())
        {
            rate_limiter
                .limiter(Policy::Login)
                .restore(Caller::of_address(bucket.address), bucket.full_at);
        }
        Ok(rate_limiter)
    }

    fn new(rates: &RateLimits, clock: Arc<dyn Clock>) -> Self {
        let uptime = Uptime::new(clock);
        Self {
            limiters: Policy::ALL
                .map(|policy| Limiter::new(policy, policy.rate(rates), uptime.clone())),
            is_unwritten: AtomicBool::new(false),
            written: AtomicUsize::new(0),
            has_warned_of_proxy: AtomicBool::new(false),
        }
    }

    /// Whether to warn the operator of a proxy that sends no client addresses: true once per
    /// process.
    pub fn is_first_warning_of_proxy(&self) -> bool {
        !self.has_warned_of_proxy.swap(true, Ordering::Relaxed)
    }

    /// Changes the rates. Buckets keep their used requests, up to the new capacity.
    pub fn set_rates(&self, rates: &RateLimits) {
        for limiter in &self.limiters {
            limiter.set_rate(limiter.policy().rate(rates));
        }
    }

    /// Removes one request from a caller's bucket, and returns the state of the bucket.
    pub fn charge(&self, policy: Policy, caller: Caller) -> Standing {
        let standing = self.limiter(policy).charge(caller);
        if policy == Policy::Login && standing.is_admitted {
            self.is_unwritten.store(true, Ordering::Release);
        }
        standing
    }

    /// Stores the buckets that survive a restart, if any has changed. When all stored ones have
    /// become full, deletes them, because an address is kept no longer than needed. A failed write
    /// is repeated by the next call. Blocks.
    pub fn write(&self, directory: &Directory) -> Result<(), StorageError> {
        let has_changed = self.is_unwritten.swap(false, Ordering::AcqRel);
        let emptiest = self
            .limiter(Policy::Login)
            .emptiest(RATE_BUCKETS_KEPT_MAX)
            .into_iter();
        let kept: Vec<KeptBucket> = emptiest
            .filter_map(|(caller, full_at)| {
                let Caller::Address(address) = caller else {
                    return None;
                };
                let policy = Policy::Login.name().to_owned();
                Some(KeptBucket {
                    policy,
                    address,
                    full_at,
                })
            })
            .collect();
        let are_all_full = kept.is_empty() && self.written.load(Ordering::Relaxed) > 0;
        if !has_changed && !are_all_full {
            return Ok(());
        }
        let count = kept.len();
        rate_buckets::replace(directory, kept)
            .inspect_err(|_| self.is_unwritten.store(true, Ordering::Release))?;
        self.written.store(count, Ordering::Relaxed);
        Ok(())
    }

    fn limiter(&self, policy: Policy) -> &Limiter {
        let found = self
            .limiters
            .iter()
            .find(|limiter| limiter.policy() == policy);
        found.expect("every policy has a limiter")
    }
}

#[cfg(test)]
mod tests;
