//! Edge cases of rate limit buckets: a changed rate, too many callers, and restarts.

use std::net::Ipv4Addr;
use std::time::Duration;

use tillbox::config::RateLimits;
use tillbox::rate_limit::{Caller, Policy, Standing};

use crate::support::{TestApp, blocking};

fn app_with(login: &str) -> TestApp {
    TestApp::with(false, |config| config.rate_limits = limits(login))
}

fn limits(login: &str) -> RateLimits {
    RateLimits {
        login: login.parse().expect("a rate"),
        ..RateLimits::default()
    }
}

fn charge(app: &TestApp, policy: Policy, address: u32) -> Standing {
    let caller = Caller::of_address(Ipv4Addr::from_bits(address).into());
    app.app().limits.rate_limiter.charge(policy, caller)
}

fn write(app: &TestApp) {
    let app = app.app();
    blocking(|| app.limits.rate_limiter.write(&app.stores.directory)).expect("written");
}

fn kept(app: &TestApp) -> Vec<String> {
    app.landlord_rows("SELECT policy, address, full_at FROM rate_bucket ORDER BY address")
}

/// A bucket an hour below full would lock its caller out of a rate with a window of a second.
#[tokio::test]
async fn empties_no_bucket_further_than_empty_when_the_window_gets_shorter() {
    let app = app_with("2/h");
    while charge(&app, Policy::Login, 1).is_admitted {}
    app.app().limits.rate_limiter.set_rates(&limits("2/s"));
    assert!(
        !charge(&app, Policy::Login, 1).is_admitted,
        "the bucket is empty, not full"
    );
    app.advance(Duration::from_millis(500));
    assert!(charge(&app, Policy::Login, 1).is_admitted);
    assert!(!charge(&app, Policy::Login, 1).is_admitted);
}

#[tokio::test]
async fn remembers_who_was_refused_when_the_same_rates_are_set_again() {
    let app = app_with("1/h");
    charge(&app, Policy::Login, 1);
    assert!(charge(&app, Policy::Login, 1).is_first_refusal);
    app.app().limits.rate_limiter.set_rates(&limits("1/h"));
    assert!(!charge(&app, Policy::Login, 1).is_first_refusal);
}

/// The memory of rejected callers is bounded: it is cleared when full.
#[tokio::test]
async fn forgets_who_was_refused_when_there_are_too_many() {
    let app = app_with("1/h");
    let last = u32::MAX;
    charge(&app, Policy::Login, last);
    assert!(charge(&app, Policy::Login, last).is_first_refusal);
    for address in 1..65_535 {
        charge(&app, Policy::Login, address);
        assert!(charge(&app, Policy::Login, address).is_first_refusal);
    }
    assert!(
        !charge(&app, Policy::Login, last).is_first_refusal,
        "65,535 callers are remembered"
    );
    charge(&app, Policy::Login, 65_535);
    assert!(charge(&app, Policy::Login, 65_535).is_first_refusal);
    assert!(
        charge(&app, Policy::Login, last).is_first_refusal,
        "one more caller clears the memory"
    );
}

#[tokio::test]
async fn keeps_the_1024_emptiest_buckets_of_logins() {
    let app = app_with("10/min");
    for address in 1..=1_100 {
        charge(&app, Policy::Login, address);
    }
    for _ in 0..2 {
        charge(&app, Policy::Login, 1);
    }
    write(&app);
    let kept = kept(&app);
    assert_eq!(kept.len(), 1_024);
    assert!(
        kept[0].starts_with("login|0.0.0.1|"),
        "the emptiest bucket is kept: {}",
        kept[0]
    );
}

#[tokio::test]
async fn writes_nothing_when_a_login_is_refused_or_another_group_is_charged() {
    let app = app_with("1/h");
    charge(&app, Policy::Login, 1);
    write(&app);
    app.landlord_raw("UPDATE rate_bucket SET full_at = full_at + 1")
        .expect("marked");
    let marked = kept(&app);
    assert!(!charge(&app, Policy::Login, 1).is_admitted);
    assert!(charge(&app, Policy::Payment, 1).is_admitted);
    write(&app);
    assert_eq!(kept(&app), marked);
    charge(&app, Policy::Login, 2);
    write(&app);
    assert_eq!(kept(&app).len(), 2, "the admitted login is stored");
}

#[tokio::test]
async fn removes_kept_buckets_that_became_full_while_the_process_was_down() {
    let app = app_with("10/min");
    charge(&app, Policy::Login, 1);
    write(&app);
    assert_eq!(kept(&app).len(), 1);
    app.stop();
    app.advance(Duration::from_secs(60));
    app.resume();
    write(&app);
    assert_eq!(kept(&app), [""; 0]);
}

#[tokio::test]
async fn removes_kept_buckets_when_all_became_full() {
    let app = app_with("10/min");
    charge(&app, Policy::Login, 1);
    write(&app);
    write(&app);
    assert_eq!(kept(&app).len(), 1);
    app.advance(Duration::from_secs(60));
    write(&app);
    assert_eq!(kept(&app), [""; 0]);
}

#[tokio::test]
async fn retries_failed_write() {
    let app = app_with("10/min");
    let break_off = "CREATE TRIGGER broken BEFORE INSERT ON rate_bucket
                     BEGIN SELECT RAISE(ABORT, 'broken off'); END";
    app.landlord_raw(break_off).expect("made");
    charge(&app, Policy::Login, 1);
    let running = app.app();
    blocking(|| running.limits.rate_limiter.write(&running.stores.directory))
        .expect_err("it is broken off");
    app.landlord_raw("DROP TRIGGER broken").expect("dropped");
    write(&app);
    assert_eq!(kept(&app).len(), 1);
}

#[test]
fn limits_a_path_as_a_login_only_when_that_is_its_last_part() {
    assert_eq!(Policy::of_path("/v1/customer/login"), Some(Policy::Login));
    assert_eq!(Policy::of_path("/v1/login/history"), None);
    assert_eq!(Policy::of_path("/v1/register/fields"), None);
}

/// A newer version may keep the buckets of other groups.
#[tokio::test]
async fn restores_only_the_buckets_of_logins() {
    let app = app_with("10/min");
    let full_at = app.now().as_millis() + 60_000;
    app.landlord_raw(&format!(
        "INSERT INTO rate_bucket (policy, address, full_at)
         VALUES ('payment', '0.0.0.1', {full_at}), ('login', '0.0.0.2', {full_at})"
    ))
    .expect("inserted");
    app.restart();
    assert_eq!(charge(&app, Policy::Login, 1).remaining, 9);
    assert!(!charge(&app, Policy::Login, 2).is_admitted);
    assert_eq!(charge(&app, Policy::Payment, 1).remaining, 19);
}
