//! The share of the disk that one tenant may use, so that a tenant that grows without end meets its
//! own limit before the disk reaches its reserve, and the others go on.
//!
//! - Near its share (four fifths of it) a tenant takes no writes from its storefront; at its share
//!   it takes nothing else that only makes it larger, such as carts and catalog imports. Sales,
//!   payments and checkouts by key go on for as long as the reserve lasts.
//! - Without `storage.tenant_max` the share is `FREE_TIMES` times the free space above the reserve,
//!   measured again and again: the dynamic threshold of shared buffers (Choudhury and Hahne,
//!   1998). One tenant that takes all it gets may use 80 % of the disk, two of them 44 % each,
//!   and there is always free space for the rest. A tenant that is small in comparison to the
//!   free space never meets it, however many tenants there are.
//! - The sizes are those of the files, measured once a second at most and only for a tenant that
//!   writes.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::primitives::id::TenantId;
use crate::primitives::sync;
use crate::primitives::{Class, Clock, Refusal, Timestamp};
use crate::storage::data_dir::beside;
use crate::storage::{DataDir, Space};

/// The share without a configured one, as a multiple of the free space above the reserve.
const FREE_TIMES: u64 = 4;
/// The part of its share from which on a tenant takes no writes from the storefront, in percent.
const STOREFRONT_PERCENT: u64 = 80;
/// The part of its share below which a tenant is no longer limited, in percent. It is lower than
/// `STOREFRONT_PERCENT`, so that a tenant near the limit does not fill the log.
const RECOVERED_PERCENT: u64 = 75;
/// The lifetime of a measurement of a file.
const MEASUREMENT_TTL_MS: i64 = 1_000;
/// The number of stored measurements at which expired ones are removed.
const MEASUREMENTS_MAX: usize = 1_024;

/// A write that makes a tenant's file larger and can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Growth {
    /// A call without a key.
    Storefront,
    /// A call with a key that is neither a sale nor a payment.
    Keyed,
}

impl Growth {
    /// The word for it in logs and in `/health`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Storefront => "storefront",
            Self::Keyed => "growth",
        }
    }
}

/// The disk space of a tenant, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its file and its WAL.
    pub used: u64,
    /// Its share at that moment.
    pub share: u64,
}

impl Usage {
    fn reaches(self, percent: u64) -> bool {
        u128::from(self.used) * 100 >= u128::from(self.share) * u128::from(percent)
    }

    /// The least important writes that still go on are those above this; `None` when all go on.
    fn refused(self) -> Option<Growth> {
        if self.reaches(100) {
            Some(Growth::Keyed)
        } else {
            self.reaches(STOREFRONT_PERCENT)
                .then_some(Growth::Storefront)
        }
    }
}

/// A tenant whose growth is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its disk space.
    pub usage: Usage,
    /// The most important writes that are refused.
    pub refused: Growth,
}

/// The refusal of a write because the tenant uses up its share of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareRefused {
    /// A call without a key.
    #[error(
        "this shop takes no carts and orders from its storefront at present: its share of the \
         disk is used up; this request wrote nothing; try again later"
    )]
    Storefront,
    /// A call with a key.
    #[error(
        "this shop uses {} MiB of the disk, and its share is {} MiB; this request wrote nothing; \
         sales, payments and checkouts by key go on; free space with `tillbox retention prune \
         --now answers,carts --tenant S`, or raise storage.tenant_max, and try again with the \
         same key",
        .0.used >> 20, .0.share >> 20
    )]
    Keyed(Usage),
}

impl Refusal for ShareRefused {
    fn class(&self) -> Class {
        Class::StorageFull
    }

    fn code(&self) -> &'static str {
        "tenant_storage_full"
    }
}

#[derive(Default)]
struct State {
    measurements: HashMap<TenantId, (Timestamp, u64)>,
    limited: BTreeMap<TenantId, Growth>,
}

/// The shares of all tenants.
pub struct Shares {
    dir: Arc<DataDir>,
    space: Arc<Space>,
    max: Option<u64>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl Shares {
    /// The shares of the tenants in `dir`, of `max` bytes each or derived from `space`.
    #[must_use]
    pub fn new(
        dir: Arc<DataDir>,
        space: Arc<Space>,
        max: Option<u64>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            dir,
            space,
            max,
            clock,
            state: Mutex::default(),
        }
    }

    /// Refuses growth for which the tenant's share has no room.
    ///
    /// # Errors
    /// [`ShareRefused`].
    pub fn require(&self, id: TenantId, growth: Growth) -> Result<(), ShareRefused> {
        let Some(usage) = self.refresh(id) else {
            return Ok(());
        };
        match (usage.refused(), growth) {
            (Some(_), Growth::Storefront) => Err(ShareRefused::Storefront),
            (Some(Growth::Keyed), Growth::Keyed) => Err(ShareRefused::Keyed(usage)),
            _ => Ok(()),
        }
    }

    /// Measures the disk space of a tenant, and logs when the refusals of its growth begin and
    /// end. `None` when the disk cannot be read, and while it is below its reserve, which
    /// comes before all shares.
    pub fn refresh(&self, id: TenantId) -> Option<Usage> {
        let share = match self.max {
            _ if self.space.is_short() => return None,
            // A configured share is no right to space that the others need.
            Some(max) => max.min(self.space.free_above_reserve()?.saturating_mul(FREE_TIMES)),
            None => self.space.free_above_reserve()?.saturating_mul(FREE_TIMES),
        };
        let used = self.used(id);
        let usage = Usage { used, share };
        self.record(id, usage);
        Some(usage)
    }

    /// As [`refresh`](Self::refresh), without an earlier measurement: after space was freed.
    pub fn refresh_now(&self, id: TenantId) -> Option<Usage> {
        self.state().measurements.remove(&id);
        self.refresh(id)
    }

    /// The bytes of a tenant's file, and of its WAL.
    pub fn measure(&self, id: TenantId) -> (u64, u64) {
        let path = self.dir.tenant(id);
        (size(&path), size(&beside(&path, "-wal")))
    }

    /// The tenants whose growth is refused, measured again.
    pub fn list_limited(&self) -> Vec<Limited> {
        let ids: Vec<TenantId> = self.state().limited.keys().copied().collect();
        let limited = ids.into_iter().filter_map(|tenant_id| {
            let usage = self.refresh(tenant_id)?;
            Some(Limited {
                tenant_id,
                usage,
                refused: usage.refused()?,
            })
        });
        limited.collect()
    }

    /// Counts the tenants whose growth was refused at the last measurement.
    pub fn count_limited(&self) -> usize {
        self.state().limited.len()
    }

    /// Forgets a tenant that is gone.
    pub fn forget(&self, id: TenantId) {
        let mut state = self.state();
        state.measurements.remove(&id);
        state.limited.remove(&id);
    }

    fn used(&self, id: TenantId) -> u64 {
        let now = self.clock.now();
        let is_fresh =
            |at: &Timestamp| (0..MEASUREMENT_TTL_MS).contains(&(now.as_millis() - at.as_millis()));
        if let Some((_, used)) = self
            .state()
            .measurements
            .get(&id)
            .filter(|(at, _)| is_fresh(at))
        {
            return *used;
        }
        let (file, wal) = self.measure(id);
        let used = file + wal;
        let mut state = self.state();
        if state.measurements.len() >= MEASUREMENTS_MAX {
            state.measurements.retain(|_, (at, _)| is_fresh(at));
        }
        state.measurements.insert(id, (now, used));
        used
    }

    fn record(&self, id: TenantId, usage: Usage) {
        let refused = usage.refused();
        let mut state = self.state();
        let before = state.limited.get(&id).copied();
        let Usage { used, share } = usage;
        if refused > before {
            let refused = refused.expect("more than nothing");
            state.limited.insert(id, refused);
            drop(state);
            let refused = refused.as_str();
            tracing::warn!(tenant_id = %id, used_bytes = used, share_bytes = share, refused,
                "tenant uses up its share of the disk: sales go on, growth is refused; free space \
                 with `tillbox retention prune --now answers,carts`, or raise storage.tenant_max");
        } else if before.is_some() && !usage.reaches(RECOVERED_PERCENT) {
            state.limited.remove(&id);
            drop(state);
            tracing::info!(tenant_id = %id, used_bytes = used, share_bytes = share, "tenant is \
                below its share of the disk again");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }
}

/// The size of a file; a file that is not there takes no room.
fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_the_storefront_before_the_rest() {
        let refused = |used| Usage { used, share: 1_000 }.refused();
        assert_eq!(refused(0), None);
        assert_eq!(refused(799), None);
        assert_eq!(refused(800), Some(Growth::Storefront));
        assert_eq!(refused(999), Some(Growth::Storefront));
        assert_eq!(refused(1_000), Some(Growth::Keyed));
        assert!(Some(Growth::Keyed) > Some(Growth::Storefront) && Some(Growth::Storefront) > None);
        let none_left = Usage { used: 1, share: 0 };
        assert_eq!(none_left.refused(), Some(Growth::Keyed));
    }

    #[test]
    fn leaves_free_space_however_many_tenants_are_greedy() {
        for tenants in [1, 2, 10, 100_u64] {
            let disk = 1_000_000_000_u64;
            let mut used = vec![0_u64; usize::try_from(tenants).unwrap()];
            for turn in 0..20_000_usize {
                let place = turn % used.len();
                let free = disk - used.iter().sum::<u64>();
                let usage = Usage {
                    used: used[place],
                    share: free * FREE_TIMES,
                };
                if usage.refused().is_none() {
                    used[place] += 100_000;
                }
            }
            let free = disk - used.iter().sum::<u64>();
            // 1 / (1 + 3.2 n) of the disk: a fifth for one, and never nothing.
            assert!(free * (10 + 32 * tenants) > disk * 9, "{tenants}: {free}");
        }
    }
}
