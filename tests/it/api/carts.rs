//! Tests of `/v1/carts`.

use serde_json::{Value, json};
use tillbox::primitives::limits::{PRICE_MINOR_MAX, QUANTITY_INTEGER_MAX, QUANTITY_MAX};
use tillbox::tenancy::Scope;

use crate::support::answer::pointers;
use crate::support::{Answer, TestApp, TestShop};

/// An unused id.
const NOBODY: &str = "01890000-0000-7000-8000-000000000001";

async fn new_cart(shop: &TestShop) -> String {
    shop.post("/v1/carts")
        .json(json!({}))
        .send()
        .await
        .expect(201)
        .string("/id")
}

async fn add(shop: &TestShop, cart: &str, product: &str, quantity: i64) -> Answer {
    let body = json!({"product_id": product, "quantity": quantity});
    shop.post(&format!("/v1/carts/{cart}/items"))
        .json(body)
        .send()
        .await
}

async fn show(shop: &TestShop, cart: &str) -> Value {
    shop.get(&format!("/v1/carts/{cart}"))
        .send()
        .await
        .expect(200)
        .json()
}

/// Data that a rejected change must not alter.
fn contents(shop: &TestShop) -> Vec<String> {
    let mut rows = shop.rows("SELECT id, currency, status, updated_at FROM cart ORDER BY seq");
    rows.extend(shop.rows("SELECT id, cart_id, product_id, quantity FROM cart_item ORDER BY seq"));
    rows
}

#[tokio::test]
async fn creates_cart_without_a_body() {
    let shop = TestApp::start().tenant("corner");
    let created = shop.post("/v1/carts").send().await.expect(201).json();
    assert_eq!(created["currency"], "EUR");
    // With required fields, an empty body is the same as an empty object.
    let refused = shop
        .post("/v1/sales")
        .key("k")
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers(&refused), ["/lines"]);
}

#[tokio::test]
async fn fills_cart_and_shows_current_prices() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (tea, mug) = (
        shop.product("TEA", 499).await,
        shop.product("MUG", 1250).await,
    );
    let created = shop
        .post("/v1/carts")
        .json(json!({}))
        .send()
        .await
        .expect(201)
        .json();
    let cart = created["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        created,
        json!({"id": cart, "currency": "EUR", "items": [], "subtotal_minor": 0, "status": "open"})
    );
    add(&shop, &cart, &tea, 2).await.expect(201);
    add(&shop, &cart, &mug, 1).await.expect(201);
    let filled = add(&shop, &cart, &tea, 3).await.expect(201).json();
    let item = |index: usize| &filled["items"][index];
    assert_eq!(
        item(0),
        &json!({"id": item(0)["id"], "product_id": tea, "sku": "TEA", "name": "Product TEA",
            "quantity": 5, "unit": "C62", "quantity_scale": 0, "unit_price_minor": 499,
            "total_minor": 2495})
    );
    assert_eq!(
        (&item(1)["sku"], &filled["subtotal_minor"]),
        (&json!("MUG"), &json!(3745))
    );
    assert_eq!(show(&shop, &cart).await, filled);
    let path = format!("/v1/catalog/products/{mug}");
    shop.patch(&path)
        .json(json!({"price_minor": 1000}))
        .send()
        .await
        .expect(200);
    assert_eq!(show(&shop, &cart).await["subtotal_minor"], 3495);
    assert_eq!(shop.count("SELECT count(*) FROM reservation"), 0);
}

#[tokio::test]
async fn changes_removes_and_clears_lines() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (tea, mug) = (
        shop.product("TEA", 100).await,
        shop.product("MUG", 900).await,
    );
    let cart = new_cart(&shop).await;
    let line = add(&shop, &cart, &tea, 2)
        .await
        .expect(201)
        .string("/items/0/id");
    add(&shop, &cart, &mug, 1).await.expect(201);
    let path = format!("/v1/carts/{cart}/items/{line}");
    let changed = shop
        .patch(&path)
        .json(json!({"quantity": 7}))
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&changed["items"][0]["quantity"], &changed["subtotal_minor"]),
        (&json!(7), &json!(1600))
    );
    let removed = shop.delete(&path).send().await.expect(200).json();
    assert_eq!(
        (
            removed["items"].as_array().map(Vec::len),
            &removed["subtotal_minor"]
        ),
        (Some(1), &json!(900))
    );
    shop.delete(&path)
        .send()
        .await
        .refused(404, "cart_item_not_found");
    let cleared = shop
        .post(&format!("/v1/carts/{cart}/clear"))
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&cleared["items"], &cleared["status"]),
        (&json!([]), &json!("open"))
    );
    assert_eq!(shop.count("SELECT count(*) FROM cart_item"), 0);
    shop.post(&format!("/v1/carts/{cart}/clear"))
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn rejects_changes_when_cart_is_not_open() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    for status in ["abandoned", "converted"] {
        let cart = new_cart(&shop).await;
        let line = add(&shop, &cart, &tea, 2)
            .await
            .expect(201)
            .string("/items/0/id");
        if status == "abandoned" {
            let abandoned = shop
                .post(&format!("/v1/carts/{cart}/abandon"))
                .send()
                .await
                .expect(200)
                .json();
            assert_eq!(
                (&abandoned["status"], &abandoned["subtotal_minor"]),
                (&json!("abandoned"), &json!(200))
            );
        } else {
            shop.raw("UPDATE cart SET status = 'converted' WHERE status = 'open'")
                .expect("a cart");
        }
        let before = contents(&shop);
        let item = format!("/v1/carts/{cart}/items/{line}");
        let answers = [
            add(&shop, &cart, &tea, 1).await,
            shop.patch(&item).json(json!({"quantity": 1})).send().await,
            shop.delete(&item).send().await,
            shop.post(&format!("/v1/carts/{cart}/clear")).send().await,
            shop.post(&format!("/v1/carts/{cart}/abandon")).send().await,
        ];
        for answer in answers {
            assert_eq!(answer.refused(409, "cart_not_open")["cart_status"], status);
        }
        assert_eq!(contents(&shop), before);
        assert_eq!(show(&shop, &cart).await["status"], status);
    }
}

#[tokio::test]
async fn rejects_products_that_cannot_be_sold() {
    let app = TestApp::start();
    let (shop, other) = (app.tenant("corner"), app.tenant("other"));
    let theirs = other.product("TEA", 100).await;
    let retired = shop.product("OLD", 100).await;
    shop.post(&format!("/v1/catalog/products/{retired}/deactivate"))
        .send()
        .await
        .expect(200);
    let body = json!({"sku": "YEN", "name": "Sold in yen", "price_minor": 100, "currency": "JPY"});
    let yen = shop
        .post("/v1/catalog/products")
        .json(body)
        .send()
        .await
        .expect(201)
        .string("/id");
    let cart = new_cart(&shop).await;
    let before = contents(&shop);
    for product in [NOBODY, theirs.as_str()] {
        let refused = add(&shop, &cart, product, 1)
            .await
            .refused(422, "product_not_found");
        assert_eq!(refused["product_id"], product);
    }
    assert_eq!(
        add(&shop, &cart, &retired, 1)
            .await
            .refused(409, "product_inactive")["sku"],
        "OLD"
    );
    let refused = add(&shop, &cart, &yen, 1)
        .await
        .refused(422, "currency_mismatch");
    assert_eq!(
        (&refused["cart_currency"], &refused["product_currency"]),
        (&json!("EUR"), &json!("JPY"))
    );
    assert_eq!(contents(&shop), before);
    let in_yen = json!({"currency": "JPY"});
    shop.post("/v1/carts")
        .json(in_yen)
        .send()
        .await
        .refused(422, "currency_not_enabled");
    shop.sells_in("JPY", "0.0054").await;
    let in_yen = shop
        .post("/v1/carts")
        .json(json!({"currency": "JPY"}))
        .send()
        .await
        .expect(201);
    add(&shop, &in_yen.string("/id"), &yen, 1).await.expect(201);
}

#[tokio::test]
async fn rejects_invalid_values_and_leaves_cart_unchanged() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    let cart = new_cart(&shop).await;
    let line = add(&shop, &cart, &tea, 2)
        .await
        .expect(201)
        .string("/items/0/id");
    let before = contents(&shop);
    let (items, item) = (
        format!("/v1/carts/{cart}/items"),
        format!("/v1/carts/{cart}/items/{line}"),
    );
    for quantity in [
        json!(0),
        json!(-1),
        json!(QUANTITY_INTEGER_MAX + 1),
        json!(1_000_000_000_000_i64),
        json!(1.5),
        json!("2"),
        json!(null),
        json!(1e30),
    ] {
        for call in [
            shop.post(&items)
                .json(json!({"product_id": tea, "quantity": quantity})),
            shop.patch(&item).json(json!({"quantity": quantity})),
        ] {
            let refused = call.send().await.refused(422, "validation_failed");
            assert_eq!(pointers(&refused), ["/quantity"], "{quantity}");
        }
    }
    let faulty = shop
        .post(&items)
        .json(json!({"product_id": "x", "quantity": 0}))
        .send()
        .await;
    assert_eq!(
        pointers(&faulty.refused(422, "validation_failed")),
        ["/product_id", "/quantity"]
    );
    let unknown = shop
        .post(&items)
        .json(json!({"product_id": tea, "quantity": 1, "price_minor": 1}))
        .send()
        .await;
    assert_eq!(
        unknown.refused(422, "validation_failed")["errors"][0]["code"],
        "unknown_field"
    );
    let array = shop.post("/v1/carts").json(json!(["EUR"])).send().await;
    assert_eq!(
        array.refused(422, "validation_failed")["errors"][0]["detail"],
        "invalid type: an array, expected an object"
    );
    shop.post(&items)
        .header("content-type", "application/json")
        .bytes(b"\xff".to_vec())
        .send()
        .await
        .refused(400, "malformed_utf8");
    assert_eq!(contents(&shop), before);
}

#[tokio::test]
async fn rejects_invalid_currency_content_type_and_id() {
    let shop = TestApp::start().tenant("corner");
    for currency in ["eur", "XXX", "", "EURO"] {
        let refused = shop
            .post("/v1/carts")
            .json(json!({"currency": currency}))
            .send()
            .await;
        assert_eq!(
            pointers(&refused.refused(422, "validation_failed")),
            ["/currency"],
            "{currency}"
        );
    }
    shop.post("/v1/carts")
        .bytes("{}")
        .send()
        .await
        .refused(415, "unsupported_media_type");
    let path = format!("/v1/carts/{NOBODY}/items/x");
    let refused = shop
        .patch(&path)
        .json(json!({"quantity": 1}))
        .send()
        .await
        .refused(400, "malformed_id");
    assert!(
        refused["detail"]
            .as_str()
            .is_some_and(|detail| detail.starts_with("an id in the path")),
        "{refused}"
    );
}

#[tokio::test]
async fn limits_quantity_of_line_and_lines_of_cart() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (tea, gold) = (
        shop.product("TEA", 1).await,
        shop.product("GOLD", PRICE_MINOR_MAX).await,
    );
    let cart = new_cart(&shop).await;
    add(&shop, &cart, &tea, QUANTITY_MAX).await.expect(201);
    let before = contents(&shop);
    add(&shop, &cart, &tea, 1)
        .await
        .refused(422, "quantity_too_large");
    add(&shop, &cart, &gold, 1_000)
        .await
        .refused(422, "amount_too_large");
    add(&shop, &cart, &gold, 901)
        .await
        .refused(422, "amount_too_large");
    assert_eq!(contents(&shop), before);
    let full = new_cart(&shop).await;
    let limit = app.app().config.storefront.cart_items_max;
    let (lines, hex) = (limit, full.replace('-', ""));
    shop.raw(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {lines})
         INSERT INTO product (id, sku, name, price_minor, currency, tax_class, track_stock, \
         active, version, created_at, updated_at, unit, quantity_scale, in_use)
         SELECT randomblob(16), 'BULK-' || i, 'Bulk', 1, 'EUR', 'standard', 0, 1, 1, 0, 0, 'C62', \
         0, 1 FROM n;
         INSERT INTO cart_item (id, cart_id, product_id, quantity) SELECT randomblob(16), \
         x'{hex}', id, 1 FROM product WHERE sku LIKE 'BULK-%';"
    ))
    .expect("rows");
    add(&shop, &full, &tea, 1).await.refused(409, "cart_full");
    let bulk = show(&shop, &full).await;
    let present = bulk["items"][0]["product_id"].as_str().expect("an id");
    add(&shop, &full, present, 1).await.expect(201);
    assert_eq!(
        shop.count(&format!(
            "SELECT count(*) FROM cart_item WHERE cart_id = x'{hex}'"
        )),
        lines
    );
}

/// A cart whose prices rose too high can be read, emptied and abandoned, but not ordered.
#[tokio::test]
async fn allows_removal_when_prices_exceed_the_maximum() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (tea, mug) = (shop.product("TEA", 1).await, shop.product("MUG", 1).await);
    let cart = new_cart(&shop).await;
    add(&shop, &cart, &tea, QUANTITY_MAX).await.expect(201);
    add(&shop, &cart, &mug, QUANTITY_MAX).await.expect(201);
    for product in [&tea, &mug] {
        let dear = json!({"price_minor": PRICE_MINOR_MAX});
        shop.patch(&format!("/v1/catalog/products/{product}"))
            .json(dear)
            .send()
            .await
            .expect(200);
    }
    let shown = show(&shop, &cart).await;
    assert_eq!(
        (&shown["subtotal_minor"], &shown["items"][0]["total_minor"]),
        (&Value::Null, &Value::Null)
    );
    add(&shop, &cart, &tea, 1)
        .await
        .refused(422, "quantity_too_large");
    shop.checkout("k", &cart, "cash")
        .await
        .refused(422, "amount_too_large");
    let item = shown["items"][0]["id"].as_str().expect("an id");
    let left = shop
        .delete(&format!("/v1/carts/{cart}/items/{item}"))
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
    shop.post(&format!("/v1/carts/{cart}/abandon"))
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn runs_same_number_of_statements_for_full_and_empty_cart() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let cart = new_cart(&shop).await;
    let (db, mut costs) = (shop.db(), Vec::new());
    for index in 0..30 {
        let product = shop.product(&format!("P-{index}"), 100).await;
        let before = db.stats().statements();
        add(&shop, &cart, &product, 1).await.expect(201);
        let added = db.stats().statements();
        show(&shop, &cart).await;
        costs.push((added - before, db.stats().statements() - added));
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    assert!(costs[0].0 <= 8 && costs[0].1 <= 2, "{costs:?}");
}

#[tokio::test]
async fn hides_carts_and_lines_of_other_tenants() {
    let app = TestApp::start();
    let (shop, other) = (app.tenant("corner"), app.tenant("other"));
    let tea = shop.product("TEA", 100).await;
    let (cart, second, theirs) = (
        new_cart(&shop).await,
        new_cart(&shop).await,
        new_cart(&other).await,
    );
    let line = add(&shop, &cart, &tea, 2)
        .await
        .expect(201)
        .string("/items/0/id");
    let before = contents(&shop);
    for id in [NOBODY, theirs.as_str()] {
        shop.get(&format!("/v1/carts/{id}"))
            .send()
            .await
            .refused(404, "cart_not_found");
        add(&shop, id, &tea, 1).await.refused(404, "cart_not_found");
        let item = format!("/v1/carts/{id}/items/{line}");
        shop.patch(&item)
            .json(json!({"quantity": 1}))
            .send()
            .await
            .refused(404, "cart_not_found");
        shop.delete(&item)
            .send()
            .await
            .refused(404, "cart_not_found");
        shop.post(&format!("/v1/carts/{id}/clear"))
            .send()
            .await
            .refused(404, "cart_not_found");
        shop.post(&format!("/v1/carts/{id}/abandon"))
            .send()
            .await
            .refused(404, "cart_not_found");
    }
    let in_another_cart = format!("/v1/carts/{second}/items/{line}");
    shop.patch(&in_another_cart)
        .json(json!({"quantity": 9}))
        .send()
        .await
        .refused(404, "cart_item_not_found");
    shop.delete(&in_another_cart)
        .send()
        .await
        .refused(404, "cart_item_not_found");
    shop.get("/v1/carts/1")
        .send()
        .await
        .refused(400, "malformed_id");
    shop.delete(&format!("/v1/carts/{cart}/items/1"))
        .send()
        .await
        .refused(400, "malformed_id");
    assert_eq!(contents(&shop), before);
}

#[tokio::test]
async fn allows_keyless_carts_and_requires_scope_of_a_key() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    let created = shop
        .post("/v1/carts")
        .anonymous()
        .header("host", "corner.shop.test")
        .json(json!({}))
        .send()
        .await
        .expect(201);
    let path = format!("/v1/carts/{}/items", created.string("/id"));
    let body = json!({"product_id": tea, "quantity": 1});
    let added = shop
        .post(&path)
        .anonymous()
        .header("x-tillbox-tenant", "corner")
        .json(body)
        .send()
        .await;
    assert_eq!(added.expect(201).json()["subtotal_minor"], 100);
    let key = shop.key_with(&[Scope::Inventory]);
    let refused = shop
        .post("/v1/carts")
        .bearer(&key)
        .json(json!({}))
        .send()
        .await;
    refused.refused(403, "insufficient_scope");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merges_concurrent_additions_of_a_product_into_one_line() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    let cart = new_cart(&shop).await;
    let body = json!({"product_id": tea, "quantity": 2});
    let calls: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn(
                shop.post(&format!("/v1/carts/{cart}/items"))
                    .json(body.clone())
                    .send(),
            )
        })
        .collect();
    for call in calls {
        call.await.expect("no panic").expect(201);
    }
    assert_eq!(shop.rows("SELECT quantity FROM cart_item"), ["40"]);
}
