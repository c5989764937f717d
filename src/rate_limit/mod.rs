//! L5: how often one caller may ask. One limiter for each group of routes, each with a bucket for
//! each caller; what HTTP makes of it is in `http/limit.rs`.
//!
//! - Money is not kept here and nothing here is true for long: but for the buckets of `login` all
//!   of it is gone with the process. Those are written into the landlord's file, so that a restart
//!   gives nobody ten more passwords to try.
//! - The memory is bounded: so many buckets for each group (`buckets.rs`). Nothing runs by itself:
//!   a process that nobody calls does nothing here.

mod buckets;
mod limiter;
mod log_lines;
mod policy;
mod steady;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::config::RateLimits;
use crate::landlord::rate_buckets::{self, KeptBucket};
use crate::primitives::Clock;
use crate::primitives::id::{ApiKeyId, TenantId};
use crate::primitives::limits::RATE_BUCKETS_KEPT_MAX;
use crate::storage::StorageError;
use crate::tenancy::Directory;

pub use limiter::Standing;
pub use log_lines::{LineKind, LogLines};
pub use policy::Policy;

use limiter::Limiter;
use steady::Steady;

/// Whose bucket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Caller {
    /// Whoever has an API key.
    Key(ApiKeyId),
    /// Whoever is at an address; in IPv6 in a network of 64 bits, because whoever has one has all
    /// of it.
    Address(IpAddr),
    /// All callers of one shop together.
    Tenant(TenantId),
}

impl Caller {
    /// Whoever is at an address.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits((address.to_bits() >> 64) << 64).into(),
        })
    }
}

/// The limiters of the process.
pub struct RateLimiter {
    limiters: [Limiter; Policy::ALL.len()],
    /// Whether a bucket that is kept has changed since it was last written down.
    is_unwritten: AtomicBool,
    /// How many buckets are written down.
    written: AtomicUsize,
    /// Whether the operator was warned of a proxy that sends no client addresses.
    has_warned_of_proxy: AtomicBool,
}

impl RateLimiter {
    /// The limiters with their rates, and what the landlord's file has of their buckets. Blocks.
    ///
    /// # Errors
    /// [`StorageError`], of the landlord's file.
    pub fn load(
        rates: &RateLimits,
        clock: Arc<dyn Clock>,
        directory: &Directory,
    ) -> Result<Self, StorageError> {
        let rate_limiter = Self::new(rates, clock);
        let kept = directory.read(rate_buckets::list).wait()?;
        rate_limiter.written.store(kept.len(), Ordering::Relaxed);
        // A newer version may keep buckets of groups that this one lacks.
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
        let steady = Steady::new(clock);
        Self {
            limiters: Policy::ALL
                .map(|policy| Limiter::new(policy, policy.rate(rates), steady.clone())),
            is_unwritten: AtomicBool::new(false),
            written: AtomicUsize::new(0),
            has_warned_of_proxy: AtomicBool::new(false),
        }
    }

    /// Whether the operator is to be warned of a proxy that sends no client addresses: once in a
    /// process.
    pub fn is_first_warning_of_proxy(&self) -> bool {
        !self.has_warned_of_proxy.swap(true, Ordering::Relaxed)
    }

    /// From now on these rates. Buckets keep what was taken from them, as far as they hold that
    /// much.
    pub fn set_rates(&self, rates: &RateLimits) {
        for limiter in &self.limiters {
            limiter.set_rate(limiter.policy().rate(rates));
        }
    }

    /// Takes one request from a caller's bucket, and says how it stands then.
    pub fn charge(&self, policy: Policy, caller: Caller) -> Standing {
        let standing = self.limiter(policy).charge(caller);
        if policy == Policy::Login && standing.is_admitted {
            self.is_unwritten.store(true, Ordering::Release);
        }
        standing
    }

    /// Writes down the buckets that are kept over a restart, and nothing when none has changed;
    /// when all of those that are written have become full, takes them out, because an address is
    /// kept no longer than it is needed. What fails is tried again the next time. Blocks.
    ///
    /// # Errors
    /// [`StorageError`], of the landlord's file.
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
        found.expect("there is one for each")
    }
}

#[cfg(test)]
mod tests;
