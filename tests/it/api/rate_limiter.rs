//! The rate limits as callers see them: each is defined, applies to all routes of its group and no
//! others, is exact by the injected clock, and is charged to the right caller.

use std::time::Duration;

use axum::Router;
use axum::routing::post;
use http::Method;
use serde_json::{Value, json};
use tillbox::config::{Config, ForwardedHeader, RateLimits};
use tillbox::rate_limit::Policy;

use super::routes::routes;
use crate::support::process::Daemon;
use crate::support::shop::Call;
use crate::support::{Answer, TestApp, blocking, logs};

/// Starts with the default rates.
fn limited() -> TestApp {
    limited_with(|_| {})
}

fn limited_with(settings: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::with(false, |config| {
        config.rate_limits = RateLimits::default();
        settings(config);
    })
}

/// Adds routes of later versions by their paths only.
fn future_routes(app: &TestApp) -> Router {
    let routes = [
        "/v1/customer/login",
        "/v1/customer/register",
        "/v1/landlord/login",
        "/v1/landlord/billing/webhook",
        "/v1/pos/sync",
        "/v1/customer/me",
    ];
    let answer = || async { "done" };
    let router = routes.into_iter().fold(Router::new(), |router, path| {
        router.route(path, post(answer))
    });
    tillbox::http::routes_with_layers(&app.app(), router)
}

/// Parses an answer's `RateLimit` field: `(remaining, seconds until one more)`.
#[track_caller]
fn standing(answer: &Answer, policy: &str) -> (u32, u64) {
    let field = answer.header("ratelimit").expect("the field is there");
    let rest = field
        .strip_prefix(&format!("\"{policy}\";r="))
        .expect("of its policy");
    let (remaining, wait) = rest.split_once(";t=").expect("two parameters");
    (
        remaining.parse().expect("a number"),
        wait.parse().expect("a number"),
    )
}

fn group_of(path: &str) -> Option<&'static str> {
    // Repeats the contract instead of reading the tested table.
    match path {
        path if path == "/v1/checkout" || path.starts_with("/v1/checkout/") => Some("checkout"),
        path if path == "/v1/payments" || path.starts_with("/v1/payments/") => Some("payment"),
        path if path == "/v1/sales" || path.starts_with("/v1/pos/") => Some("sales"),
        path if path.ends_with("/billing/webhook") => Some("webhook"),
        path if path.ends_with("/login") || path.ends_with("/register") => Some("login"),
        _ => None,
    }
}

/// The limiter of a keyless call: every route has one, except those for monitoring.
fn keyless_group_of(path: &str, method: &Method) -> Option<&'static str> {
    let storefront = match method {
        &Method::GET => "storefront_read",
        _ => "storefront",
    };
    match path {
        "/health" | "/health/live" | "/health/ready" => None,
        path => group_of(path).or(Some(storefront)),
    }
}

/// Calls every route with and without a key: each answer, also a rejection, has the field of its
/// limiter.
#[tokio::test]
async fn limits_every_route_of_a_group_and_every_keyless_call() {
    let app = limited();
    let shop = app.tenant("corner");
    let mut met = Vec::new();
    let undescribed = ["/openapi.json GET", "/nowhere GET", "/nowhere POST"];
    let all = routes().into_iter().chain(undescribed.map(str::to_owned));
    for route in all {
        let (path, method) = route.split_once(' ').expect("a path and a method");
        let method: Method = method.parse().expect("a method");
        let call = path.replace("{id}", "018f3c9e-7b1a-7000-8000-000000000001");
        let keyless_group = keyless_group_of(path, &method);
        let keyless = app.call(method.clone(), &call).at_address("192.0.2.1");
        for (answer, group) in [
            (
                shop.call(method.clone(), &call).send().await,
                group_of(path),
            ),
            (keyless.send().await, keyless_group),
        ] {
            let policy = answer
                .header("ratelimit-policy")
                .and_then(|field| field.split('"').nth(1));
            assert_eq!(policy, group, "{route}: {answer:?}");
            assert_eq!(
                answer.header("ratelimit").is_some(),
                policy.is_some(),
                "{route}"
            );
            met.extend(policy.map(str::to_owned));
        }
        if undescribed.contains(&route.as_str()) {
            continue;
        }
        let described =
            &tillbox::http::openapi()["paths"][path][method.as_str().to_lowercase()]["responses"];
        let says = described["429"]["description"].as_str().unwrap_or_default();
        assert_eq!(
            says.contains("`rate_limited`"),
            keyless_group.is_some(),
            "{route}: description of 429"
        );
        let fields = described["429"]["headers"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        assert_eq!(
            fields,
            if keyless_group.is_some() { 3 } else { 0 },
            "{route}"
        );
    }
    for policy in ["checkout", "payment", "sales"] {
        assert!(
            met.iter().any(|name| name == policy),
            "{policy} applies to no route: {met:?}"
        );
    }
}

#[tokio::test]
async fn limits_future_routes_by_path() {
    let app = limited();
    let router = future_routes(&app);
    for (path, policy) in [
        ("/v1/customer/login", Some("\"login\";q=10;w=60")),
        ("/v1/customer/register", Some("\"login\";q=10;w=60")),
        ("/v1/landlord/login", Some("\"login\";q=10;w=60")),
        (
            "/v1/landlord/billing/webhook",
            Some("\"webhook\";q=120;w=60"),
        ),
        ("/v1/pos/sync", Some("\"sales\";q=1200;w=60")),
        ("/v1/customer/me", Some("\"storefront\";q=120;w=60")),
    ] {
        let answer = app
            .call_to(&router, Method::POST, path)
            .send()
            .await
            .expect(200);
        assert_eq!(answer.header("ratelimit-policy"), policy, "{path}");
    }
}

/// Uses up a bucket of each group; the rejection then has the exact wait.
#[tokio::test]
async fn enforces_exact_limits_and_retry_after() {
    let app = limited();
    let shop = app.tenant("corner");
    let router = future_routes(&app);
    for (policy, quota, path) in [
        ("checkout", 30, "/v1/checkout"),
        ("payment", 20, "/v1/payments"),
        ("sales", 1_200, "/v1/sales"),
        ("webhook", 120, "/v1/landlord/billing/webhook"),
        ("login", 10, "/v1/customer/login"),
    ] {
        let call = || -> Call {
            if matches!(policy, "webhook" | "login") {
                app.call_to(&router, Method::POST, path)
            } else {
                shop.post(path)
            }
        };
        for used in 1..=quota {
            let answer = call().send().await;
            assert_ne!(answer.status, 429, "{policy} {used}");
            assert_eq!(standing(&answer, policy).0, quota - used, "{policy}");
        }
        let refused = call().send().await;
        let problem = refused.clone().refused(429, "rate_limited");
        assert_eq!(
            problem["type"],
            "https://iana.org/assignments/http-problem-types#quota-exceeded"
        );
        assert_eq!(problem["violated-policies"], json!([policy]));
        let wait: u64 = refused
            .header("retry-after")
            .expect("is there")
            .parse()
            .expect("seconds");
        assert_eq!(standing(&refused, policy), (0, wait));
        app.advance(Duration::from_secs(wait - 1));
        call().send().await.refused(429, "rate_limited");
        app.advance(Duration::from_secs(1));
        assert_ne!(
            call().send().await.status,
            429,
            "{policy}: {wait} s were too short"
        );
    }
}

#[tokio::test]
async fn writes_rate_limit_fields_as_in_the_contract() {
    let app = limited();
    let shop = app.tenant("corner");
    let answer = shop.post("/v1/checkout").send().await;
    answer.clone().refused(400, "idempotency_key_missing");
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"checkout\";q=30;w=60")
    );
    assert_eq!(answer.header("ratelimit"), Some("\"checkout\";r=29;t=2"));
    let other_method = shop.delete("/v1/checkout").send().await;
    other_method.clone().refused(405, "method_not_allowed");
    assert_eq!(
        other_method.header("ratelimit"),
        Some("\"checkout\";r=28;t=2"),
        "every answer has the header"
    );
    assert!(
        shop.get("/v1/checkout/nothing")
            .send()
            .await
            .header("ratelimit")
            .is_none(),
        "no route"
    );
}

/// Replays and rejections count. A valid key has its own bucket from any address; an invalid one
/// has none.
#[tokio::test]
async fn charges_key_or_address_without_a_valid_key() {
    let app = limited();
    let (shop, other) = (app.tenant("corner"), app.tenant("other"));
    let product = shop.product("TEA", 450).await;
    let sale = json!({"lines": [{"product_id": product, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": 450}]});
    let sell = || shop.post("/v1/sales").key("one").json(sale.clone());
    let first = sell().at_address("192.0.2.1").send().await.expect(201);
    let replay = sell().at_address("192.0.2.2").send().await.expect(201);
    assert_eq!(replay.header("idempotent-replayed"), Some("true"));
    assert_eq!(
        (standing(&first, "sales").0, standing(&replay, "sales").0),
        (1_199, 1_198)
    );

    let pay = |key: &str, address: &str| app.get("/v1/payments").bearer(key).at_address(address);
    for left in (0..20).rev() {
        let address = format!("192.0.2.{}", left + 1);
        assert_eq!(
            standing(&pay(&shop.key, &address).send().await, "payment").0,
            left
        );
    }
    pay(&shop.key, "192.0.2.99")
        .send()
        .await
        .refused(429, "rate_limited");
    assert_eq!(
        pay(&other.key, "192.0.2.99").send().await.status,
        200,
        "another key"
    );

    // A client that invents a new key each time still counts as one caller.
    for number in 0..20 {
        let made_up = format!(
            "tb_abcdefgh_{}",
            "abcdefghijkmnpqrstuvwxyz23456789abcdefghijkmnpqrstuv"
                .replace('a', &number.to_string()[..1])
        );
        assert_eq!(pay(&made_up, "198.51.100.7").send().await.status, 401);
    }
    pay("tb_abcdefgh_x", "198.51.100.7")
        .send()
        .await
        .refused(429, "rate_limited");
    app.get("/v1/payments")
        .at_address("198.51.100.7")
        .send()
        .await
        .refused(429, "rate_limited");
    assert_eq!(
        pay(&other.key, "198.51.100.7").send().await.status,
        200,
        "a valid key has its own bucket"
    );
}

#[tokio::test]
async fn charges_logins_and_webhooks_to_address_with_any_key() {
    let app = limited();
    let (shop, other) = (app.tenant("corner"), app.tenant("other"));
    let router = future_routes(&app);
    let call = |path: &str, key: &str| {
        app.call_to(&router, Method::POST, path)
            .bearer(key)
            .at_address("2001:db8:1:2::1")
    };
    for path in ["/v1/customer/login", "/v1/landlord/billing/webhook"] {
        let one = call(path, &shop.key).send().await.expect(200);
        let two = call(path, &other.key)
            .at_address("2001:db8:1:2::99")
            .send()
            .await
            .expect(200);
        let remaining = |answer: &Answer| {
            let field = answer.header("ratelimit").expect("is there");
            field
                .split("r=")
                .nth(1)
                .and_then(|rest| rest.split(';').next()?.parse::<u32>().ok())
        };
        assert_eq!(
            remaining(&two),
            remaining(&one).map(|left| left - 1),
            "{path}"
        );
    }
}

#[tokio::test]
async fn trusts_address_from_proxy_but_not_from_stranger() {
    let app = limited_with(|config| {
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")]
    });
    let router = future_routes(&app);
    let login = |peer: &str, field: &str, value: &str| {
        let call = app.call_to(&router, Method::POST, "/v1/customer/login");
        call.at_address(peer).header(field, value)
    };
    let left = |answer: Answer| standing(&answer, "login").0;
    let xff = "x-forwarded-for";
    assert_eq!(left(login("10.0.0.1", xff, "203.0.113.1").send().await), 9);
    let disagreeing = login("10.0.0.2", xff, "203.0.113.1").header("forwarded", "for=9.9.9.9");
    assert_eq!(
        left(disagreeing.send().await),
        8,
        "another proxy passes on a forged address"
    );
    assert_eq!(
        left(
            login("10.0.0.1", xff, "9.9.9.9, 203.0.113.1, 10.0.0.7")
                .send()
                .await
        ),
        7,
        "forged on the left"
    );
    assert_eq!(
        left(login("10.0.0.1", xff, "203.0.113.2").send().await),
        9,
        "another client"
    );
    assert_eq!(
        left(login("203.0.113.1", xff, "203.0.113.2").send().await),
        6,
        "directly, and as itself"
    );
    // A new forged address with each request, ten thousand in each: one bucket.
    for number in 0..9 {
        let forged = vec![format!("9.9.9.{number}"); 10_000].join(", ");
        assert_eq!(
            left(login("198.51.100.1", xff, &forged).send().await),
            9 - number
        );
    }
    login("198.51.100.1", xff, "1.1.1.1")
        .send()
        .await
        .expect(200);
    login("198.51.100.1", xff, "2.2.2.2")
        .send()
        .await
        .refused(429, "rate_limited");
    let lines = logs()
        .saying("login locked out")
        .only(|line| line["address"] == "198.51.100.1");
    assert_eq!(lines.lines().len(), 1, "{lines:?}");
    login("198.51.100.1", xff, "3.3.3.3")
        .send()
        .await
        .refused(429, "rate_limited");
    let lines = logs()
        .saying("login locked out")
        .only(|line| line["address"] == "198.51.100.1");
    assert_eq!(lines.lines().len(), 1, "once for each lock-out: {lines:?}");
    assert_eq!(lines.lines()[0]["target"], "security");
    assert!(lines.lines()[0]["request_id"].is_string(), "{lines:?}");
}

/// If the proxies write `Forwarded`, it counts; a client's `X-Forwarded-For` does not.
#[tokio::test]
async fn reads_configured_forwarded_header() {
    let app = limited_with(|config| {
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        config.server.forwarded_header = ForwardedHeader::Forwarded;
    });
    let router = future_routes(&app);
    let left = async |forwarded: &str, xff: &str| {
        let call = app
            .call_to(&router, Method::POST, "/v1/customer/login")
            .at_address("10.0.0.1");
        let answer = call
            .header("forwarded", forwarded)
            .header("x-forwarded-for", xff)
            .send()
            .await;
        standing(&answer, "login").0
    };
    assert_eq!(left("for=203.0.113.1", "9.9.9.1").await, 9);
    assert_eq!(left("for=203.0.113.1", "9.9.9.2").await, 8);
    assert_eq!(left("for=203.0.113.2", "9.9.9.1").await, 9);
}

#[tokio::test]
async fn exempts_admin_socket() {
    let app = limited();
    let shop = app.tenant("corner");
    for _ in 0..40 {
        let answer = shop.get("/v1/payments").local().send().await.expect(200);
        assert!(answer.header("ratelimit").is_none());
    }
}

/// A rejected request reads no body and opens no file: callers of a damaged tenant get 429, not
/// 503.
#[tokio::test]
async fn checks_limit_before_body_and_tenant_file() {
    let app = limited();
    let shop = app.tenant("corner");
    for _ in 0..30 {
        assert_ne!(shop.post("/v1/checkout").send().await.status, 429);
    }
    app.stop();
    std::fs::write(shop.path(), [0; 8192]).expect("damaged");
    app.resume();
    for _ in 0..30 {
        shop.post("/v1/checkout").key("k").bytes("{").send().await;
    }
    shop.post("/v1/checkout")
        .key("k")
        .bytes("{")
        .send()
        .await
        .refused(429, "rate_limited");
    shop.post("/v1/checkout")
        .bytes("x".repeat(2 << 20))
        .send()
        .await
        .refused(429, "rate_limited");
}

#[tokio::test]
async fn admits_callers_after_clock_is_set_back() {
    let app = limited();
    let shop = app.tenant("corner");
    while shop.get("/v1/payments").send().await.status != 429 {}
    app.clock().set(app.now().plus_millis(-3_600_000));
    shop.get("/v1/payments")
        .send()
        .await
        .refused(429, "rate_limited");
    app.advance(Duration::from_secs(3));
    shop.get("/v1/payments").send().await.expect(200);
    shop.get("/v1/payments")
        .send()
        .await
        .refused(429, "rate_limited");
}

#[tokio::test]
async fn keeps_login_buckets_over_restart_without_idle_writes() {
    let app = limited();
    let login = async || {
        let router = future_routes(&app);
        app.call_to(&router, Method::POST, "/v1/customer/login")
            .at_address("192.0.2.1")
            .send()
            .await
    };
    let write = || {
        let app = app.app();
        blocking(|| app.limits.rate_limiter.write(&app.stores.directory)).expect("written");
    };
    let commits = || app.landlord_rows("SELECT count(*), max(full_at) FROM rate_bucket");
    write();
    assert_eq!(commits(), ["0|"]);
    for _ in 0..8 {
        login().await.expect(200);
    }
    // Like the worker's periodic write: this remains after a `kill -9`.
    write();
    assert_eq!(
        app.landlord_rows("SELECT policy, address FROM rate_bucket"),
        ["login|192.0.2.1"]
    );
    app.landlord_raw("UPDATE rate_bucket SET full_at = full_at + 1")
        .expect("marked");
    let marked = commits();
    write();
    assert_eq!(commits(), marked, "unchanged buckets are not written");
    for _ in 0..2 {
        login().await.expect(200);
    }
    login().await.refused(429, "rate_limited");
    app.restart();
    let refused = login().await;
    refused.clone().refused(429, "rate_limited");
    assert_eq!(standing(&refused, "login"), (0, 6));
    // An hour later, with a clock that was set back: no bucket is below empty.
    app.stop();
    app.clock().set(app.now().plus_millis(-3_600_000));
    app.resume();
    assert_eq!(standing(&login().await, "login"), (0, 6));
    app.advance(Duration::from_secs(6));
    login().await.expect(200);
    app.advance(Duration::from_secs(60));
    write();
    assert_eq!(
        commits(),
        ["0|"],
        "the address is deleted when it is no longer needed"
    );
}

#[tokio::test]
async fn resets_other_groups_at_restart() {
    let app = limited();
    let shop = app.tenant("corner");
    while shop.get("/v1/payments").send().await.status != 429 {}
    app.restart();
    assert_eq!(
        standing(&shop.get("/v1/payments").send().await, "payment").0,
        19
    );
    assert!(app.landlord_rows("SELECT * FROM rate_bucket").is_empty());
}

/// The output of `config show` matches the effective limits.
#[test]
fn shows_and_sets_every_limit_in_configuration() {
    let shown: Value = serde_json::to_value(Config::default()).expect("a configuration");
    let expected = json!({
        "checkout": "30/min", "payment": "20/min", "webhook": "120/min", "login": "10/min",
            "sales": "1200/min",
        "storefront": "120/min", "storefront_read": "600/min", "storefront_tenant": "3000/min",
            "bad_keys": "60/min",
    });
    assert_eq!(shown["rate_limits"], expected);
    let names: Vec<&str> = Policy::ALL.iter().map(|policy| policy.name()).collect();
    assert_eq!(names.len(), 9);
    assert!(
        names.iter().all(|name| expected[name].is_string()),
        "{names:?}"
    );
}

#[tokio::test]
async fn applies_configured_rates() {
    let app = limited_with(|config| {
        config.rate_limits.payment = "2/h".parse().expect("a rate");
    });
    let shop = app.tenant("corner");
    let answer = shop.get("/v1/payments").send().await.expect(200);
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"payment\";q=2;w=3600")
    );
    assert_eq!(answer.header("ratelimit"), Some("\"payment\";r=1;t=1800"));
    let answer = shop.post("/v1/checkout").send().await;
    assert_eq!(standing(&answer, "checkout").0, 29);
}

/// Uses the real program over sockets: the peer's address, and commands on the admin socket.
#[test]
fn limits_by_connection_address_in_daemon() {
    let dir = tempfile::tempdir().expect("a directory");
    let rate = std::path::Path::new("3/h");
    let daemon = Daemon::start_with(
        dir.path(),
        &["--dev"],
        &[("TILLBOX_RATE_LIMITS__CHECKOUT", rate)],
    );
    let headers =
        |forged: &'static str| [("x-tillbox-tenant", "demo"), ("x-forwarded-for", forged)];
    let mut client = daemon.client();
    for forged in ["1.1.1.1", "2.2.2.2", "3.3.3.3"] {
        let answer = client
            .request("POST", "/v1/checkout", &headers(forged), b"{}")
            .expect("an answer");
        assert_eq!(answer.status, 400);
    }
    let answer = daemon
        .client()
        .request("POST", "/v1/checkout", &headers("4.4.4.4"), b"{}")
        .expect("an answer");
    answer.clone().refused(429, "rate_limited");
    assert_eq!(answer.header("retry-after"), Some("1200"));
}
