//! The prune that an operator asks for while a stranger fills a tenant's file: what goes, what
//! never does, and that the space is given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tillbox::primitives::limits::FREE_PAGES_KEPT;

use super::{DAY, prune, rows_of};
use crate::support::{Answer, TestApp, TestShop};

/// Carts and answers of callers without a key, as many as an attack leaves in a few seconds.
fn fill(shop: &TestShop, rows: u32) {
    let numbers =
        format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})");
    let now = shop.app.now().as_millis();
    let carts = format!(
        "INSERT INTO cart (id, currency, status, created_at, updated_at, client_hash) \
         {numbers} SELECT randomblob(16), 'EUR', 'open', {now}, {now}, zeroblob(8) FROM n"
    );
    let answers = format!(
        "INSERT INTO keyless_answer (key_hash, request_hash, status, cart_id, created_at) \
         {numbers} SELECT randomblob(32), randomblob(32), 201, randomblob(16), {now} FROM n"
    );
    shop.raw(&format!("{carts}; {answers}")).expect("inserted");
}

fn sale(product: &str) -> Value {
    json!({
        "lines": [{"product_id": product, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": 450}],
    })
}

async fn storefront(shop: &TestShop, path: &str, key: &str, body: Value) -> Answer {
    let call = shop.app.call(http::Method::POST, path).key(key);
    let call = call.header("x-tillbox-tenant", shop.slug.as_str());
    call.json(body).send().await
}

async fn storefront_checkout(shop: &TestShop, key: &str, cart: &str) -> Answer {
    let body = json!({"cart_id": cart, "email": "ada@example.org", "payment_method": "cash"});
    storefront(shop, "/v1/checkout", key, body).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_only_what_callers_without_a_key_have_left() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    shop.sale("sale", sale(&tea)).await.expect(201);
    let cart = shop.cart(&[(&tea, 1)]).await;
    let kept_cart = shop.cart(&[(&tea, 2)]).await;
    let placed = storefront_checkout(&shop, "checkout", &cart)
        .await
        .expect(201);
    let payment = placed.string("/payment/id");
    shop.confirm("payment", &payment).await.expect(200);
    fill(&shop, 6_000);
    app.work_off();
    let before = shop.census();
    let pages = shop.count("PRAGMA page_count");

    let now = json!({"now": ["carts", "answers"], "tenant": "corner"});
    let mut dry_run = now.clone();
    dry_run["dry_run"] = json!(true);
    let dry = prune(&app, dry_run).await.expect(200).json();
    assert_eq!(shop.census(), before, "counting deletes nothing");
    let real = prune(&app, now.clone()).await.expect(200).json();
    assert_eq!(real["pruned"], dry["pruned"]);
    let went = rows_of(&real);
    assert_eq!(
        went,
        [
            ("corner/answers".to_owned(), 6_000),
            ("corner/carts".to_owned(), 6_000)
        ]
    );
    assert_eq!(real["pruned"][0]["cut_off"], Value::Null);

    assert!(is_replayed(
        &shop.sale("sale", sale(&tea)).await.expect(201)
    ));
    assert!(is_replayed(
        &storefront_checkout(&shop, "checkout", &cart)
            .await
            .expect(201)
    ));
    assert!(is_replayed(
        &shop.confirm("payment", &payment).await.expect(200)
    ));
    shop.get(&format!("/v1/carts/{kept_cart}"))
        .send()
        .await
        .expect(200);
    assert!(shop.count("PRAGMA freelist_count") <= i64::from(FREE_PAGES_KEPT));
    let left = shop.count("PRAGMA page_count");
    assert!(left + 100 < pages, "{left} of {pages} pages");
    app.work_off();
    let trail = shop.rows("SELECT action, details FROM audit_log WHERE action LIKE 'retention.%'");
    assert!(
        trail
            .iter()
            .any(|entry| entry.starts_with("retention.pruned|") && entry.contains("\"rows\":6000")),
        "{trail:?}"
    );
    let again = prune(&app, now).await.expect(200).json();
    assert_eq!(rows_of(&again), []);
    shop.assert_integrity();
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_while_an_attack_adds_more() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    fill(&shop, 2_000);
    let (over, added) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let attack = {
        let (shop, over, added) = (shop.clone(), over.clone(), added.clone());
        tokio::spawn(async move {
            while !over.load(Ordering::Acquire) {
                let number = added.fetch_add(1, Ordering::AcqRel);
                // Other bounds may refuse it; what counts here is that it goes on.
                storefront(&shop, "/v1/carts", &format!("a-{number}"), json!({})).await;
            }
        })
    };
    let now = json!({"now": ["answers", "carts"], "tenant": "corner"});
    let pruned = prune(&app, now).await.expect(200).json();
    shop.sale("k", sale(&tea)).await.expect(201);
    over.store(true, Ordering::Release);
    attack.await.expect("no panic");
    assert!(
        added.load(Ordering::Acquire) > 1,
        "the attack went on meanwhile"
    );
    let went: i64 = rows_of(&pruned).iter().map(|(_, rows)| rows).sum();
    assert!(went >= 4_000, "{pruned}");
    app.work_off();
    shop.assert_integrity();
}

#[tokio::test(flavor = "multi_thread")]
async fn works_while_the_clock_is_suspect() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.product("TEA", 450).await;
    fill(&shop, 10);
    blocking_observe(&app);
    app.advance(370 * DAY);
    app.restart();
    prune(&app, json!({})).await.refused(409, "clock_suspect");
    let pruned = prune(&app, json!({"now": ["carts"]}))
        .await
        .expect(200)
        .json();
    assert_eq!(rows_of(&pruned), [("corner/carts".to_owned(), 10)]);
}

/// Has the clock looked at, as every run of the scheduler does.
fn blocking_observe(app: &TestApp) {
    let running = app.app();
    crate::support::blocking(|| running.stores.clock_watch.observe())
        .expect("the clock is looked at");
}

#[tokio::test]
async fn rejects_what_cannot_be_pruned_at_once() {
    let app = TestApp::start();
    app.tenant("corner");
    for (body, pointer) in [
        (json!({"now": ["answers", "orders"]}), "/now/1"),
        (json!({"now": ["carts"], "audit_only": true}), "/now"),
        (json!({"now": ["carts"], "clock_is_right": true}), "/now"),
    ] {
        let refused = prune(&app, body).await.refused(422, "validation_failed");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
    prune(&app, json!({"now": ["carts"], "tenant": "nobody"}))
        .await
        .refused(404, "tenant_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_what_takes_the_room_in_a_file() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    shop.sale("k", sale(&tea)).await.expect(201);
    let show = async || {
        let call = app.get("/v1/landlord/tenants/corner").local();
        call.send().await.expect(200).json()["disk"].clone()
    };
    let before = show().await;
    fill(&shop, 3_000);
    let after = show().await;
    let bytes = |disk: &Value, part: &str| {
        disk.pointer(part)
            .and_then(Value::as_i64)
            .unwrap_or_else(|| panic!("{part}: {disk}"))
    };
    for part in ["answers", "carts"] {
        let part = format!("/parts/{part}_bytes");
        assert!(
            bytes(&after, &part) > bytes(&before, &part) + 100_000,
            "{part}: {after}"
        );
    }
    for part in ["documents", "jobs", "audit", "other"] {
        let part = format!("/parts/{part}_bytes");
        assert!(bytes(&after, &part) >= 4_096, "{part}: {after}");
    }
    assert_eq!(after["note"], Value::Null);
    assert!(bytes(&after, "/share_bytes") > bytes(&after, "/used_bytes"));
    assert_eq!(
        bytes(&after, "/used_bytes"),
        bytes(&after, "/file_bytes") + bytes(&after, "/wal_bytes")
    );
    // The parts and the free pages are the whole file, but for the map of pages that `auto_vacuum`
    // keeps.
    let parts = after["parts"].as_object().expect("parts").values();
    let sum: i64 = parts.filter_map(Value::as_i64).sum::<i64>() + bytes(&after, "/free_bytes");
    let whole = shop.count("PRAGMA page_count") * 4_096;
    assert!(
        (whole - 16 * 4_096..=whole).contains(&sum),
        "{sum} of {whole}: {after}"
    );

    app.stop();
    std::fs::remove_file(shop.path()).expect("removed");
    app.resume();
    let broken = show().await;
    assert!(
        broken["note"].is_string() && broken["parts"].is_null(),
        "{broken}"
    );
}
