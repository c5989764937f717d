//! Quantities of products that are sold by weight, length or time: integers of 10^-scale units.

use serde_json::{Value, json};
use tillbox::primitives::limits::{QUANTITY_INTEGER_MAX, QUANTITY_MAX};
use tillbox::primitives::{
    Currency, Name, Quantity, QuantityScale, Refusal as _, Sku, Timestamp, Unit,
};
use tillbox::tenant::catalog::{ImportProduct, import_product};
use tillbox::tenant::currency::Published;
use tillbox::tenant::sales::{ImportLine, ImportSale, import_sale};

use crate::support::answer::pointers;
use crate::support::{Answer, TestApp, TestShop};

/// Creates a product in kilograms that is weighed in grams.
async fn weighed(shop: &TestShop, sku: &str, price_minor: i64, more: Value) -> String {
    let mut fields = json!({"unit": "KGM", "quantity_scale": 3});
    for (name, value) in more.as_object().expect("an object") {
        fields[name] = value.clone();
    }
    shop.product_with(sku, price_minor, fields).await
}

async fn change(shop: &TestShop, product: &str, body: Value) -> Answer {
    let path = format!("/v1/catalog/products/{product}");
    shop.patch(&path).json(body).send().await
}

async fn adjust(shop: &TestShop, product: &str, delta: i64) -> Answer {
    let body = json!({"product_id": product, "quantity_delta": delta, "reason": "delivery"});
    shop.post("/v1/inventory/adjustments")
        .json(body)
        .send()
        .await
}

async fn cart_with(shop: &TestShop, product: &str, quantity: i64) -> Answer {
    let cart = shop.post("/v1/carts").json(json!({})).send().await;
    let path = format!("/v1/carts/{}/items", cart.expect(201).string("/id"));
    let item = json!({"product_id": product, "quantity": quantity});
    shop.post(&path).json(item).send().await
}

fn sale(product: &str, quantity: i64, amount: i64) -> Value {
    json!({"lines": [{"product_id": product, "quantity": quantity}],
        "payments": [{"method": "cash", "amount_minor": amount}]})
}

/// Quantity, unit and scale of an answer's member.
fn measured(of: &Value) -> Value {
    json!([of["quantity"], of["unit"], of["quantity_scale"]])
}

#[tokio::test]
async fn sells_by_weight_from_cart_to_books() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.tax_class("food", 70_000).await;
    let fields = json!({"track_stock": true, "tax_class": "food"});
    let cheese = weighed(&shop, "CHEESE", 1_999, fields).await;
    let moved = adjust(&shop, &cheese, 10_000).await.expect(201).json();
    assert_eq!(
        json!([
            moved["on_hand_after"],
            moved["unit"],
            moved["quantity_scale"]
        ]),
        json!([10_000, "KGM", 3])
    );
    let cart = cart_with(&shop, &cheese, 250).await.expect(201).json();
    let item = &cart["items"][0];
    assert_eq!(measured(item), json!([250, "KGM", 3]));
    // 499.75 cents
    assert_eq!(item["total_minor"], 500);
    let body = json!({"cart_id": cart["id"], "email": "a@example.org", "payment_method": "cash"});
    let placed = shop.post("/v1/checkout").key("k").json(body).send().await;
    let placed = placed.expect(201).json();
    assert_eq!(
        measured(&placed["order"]["items"][0]),
        json!([250, "KGM", 3])
    );
    assert_eq!(shop.stock(&cheese).await, [10_000, 250, 9_750]);
    let confirm = json!({"payment_id": placed["payment"]["id"]});
    let paid = shop
        .post("/v1/checkout/confirm-payment")
        .key("pay")
        .json(confirm);
    paid.send().await.expect(200);
    assert_eq!(shop.stock(&cheese).await, [9_750, 0, 9_750]);

    let sold = shop.sale("till", sale(&cheese, 1_005, 2_150)).await;
    let sold = sold.expect(201).json();
    let line = &sold["order"]["items"][0];
    assert_eq!(measured(line), json!([1_005, "KGM", 3]));
    // 1.005 kg for 19.99 are 20.08995.
    assert_eq!(line["net_minor"], 2_009);
    let documents = [
        &sold["financial_order"]["snapshot"]["lines"],
        &sold["invoice"]["lines"],
    ];
    for lines in documents {
        assert_eq!(measured(&lines[0]), json!([1_005, "KGM", 3]));
    }
    let stock = shop.get(&format!("/v1/inventory/stock/{cheese}"));
    let stock = stock.send().await.expect(200).json();
    assert_eq!(
        json!([stock["on_hand"], stock["unit"], stock["quantity_scale"]]),
        json!([8_745, "KGM", 3])
    );
    let refused = shop.sale("all", sale(&cheese, 8_746, 100_000)).await;
    let refused = refused.refused(409, "out_of_stock");
    let detail = refused["detail"].as_str().expect("a text");
    assert!(
        detail.contains("8.746 kg requested, 8.745 kg available"),
        "{detail}"
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn mails_quantity_with_its_unit() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let cheese = weighed(&shop, "CHEESE", 2_000, json!({})).await;
    let mut body = sale(&cheese, 250, 500);
    body["email"] = json!("a@example.org");
    let order = shop.sale("k", body).await.expect(201).string("/order/id");
    let order = tillbox::primitives::id::OrderId::parse(&order).expect("an id");
    let db = shop.db();
    let read = move |view: &tillbox::storage::TenantView<'_>| {
        tillbox::tenant::confirmation::confirmation(view, order)
    };
    let mail = crate::support::blocking(|| db.read(read).wait()).expect("reads");
    assert_eq!(mail.expect("a mail").lines[0].1, "0.250 kg");
}

#[tokio::test]
async fn keeps_whole_pieces_by_default() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let path = format!("/v1/catalog/products/{tea}");
    let shown = shop.get(&path).send().await.expect(200).json();
    assert_eq!(
        json!([shown["unit"], shown["quantity_scale"]]),
        json!(["C62", 0])
    );
    let sold = shop
        .sale("k", sale(&tea, 3, 1_350))
        .await
        .expect(201)
        .json();
    assert_eq!(measured(&sold["order"]["items"][0]), json!([3, "C62", 0]));
    assert_eq!(sold["order"]["total_minor"], 1_350);
}

#[tokio::test]
async fn rejects_unknown_unit_and_scale_out_of_range() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    for (field, value) in [
        ("unit", json!("KG")),
        ("unit", json!("kgm")),
        ("unit", json!("")),
        ("quantity_scale", json!(4)),
        ("quantity_scale", json!(-1)),
        ("quantity_scale", json!(i64::MAX)),
        ("quantity_scale", json!(1.5)),
        ("quantity_scale", json!("3")),
    ] {
        let mut new = json!({"sku": "NEW", "name": "New", "price_minor": 1});
        new[field] = value.clone();
        let created = shop.post("/v1/catalog/products").json(new).send().await;
        let mut body = json!({});
        body[field] = value.clone();
        let changed = change(&shop, &tea, body).await;
        for refused in [created, changed] {
            let refused = refused.refused(422, "validation_failed");
            assert_eq!(pointers(&refused), [format!("/{field}")], "{value}");
        }
    }
    for null in ["unit", "quantity_scale"] {
        let mut body = json!({});
        body[null] = Value::Null;
        change(&shop, &tea, body)
            .await
            .refused(422, "validation_failed");
    }
    assert_eq!(shop.count("SELECT count(*) FROM product"), 1);
}

#[tokio::test]
async fn changes_unit_until_product_is_in_use() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let [sold, moved, counted, put] = [
        shop.product("SOLD", 100).await,
        shop.product("MOVED", 100).await,
        shop.product("COUNTED", 100).await,
        shop.product("PUT", 100).await,
    ];
    let to_litres = || json!({"unit": "LTR", "quantity_scale": 2});
    for product in [&sold, &moved, &counted, &put] {
        let changed = change(&shop, product, to_litres()).await.expect(200).json();
        assert_eq!(
            json!([changed["unit"], changed["quantity_scale"]]),
            json!(["LTR", 2])
        );
    }
    shop.sale("k", sale(&sold, 150, 150)).await.expect(201);
    adjust(&shop, &moved, 5).await.expect(201);
    let path = format!("/v1/inventory/stock/{counted}");
    let count = shop.patch(&path).json(json!({"on_hand": 5}));
    count.send().await.expect(200);
    cart_with(&shop, &put, 5).await.expect(201);
    for product in [&sold, &moved, &counted, &put] {
        for body in [json!({"unit": "KGM"}), json!({"quantity_scale": 3})] {
            let refused = change(&shop, product, body)
                .await
                .refused(409, "unit_in_use");
            let detail = refused["detail"].as_str().expect("a text");
            assert!(detail.contains("make a new product"), "{detail}");
        }
        // The same unit is no change.
        let mut same = to_litres();
        same["price_minor"] = json!(120);
        change(&shop, product, same).await.expect(200);
    }
    // The schema holds it too, also after the movements were pruned.
    for set in ["unit = 'KGM'", "quantity_scale = 3", "in_use = 0"] {
        let error = shop.raw(&format!("UPDATE product SET {set}"));
        let error = error.expect_err("in use").to_string();
        assert!(error.contains("never changed"), "{error}");
    }
    shop.assert_integrity();
}

#[tokio::test]
async fn limits_whole_units_at_each_scale() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let fields = json!({"track_stock": true});
    let salt = weighed(&shop, "SALT", 1, fields).await;
    let tea = shop.stocked("TEA", 1, 5).await;
    for (product, most) in [(&tea, QUANTITY_MAX), (&salt, QUANTITY_INTEGER_MAX)] {
        let cart = cart_with(&shop, product, most).await.expect(201).json();
        let items = format!("/v1/carts/{}/items", cart["id"].as_str().expect("an id"));
        let more = json!({"product_id": product, "quantity": 1});
        let more = shop.post(&items).json(more).send().await;
        more.refused(422, "quantity_too_large");
        adjust(&shop, product, most).await.expect(201);
    }
    for call in [
        cart_with(&shop, &tea, QUANTITY_MAX + 1).await,
        shop.sale("k", sale(&tea, QUANTITY_MAX + 1, QUANTITY_MAX + 1))
            .await,
        adjust(&shop, &tea, QUANTITY_MAX + 1).await,
        adjust(&shop, &tea, -QUANTITY_MAX - 1).await,
    ] {
        call.refused(422, "quantity_too_large");
    }
    let cart = cart_with(&shop, &tea, 1).await.expect(201).json();
    let [cart, item] = [&cart["id"], &cart["items"][0]["id"]].map(|id| id.as_str().expect("an id"));
    let item = shop.patch(&format!("/v1/carts/{cart}/items/{item}"));
    let item = item
        .json(json!({"quantity": QUANTITY_MAX + 1}))
        .send()
        .await;
    item.refused(422, "quantity_too_large");
    for quantity in [0, -1, QUANTITY_INTEGER_MAX + 1, i64::MAX] {
        for call in [
            cart_with(&shop, &salt, quantity).await,
            shop.sale("k", sale(&salt, quantity, 1)).await,
        ] {
            call.refused(422, "validation_failed");
        }
    }
    // Two lines of a million kilograms, all that is there.
    adjust(&shop, &salt, QUANTITY_INTEGER_MAX).await.expect(201);
    let line = json!({"product_id": salt, "quantity": QUANTITY_INTEGER_MAX});
    let body = json!({"lines": [line, line],
        "payments": [{"method": "cash", "amount_minor": 2_000_000}]});
    shop.sale("all", body).await.expect(201);
    assert_eq!(shop.stock(&salt).await, [0, 0, 0]);
    shop.assert_integrity();
}

#[tokio::test]
async fn rounds_line_half_up_once() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let salt = weighed(&shop, "SALT", 100, json!({})).await;
    for (quantity, total) in [(4, 0), (5, 1), (14, 1), (15, 2), (1_004, 100), (1_005, 101)] {
        let key = quantity.to_string();
        let sold = shop.sale(&key, sale(&salt, quantity, total)).await;
        let sold = sold.expect(201).json();
        assert_eq!(sold["order"]["total_minor"], total, "{quantity}");
    }
    shop.assert_integrity();
}

#[tokio::test]
async fn sells_line_that_is_worth_nothing() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let fields = json!({"track_stock": true});
    let salt = weighed(&shop, "SALT", 99, fields).await;
    adjust(&shop, &salt, 2).await.expect(201);
    let sold = shop.sale("k", sale(&salt, 1, 0)).await.expect(201).json();
    assert_eq!(sold["order"]["total_minor"], 0);
    assert_eq!(sold["payments"][0]["amount_minor"], 0);
    assert_eq!(shop.stock(&salt).await, [1, 0, 1]);
    shop.assert_integrity();
}

#[tokio::test]
async fn imports_by_weight_and_refuses_another_unit() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    weighed(&shop, "CHEESE", 1_999, json!({"track_stock": true})).await;
    let sku = Sku::parse("CHEESE").expect("good");
    let sale = ImportSale {
        number: "1".to_owned(),
        sold_at: Timestamp::parse("2024-05-01T12:00:00Z").expect("good"),
        total_minor: 500,
        lines: vec![ImportLine {
            sku: sku.clone(),
            quantity: Quantity::new(250).expect("in range"),
            unit_price_minor: 1_999,
        }],
    };
    let policy = app.app().policy.clone();
    let imported = shop
        .write(move |work| Ok(import_sale(work, &policy, &Published::default(), &sale).is_ok()));
    assert!(imported.expect("the storage works"));
    let stored = shop.rows("SELECT quantity, unit, quantity_scale, net_minor FROM order_line");
    assert_eq!(stored, ["250|KGM|3|500"]);
    for (unit, places) in [(Unit::Gram, 3), (Unit::Kilogram, 2)] {
        let row = ImportProduct {
            sku: sku.clone(),
            name: Name::parse("Cheese").expect("good"),
            category: None,
            price_minor: 1_999,
            currency: Currency::parse("EUR").expect("known"),
            barcode: None,
            tax_class: None,
            track_stock: None,
            unit: Some(unit),
            quantity_scale: Some(QuantityScale::new(places).expect("in range")),
        };
        let code = shop.write(move |work| {
            let imported = import_product(work, &row);
            Ok(imported.map_err(|refused| refused.code()).err())
        });
        assert_eq!(code.expect("the storage works"), Some("unit_in_use"));
    }
    shop.assert_integrity();
}
