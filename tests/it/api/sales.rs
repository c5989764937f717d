//! Tests of `/v1/sales`: a whole paid sale in one call.

use serde_json::{Value, json};
use tillbox::primitives::limits::PRICE_MINOR_MAX;
use tillbox::tenancy::Scope;

use crate::support::answer::pointers;
use crate::support::sale::rows;
use crate::support::{TestApp, TestShop};

/// An unused id; other ids differ in the last digits.
const NOBODY: &str = "01890000-0000-7000-8000-000000000001";

/// Makes a client's own id.
fn own(number: u32) -> String {
    format!("018a0000-0000-7000-8000-{number:012}")
}

/// Builds a cash sale of `quantity` units.
fn cash(product: &str, quantity: i64, amount_minor: i64) -> Value {
    json!({"lines": [{"product_id": product, "quantity": quantity}], "payments": [{"method": "cash",
        "amount_minor": amount_minor}]})
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

#[tokio::test]
async fn writes_expected_rows_for_one_sale() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (tea, bag) = (
        shop.stocked("TEA", 450, 10).await,
        shop.product("BAG", 25).await,
    );
    let before = shop.census();
    let lines = json!([{"product_id": tea, "quantity": 2}, {"product_id": bag, "quantity": 1},
        {"product_id": tea, "quantity": 1, "unit_price_minor": 400}]);
    let body = json!({"lines": lines, "payments": [{"method": "cash", "amount_minor": 1_325}]});
    let sold = shop.sale("s-1", body).await.expect(201).json();
    assert_eq!(
        shop.grown_since(&before),
        rows([
            ("sales_order", 1),
            ("order_line", 3),
            ("payment", 1),
            ("financial_order", 1),
            ("financial_transaction", 1),
            ("invoice", 1),
            ("ledger_account", 5),
            ("ledger_entry", 1),
            ("ledger_transfer", 1),
            ("inventory_movement", 1),
            ("series", 2),
            ("idempotency_key", 1),
            ("job", 1),
        ]),
        "one audit job, and no confirmation without an address"
    );
    assert_eq!(
        (
            &sold["order"]["status"],
            &sold["order"]["channel"],
            &sold["order"]["total_minor"]
        ),
        (&json!("paid"), &json!("sale"), &json!(1_325))
    );
    assert_eq!(
        (
            &sold["payments"][0]["status"],
            &sold["payments"][0]["change_minor"]
        ),
        (&json!("succeeded"), &json!(0))
    );
    assert_eq!(sold["financial_order"]["status"], "paid");
    assert_eq!(sold["invoice"]["number"], "INV-2026-000001");
    assert_eq!(
        shop.rows(
            "SELECT kind, quantity_delta, on_hand_after FROM inventory_movement ORDER BY seq \
            DESC LIMIT 1"
        ),
        ["sale|-3|7"]
    );
    let jobs = shop.count("SELECT count(*) FROM job WHERE kind = 'orders.confirmation'");
    let addressed = with(cash(&bag, 1, 25), "email", json!("ada@example.org"));
    shop.sale("s-2", addressed).await.expect(201);
    assert_eq!(
        shop.count("SELECT count(*) FROM job WHERE kind = 'orders.confirmation'"),
        jobs + 1
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn books_each_payment_method_and_gives_change() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.tax_class("vat", 190_000).await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"tax_class": "vat"}))
        .await;
    let payments = json!([{"method": "manual", "amount_minor": 690}, {"method": "cash",
        "amount_minor": 200}, {"method": "cash", "amount_minor": 500}]);
    let body = json!({"lines": [{"product_id": mug, "quantity": 1}], "payments": payments});
    let sold = shop.sale("s", body).await.expect(201).json();
    let parts = sold["payments"].as_array().expect("a list");
    let amounts = |part: &Value| {
        ["amount_minor", "tendered_minor", "change_minor"].map(|name| part[name].as_i64())
    };
    assert_eq!(amounts(&parts[0]), [Some(690), None, Some(0)]);
    assert_eq!(amounts(&parts[1]), [Some(200), None, Some(0)]);
    assert_eq!(amounts(&parts[2]), [Some(300), Some(500), Some(200)]);
    assert_eq!(
        shop.rows("SELECT debit_code, credit_code, amount_minor FROM ledger_transfer ORDER BY seq"),
        [
            "1200|4000|690",
            "1000|4000|200",
            "1000|4000|110",
            "1000|2200|190"
        ]
    );
    // A superfluous coin is returned whole; its payment has an amount of zero.
    let payments =
        json!([{"method": "cash", "amount_minor": 1_190}, {"method": "cash", "amount_minor": 5}]);
    let body = json!({"lines": [{"product_id": mug, "quantity": 1}], "payments": payments});
    let sold = shop.sale("coin", body).await.expect(201).json();
    assert_eq!(amounts(&sold["payments"][1]), [Some(0), Some(5), Some(5)]);
    shop.assert_integrity();
    let over = |method: &str, amount: i64| {
        json!({"lines": [{"product_id": mug, "quantity": 1}],
        "payments": [{"method": method, "amount_minor": amount}]})
    };
    for method in ["manual", "card"] {
        let refused = shop
            .sale("over", over(method, 1_191))
            .await
            .refused(422, "payment_exceeds_total");
        assert_eq!(refused["total_minor"], 1_190);
    }
    let refused = shop
        .sale("under", over("cash", 1_189))
        .await
        .refused(422, "payment_insufficient");
    assert_eq!(
        (&refused["paid_minor"], &refused["total_minor"]),
        (&json!(1_189), &json!(1_190))
    );
    let payments =
        json!([{"method": "manual", "amount_minor": 1_190}, {"method": "cash", "amount_minor": 0}]);
    let body = json!({"lines": [{"product_id": mug, "quantity": 1}], "payments": payments});
    let refused = shop
        .sale("nothing", body)
        .await
        .refused(422, "payment_zero");
    assert_eq!(refused["total_minor"], 1_190);
    let payments = json!([{"method": "manual", "amount_minor": 1_190}, {"method": "manual",
        "amount_minor": 10}, {"method": "cash", "amount_minor": 9}]);
    let body = json!({"lines": [{"product_id": mug, "quantity": 1}], "payments": payments});
    shop.sale("mixed", body)
        .await
        .refused(422, "payment_exceeds_total");
    assert_eq!(shop.count("SELECT count(*) FROM sales_order"), 2);
}

#[tokio::test]
async fn books_card_payments_on_their_own_account() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let mug = shop.product("MUG", 1_190).await;
    let payments =
        json!([{"method": "card", "amount_minor": 1_000}, {"method": "cash", "amount_minor": 200}]);
    let body = json!({"lines": [{"product_id": mug, "quantity": 1}], "payments": payments});
    let sold = shop.sale("card", body).await.expect(201).json();
    let parts = &sold["payments"];
    assert_eq!(
        (&parts[0]["amount_minor"], &parts[0]["change_minor"]),
        (&json!(1_000), &json!(0))
    );
    assert_eq!(parts[1]["change_minor"], 10);
    assert_eq!(
        shop.rows("SELECT debit_code, amount_minor FROM ledger_transfer ORDER BY seq"),
        ["1210|1000", "1000|190"]
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn sums_exclusive_and_inclusive_tax_to_the_cent() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.tax_class("full", 190_000).await;
    shop.tax_class("low", 70_000).await;
    let thing = async |sku, price, class| {
        let class = json!({"tax_class": class});
        shop.product_with(sku, price, class).await
    };
    let (a, b, c) = (
        thing("A", 33, "full").await,
        thing("B", 33, "full").await,
        thing("C", 33, "full").await,
    );
    let (d, e) = (
        thing("D", 199, "low").await,
        thing("E", 1, "standard").await,
    );
    let lines: Vec<Value> = [&a, &d, &b, &e, &c]
        .iter()
        .map(|id| json!({"product_id": id, "quantity": 1}))
        .collect();
    let sale = |total: i64| {
        json!({"lines": lines, "payments": [{"method": "cash",
        "amount_minor": total}]})
    };
    // Exclusive: 99 × 19 % = 18.81 → 19, spread 7 + 6 + 6; 199 × 7 % = 13.93 → 14.
    let order = shop.sale("top", sale(332)).await.expect(201).json()["order"].clone();
    let taxes = |order: &Value| -> Vec<i64> {
        let items = order["items"].as_array().expect("a list");
        items
            .iter()
            .map(|item| item["tax_minor"].as_i64().expect("a number"))
            .collect()
    };
    assert_eq!(taxes(&order), [7, 14, 6, 0, 6]);
    assert_eq!(
        (
            &order["subtotal_minor"],
            &order["tax_minor"],
            &order["total_minor"]
        ),
        (&json!(299), &json!(33), &json!(332))
    );
    assert_eq!(
        order["tax_lines"],
        json!([{"name": "Tax full", "rate_ppm": 190_000, "discount_minor": 0, "net_minor": 99,
                "tax_minor": 19},
               {"name": "Tax low", "rate_ppm": 70_000, "discount_minor": 0, "net_minor": 199,
                "tax_minor": 14},
               {"name": "No tax", "rate_ppm": 0, "discount_minor": 0, "net_minor": 1,
                "tax_minor": 0}])
    );
    // Inclusive: 99 × 19 / 119 = 15.81 → 16, spread 6 + 5 + 5; 199 × 7 / 107 = 13.02 → 13.
    shop.prices_include_tax(true).await;
    let order = shop.sale("inside", sale(299)).await.expect(201).json()["order"].clone();
    assert_eq!(taxes(&order), [6, 13, 5, 0, 5]);
    assert_eq!(
        (
            &order["subtotal_minor"],
            &order["tax_minor"],
            &order["total_minor"]
        ),
        (&json!(270), &json!(29), &json!(299))
    );
    assert_eq!(order["prices_include_tax"], true);
    shop.assert_integrity();
}

/// Creates a mug whose tax rate is 16 % since July 2020 and 19 % since 2021.
async fn mug_with_two_rates(shop: &TestShop) -> String {
    for (rate_ppm, from) in [
        (160_000, "2020-07-01T00:00:00Z"),
        (190_000, "2021-01-01T00:00:00Z"),
    ] {
        let body = json!({"tax_class": "vat", "name": format!("VAT {}", rate_ppm / 10_000),
            "rate_ppm": rate_ppm, "valid_from": from});
        shop.post("/v1/tax-rates")
            .json(body)
            .send()
            .await
            .expect(201);
    }
    shop.product_with("MUG", 1_000, json!({"tax_class": "vat"}))
        .await
}

#[tokio::test]
async fn uses_rates_number_and_booking_date_of_past_sale() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let mug = mug_with_two_rates(&shop).await;
    let sale = |sold_at: &str, amount| with(cash(&mug, 1, amount), "sold_at", json!(sold_at));
    let old = shop
        .sale("old", sale("2020-12-31T23:59:59.999Z", 1_160))
        .await
        .expect(201)
        .json();
    assert_eq!(
        (&old["order"]["tax_minor"], &old["invoice"]["number"]),
        (&json!(160), &json!("INV-2020-000001"))
    );
    assert_eq!(
        (
            &old["order"]["placed_at"],
            &old["invoice"]["issued_at"],
            &old["financial_order"]["paid_at"]
        ),
        (
            &json!("2020-12-31T23:59:59.999Z"),
            &json!("2020-12-31T23:59:59.999Z"),
            &json!("2020-12-31T23:59:59.999Z")
        )
    );
    assert_eq!(
        (
            &old["payments"][0]["succeeded_at"],
            &old["payments"][0]["created_at"]
        ),
        (
            &json!("2020-12-31T23:59:59.999Z"),
            &json!("2026-01-15T10:00:00Z")
        ),
        "paid at the earlier time, recorded now"
    );
    // The year of a number is by UTC, not by the zone of the timestamp.
    let eve = shop
        .sale("eve", sale("2021-01-01T00:30:00+01:00", 1_160))
        .await
        .expect(201);
    assert_eq!(eve.string("/invoice/number"), "INV-2020-000002");
    let new = shop
        .sale("new", sale("2021-01-01T00:00:00Z", 1_190))
        .await
        .expect(201);
    assert_eq!(new.string("/invoice/number"), "INV-2021-000001");
    let now = shop.sale("now", cash(&mug, 1, 1_190)).await.expect(201);
    assert_eq!(now.string("/invoice/number"), "INV-2026-000001");
    assert_eq!(now.string("/order/placed_at"), "2026-01-15T10:00:00Z");
    let early = shop
        .sale("before any rate", sale("2019-01-01T00:00:00Z", 1_160))
        .await
        .expect(201)
        .json();
    assert_eq!(
        early["invoice"]["tax_lines"][0]["rate_ppm"], 160_000,
        "the first rate that was set"
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn rejects_dates_of_closed_books_and_of_the_future() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    // The clock of a till without battery power starts in the past, where the books are closed.
    let bread = shop.product("BREAD", 300).await;
    let dated = |sold_at: &str| with(cash(&bread, 1, 300), "sold_at", json!(sold_at));
    for sold_at in [
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "2000-01-01T00:00:00Z",
        "2016-01-14T09:59:59.999Z",
    ] {
        shop.sale("dead", dated(sold_at))
            .await
            .refused(422, "sold_at_too_old");
    }
    let oldest = shop
        .sale("dead", dated("2016-01-15T10:00:00Z"))
        .await
        .expect(201);
    assert_eq!(oldest.string("/invoice/number"), "INV-2016-000001");
    // A till's clock may be at most five minutes fast.
    shop.sale("fast", dated("2026-01-15T10:05:00Z"))
        .await
        .expect(201);
    shop.sale("faster", dated("2026-01-15T10:05:00.001Z"))
        .await
        .refused(422, "sold_at_in_future");
    shop.assert_integrity();
}

#[tokio::test]
async fn records_sale_with_client_ids_once() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let line = json!({"id": own(2), "product_id": tea, "quantity": 1});
    let body = json!({"id": own(1), "lines": [line], "payments": [{"id": own(3), "method": "cash",
        "amount_minor": 500}]});
    let first = shop.sale("one", body.clone()).await.expect(201);
    assert_eq!(
        (first.string("/order/id"), first.string("/payments/0/id")),
        (own(1), own(3))
    );
    assert_eq!(first.string("/order/items/0/id"), own(2));
    let before = shop.census();
    app.advance(std::time::Duration::from_secs(48 * 3_600));
    let again = shop.sale("another key", body.clone()).await.expect(201);
    assert_eq!(again.text(), first.text(), "the same answer, byte for byte");
    let growth = shop.grown_since(&before);
    assert!(
        growth.keys().all(|table| table == "idempotency_key"),
        "{growth:?}"
    );
    assert_eq!(shop.stock(&tea).await, [9, 0, 9]);
    for (name, value) in [
        ("email", json!("ada@example.org")),
        (
            "payments",
            json!([{"id": own(3), "method": "manual", "amount_minor": 450}]),
        ),
        (
            "lines",
            json!([{"id": own(2), "product_id": tea, "quantity": 2}]),
        ),
        ("sold_at", json!("2026-01-15T09:00:00Z")),
    ] {
        let refused = shop
            .sale("k", with(body.clone(), name, value))
            .await
            .refused(409, "id_conflict");
        assert_eq!(refused["id"], own(1), "{name}");
    }
    // The same content with members in another order is the same sale.
    let reordered = format!(
        r#"{{"payments": [{{"amount_minor": 500, "method": "cash", "id": "{}"}}], "lines": [{{"quantity": 1, "product_id": "{tea}", "id": "{}"}}], "id": "{}"}}"#,
        own(3),
        own(2),
        own(1).to_uppercase()
    );
    let call = shop
        .post("/v1/sales")
        .key("r")
        .header("content-type", "application/json")
        .bytes(reordered);
    assert_eq!(call.send().await.expect(201).text(), first.text());
    shop.assert_integrity();
}

#[tokio::test]
async fn rejects_reused_ids() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let sale = |order: Option<u32>, lines: &[u32], payments: &[u32]| {
        let lines: Vec<Value> = lines
            .iter()
            .map(|id| json!({"id": own(*id), "product_id": tea, "quantity": 1}))
            .collect();
        let share = 450 * lines.len() as i64 / payments.len() as i64;
        let payments: Vec<Value> = payments
            .iter()
            .map(|id| json!({"id": own(*id), "method": "cash", "amount_minor": share}))
            .collect();
        let mut body = json!({"lines": lines, "payments": payments});
        if let Some(order) = order {
            body["id"] = json!(own(order));
        }
        body
    };
    shop.sale("first", sale(Some(1), &[2], &[3]))
        .await
        .expect(201);
    let before = shop.census();
    for (body, id) in [
        (sale(Some(9), &[2], &[4]), own(2)),
        (sale(None, &[2], &[4]), own(2)),
        (sale(Some(9), &[5], &[3]), own(3)),
        (sale(Some(9), &[5, 5], &[6]), own(5)),
        (sale(Some(9), &[5, 6], &[7, 7]), own(7)),
    ] {
        let refused = shop.sale("k", body).await.refused(409, "id_conflict");
        assert_eq!(refused["id"], id);
    }
    assert_eq!(shop.grown_since(&before), rows([]));
    let placed = shop.place(&[(&tea, 1)], "cash").await;
    let taken = with(sale(None, &[8], &[9]), "id", json!(placed.order));
    shop.sale("k", taken).await.refused(409, "id_conflict");
    // A line and a payment may have the same id, because they are of different kinds.
    shop.sale("k", sale(Some(3), &[1], &[2])).await.expect(201);
    shop.assert_integrity();
}

#[tokio::test]
async fn rejects_unsellable_products_without_using_a_number() {
    let app = TestApp::start();
    let (shop, other) = (app.tenant("corner"), app.tenant("harbour"));
    let (tea, ice) = (
        shop.stocked("TEA", 450, 2).await,
        shop.product("ICE", 100).await,
    );
    shop.sells_in("USD", "0.9").await;
    let dollars = shop
        .product_with("USD", 100, json!({"currency": "USD"}))
        .await;
    let dear = shop.product("DEAR", PRICE_MINOR_MAX).await;
    let theirs = other.product("TEA", 450).await;
    shop.post(&format!("/v1/catalog/products/{ice}/deactivate"))
        .send()
        .await
        .expect(200);
    shop.sale("first", cash(&tea, 1, 450)).await.expect(201);
    let before = shop.census();
    let two = |second: &str| {
        let lines =
            json!([{"product_id": tea, "quantity": 1}, {"product_id": second, "quantity": 1}]);
        json!({"lines": lines, "payments": [{"method": "cash", "amount_minor": 550}]})
    };
    for (body, status, code) in [
        (cash(NOBODY, 1, 450), 422, "product_not_found"),
        (two(NOBODY), 422, "product_not_found"),
        (cash(&theirs, 1, 450), 422, "product_not_found"),
        (cash(&ice, 1, 100), 409, "product_inactive"),
        (two(&ice), 409, "product_inactive"),
        (two(&dollars), 422, "currency_mismatch"),
        (cash(&dear, 2, 1), 422, "amount_too_large"),
        (cash(&dear, 1_000_000, 1), 422, "amount_too_large"),
        (cash(&tea, 1_000_000, 450_000_000), 409, "out_of_stock"),
        (cash(&tea, 2, 900), 409, "out_of_stock"),
        (cash(&tea, 1, 0), 422, "payment_zero"),
    ] {
        shop.sale("refused", body.clone())
            .await
            .refused(status, code);
        assert_eq!(shop.grown_since(&before), rows([]), "{body}");
    }
    let test = json!({"lines": [{"product_id": tea, "quantity": 1}], "payments": [{"method": "test",
        "amount_minor": 450}]});
    shop.sale("refused", test)
        .await
        .refused(422, "payment_method_unavailable");
    let sold = shop.sale("refused", cash(&tea, 1, 450)).await.expect(201);
    assert_eq!(
        (sold.string("/order/number"), sold.string("/invoice/number")),
        ("ORD-000002".into(), "INV-2026-000002".into())
    );
    let sold = shop
        .sale("dollars", cash(&dollars, 1, 100))
        .await
        .expect(201);
    assert_eq!(sold.string("/order/currency"), "USD");
    shop.assert_integrity();
}

#[tokio::test]
async fn reports_all_invalid_values() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let body = json!({"id": "1", "sold_at": "yesterday", "email": "@", "lines": [
        {"id": "x", "product_id": "y", "quantity": 0, "unit_price_minor": -1},
        {"product_id": NOBODY, "quantity": -1}, {"product_id": NOBODY,
            "quantity": 1_000_000_000_000_i64}],
        "payments": [{"id": "z", "method": "gold", "amount_minor": -5}, {"method": "cash",
            "amount_minor": PRICE_MINOR_MAX + 1}]});
    let refused = shop.sale("k", body).await.refused(422, "validation_failed");
    assert_eq!(
        pointers(&refused),
        [
            "/id",
            "/sold_at",
            "/email",
            "/lines/0/id",
            "/lines/0/product_id",
            "/lines/0/quantity",
            "/lines/0/unit_price_minor",
            "/lines/1/quantity",
            "/lines/2/quantity",
            "/payments/0/id",
            "/payments/0/method",
            "/payments/0/amount_minor",
            "/payments/1/amount_minor",
        ]
    );
    let refused = shop
        .sale("k", json!({"lines": [], "payments": []}))
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers(&refused), ["/lines", "/payments"]);
    let line = json!({"product_id": NOBODY, "quantity": 1});
    let many = json!({"lines": vec![line; 501], "payments": vec![json!({"method": "cash",
        "amount_minor": 1}); 21]});
    let refused = shop.sale("k", many).await.refused(422, "validation_failed");
    assert_eq!(pointers(&refused), ["/lines", "/payments"]);
    for (quantity, code) in [
        (json!(1.5), "wrong_type"),
        (json!("1"), "wrong_type"),
        (json!(null), "wrong_type"),
    ] {
        let body = json!({"lines": [{"product_id": NOBODY, "quantity": quantity}], "payments": []});
        let refused = shop.sale("k", body).await.refused(422, "validation_failed");
        assert_eq!(
            (pointers(&refused), &refused["errors"][0]["code"]),
            (vec!["/lines/0/quantity".to_owned()], &json!(code))
        );
    }
    let unkeyed = shop.post("/v1/sales").json(cash(NOBODY, 1, 1)).send().await;
    unkeyed.refused(400, "idempotency_key_missing");
}

#[tokio::test]
async fn requires_pos_scope() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let call = |shop: &TestShop| shop.post("/v1/sales").key("k").json(cash(&tea, 1, 450));
    let host = call(&shop).anonymous().header("host", "corner.shop.test");
    host.send().await.refused(401, "unauthenticated");
    let storefront = shop.key_with(&[Scope::Checkout, Scope::Orders]);
    call(&shop)
        .bearer(&storefront)
        .send()
        .await
        .refused(403, "insufficient_scope");
    let till = shop.key_with(&[Scope::Pos]);
    call(&shop).bearer(&till).send().await.expect(201);
}

#[tokio::test]
async fn keeps_sales_over_restart_and_records_large_sale_completely() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 3).await;
    let line = json!({"product_id": tea, "quantity": 1});
    let body =
        json!({"lines": vec![line; 500], "payments": [{"method": "cash", "amount_minor": 2_000}]});
    let sold = shop.sale("k", body.clone()).await.expect(201);
    assert_eq!(
        sold.json()["order"]["items"].as_array().map(Vec::len),
        Some(500)
    );
    app.restart();
    let again = shop.sale("k", body).await.expect(201);
    assert_eq!(
        (again.text(), again.header("idempotent-replayed")),
        (sold.text(), Some("true"))
    );
    assert_eq!(sold.header("idempotent-replayed"), None);
    shop.assert_integrity();
}
