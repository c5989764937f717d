//! A repeated request is carried out once, on every route that moves money.

use std::time::Duration;

use serde_json::{Value, json};
use tillbox::primitives::Origin;

use crate::support::sale::rows;
use crate::support::{Answer, TestApp, TestShop, blocking};

async fn post(shop: &TestShop, path: &str, key: &str, body: &Value) -> Answer {
    shop.post(path).key(key).json(body.clone()).send().await
}

/// One request to each route. Each succeeds when they are sent in this order.
async fn requests(shop: &TestShop) -> Vec<(String, Value, u16)> {
    let tea = shop.stocked("TEA", 450, 100).await;
    let cart = shop.cart(&[(&tea, 1)]).await;
    let (first, second, third) = (
        shop.place(&[(&tea, 1)], "cash").await,
        shop.place(&[(&tea, 1)], "cash").await,
        shop.place(&[(&tea, 1)], "cash").await,
    );
    shop.post(&format!("/v1/payments/{}/cancel", third.payment))
        .send()
        .await
        .expect(200);
    let checkout = json!({"cart_id": cart, "email": "ada@example.org", "payment_method": "cash"});
    let sale = json!({"lines": [{"product_id": tea, "quantity": 1}], "payments": [{"method": "cash",
        "amount_minor": 450}]});
    vec![
        ("/v1/checkout".into(), checkout, 201),
        (
            "/v1/checkout/confirm-payment".into(),
            json!({"payment_id": first.payment}),
            200,
        ),
        (
            format!("/v1/payments/{}/confirm", second.payment),
            json!({}),
            200,
        ),
        (
            "/v1/payments".into(),
            json!({"order_id": third.order, "method": "manual"}),
            201,
        ),
        ("/v1/sales".into(), sale, 201),
    ]
}

#[tokio::test]
async fn replays_first_answer_byte_for_byte_after_restart() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let mut first = Vec::new();
    let requests = requests(&shop).await;
    for (number, (path, body, status)) in requests.iter().enumerate() {
        let answer = post(&shop, path, &format!("k-{number}"), body)
            .await
            .expect(*status);
        assert_eq!(answer.header("idempotent-replayed"), None, "{path}");
        first.push(answer);
    }
    let before = shop.census();
    for restarted in [false, true] {
        if restarted {
            app.restart();
        }
        for (number, (path, body, status)) in requests.iter().enumerate() {
            // Quoted or bare, it is the same key.
            let key = if restarted {
                format!("\"k-{number}\"")
            } else {
                format!("k-{number}")
            };
            let again = post(&shop, path, &key, body).await.expect(*status);
            assert_eq!(again.body, first[number].body, "{path}");
            assert_eq!(again.header("idempotent-replayed"), Some("true"), "{path}");
            assert_eq!(
                again.header("content-type"),
                first[number].header("content-type"),
                "{path}"
            );
        }
    }
    assert_eq!(shop.grown_since(&before), rows([]));
    shop.assert_integrity();
}

#[tokio::test]
async fn rejects_other_request_under_used_key() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for (path, body, status) in requests(&shop).await {
        post(&shop, &path, &path, &body).await.expect(status);
        let mut other = body.clone();
        other["provider_reference"] = json!("x");
        other["email"] = json!("other@example.org");
        // Another body under a used key is rejected, whether the body is valid or not.
        let spaced = shop
            .post(&path)
            .key(&path)
            .header("content-type", "application/json")
            .bytes(format!(" {body}"));
        spaced.send().await.refused(422, "idempotency_key_reused");
    }
    let tea = shop.product("OTHER", 450).await;
    let sale = |quantity: i64| {
        json!({"lines": [{"product_id": tea, "quantity": quantity}],
        "payments": [{"method": "cash", "amount_minor": 900}]})
    };
    post(&shop, "/v1/sales", "k", &sale(1)).await.expect(201);
    let before = shop.census();
    post(&shop, "/v1/sales", "k", &sale(2))
        .await
        .refused(422, "idempotency_key_reused");
    post(&shop, "/v1/checkout", "k", &sale(1))
        .await
        .refused(422, "validation_failed");
    assert_eq!(shop.grown_since(&before), rows([]));
}

#[tokio::test]
async fn frees_key_when_request_is_refused() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 1).await;
    let sale = |quantity: i64| {
        json!({"lines": [{"product_id": tea, "quantity": quantity}],
        "payments": [{"method": "cash", "amount_minor": 900}]})
    };
    let before = shop.census();
    for _ in 0..2 {
        post(&shop, "/v1/sales", "k", &sale(2))
            .await
            .refused(409, "out_of_stock");
        post(&shop, "/v1/sales", "k", &json!({}))
            .await
            .refused(422, "validation_failed");
    }
    assert_eq!(shop.grown_since(&before), rows([]));
    let sold = post(&shop, "/v1/sales", "k", &sale(1)).await.expect(201);
    assert_eq!(sold.string("/invoice/number"), "INV-2026-000001");
}

/// Checks the clock, as the scheduler's first step does: before that nothing expires.
fn look_at_clock(app: &TestApp) {
    let running = app.app();
    blocking(|| running.stores.clock_watch.observe()).expect("the clock is checked");
}

/// The clock is set a month ahead between a sale whose answer was lost and its repetition. It is
/// still one sale, and no key expires until the clock is trusted again.
#[tokio::test]
async fn keeps_keys_when_clock_is_set_ahead() {
    let app = TestApp::start();
    look_at_clock(&app);
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let sale = json!({"lines": [{"product_id": tea, "quantity": 1}], "payments": [{"method": "cash",
        "amount_minor": 450}]});
    let first = post(&shop, "/v1/sales", "k", &sale).await.expect(201);
    let right = app.now();
    app.clock().set(right.plus_millis(30 * 24 * 3_600_000));
    for number in 0..3 {
        let again = post(&shop, "/v1/sales", "k", &sale).await.expect(201);
        assert_eq!(
            again.body, first.body,
            "before the first check of the clock, and after"
        );
        post(&shop, "/v1/sales", &format!("ahead-{number}"), &sale)
            .await
            .expect(201);
        look_at_clock(&app);
    }
    // Also over a restart: the suspicion is stored.
    app.restart();
    assert_eq!(
        post(&shop, "/v1/sales", "k", &sale).await.expect(201).body,
        first.body
    );
    look_at_clock(&app);
    assert_eq!(
        post(&shop, "/v1/sales", "k", &sale).await.expect(201).body,
        first.body
    );
    assert_eq!(shop.count("SELECT count(*) FROM idempotency_key"), 4);
    // The operator confirms the clock: now the key has expired.
    let running = app.app();
    blocking(|| running.stores.clock_watch.confirm(Origin::operator()))
        .expect("it is written down");
    let new = post(&shop, "/v1/sales", "k", &sale).await.expect(201);
    assert_ne!(new.body, first.body);
    shop.assert_integrity();
}

#[tokio::test]
async fn frees_key_after_a_day() {
    let app = TestApp::start();
    look_at_clock(&app);
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let sale = json!({"lines": [{"product_id": tea, "quantity": 1}], "payments": [{"method": "cash",
        "amount_minor": 450}]});
    let first = post(&shop, "/v1/sales", "k", &sale).await.expect(201);
    app.advance(Duration::from_secs(24 * 3_600) - Duration::from_millis(1));
    let again = post(&shop, "/v1/sales", "k", &sale).await.expect(201);
    assert_eq!(again.body, first.body);
    app.advance(Duration::from_millis(1));
    let new = post(&shop, "/v1/sales", "k", &sale).await.expect(201);
    assert_eq!(
        (
            new.string("/order/number"),
            new.header("idempotent-replayed")
        ),
        ("ORD-000002".into(), None)
    );
    assert_eq!(shop.count("SELECT count(*) FROM idempotency_key"), 1);
    // Expired keys are deleted as new ones are stored, so the table never holds more than a day.
    for number in 0..5 {
        post(&shop, "/v1/sales", &format!("old-{number}"), &sale)
            .await
            .expect(201);
    }
    app.advance(Duration::from_secs(24 * 3_600));
    for number in 0..5 {
        post(&shop, "/v1/sales", &format!("new-{number}"), &sale)
            .await
            .expect(201);
    }
    assert_eq!(shop.count("SELECT count(*) FROM idempotency_key"), 5);
    shop.assert_integrity();
}

/// Routes that create a resource accept a key, and then create it once.
#[tokio::test]
async fn creates_resource_once_under_one_key() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 1).await;
    let cart = shop.cart(&[]).await;
    let requests = [
        (
            "/v1/catalog/products".to_owned(),
            json!({"sku": "MUG", "name": "Mug", "price_minor": 900}),
            "product",
        ),
        (
            "/v1/catalog/categories".to_owned(),
            json!({"name": "Hot"}),
            "category",
        ),
        (
            "/v1/tax-rates".to_owned(),
            json!({"tax_class": "vat", "name": "VAT", "rate_ppm": 190_000}),
            "tax_rate",
        ),
        ("/v1/carts".to_owned(), json!({}), "cart"),
        (
            format!("/v1/carts/{cart}/items"),
            json!({"product_id": tea, "quantity": 2}),
            "cart_item",
        ),
        (
            "/v1/inventory/adjustments".to_owned(),
            json!({"product_id": tea, "quantity_delta": 5, "reason": "delivery"}),
            "inventory_movement",
        ),
    ];
    for (path, body, table) in requests {
        let before = shop.count(&format!("SELECT count(*) FROM {table}"));
        let first = post(&shop, &path, &path, &body).await.expect(201);
        let again = post(&shop, &path, &path, &body).await.expect(201);
        assert_eq!(
            (&again.body, again.header("etag")),
            (&first.body, first.header("etag")),
            "{path}"
        );
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{path}");
        assert_eq!(
            shop.count(&format!("SELECT count(*) FROM {table}")),
            before + 1,
            "{path}"
        );
        let reused = shop
            .post(&path)
            .key(&path)
            .json(json!({"reason": "x"}))
            .send()
            .await;
        assert_eq!(reused.status, 422, "{path}");
    }
    assert_eq!(shop.stock(&tea).await, [6, 0, 6]);
    // Without a key, each call is a new one.
    let more = json!({"product_id": tea, "quantity_delta": 1, "reason": "delivery"});
    for _ in 0..2 {
        shop.post("/v1/inventory/adjustments")
            .json(more.clone())
            .send()
            .await
            .expect(201);
    }
    assert_eq!(shop.stock(&tea).await, [8, 0, 8]);
}

#[tokio::test]
async fn rejects_malformed_and_repeated_keys() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for key in [
        "",
        " ",
        "\"",
        "\"a",
        "a\"",
        "a\"b",
        "\"\"",
        "\u{e9}",
        &"x".repeat(256),
    ] {
        let refused = shop.post("/v1/carts").key(key).json(json!({})).send().await;
        refused.refused(400, "idempotency_key_invalid");
    }
    let twice = shop
        .post("/v1/carts")
        .key("a")
        .header_too("idempotency-key", "b")
        .json(json!({}));
    twice.send().await.refused(400, "idempotency_key_invalid");
    assert_eq!(shop.count("SELECT count(*) FROM cart"), 0);
}
