//! The rate limits of callers without a valid key: on every route, by address, by tenant, and for
//! guessed keys.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tillbox::config::{Config, Rate, RateLimits};

use crate::support::shop::Call;
use crate::support::{TestApp, TestShop, logs};

fn rate(text: &str) -> Rate {
    text.parse().expect("a rate")
}

/// Starts with the default limits, changed by `change`.
fn limited_with(change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::with(false, |config| {
        config.rate_limits = RateLimits::default();
        // The limit of carts must not be reached before the rate limits.
        config.storefront.carts_per_address = 1_000;
        change(config);
    })
}

/// Builds a keyless call of a tenant's storefront from an address.
fn visit(shop: &TestShop, method: Method, path: &str, address: &str) -> Call {
    let call = shop.app.call(method, path).at_address(address);
    call.header("x-tillbox-tenant", shop.slug.as_str())
}

fn create_cart(shop: &TestShop, address: &str) -> Call {
    visit(shop, Method::POST, "/v1/carts", address).json(json!({}))
}

#[tokio::test]
async fn refuses_keyless_calls_of_one_address_beyond_its_limits() {
    let app = limited_with(|_| {});
    let shop = app.tenant("corner");
    for used in 1..=120 {
        let answer = create_cart(&shop, "192.0.2.1").send().await.expect(201);
        let left = format!("\"storefront\";r={};t=1", 120 - used);
        assert_eq!(answer.header("ratelimit"), Some(left.as_str()));
    }
    let refused = create_cart(&shop, "192.0.2.1").send().await;
    let problem = refused.clone().refused(429, "rate_limited");
    assert_eq!(problem["violated-policies"], json!(["storefront"]));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(shop.count("SELECT count(*) FROM cart"), 120);
    create_cart(&shop, "192.0.2.2").send().await.expect(201);
    let with_key = shop.post("/v1/carts").at_address("192.0.2.1");
    with_key.json(json!({})).send().await.expect(201);

    let read = |address| visit(&shop, Method::GET, "/v1/catalog/products", address);
    for _ in 0..600 {
        read("192.0.2.1").send().await.expect(200);
    }
    let problem = read("192.0.2.1").send().await.refused(429, "rate_limited");
    assert_eq!(problem["violated-policies"], json!(["storefront_read"]));
    read("192.0.2.2").send().await.expect(200);
    app.advance(Duration::from_millis(500));
    create_cart(&shop, "192.0.2.1").send().await.expect(201);
    read("192.0.2.1").send().await.expect(200);
}

#[tokio::test]
async fn charges_keyless_writes_to_the_budget_of_their_shop() {
    let app = limited_with(|config| config.rate_limits.storefront_tenant = rate("4/min"));
    let (shop, other) = (app.tenant("corner"), app.tenant("other"));
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        create_cart(&shop, address).send().await.expect(201);
    }
    let checkout = |address| visit(&shop, Method::POST, "/v1/checkout", address);
    let answer = checkout("192.0.2.4").send().await;
    answer.clone().refused(400, "idempotency_key_missing");
    assert_eq!(answer.header("ratelimit"), Some("\"checkout\";r=29;t=2"));
    for call in [checkout("192.0.2.5"), create_cart(&shop, "192.0.2.6")] {
        let refused = call.send().await;
        let problem = refused.clone().refused(429, "rate_limited");
        assert_eq!(problem["violated-policies"], json!(["storefront_tenant"]));
        let policy = refused.header("ratelimit-policy");
        assert_eq!(policy, Some("\"storefront_tenant\";q=4;w=60"));
        assert_eq!(refused.header("retry-after"), Some("15"));
    }
    assert_eq!(shop.count("SELECT count(*) FROM cart"), 3);

    create_cart(&other, "192.0.2.6").send().await.expect(201);
    let read = visit(&shop, Method::GET, "/v1/catalog/products", "192.0.2.6");
    read.send().await.expect(200);
    let with_key = shop.post("/v1/carts").at_address("192.0.2.6");
    with_key.json(json!({})).send().await.expect(201);
    let local = create_cart(&shop, "192.0.2.6").local();
    local.send().await.expect(201);
    app.advance(Duration::from_secs(15));
    create_cart(&shop, "192.0.2.6").send().await.expect(201);
}

#[tokio::test]
async fn charges_bad_keys_to_their_address_on_every_route() {
    let app = limited_with(|config| config.rate_limits.bad_keys = rate("7/min"));
    let shop = app.tenant("corner");
    let guess = format!("Bearer tb_abcdefgh_{}", "a".repeat(52));
    let with = |method, path: &str, key: &str| {
        let call = app.call(method, path).header("authorization", key);
        call.at_address("198.51.100.7")
    };
    for (method, path, key) in [
        (Method::GET, "/v1/orders", guess.as_str()),
        (Method::POST, "/v1/carts", &guess),
        (Method::GET, "/v1/payments", &guess),
        (Method::POST, "/v1/sales", "Bearer x"),
        (Method::GET, "/v1/landlord/tenants", "Basic eDp5"),
    ] {
        let answer = with(method, path, key).send().await;
        assert_eq!(answer.status, 401, "{path}");
    }
    let nowhere = with(Method::GET, "/v1/nothing", &guess).send().await;
    nowhere.refused(404, "route_not_found");
    with(Method::GET, "/metrics", &guess)
        .send()
        .await
        .expect(200);
    for path in ["/v1/orders", "/v1/payments", "/v1/nothing", "/metrics"] {
        let refused = with(Method::GET, path, &guess).send().await;
        let problem = refused.clone().refused(429, "rate_limited");
        assert_eq!(problem["violated-policies"], json!(["bad_keys"]), "{path}");
        assert_eq!(refused.header("retry-after"), Some("9"), "{path}");
    }
    with(Method::GET, "/health/live", &guess)
        .send()
        .await
        .expect(200);

    // A till behind the same router still works, and so does a visitor without a key.
    for _ in 0..50 {
        let till = shop.get("/v1/orders").at_address("198.51.100.7");
        till.send().await.expect(200);
    }
    let visitor = visit(&shop, Method::GET, "/v1/catalog/products", "198.51.100.7");
    visitor.send().await.expect(200);
    let elsewhere = with(Method::GET, "/v1/orders", &guess).at_address("198.51.100.8");
    assert_eq!(elsewhere.send().await.status, 401);
    app.advance(Duration::from_secs(9));
    let again = with(Method::GET, "/v1/orders", &guess).send().await;
    again.refused(401, "invalid_api_key");
}

#[tokio::test]
async fn counts_a_thousand_addresses_of_one_network_as_one() {
    let app = limited_with(|_| {});
    let shop = app.tenant("corner");
    let mut admitted = 0;
    for number in 0..1_000 {
        let address = format!("2001:db8:1:2::{number:x}");
        admitted += usize::from(create_cart(&shop, &address).send().await.status == 201);
    }
    assert_eq!(admitted, 120);
    let next_network = create_cart(&shop, "2001:db8:1:3::1").send().await;
    next_network.expect(201);
}

/// The proxy then counts as the caller, because unlimited access would be a hole. A log line tells
/// the operator which setting to change.
#[tokio::test]
async fn shares_one_bucket_when_a_trusted_proxy_sends_no_address() {
    let app = limited_with(|config| {
        config.server.trusted_proxies = vec!["10.77.0.0/16".parse().expect("a network")];
        config.rate_limits.storefront = rate("3/min");
    });
    let shop = app.tenant("corner");
    let through = |forwarded: Option<&str>| {
        let call = create_cart(&shop, "10.77.0.1");
        match forwarded {
            Some(address) => call.header("x-forwarded-for", address),
            None => call,
        }
    };
    for unknown in [None, Some("unknown"), Some("")] {
        through(unknown).send().await.expect(201);
    }
    for _ in 0..5 {
        through(None).send().await.refused(429, "rate_limited");
    }
    through(Some("203.0.113.1")).send().await.expect(201);
    let warnings = logs()
        .saying(
            "the clients of a proxy share one rate limit; add it to server.trusted_proxies, and \
             let it send X-Forwarded-For or set server.forwarded_header",
        )
        .only(|line| line["proxy"] == "10.77.0.1");
    assert_eq!(warnings.lines().len(), 1, "{warnings:?}");
}

#[tokio::test]
async fn warns_of_a_private_proxy_that_is_not_trusted() {
    let app = limited_with(|config| config.rate_limits.storefront = rate("3/min"));
    let shop = app.tenant("corner");
    let through =
        |peer: &str, client: &str| create_cart(&shop, peer).header("x-forwarded-for", client);
    for number in 0..3 {
        let client = format!("203.0.113.{number}");
        through("10.78.0.1", &client).send().await.expect(201);
    }
    for _ in 0..2 {
        let refused = through("10.78.0.1", "203.0.113.9").send().await;
        refused.refused(429, "rate_limited");
    }
    let warnings = logs()
        .saying(
            "the clients of a proxy share one rate limit; add it to server.trusted_proxies, and \
             let it send X-Forwarded-For or set server.forwarded_header",
        )
        .only(|line| line["proxy"] == "10.78.0.1");
    assert_eq!(warnings.lines().len(), 1, "{warnings:?}");
}

#[tokio::test]
async fn rejects_two_keys_or_two_names_of_a_shop() {
    let app = limited_with(|_| {});
    let (shop, other) = (app.tenant("corner"), app.tenant("other"));
    let path = "/v1/catalog/products";
    let two_keys = shop.get(path);
    let two_keys = two_keys.header_too("authorization", &format!("Bearer {}", other.key));
    let same_key = shop.get(path);
    let same_key = same_key.header_too("authorization", &format!("Bearer {}", shop.key));
    let two_shops = app.get(path).header_too("x-tillbox-tenant", "corner");
    let two_shops = two_shops.header_too("x-tillbox-tenant", "other");
    for (call, name) in [
        (two_keys, "authorization"),
        (same_key, "authorization"),
        (two_shops, "x-tillbox-tenant"),
    ] {
        let problem = call.send().await.refused(400, "malformed_request");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(&format!("`{name}`")), "{detail}");
    }
}
