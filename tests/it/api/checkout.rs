//! Tests of `/v1/checkout`: from a cart to a paid order.

use std::time::Duration;

use serde_json::{Value, json};
use tillbox::tenancy::Scope;

use crate::support::answer::pointers;
use crate::support::sale::{Placed, rows};
use crate::support::{TestApp, TestShop, logs};

/// An unused id.
const NOBODY: &str = "01890000-0000-7000-8000-000000000001";

/// The time that stock is held.
const HOLD: Duration = Duration::from_secs(15 * 60);

#[tokio::test]
async fn writes_only_pending_order_payment_and_reservation() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let bag = shop.product("BAG", 25).await;
    let cart = shop.cart(&[(&tea, 2), (&bag, 1)]).await;
    let before = shop.census();
    let placed = shop.checkout("k-1", &cart, "cash").await.expect(201).json();
    assert_eq!(
        shop.grown_since(&before),
        rows([
            ("sales_order", 1),
            ("order_line", 2),
            ("payment", 1),
            ("reservation", 1),
            ("series", 1),
            ("idempotency_key", 1),
            ("job", 2)
        ])
    );
    assert_eq!(
        shop.rows("SELECT queue, kind, state FROM job ORDER BY seq DESC LIMIT 2"),
        [
            "audit|audit.append|available",
            "low|inventory.expire_reservation|scheduled"
        ]
    );
    let order = &placed["order"];
    for (name, value) in [
        ("number", json!("ORD-000001")),
        ("status", json!("pending")),
        ("channel", json!("checkout")),
        ("email", json!("ada@example.org")),
        ("subtotal_minor", json!(925)),
        ("discount_minor", json!(0)),
        ("tax_minor", json!(0)),
        ("total_minor", json!(925)),
        ("currency", json!("EUR")),
        ("placed_at", json!("2026-01-15T10:00:00Z")),
    ] {
        assert_eq!(order[name], value, "{name}");
    }
    assert_eq!(order["items"][0]["sku"], "TEA");
    assert_eq!(
        placed["payment"],
        json!({"id": placed["payment"]["id"], "order_id": order["id"], "method": "cash",
            "status": "pending", "amount_minor": 925,
               "tendered_minor": null, "change_minor": 0, "currency": "EUR",
                   "provider_reference": null, "failure_code": null,
               "created_at": "2026-01-15T10:00:00Z",
               "updated_at": "2026-01-15T10:00:00Z", "succeeded_at": null})
    );
    assert_eq!(shop.stock(&tea).await, [10, 2, 8]);
    let shown = shop
        .get(&format!("/v1/carts/{cart}"))
        .send()
        .await
        .expect(200);
    assert_eq!(shown.json()["status"], "converted");
    shop.assert_integrity();
}

/// Orders two units of tea with tracked stock and a mug with 19 % tax, paid by transfer.
async fn tea_and_a_mug(shop: &TestShop) -> (String, Placed) {
    shop.tax_class("vat", 190_000).await;
    let tea = shop.stocked("TEA", 450, 10).await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"tax_class": "vat"}))
        .await;
    let placed = shop.place(&[(&tea, 2), (&mug, 1)], "manual").await;
    (tea, placed)
}

#[tokio::test]
async fn writes_all_books_in_one_confirmation() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (tea, placed) = tea_and_a_mug(&shop).await;
    let before = shop.census();
    shop.confirm("c-1", &placed.payment).await.expect(200);
    assert_eq!(
        shop.grown_since(&before),
        rows([
            ("financial_order", 1),
            ("financial_transaction", 1),
            ("invoice", 1),
            ("ledger_account", 5),
            ("ledger_entry", 1),
            ("ledger_transfer", 2),
            ("inventory_movement", 1),
            ("series", 1),
            ("idempotency_key", 1),
            ("job", 2),
        ])
    );
    assert_eq!(
        shop.rows(
            "SELECT queue, kind, json_extract(payload, '$.action') FROM job ORDER BY seq \
            DESC LIMIT 2"
        ),
        [
            "default|orders.confirmation|",
            "audit|audit.append|order.paid"
        ]
    );
    assert_eq!(
        shop.rows(
            "SELECT debit_code, credit_code, currency, amount_minor FROM ledger_transfer \
            ORDER BY seq"
        ),
        ["1200|4000|EUR|1900", "1200|2200|EUR|190"]
    );
    assert_eq!(shop.stock(&tea).await, [8, 0, 8]);
    assert_eq!(shop.rows("SELECT status FROM reservation"), ["consumed"]);
    shop.assert_integrity();
    app.work_off();
    assert_eq!(
        shop.count("SELECT count(*) FROM job WHERE state NOT IN ('completed', 'scheduled')"),
        0
    );
    assert_eq!(
        shop.count("SELECT count(*) FROM audit_log WHERE action = 'order.paid'"),
        1,
        "the audit entry is in the chain"
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn returns_payment_order_and_documents_when_confirmed() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (_, placed) = tea_and_a_mug(&shop).await;
    let body = json!({"payment_id": placed.payment, "provider_reference": "transfer 17"});
    let call = shop
        .post("/v1/checkout/confirm-payment")
        .key("c-1")
        .json(body);
    let done = call.send().await.expect(200).json();
    assert_eq!(
        (
            &done["payment"]["status"],
            &done["payment"]["provider_reference"],
            &done["payment"]["succeeded_at"]
        ),
        (
            &json!("succeeded"),
            &json!("transfer 17"),
            &json!("2026-01-15T10:00:00Z")
        )
    );
    assert_eq!(
        (&done["order"]["status"], &done["order"]["total_minor"]),
        (&json!("paid"), &json!(2_090))
    );
    let financial = &done["financial_order"];
    assert_eq!(
        (
            &financial["status"],
            &financial["subtotal_minor"],
            &financial["tax_minor"],
            &financial["total_minor"]
        ),
        (&json!("paid"), &json!(1_900), &json!(190), &json!(2_090))
    );
    assert!(
        financial["locked_at"].is_string() && financial["paid_at"].is_string(),
        "{financial}"
    );
    let invoice = &done["invoice"];
    assert_eq!(
        (
            &invoice["number"],
            &invoice["status"],
            &invoice["balance_minor"],
            &invoice["total_minor"]
        ),
        (
            &json!("INV-2026-000001"),
            &json!("issued"),
            &json!(0),
            &json!(2_090)
        )
    );
}

#[tokio::test]
async fn logs_every_fact_once_with_its_ids() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let done = shop.sell(&[(&tea, 1)]).await;
    let lines = |message| logs().of_tenant(&shop.id.to_string()).saying(message);
    for message in [
        "financial order locked",
        "financial order marked paid",
        "invoice issued",
        "payment succeeded",
    ] {
        let found = lines(message);
        let [line] = found.lines() else {
            panic!("{message}: {found:?}")
        };
        assert_eq!(line["order_id"], done["order"]["id"], "{line}");
        assert_eq!(
            line["financial_order_id"], done["financial_order"]["id"],
            "{line}"
        );
        if matches!(message, "invoice issued" | "payment succeeded") {
            assert_eq!(line["invoice_id"], done["invoice"]["id"], "{line}");
        }
    }
    // A rejected confirmation logs none of them.
    let late = shop.place(&[(&tea, 9)], "cash").await;
    app.advance(HOLD);
    app.work_off();
    shop.sell(&[(&tea, 1)]).await;
    shop.confirm("late", &late.payment)
        .await
        .refused(409, "out_of_stock");
    assert_eq!(lines("payment succeeded").lines().len(), 2);
    assert_eq!(lines("invoice issued").lines().len(), 2);
}

#[tokio::test]
async fn rejects_unorderable_cart_without_traces() {
    let app = TestApp::start();
    let (shop, other) = (app.tenant("corner"), app.tenant("harbour"));
    let tea = shop.product("TEA", 450).await;
    let theirs = other.product("TEA", 450).await;
    let (empty, converted) = (shop.cart(&[]).await, shop.cart(&[(&tea, 1)]).await);
    let (abandoned, foreign) = (
        shop.cart(&[(&tea, 1)]).await,
        other.cart(&[(&theirs, 1)]).await,
    );
    shop.checkout("first", &converted, "cash").await.expect(201);
    let path = format!("/v1/carts/{abandoned}/abandon");
    shop.post(&path).json(json!({})).send().await.expect(200);
    let before = shop.census();
    for (cart, status, code) in [
        (empty.as_str(), 422, "cart_empty"),
        (&converted, 409, "cart_not_open"),
        (&abandoned, 409, "cart_not_open"),
        (&foreign, 404, "cart_not_found"),
        (NOBODY, 404, "cart_not_found"),
    ] {
        shop.checkout("refused", cart, "cash")
            .await
            .refused(status, code);
    }
    assert_eq!(shop.grown_since(&before), rows([]));
    // The idempotency key of a rejected request can be used for the corrected one.
    let corrected = shop.cart(&[(&tea, 1)]).await;
    shop.checkout("refused", &corrected, "cash")
        .await
        .expect(201);
    other.checkout("theirs", &foreign, "cash").await.expect(201);
}

#[tokio::test]
async fn rejects_product_that_became_unsellable_in_the_cart() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let gold = shop.product("GOLD", 10_000_000_000_000).await;
    let ice = shop.product("ICE", 100).await;
    let inactive = shop.cart(&[(&tea, 1)]).await;
    let path = format!("/v1/catalog/products/{tea}/deactivate");
    shop.post(&path).send().await.expect(200);
    let refused = shop
        .checkout("k", &inactive, "cash")
        .await
        .refused(409, "product_inactive");
    assert_eq!(
        (&refused["product_id"], &refused["sku"]),
        (&json!(tea), &json!("TEA"))
    );

    let dear = shop.cart(&[(&ice, 2)]).await;
    let path = format!("/v1/catalog/products/{ice}");
    let body = json!({"price_minor": 5_000_000_000_001_i64});
    shop.patch(&path).json(body).send().await.expect(200);
    shop.checkout("k", &dear, "cash")
        .await
        .refused(422, "amount_too_large");
    // The greatest amount of an order fits all books.
    let done = shop.sell(&[(&gold, 1)]).await;
    assert_eq!(done["invoice"]["total_minor"], 10_000_000_000_000_i64);

    let dollars = shop.cart(&[(&gold, 1)]).await;
    shop.raw("UPDATE product SET currency = 'USD' WHERE sku = 'GOLD'")
        .expect("no rule of the file");
    shop.checkout("k", &dollars, "cash")
        .await
        .refused(422, "currency_mismatch");
    assert_eq!(shop.count("SELECT count(*) FROM sales_order"), 1);
    shop.assert_integrity();
}

#[tokio::test]
async fn rejects_insufficient_stock_and_reports_available_quantity() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (tea, mug) = (
        shop.stocked("TEA", 450, 5).await,
        shop.stocked("MUG", 900, 0).await,
    );
    shop.place(&[(&tea, 3)], "cash").await;
    let before = shop.census();
    let cart = shop.cart(&[(&tea, 3)]).await;
    let refused = shop
        .checkout("k", &cart, "cash")
        .await
        .refused(409, "out_of_stock");
    assert_eq!(
        [
            &refused["product_id"],
            &refused["sku"],
            &refused["requested"],
            &refused["available"]
        ],
        [&json!(tea), &json!("TEA"), &json!(3), &json!(2)]
    );
    let both = shop.cart(&[(&tea, 2), (&mug, 1)]).await;
    let refused = shop
        .checkout("k", &both, "cash")
        .await
        .refused(409, "out_of_stock");
    assert_eq!(
        (&refused["sku"], &refused["available"]),
        (&json!("MUG"), &json!(0))
    );
    assert_eq!(
        shop.grown_since(&before),
        rows([("cart", 2), ("cart_item", 3)])
    );
    assert_eq!(
        shop.stock(&tea).await,
        [5, 3, 2],
        "holds of a rejected checkout are released"
    );
    let cart = shop.cart(&[(&tea, 2)]).await;
    shop.checkout("k", &cart, "cash").await.expect(201);
    shop.assert_integrity();
}

#[tokio::test]
async fn reports_all_invalid_values_and_requires_idempotency_key() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let call = |body: Value| shop.post("/v1/checkout").key("k").json(body).send();
    let bad = json!({"cart_id": "cart-1", "email": "ada", "payment_method": "barter"});
    let refused = call(bad).await.refused(422, "validation_failed");
    assert_eq!(
        pointers(&refused),
        ["/cart_id", "/email", "/payment_method"]
    );
    let good = json!({"cart_id": NOBODY, "email": "ada@example.org", "payment_method": "cash"});
    for (key, value, code) in [
        ("colour", json!("red"), "unknown_field"),
        ("email", json!(7), "wrong_type"),
    ] {
        let mut body = good.clone();
        body[key] = value;
        let refused = call(body).await.refused(422, "validation_failed");
        assert_eq!(refused["errors"][0]["code"], code, "{refused}");
    }
    let unkeyed = shop.post("/v1/checkout").json(good.clone()).send().await;
    unkeyed.refused(400, "idempotency_key_missing");
    let confirm = json!({"payment_id": NOBODY});
    let unkeyed = shop
        .post("/v1/checkout/confirm-payment")
        .json(confirm)
        .send()
        .await;
    unkeyed.refused(400, "idempotency_key_missing");
    let broken = shop
        .post("/v1/checkout")
        .key("k")
        .header("content-type", "application/json")
        .bytes("{");
    broken.send().await.refused(400, "malformed_json");
    let latin = shop
        .post("/v1/checkout")
        .key("k")
        .header("content-type", "application/json")
        .bytes(b"{\"email\": \"\xe9\"}".to_vec());
    latin.send().await.refused(400, "malformed_utf8");
    let plain = shop
        .post("/v1/checkout")
        .key("k")
        .header("content-type", "text/plain")
        .bytes("{}");
    plain.send().await.refused(415, "unsupported_media_type");
    for key in ["", "\"\"", "é", &"k".repeat(256)] {
        let call = shop
            .post("/v1/checkout")
            .key(key)
            .json(good.clone())
            .send()
            .await;
        call.refused(400, "idempotency_key_invalid");
    }
    assert_eq!(shop.count("SELECT count(*) FROM idempotency_key"), 0);
}

#[tokio::test]
async fn allows_test_payments_only_in_dev_mode() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let cart = shop.cart(&[(&tea, 1)]).await;
    shop.checkout("k", &cart, "test")
        .await
        .refused(422, "payment_method_unavailable");
    let dev = TestApp::start_dev();
    let shop = dev.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let cart = shop.cart(&[(&tea, 1)]).await;
    shop.checkout("k", &cart, "test").await.expect(201);
}

#[tokio::test]
async fn allows_keyless_checkout_but_no_confirmation() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let cart = shop.cart(&[(&tea, 1)]).await;
    let body = json!({"cart_id": cart, "email": "ada@example.org", "payment_method": "cash"});
    let host = "corner.shop.test";
    let call = shop
        .post("/v1/checkout")
        .anonymous()
        .header("host", host)
        .key("k")
        .json(body);
    let payment = call.send().await.expect(201).string("/payment/id");
    let body = json!({"payment_id": payment});
    let confirm = |shop: &TestShop| {
        shop.post("/v1/checkout/confirm-payment")
            .key("c")
            .json(body.clone())
    };
    confirm(&shop)
        .anonymous()
        .header("host", host)
        .send()
        .await
        .refused(401, "unauthenticated");
    let reader = shop.key_with(&[Scope::CatalogRead]);
    confirm(&shop)
        .bearer(&reader)
        .send()
        .await
        .refused(403, "insufficient_scope");
    let till = shop.key_with(&[Scope::Checkout]);
    confirm(&shop).bearer(&till).send().await.expect(200);
}

#[tokio::test]
async fn holds_stock_for_15_minutes_and_gives_late_buyer_the_rest() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 3).await;
    let (early, late) = (
        shop.place(&[(&tea, 2)], "cash").await,
        shop.place(&[(&tea, 1)], "cash").await,
    );
    assert_eq!(shop.stock(&tea).await, [3, 3, 0]);
    app.advance(HOLD - Duration::from_millis(1));
    app.work_off();
    assert_eq!(shop.stock(&tea).await, [3, 3, 0], "not a moment before");
    app.advance(Duration::from_millis(1));
    app.work_off();
    assert_eq!(shop.stock(&tea).await, [3, 0, 3]);
    assert_eq!(
        shop.rows("SELECT status FROM reservation"),
        ["expired", "expired"]
    );
    shop.assert_integrity();

    shop.confirm("early", &early.payment).await.expect(200);
    assert_eq!(
        shop.stock(&tea).await,
        [1, 0, 1],
        "the reservation is renewed from available stock"
    );
    shop.sell(&[(&tea, 1)]).await;
    let before = shop.census();
    let refused = shop
        .confirm("late", &late.payment)
        .await
        .refused(409, "out_of_stock");
    assert_eq!(
        (&refused["requested"], &refused["available"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        shop.grown_since(&before),
        rows([]),
        "the payment is rejected"
    );
    let payment = shop
        .get(&format!("/v1/payments/{}", late.payment))
        .send()
        .await
        .expect(200);
    assert_eq!(payment.json()["status"], "pending");
    let path = format!("/v1/inventory/stock/{tea}");
    shop.patch(&path)
        .json(json!({"on_hand": 1}))
        .send()
        .await
        .expect(200);
    let done = shop.confirm("late", &late.payment).await.expect(200).json();
    assert_eq!(
        done["invoice"]["number"], "INV-2026-000003",
        "the refusals took no number"
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn pays_and_numbers_free_order() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let flyer = shop.product("FLYER", 0).await;
    let done = shop.sell(&[(&flyer, 3)]).await;
    assert_eq!(
        (
            &done["order"]["total_minor"],
            &done["invoice"]["total_minor"]
        ),
        (&json!(0), &json!(0))
    );
    assert_eq!(shop.count("SELECT count(*) FROM ledger_entry"), 1);
    assert_eq!(shop.count("SELECT count(*) FROM ledger_transfer"), 0);
    shop.assert_integrity();
}

/// A new price or tax rate does not change a placed order before it is paid.
#[tokio::test]
async fn keeps_price_and_tax_rate_of_the_checkout() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.tax_class("vat", 160_000).await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"tax_class": "vat"}))
        .await;
    let cart = shop.cart(&[(&mug, 1)]).await;
    let price = |price_minor: i64| {
        shop.patch(&format!("/v1/catalog/products/{mug}"))
            .json(json!({"price_minor": price_minor}))
            .send()
    };
    price(2_000).await.expect(200);
    let placed = shop.checkout("checkout", &cart, "cash").await.expect(201);
    assert_eq!(
        placed.json()["order"]["total_minor"],
        2_320,
        "a cart has the present price"
    );
    price(3_000).await.expect(200);
    let rate = json!({"tax_class": "vat", "name": "VAT", "rate_ppm": 190_000});
    shop.post("/v1/tax-rates")
        .json(rate)
        .send()
        .await
        .expect(201);
    app.advance(std::time::Duration::from_secs(60));
    shop.prices_include_tax(true).await;
    let done = shop
        .confirm("confirm", &placed.string("/payment/id"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (
            &done["invoice"]["total_minor"],
            &done["invoice"]["tax_lines"][0]["rate_ppm"]
        ),
        (&json!(2_320), &json!(160_000))
    );
    let later = shop.place(&[(&mug, 1)], "cash").await;
    let later = shop
        .get(&format!("/v1/orders/{}", later.order))
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&later["total_minor"], &later["tax_minor"]),
        (&json!(3_000), &json!(479))
    );
    shop.assert_integrity();
}

/// Currencies have the number of decimals of ISO 4217; amounts are always in minor units.
#[tokio::test]
async fn sells_in_currencies_with_zero_and_three_decimals() {
    let app = TestApp::start();
    for (slug, currency, shown) in [("tokyo", "JPY", "1190 JPY"), ("kuwait", "KWD", "1.190 KWD")] {
        let shop = app.tenant_in(slug, currency);
        shop.tax_class("vat", 190_000).await;
        let mug = shop
            .product_with("MUG", 1_000, json!({"tax_class": "vat"}))
            .await;
        let done = shop.sell(&[(&mug, 1)]).await;
        assert_eq!(
            (
                &done["invoice"]["total_minor"],
                &done["invoice"]["currency"]
            ),
            (&json!(1_190), &json!(currency))
        );
        app.work_off();
        let outbox = std::fs::read_dir(app.data_dir().join("outbox")).expect("mail was sent");
        let mails =
            outbox.map(|mail| std::fs::read_to_string(mail.expect("a mail").path()).expect("text"));
        assert!(
            mails.into_iter().any(|mail| mail.contains(shown)),
            "{shown}"
        );
        shop.assert_integrity();
    }
}
