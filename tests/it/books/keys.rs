//! Idempotency keys: what a key is bound to, who shares it, and what becomes of it after its time.

use std::time::Duration;

use serde_json::{Value, json};
use tillbox::tenancy::Scope;

use crate::support::{Answer, TestApp, TestShop, blocking};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Keys grow old only while the clock is trusted, which it is from the first look at it.
fn with_trusted_clock() -> TestApp {
    let app = TestApp::start();
    let running = app.app();
    blocking(|| running.stores.clock_watch.observe()).expect("looked at");
    app
}

fn cash(product: &str, quantity: i64) -> Value {
    json!({
        "lines": [{"product_id": product, "quantity": quantity}],
        "payments": [{"method": "cash", "amount_minor": 450 * quantity}],
    })
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

fn sales(shop: &TestShop) -> i64 {
    shop.count("SELECT count(*) FROM sales_order")
}

/// A till that gets a new API key between a request and its repetition sells once.
#[tokio::test]
async fn replays_an_answer_when_another_api_key_of_the_tenant_asks() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let first = shop.sale("one", cash(&tea, 1)).await.expect(201);
    let other = shop.key_with(&[Scope::Pos]);
    let call = shop
        .post("/v1/sales")
        .bearer(&other)
        .key("one")
        .json(cash(&tea, 1));
    let again = call.send().await.expect(201);
    assert_eq!((again.text(), is_replayed(&again)), (first.text(), true));
    assert_eq!(sales(&shop), 1);
}

#[tokio::test]
async fn refuses_a_key_when_only_the_path_differs() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let mut orders = Vec::new();
    for _ in 0..2 {
        orders.push(shop.place(&[(&tea, 1)], "cash").await.order);
    }
    let cancel = |order: &str| {
        shop.post(&format!("/v1/orders/{order}/cancel"))
            .key("one")
            .send()
    };
    cancel(&orders[0]).await.expect(200);
    cancel(&orders[1])
        .await
        .refused(422, "idempotency_key_reused");
    assert!(is_replayed(&cancel(&orders[0]).await.expect(200)));
    assert_eq!(
        shop.rows("SELECT status FROM sales_order ORDER BY seq"),
        ["cancelled", "pending"]
    );
}

#[tokio::test]
async fn takes_a_key_of_255_characters_and_no_longer_one() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let longest = "k".repeat(255);
    shop.sale(&longest, cash(&tea, 1)).await.expect(201);
    assert!(is_replayed(
        &shop.sale(&longest, cash(&tea, 1)).await.expect(201)
    ));
    shop.sale(&"k".repeat(256), cash(&tea, 1)).await.expect(400);
    assert_eq!(sales(&shop), 1);
}

/// A key whose time is over is a new key: its answer, its request and its age are those of the new
/// request, also while the old answer is still in the file.
#[tokio::test]
async fn keeps_the_new_answer_when_an_expired_key_is_used_again() {
    let app = with_trusted_clock();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    // Older answers, which go before that of the key.
    for number in 0..20 {
        shop.sale(&format!("older-{number}"), cash(&tea, 1))
            .await
            .expect(201);
    }
    app.advance(Duration::from_millis(1));
    shop.sale("one", cash(&tea, 1)).await.expect(201);
    app.advance(DAY);
    let new = shop.sale("one", cash(&tea, 2)).await.expect(201);
    assert!(!is_replayed(&new), "a day later it is a new sale");
    let again = shop.sale("one", cash(&tea, 2)).await.expect(201);
    assert_eq!((again.text(), is_replayed(&again)), (new.text(), true));
    shop.sale("one", cash(&tea, 1))
        .await
        .refused(422, "idempotency_key_reused");
    assert_eq!(sales(&shop), 22);
}

/// The answers of a rush go a few at a time, the oldest first: no single sale pays for all of them.
#[tokio::test]
async fn forgets_a_few_expired_answers_with_each_new_one() {
    let app = with_trusted_clock();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    for number in 0..10 {
        shop.sale(&format!("old-{number}"), cash(&tea, 1))
            .await
            .expect(201);
        app.advance(Duration::from_millis(1));
    }
    app.advance(DAY);
    let oldest = "SELECT min(created_at) FROM idempotency_key";
    let before = shop.count(oldest);
    shop.sale("new", cash(&tea, 1)).await.expect(201);
    let left = shop.count("SELECT count(*) FROM idempotency_key");
    assert!(
        (7..11).contains(&left),
        "at least one of ten went, and not all: {left}"
    );
    assert!(shop.count(oldest) > before, "the oldest first");
}
