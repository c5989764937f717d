//! The limiters by the injected clock: what they admit, what they say, and what a clock that is set
//! does to them.

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
fn a_bucket_empties_and_fills_by_one_at_a_time() {
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
        "somebody else's"
    );
    assert_eq!(
        ask(&rate_limiter, Policy::Payment, caller),
        (true, 19, 3),
        "another group's"
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

/// The configuration is read again: the new rate holds from the next request on, and nobody's
/// bucket is emptier than empty or full again for it.
#[test]
fn another_rate_takes_over_the_buckets() {
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
        "what it lacks in time it lacks still"
    );
}

#[test]
fn every_wait_that_is_named_is_enough_and_a_second_less_is_not() {
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
fn a_clock_that_is_set_locks_nobody_out_and_opens_no_gate() {
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
    assert_eq!(drain(), 10, "one bucket and no more");
    assert_eq!(drain(), 0);
}

#[test]
fn a_network_of_ipv6_is_one_caller_and_so_is_an_address_in_either_form() {
    assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
    assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
    assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
}

#[test]
fn a_million_addresses_take_no_more_room_and_give_nobody_a_full_bucket() {
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
        "a flood is no new bucket"
    );
    clock.advance(Duration::from_secs(60));
    for _ in 0..RATE_BUCKETS_MAX {
        rate_limiter.charge(Policy::Login, guesser);
    }
    assert_eq!(
        rate_limiter.limiter(Policy::Login).count_buckets(),
        1,
        "what a flood leaves behind goes"
    );
}

#[test]
fn the_first_refusal_is_told_from_those_that_follow() {
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
