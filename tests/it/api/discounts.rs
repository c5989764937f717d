//! Discounts of a line and of a whole sale, and the reasons for them and for a changed price.

use serde_json::{Value, json};
use tillbox::primitives::limits::PRICE_MINOR_MAX;

use crate::support::answer::pointers;
use crate::support::{TestApp, TestShop};

/// A shop with a taxed product: its id.
async fn with_mug(app: &TestApp, price_minor: i64) -> (TestShop, String) {
    let shop = app.tenant("corner");
    shop.tax_class("vat", 190_000).await;
    let mug = shop
        .product_with("MUG", price_minor, json!({"tax_class": "vat"}))
        .await;
    (shop, mug)
}

fn paid(lines: Value, discount: Option<i64>, amount: i64) -> Value {
    let mut body = json!({"lines": lines,
        "payments": [{"method": "cash", "amount_minor": amount}]});
    if let Some(discount) = discount {
        body["discount_minor"] = json!(discount);
    }
    body
}

fn sums(of: &Value) -> [i64; 4] {
    [
        "subtotal_minor",
        "discount_minor",
        "tax_minor",
        "total_minor",
    ]
    .map(|name| of[name].as_i64().expect("a number"))
}

/// Discount, share, net amount, tax and total of each line.
fn amounts(lines: &Value) -> Vec<[i64; 5]> {
    let of_line = |line: &Value| {
        [
            "discount_minor",
            "shared_discount_minor",
            "net_minor",
            "tax_minor",
            "total_minor",
        ]
        .map(|name| line[name].as_i64().expect("a number"))
    };
    let lines = lines.as_array().expect("a list");
    lines.iter().map(of_line).collect()
}

/// Revenue and tax payable, by the ledger.
fn booked(shop: &TestShop) -> Vec<String> {
    shop.rows(
        "SELECT credit_code, sum(amount_minor) FROM ledger_transfer GROUP BY credit_code ORDER BY \
         credit_code DESC",
    )
}

#[tokio::test]
async fn taxes_what_is_left_when_prices_exclude_tax() {
    let app = TestApp::start();
    let (shop, mug) = with_mug(&app, 500).await;
    let lines = json!([
        {"product_id": mug, "quantity": 2, "discount_minor": 100, "discount_reason": "scratched"},
        {"product_id": mug, "quantity": 1, "unit_price_minor": 1_000, "price_reason": "engraved"},
    ]);
    let mut body = paid(lines, Some(190), 2_035);
    body["discount_reason"] = json!("regular");
    let sold = shop.sale("k", body).await.expect(201).json();
    let order = &sold["order"];
    assert_eq!(sums(order), [2_000, 290, 325, 2_035]);
    assert_eq!(order["discount_reason"], "regular");
    let expected = [[190, 90, 810, 154, 964], [100, 100, 900, 171, 1_071]];
    assert_eq!(amounts(&order["items"]), expected);
    let reasons = |line: &Value| json!([line["discount_reason"], line["price_reason"]]);
    assert_eq!(reasons(&order["items"][0]), json!(["scratched", null]));
    assert_eq!(reasons(&order["items"][1]), json!([null, "engraved"]));
    let tax_lines = json!([{"name": "Tax vat", "rate_ppm": 190_000, "discount_minor": 290,
        "net_minor": 1_710, "tax_minor": 325}]);
    assert_eq!(order["tax_lines"], tax_lines);
    let locked = &sold["financial_order"];
    assert_eq!(sums(locked), [2_000, 290, 325, 2_035]);
    assert_eq!(sums(&locked["snapshot"]), [2_000, 290, 325, 2_035]);
    assert_eq!(locked["snapshot"]["discount_reason"], "regular");
    for lines in [&locked["snapshot"]["lines"], &sold["invoice"]["lines"]] {
        assert_eq!(amounts(lines), expected);
        assert_eq!(reasons(&lines[0]), json!(["scratched", null]));
        assert!(lines[0].get("price_reason").is_none());
        assert_eq!(reasons(&lines[1]), json!([null, "engraved"]));
    }
    assert_eq!(sold["invoice"]["tax_lines"], tax_lines);
    assert_eq!(booked(&shop), ["4000|1710", "2200|325"]);
    shop.assert_integrity();
}

#[tokio::test]
async fn taxes_what_is_left_when_prices_include_tax() {
    let app = TestApp::start();
    let (shop, mug) = with_mug(&app, 595).await;
    shop.prices_include_tax(true).await;
    let lines = json!([
        {"product_id": mug, "quantity": 2, "discount_minor": 119},
        {"product_id": mug, "quantity": 2},
    ]);
    let sold = shop.sale("k", paid(lines, Some(61), 2_200)).await;
    let sold = sold.expect(201).json();
    // 2380 with tax are 2000; 2200 with tax are 1849 and 351.
    assert_eq!(sums(&sold["order"]), [2_000, 151, 351, 2_200]);
    let expected = [[148, 29, 876, 166, 1_042], [32, 32, 973, 185, 1_158]];
    assert_eq!(amounts(&sold["order"]["items"]), expected);
    assert_eq!(sold["order"]["tax_lines"][0]["discount_minor"], 151);
    assert_eq!(booked(&shop), ["4000|1849", "2200|351"]);
    shop.assert_integrity();
}

#[tokio::test]
async fn gives_goods_away() {
    let app = TestApp::start();
    let (shop, mug) = with_mug(&app, 500).await;
    let line = json!({"product_id": mug, "quantity": 1, "discount_minor": 500});
    let sold = shop.sale("line", paid(json!([line]), Some(0), 0)).await;
    assert_eq!(sums(&sold.expect(201).json()["order"]), [500, 500, 0, 0]);
    let line = json!({"product_id": mug, "quantity": 1});
    let sold = shop.sale("sale", paid(json!([line]), Some(500), 0)).await;
    assert_eq!(sums(&sold.expect(201).json()["order"]), [500, 500, 0, 0]);
    shop.assert_integrity();
}

#[tokio::test]
async fn rejects_discounts_beyond_price_and_leaves_no_rows() {
    let app = TestApp::start();
    let (shop, mug) = with_mug(&app, 500).await;
    let line =
        |discount: Value| json!({"product_id": mug, "quantity": 2, "discount_minor": discount});
    let before = shop.census();
    for (lines, discount, detail) in [
        (
            json!([line(json!(1_001))]),
            None,
            "the line is worth 10.00 EUR",
        ),
        (
            json!([line(json!(0)), line(json!(1_001))]),
            None,
            "the line is worth 10.00 EUR",
        ),
        (
            json!([line(json!(1_000))]),
            Some(1),
            "its lines are worth 0.00 EUR",
        ),
        (
            json!([line(json!(0)), line(json!(1))]),
            Some(2_000),
            "its lines are worth 19.99 EUR",
        ),
    ] {
        let refused = shop.sale("k", paid(lines, discount, 5_000)).await;
        let refused = refused.refused(422, "discount_too_large");
        let text = refused["detail"].as_str().expect("a text");
        assert!(text.contains(detail), "{text}");
    }
    for wrong in [
        json!(-1),
        json!(1.5),
        json!("5"),
        json!(PRICE_MINOR_MAX + 1),
        json!(1e30),
    ] {
        let refused = shop
            .sale("k", paid(json!([line(wrong.clone())]), None, 1))
            .await;
        let refused = refused.refused(422, "validation_failed");
        assert_eq!(pointers(&refused), ["/lines/0/discount_minor"], "{wrong}");
        let mut body = paid(json!([line(json!(0))]), None, 1);
        body["discount_minor"] = wrong.clone();
        let refused = shop.sale("k", body).await.refused(422, "validation_failed");
        assert_eq!(pointers(&refused), ["/discount_minor"], "{wrong}");
    }
    let mut empty = line(json!(0));
    empty["discount_reason"] = json!("");
    empty["price_reason"] = json!(" ");
    let mut body = paid(json!([empty]), None, 1);
    body["discount_reason"] = json!("x".repeat(501));
    let refused = shop.sale("k", body).await.refused(422, "validation_failed");
    assert_eq!(
        pointers(&refused),
        [
            "/discount_reason",
            "/lines/0/price_reason",
            "/lines/0/discount_reason"
        ]
    );
    assert_eq!(shop.census(), before);
}

#[tokio::test]
async fn binds_chosen_id_to_discounts() {
    let app = TestApp::start();
    let (shop, mug) = with_mug(&app, 500).await;
    let body = |line: Option<i64>, sale: Option<i64>| {
        let line = json!({"product_id": mug, "quantity": 1, "discount_minor": line});
        let mut body = paid(json!([line]), sale, 1_000);
        body["id"] = json!("018f3c9e-7b1a-7000-8000-00000000d15c");
        body
    };
    let first = shop.sale("1", body(Some(5), Some(7))).await.expect(201);
    let again = shop.sale("2", body(Some(5), Some(7))).await.expect(201);
    assert_eq!(again.json()["order"], first.json()["order"]);
    for (key, (line, sale)) in [
        ("3", (Some(7), Some(5))),
        ("4", (None, Some(12))),
        ("5", (Some(12), None)),
        ("6", (None, None)),
    ] {
        let other = shop.sale(key, body(line, sale)).await;
        other.refused(409, "id_conflict");
    }
    assert_eq!(shop.count("SELECT count(*) FROM sales_order"), 1);
}

/// Changes of a stored discount, each with the check that finds it. The triggers are dropped first.
#[tokio::test]
async fn finds_changed_discounts_in_integrity_check() {
    let app = TestApp::start();
    let (shop, mug) = with_mug(&app, 500).await;
    let line = json!({"product_id": mug, "quantity": 2, "discount_minor": 100});
    shop.sale("k", paid(json!([line]), Some(10), 5_000))
        .await
        .expect(201);
    shop.assert_integrity();
    for name in shop.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'") {
        shop.raw(&format!("DROP TRIGGER {name}")).expect("dropped");
    }
    for (table, set, check) in [
        ("order_line", "discount_minor = 111", "line sums"),
        ("order_line", "shared_discount_minor = 9", "order lines"),
        ("order_line", "discount_reason = 'x'", "order lines"),
        ("order_line", "price_reason = 'x'", "order lines"),
        ("order_line", "unit = 'KGM'", "measures"),
        ("order_line", "quantity_scale = 1", "line sums"),
        (
            "order_line",
            "quantity = 4, unit_price_minor = 250, discount_minor = 110",
            "order lines",
        ),
        (
            "sales_order",
            "subtotal_minor = 1001, discount_minor = 111",
            "discounts",
        ),
        ("sales_order", "discount_reason = 'x'", "order lines"),
        (
            "sales_order",
            "tax_lines = replace(tax_lines, '\"discount_minor\":110', '\"discount_minor\":109')",
            "tax lines",
        ),
        (
            "financial_order",
            "subtotal_minor = 1001, discount_minor = 111",
            "snapshot totals",
        ),
    ] {
        let saved = format!("CREATE TABLE saved AS SELECT * FROM {table}");
        shop.raw(&format!("{saved}; UPDATE {table} SET {set}"))
            .expect(set);
        let found = shop.integrity();
        let found: Vec<&str> = found.mismatches.iter().map(|one| one.check).collect();
        assert!(found.contains(&check), "{set}: {found:?}");
        shop.raw(&format!(
            "PRAGMA foreign_keys = OFF; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM \
             saved; DROP TABLE saved"
        ))
        .expect("restored");
    }
}
