//! The limiter of one policy: governor's algorithm over the buckets and the injected clock, and the
//! result that a caller sees.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter};

use super::buckets::Buckets;
use super::uptime::{FromZero, Uptime};
use super::{Caller, Policy};
use crate::config::Rate;
use crate::primitives::Timestamp;
use crate::primitives::limits::RATE_BUCKETS_MAX;
use crate::primitives::sync;

const NANOS_PER_S: u64 = 1_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// The state of a caller's bucket after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub policy: Policy,
    pub rate: Rate,
    /// Whether the request is admitted.
    pub is_admitted: bool,
    /// Requests that would be admitted immediately.
    pub remaining: u32,
    /// Seconds until one more request is admitted. Waiting so long is enough; one second less is
    /// not.
    pub more_in_s: u32,
    /// Whether this is the first refusal since the caller was last admitted.
    pub is_first_refusal: bool,
}

pub(super) struct Limiter {
    policy: Policy,
    uptime: Uptime,
    buckets: Buckets,
    state: Mutex<State>,
}

struct State {
    rate: Rate,
    /// The time in which a bucket gains one request, in nanoseconds.
    period_ns: u64,
    governor: RateLimiter<Caller, Buckets, FromZero, NoOpMiddleware<Nanos>>,
    /// Callers that were refused and not admitted since.
    refused: HashSet<Caller>,
}

impl State {
    fn new(rate: Rate, buckets: &Buckets, uptime: &Uptime) -> Self {
        let period_ns = u64::from(rate.window_s()) * NANOS_PER_S / u64::from(rate.count());
        let burst = NonZeroU32::new(rate.count()).expect("a rate is at least one request");
        let quota = Quota::with_period(Duration::from_nanos(period_ns))
            .expect("a window is longer than its greatest count");
        Self {
            rate,
            period_ns,
            governor: RateLimiter::new(
                quota.allow_burst(burst),
                buckets.clone(),
                FromZero::new(uptime),
            ),
            refused: HashSet::new(),
        }
    }

    /// The time in which an empty bucket becomes full, in nanoseconds.
    fn empty_ns(&self) -> u64 {
        u64::from(self.rate.count()) * self.period_ns
    }

    /// The requests that a bucket holds, and the nanoseconds until it holds one more.
    fn left(&self, now: u64, full_at: u64) -> (u32, u64) {
        let lacking = full_at.saturating_sub(now);
        let used = lacking.div_ceil(self.period_ns);
        let remaining = u64::from(self.rate.count()).saturating_sub(used);
        let more_in_ns = lacking - used.saturating_sub(1) * self.period_ns;
        (u32::try_from(remaining).unwrap_or(u32::MAX), more_in_ns)
    }
}

impl Limiter {
    pub(super) fn new(policy: Policy, rate: Rate, uptime: Uptime) -> Self {
        let buckets = Buckets::new(RATE_BUCKETS_MAX);
        let state = State::new(rate, &buckets, &uptime);
        Self {
            policy,
            uptime,
            buckets,
            state: Mutex::new(state),
        }
    }

    /// Changes the rate. A bucket that lacks more than the new capacity becomes empty.
    pub(super) fn set_rate(&self, rate: Rate) {
        let mut state = sync::lock(&self.state);
        if state.rate == rate {
            return;
        }
        *state = State::new(rate, &self.buckets, &self.uptime);
        let (now, _) = self.uptime.read();
        self.buckets.fill_by(now + state.empty_ns());
    }

    pub(super) const fn policy(&self) -> Policy {
        self.policy
    }

    /// Removes one request from a caller's bucket, if it holds one.
    pub(super) fn charge(&self, caller: Caller) -> Standing {
        let mut state = sync::lock(&self.state);
        let outcome = state.governor.check_key(&caller);
        let (now, _) = self.uptime.read();
        let mut is_first_refusal = false;
        let (remaining, more_in_ns) = match &outcome {
            Ok(()) => {
                state.refused.remove(&caller);
                state.left(now, self.buckets.full_at(caller).unwrap_or(now))
            }
            Err(not_until) => {
                if state.refused.len() >= RATE_BUCKETS_MAX {
                    state.refused.clear();
                }
                is_first_refusal = state.refused.insert(caller);
                let wait = not_until.wait_time_from(Nanos::new(now));
                (0, u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
            }
        };
        self.buckets.remove_full(now);
        Standing {
            policy: self.policy,
            rate: state.rate,
            is_admitted: outcome.is_ok(),
            remaining,
            // Time may have passed since the refusal. With a wait of zero a client would repeat in
            // an endless loop.
            more_in_s: u32::try_from(more_in_ns.div_ceil(NANOS_PER_S))
                .unwrap_or(u32::MAX)
                .max(1),
            is_first_refusal,
        }
    }

    /// The emptiest buckets, with the wall-clock instant at which each will be full.
    pub(super) fn emptiest(&self, limit: usize) -> Vec<(Caller, Timestamp)> {
        let (now, wall) = self.uptime.read();
        let emptiest = self.buckets.emptiest(now, limit).into_iter();
        let instant = |full_at: u64| {
            wall.plus_millis(
                i64::try_from((full_at - now).div_ceil(NANOS_PER_MS)).unwrap_or(i64::MAX),
            )
        };
        emptiest
            .map(|(caller, full_at)| (caller, instant(full_at)))
            .collect()
    }

    /// Restores a stored bucket. It lacks at most its capacity, whatever the clock or the rate was
    /// when it was stored.
    pub(super) fn restore(&self, caller: Caller, full_at: Timestamp) {
        let (now, wall) = self.uptime.read();
        let lacking_ms = u64::try_from(full_at.as_millis() - wall.as_millis()).unwrap_or(0);
        let empty_ns = sync::lock(&self.state).empty_ns();
        let lacking = lacking_ms.saturating_mul(NANOS_PER_MS).min(empty_ns);
        if lacking > 0 {
            self.buckets.set(caller, now + lacking);
        }
    }

    #[cfg(test)]
    pub(super) fn count_buckets(&self) -> usize {
        self.buckets.len()
    }
}
