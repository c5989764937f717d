//! Tests of `/v1/inventory`: stock and its movements.

use serde_json::{Value, json};
use tillbox::primitives::limits::{QUANTITY_INTEGER_MAX, STOCK_MAX};
use tillbox::tenancy::Scope;

use crate::support::answer::pointers;
use crate::support::{Answer, TestApp, TestShop};

/// An unused id.
const NOBODY: &str = "01890000-0000-7000-8000-000000000001";

async fn adjust(shop: &TestShop, body: Value) -> Answer {
    shop.post("/v1/inventory/adjustments")
        .json(body)
        .send()
        .await
}

async fn count(shop: &TestShop, product: &str, body: Value) -> Answer {
    shop.patch(&format!("/v1/inventory/stock/{product}"))
        .json(body)
        .send()
        .await
}

async fn stock(shop: &TestShop, product: &str) -> Value {
    shop.get(&format!("/v1/inventory/stock/{product}"))
        .send()
        .await
        .expect(200)
        .json()
}

/// Counts rows that a rejected request must not write.
fn traces(shop: &TestShop) -> (i64, i64, i64) {
    (
        shop.count("SELECT count(*) FROM stock"),
        shop.count("SELECT count(*) FROM inventory_movement"),
        shop.count("SELECT count(*) FROM job"),
    )
}

#[tokio::test]
async fn reports_zero_for_uncounted_product() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    assert_eq!(
        stock(&shop, &tea).await,
        json!({"product_id": tea, "on_hand": 0, "reserved": 0, "available": 0,
            "unit": "C62", "quantity_scale": 0, "updated_at": null})
    );
    assert_eq!(shop.count("SELECT count(*) FROM stock"), 0);
}

#[tokio::test]
async fn adjusts_stock_with_movement_and_audit_job() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    let jobs = shop.count("SELECT count(*) FROM job");
    let body = json!({"product_id": tea, "quantity_delta": 12, "reason": "delivery"});
    let moved = adjust(&shop, body).await.expect(201).json();
    assert_eq!(
        moved,
        json!({"id": moved["id"], "product_id": tea, "kind": "adjustment", "quantity_delta": 12,
            "on_hand_after": 12, "unit": "C62", "quantity_scale": 0, "order_id": null,
               "reason": "delivery", "at": "2026-01-15T10:00:00Z"})
    );
    adjust(
        &shop,
        json!({"product_id": tea, "quantity_delta": -2, "reason": "broken"}),
    )
    .await
    .expect(201);
    assert_eq!(stock(&shop, &tea).await["available"], 10);
    assert_eq!(
        shop.rows(
            "SELECT kind, quantity_delta, on_hand_after, reason FROM inventory_movement \
            ORDER BY seq"
        ),
        ["adjustment|12|12|delivery", "adjustment|-2|10|broken"]
    );
    assert_eq!(
        shop.rows(
            "SELECT queue, kind, json_extract(payload, '$.action') FROM job ORDER BY seq \
            DESC LIMIT 2"
        ),
        [
            "audit|audit.append|stock.adjusted",
            "audit|audit.append|stock.adjusted"
        ]
    );
    assert_eq!(shop.count("SELECT count(*) FROM job"), jobs + 2);
}

#[tokio::test]
async fn sets_counted_stock_and_ignores_equal_count() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    let counted = count(&shop, &tea, json!({"on_hand": 7, "reason": "yearly"}))
        .await
        .expect(200);
    assert_eq!(
        counted.json(),
        json!({"product_id": tea, "on_hand": 7, "reserved": 0, "available": 7,
            "unit": "C62", "quantity_scale": 0, "updated_at": "2026-01-15T10:00:00Z"})
    );
    let before = traces(&shop);
    count(&shop, &tea, json!({"on_hand": 7})).await.expect(200);
    assert_eq!(traces(&shop), before);
    count(&shop, &tea, json!({"on_hand": 0})).await.expect(200);
    assert_eq!(
        shop.rows(
            "SELECT kind, quantity_delta, on_hand_after, reason FROM inventory_movement \
            ORDER BY seq"
        ),
        ["count|7|7|yearly", "count|-7|0|"]
    );
}

#[tokio::test]
async fn rejects_stock_below_reservations() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    count(&shop, &tea, json!({"on_hand": 5})).await.expect(200);
    shop.raw("UPDATE stock SET reserved = 3").expect("one row");
    let before = traces(&shop);
    let body = json!({"product_id": tea, "quantity_delta": -3, "reason": "stolen"});
    let refused = adjust(&shop, body).await.refused(409, "stock_too_low");
    assert_eq!(
        [
            &refused["product_id"],
            &refused["on_hand"],
            &refused["reserved"],
            &refused["available"]
        ],
        [&json!(tea), &json!(5), &json!(3), &json!(2)]
    );
    count(&shop, &tea, json!({"on_hand": 2}))
        .await
        .refused(409, "stock_too_low");
    assert_eq!(traces(&shop), before);
    let body = json!({"product_id": tea, "quantity_delta": -2, "reason": "stolen"});
    adjust(&shop, body).await.expect(201);
    assert_eq!(stock(&shop, &tea).await["available"], 0);
}

#[tokio::test]
async fn limits_stock() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    count(&shop, &tea, json!({"on_hand": STOCK_MAX}))
        .await
        .expect(200);
    let body = json!({"product_id": tea, "quantity_delta": 1, "reason": "more"});
    adjust(&shop, body).await.refused(422, "stock_too_large");
    assert_eq!(stock(&shop, &tea).await["on_hand"], STOCK_MAX);
}

#[tokio::test]
async fn rejects_invalid_corrections_with_all_faults() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    let before = traces(&shop);
    let faulty = adjust(
        &shop,
        json!({"product_id": "tea", "quantity_delta": 0, "reason": " "}),
    )
    .await;
    assert_eq!(
        pointers(&faulty.refused(422, "validation_failed")),
        ["/product_id", "/quantity_delta", "/reason"]
    );
    for delta in [
        QUANTITY_INTEGER_MAX + 1,
        -QUANTITY_INTEGER_MAX - 1,
        i64::MIN,
        i64::MAX,
    ] {
        let body = json!({"product_id": tea, "quantity_delta": delta, "reason": "x"});
        assert_eq!(
            pointers(&adjust(&shop, body).await.refused(422, "validation_failed")),
            ["/quantity_delta"]
        );
    }
    for (on_hand, pointer) in [
        (json!(-1), "/on_hand"),
        (json!(STOCK_MAX + 1), "/on_hand"),
        (json!(1.5), "/on_hand"),
        (json!("7"), "/on_hand"),
    ] {
        let refused = count(&shop, &tea, json!({"on_hand": on_hand}))
            .await
            .refused(422, "validation_failed");
        assert_eq!(pointers(&refused), [pointer], "{on_hand}");
    }
    let without_reason = adjust(&shop, json!({"product_id": tea, "quantity_delta": 1})).await;
    let without_reason = without_reason.refused(422, "validation_failed");
    assert_eq!(without_reason["errors"][0]["code"], "missing_field");
    assert_eq!(pointers(&without_reason), ["/reason"]);
    let unknown = adjust(
        &shop,
        json!({"product_id": tea, "quantity_delta": 1, "reason": "x", "location": "y"}),
    )
    .await;
    assert_eq!(
        unknown.refused(422, "validation_failed")["errors"][0]["code"],
        "unknown_field"
    );
    let malformed = shop
        .post("/v1/inventory/adjustments")
        .header("content-type", "application/json")
        .bytes("{");
    malformed.send().await.refused(400, "malformed_json");
    assert_eq!(traces(&shop), before);
}

#[tokio::test]
async fn hides_unknown_products_and_those_of_other_tenants() {
    let app = TestApp::start();
    let (shop, other) = (app.tenant("corner"), app.tenant("other"));
    let theirs = other.product("TEA", 100).await;
    for product in [NOBODY, theirs.as_str()] {
        shop.get(&format!("/v1/inventory/stock/{product}"))
            .send()
            .await
            .refused(404, "product_not_found");
        count(&shop, product, json!({"on_hand": 1}))
            .await
            .refused(404, "product_not_found");
        let body = json!({"product_id": product, "quantity_delta": 1, "reason": "x"});
        adjust(&shop, body).await.refused(404, "product_not_found");
    }
    shop.get("/v1/inventory/stock/1")
        .send()
        .await
        .refused(400, "malformed_id");
    assert_eq!(
        (
            traces(&shop).0,
            traces(&shop).1,
            other.count("SELECT count(*) FROM stock")
        ),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn requires_inventory_scope() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let key = shop.key_with(&[Scope::CatalogWrite]);
    let body = json!({"product_id": NOBODY, "quantity_delta": 1, "reason": "x"});
    let without_scope = shop
        .post("/v1/inventory/adjustments")
        .bearer(&key)
        .json(body)
        .send()
        .await;
    without_scope.refused(403, "insufficient_scope");
    let anonymous = shop
        .get("/v1/inventory/movements")
        .anonymous()
        .header("x-tillbox-tenant", "corner");
    anonymous.send().await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn lists_movements_by_page_and_product() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (tea, mug) = (
        shop.product("TEA", 100).await,
        shop.product("MUG", 900).await,
    );
    for delta in 1..=5 {
        for product in [&tea, &mug] {
            let body = json!({"product_id": product, "quantity_delta": delta, "reason": "x"});
            adjust(&shop, body).await.expect(201);
        }
    }
    let first = shop
        .get(&format!("/v1/inventory/movements?product_id={tea}&limit=3"))
        .send()
        .await
        .expect(200);
    let cursor = first.string("/next_cursor");
    adjust(
        &shop,
        json!({"product_id": tea, "quantity_delta": 9, "reason": "meanwhile"}),
    )
    .await
    .expect(201);
    let second = shop.get(&format!(
        "/v1/inventory/movements?product_id={tea}&limit=3&cursor={cursor}"
    ));
    let second = second.send().await.expect(200).json();
    let deltas = |page: &Value| -> Vec<i64> {
        let rows = page["data"].as_array().expect("rows");
        assert!(rows.iter().all(|row| row["product_id"] == *tea));
        rows.iter()
            .filter_map(|row| row["quantity_delta"].as_i64())
            .collect()
    };
    assert_eq!(
        (deltas(&first.json()), deltas(&second)),
        (vec![5, 4, 3], vec![2, 1])
    );
    assert_eq!(second["next_cursor"], Value::Null);
    let all = shop
        .get("/v1/inventory/movements")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(all["data"].as_array().map(Vec::len), Some(11));
    let none = shop
        .get(&format!("/v1/inventory/movements?product_id={NOBODY}"))
        .send()
        .await
        .expect(200);
    assert_eq!(none.json(), json!({"data": [], "next_cursor": null}));
    let bad = shop
        .get("/v1/inventory/movements?product_id=7")
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers(&bad), ["?product_id"]);
    let misspelt = shop
        .get(&format!("/v1/inventory/movements?product={tea}"))
        .send()
        .await;
    misspelt.refused(422, "validation_failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applies_all_concurrent_adjustments() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let body = json!({"product_id": tea, "quantity_delta": 3, "reason": "x"});
                shop.post("/v1/inventory/adjustments").json(body).send()
            })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic").expect(201);
    }
    assert_eq!(stock(&shop, &tea).await["on_hand"], 60);
    assert_eq!(
        shop.count("SELECT max(on_hand_after) FROM inventory_movement"),
        60
    );
}
