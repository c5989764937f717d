//! Imported sales of the past.

use serde_json::json;
use tillbox::primitives::{Quantity, Refusal as _, Sku, Timestamp};
use tillbox::tenant::sales::{ImportLine, ImportSale, ImportedSale, import_sale};

use crate::support::shop::{TestApp, TestShop};

fn past_sale(sku: &str, unit_price_minor: i64) -> ImportSale {
    ImportSale {
        number: "4711".to_owned(),
        sold_at: Timestamp::parse("2021-05-01T12:00:00Z").expect("good"),
        total_minor: unit_price_minor * 2,
        lines: vec![ImportLine {
            sku: Sku::parse(sku).expect("good"),
            quantity: Quantity::new(2).expect("good"),
            unit_price_minor,
        }],
    }
}

/// The result, or the code of its refusal.
fn import(shop: &TestShop, app: &TestApp, sale: ImportSale) -> Result<ImportedSale, &'static str> {
    let policy = app.app().policy.clone();
    let imported =
        shop.write(move |work| {
            Ok(import_sale(work, &policy, &Default::default(), &sale)
                .map_err(|refused| refused.code()))
        });
    imported.expect("the storage works")
}

#[tokio::test]
async fn leaves_stock_unchanged_by_past_sales() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let body =
        json!({"sku": "OLD", "name": "Long sold out", "price_minor": 500, "track_stock": true});
    let id = shop
        .post("/v1/catalog/products")
        .json(body)
        .send()
        .await
        .expect(201)
        .string("/id");
    let path = format!("/v1/catalog/products/{id}/deactivate");
    shop.post(&path).send().await.expect(200);
    assert_eq!(
        import(&shop, &app, past_sale("OLD", 450)),
        Ok(ImportedSale::Recorded)
    );
    assert_eq!(shop.count("SELECT count(*) FROM inventory_movement"), 0);
    assert_eq!(
        shop.rows("SELECT number, total_minor FROM invoice"),
        ["INV-2021-000001|900"]
    );
}

#[tokio::test]
async fn identifies_sale_by_number_when_products_changed() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let id = shop.product("OLD", 500).await;
    assert_eq!(
        import(&shop, &app, past_sale("OLD", 450)),
        Ok(ImportedSale::Recorded)
    );
    let path = format!("/v1/catalog/products/{id}");
    shop.patch(&path)
        .json(json!({"sku": "NEW"}))
        .send()
        .await
        .expect(200);
    assert_eq!(
        import(&shop, &app, past_sale("OLD", 450)),
        Ok(ImportedSale::Known)
    );
    assert_eq!(
        import(&shop, &app, past_sale("OLD", 451)),
        Err("id_conflict")
    );
    assert_eq!(shop.count("SELECT count(*) FROM sales_order"), 1);
}

#[tokio::test]
async fn computes_paid_total_from_lines_and_tax() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.tax_class("vat", 190_000).await;
    shop.product_with("MUG", 1_000, json!({"tax_class": "vat"}))
        .await;
    let mut sale = past_sale("MUG", 1_000);
    assert_eq!(
        import(&shop, &app, sale.clone()),
        Err("total_mismatch"),
        "tax comes on top here"
    );
    sale.total_minor = 2_380;
    assert_eq!(import(&shop, &app, sale), Ok(ImportedSale::Recorded));
    shop.prices_include_tax(true).await;
    let included = ImportSale {
        number: "4712".to_owned(),
        ..past_sale("MUG", 1_190)
    };
    assert_eq!(import(&shop, &app, included), Ok(ImportedSale::Recorded));
    assert_eq!(
        shop.rows("SELECT total_minor, tax_minor FROM invoice ORDER BY seq"),
        ["2380|380", "2380|380"]
    );
    shop.assert_integrity();
}

/// The tax of an imported sale of 2021, of one that a till sends late and is dated 2020, and of one
/// now.
async fn taxes(app: &TestApp, shop: &TestShop) -> Vec<String> {
    let mug = shop.product("MUG", 1_000).await;
    let imported = import(shop, app, past_sale("MUG", 1_000));
    assert_eq!(imported, Ok(ImportedSale::Recorded));
    for sold_at in ["2020-06-01T12:00:00Z", "2026-01-15T10:00:00Z"] {
        let body = json!({
            "lines": [{"product_id": mug, "quantity": 2}],
            "payments": [{"method": "cash", "amount_minor": 10_000}],
            "sold_at": sold_at,
        });
        shop.post("/v1/sales")
            .key(sold_at)
            .json(body)
            .send()
            .await
            .expect(201);
    }
    shop.assert_integrity();
    shop.rows(
        "SELECT l.tax_name || ' ' || f.tax_minor FROM sales_order o JOIN order_line l ON \
        l.order_id = o.id JOIN financial_order f ON f.order_id = o.id ORDER BY o.seq",
    )
}

async fn add_rate(shop: &TestShop, name: &str, rate_ppm: i64, valid_from: &str) {
    let body = json!({"tax_class": "standard", "name": name, "rate_ppm": rate_ppm,
        "valid_from": valid_from});
    shop.post("/v1/tax-rates")
        .json(body)
        .send()
        .await
        .expect(201);
}

#[tokio::test]
async fn takes_first_rate_for_sales_before_it() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.prices_include_tax(true).await;
    add_rate(&shop, "VAT 20 %", 200_000, "2025-06-01T00:00:00Z").await;
    add_rate(&shop, "VAT 16 %", 160_000, "2025-01-01T00:00:00Z").await;
    assert_eq!(
        taxes(&app, &shop).await,
        ["VAT 16 % 276", "VAT 16 % 276", "VAT 20 % 333"]
    );
}

#[tokio::test]
async fn takes_no_tax_while_no_rate_is_set_or_a_rate_of_zero_is() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.prices_include_tax(true).await;
    assert_eq!(
        taxes(&app, &shop).await,
        ["No tax 0", "No tax 0", "No tax 0"]
    );
    let shop = app.tenant("small");
    shop.prices_include_tax(true).await;
    add_rate(&shop, "Exempt", 0, "2015-01-01T00:00:00Z").await;
    add_rate(&shop, "VAT 20 %", 200_000, "2021-01-01T00:00:00Z").await;
    assert_eq!(
        taxes(&app, &shop).await,
        ["VAT 20 % 333", "Exempt 0", "VAT 20 % 333"]
    );
}
