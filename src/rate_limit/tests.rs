//! Tests of the limiters with the injected clock: admission, reported waits, and a clock that is
//! set.

use super::*;
use crate::primitives::{ManualClock, Timestamp};
use std::time::Duration;

fn start() -> (RateLimiter, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(
        Timestamp::parse("2026-01-15T10:00:00Z").unwrap(),
    ));
    (
        RateLimiter::new(&RateLimits::default(), clock.clone()),
        clock,
    )
}

fn at(text: &str) -> Caller {
    Caller::of_address(text.parse().unwrap())
}

/// `(admitted, remaining, more_in_s)`
fn ask(rate_limiter: &RateLimiter, policy: Policy, caller: Caller) -> (bool, u32, u32) {
    let standing = rate_limiter.charge(policy, caller);
    (standing.is_admitted, standing.remaining, standing.more_in_s)
}

#[test]
fn empties_and_fills_bucket_by_one_request() {
    let (rate_limiter, clock) = start();
    let caller = at("192.0.2.1");
    assert_eq!(ask(&rate_limiter, Policy::Checkout, caller), (true, 29, 2));
    clock.advance(Duration::from_secs(1));
    assert_eq!(ask(&rate_limiter, Policy::Checkout, caller), (true, 28, 1));
    for left in (0..28).rev() {
        assert_eq!(
            ask(&rate_limiter, Policy::Checkout, caller),
            (true, left, 1)
        );
    }
    assert_eq!(ask(&rate_limiter, Policy::Checkout, caller), (false, 0, 1));
    assert_eq!(
        ask(&rate_limiter, Policy::Checkout, at("192.0.2.2")),
        (true, 29, 2),
        "another caller"
    );
    assert_eq!(
        ask(&rate_limiter, Policy::Payment, caller),
        (true, 19, 3),
        "another policy"
    );
    clock.advance(Duration::from_millis(999));
    assert!(!ask(&rate_limiter, Policy::Checkout, caller).0);
    clock.advance(Duration::from_millis(1));
    assert_eq!(ask(&rate_limiter, Policy::Checkout, caller), (true, 0, 2));
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(
        ask(&rate_limiter, Policy::Checkout, caller),
        (true, 29, 2),
        "never more than full"
    );
}

/// After a reload the new rate applies from the next request on; no bucket lacks more than its
/// capacity or becomes full by it.
#[test]
fn keeps_buckets_when_rate_changes() {
    let (rate_limiter, clock) = start();
    let caller = at("192.0.2.1");
    for _ in 0..30 {
        rate_limiter.charge(Policy::Checkout, caller);
    }
    assert!(!ask(&rate_limiter, Policy::Checkout, caller).0);
    let slower = RateLimits {
        checkout: "2/min".parse().unwrap(),
        ..RateLimits::default()
    };
    rate_limiter.set_rates(&slower);
    assert_eq!(ask(&rate_limiter, Policy::Checkout, caller), (false, 0, 30));
    assert_eq!(
        ask(&rate_limiter, Policy::Checkout, at("192.0.2.2")),
        (true, 1, 30)
    );
    clock.advance(Duration::from_secs(30));
    assert_eq!(ask(&rate_limiter, Policy::Checkout, caller), (true, 0, 30));
    rate_limiter.set_rates(&RateLimits::default());
    assert_eq!(
        ask(&rate_limiter, Policy::Checkout, caller),
        (false, 0, 2),
        "the missing time stays missing"
    );
}

#[test]
fn reports_shortest_sufficient_wait() {
    for policy in Policy::ALL {
        let (rate_limiter, clock) = start();
        let caller = at("192.0.2.1");
        let mut refused = 0;
        for step in 0..20_000_u64 {
            // Odd steps, so that no wait begins at a whole second.
            clock.advance(Duration::from_millis(step * 7 % 13));
            let (is_admitted, remaining, wait) = ask(&rate_limiter, policy, caller);
            if is_admitted {
                continue;
            }
            refused += 1;
            assert!(remaining == 0 && wait >= 1, "{policy:?}");
            clock.advance(Duration::from_secs(u64::from(wait) - 1));
            assert!(
                !ask(&rate_limiter, policy, caller).0,
                "{policy:?}: {wait} s were too many"
            );
            clock.advance(Duration::from_secs(1));
            assert!(
                ask(&rate_limiter, policy, caller).0,
                "{policy:?}: {wait} s were too few"
            );
        }
        assert!(refused > 100, "{policy:?}: {refused}");
    }
}

#[test]
fn neither_locks_out_nor_admits_floods_when_clock_is_set() {
    let (rate_limiter, clock) = start();
    let caller = at("192.0.2.1");
    let drain = || {
        (0..100)
            .filter(|_| ask(&rate_limiter, Policy::Login, caller).0)
            .count()
    };
    assert_eq!(drain(), 10);
    let now = clock.now();
    clock.set(now.plus_millis(-3_600_000));
    assert_eq!(drain(), 0);
    clock.advance(Duration::from_secs(6));
    assert_eq!(drain(), 1, "six seconds are six seconds");
    clock.set(Timestamp::parse("2027-01-15T10:00:00Z").unwrap());
    assert_eq!(drain(), 0, "a clock that is set fills no bucket");
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(drain(), 10, "one bucket and no more");
}

#[test]
fn counts_ipv6_network_and_mapped_address_as_one_caller() {
    assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
    assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
    assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
}

#[test]
fn bounds_memory_and_keeps_empty_bucket_under_million_addresses() {
    use crate::primitives::limits::RATE_BUCKETS_MAX;
    let (rate_limiter, clock) = start();
    let guesser = at("2001:db8::1");
    while ask(&rate_limiter, Policy::Login, guesser).0 {}
    for number in 0..1_000_000_u32 {
        rate_limiter.charge(
            Policy::Login,
            Caller::of_address(std::net::Ipv4Addr::from_bits(number).into()),
        );
    }
    assert_eq!(
        rate_limiter.limiter(Policy::Login).count_buckets(),
        RATE_BUCKETS_MAX
    );
    assert!(
        !ask(&rate_limiter, Policy::Login, guesser).0,
        "a flood gives no new bucket"
    );
    clock.advance(Duration::from_secs(60));
    for _ in 0..RATE_BUCKETS_MAX {
        rate_limiter.charge(Policy::Login, guesser);
    }
    assert_eq!(
        rate_limiter.limiter(Policy::Login).count_buckets(),
        1,
        "the buckets of a flood are removed"
    );
}

#[test]
fn distinguishes_first_refusal_from_following_ones() {
    let (rate_limiter, clock) = start();
    let caller = at("192.0.2.1");
    let mut refusals = Vec::new();
    for _ in 0..13 {
        let standing = rate_limiter.charge(Policy::Login, caller);
        refusals.extend((!standing.is_admitted).then_some(standing.is_first_refusal));
    }
    assert_eq!(refusals, [true, false, false]);
    clock.advance(Duration::from_secs(6));
    assert!(rate_limiter.charge(Policy::Login, caller).is_admitted);
    assert!(rate_limiter.charge(Policy::Login, caller).is_first_refusal);
}
