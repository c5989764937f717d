//! Amounts that fall exactly between two minor units: tax and the total in the shop's own currency
//! round away from zero, as tax offices round.
//!
//! Each amount is chosen so that another rounding (down, or a half to the even neighbour) gives a
//! different number.

use serde_json::{Value, json};

use crate::support::{TestApp, TestShop};

/// Sells one unit for cash and returns the order's subtotal, tax and total.
async fn sold(shop: &TestShop, product: &str, total: i64) -> [i64; 3] {
    let sale = json!({
        "lines": [{"product_id": product, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": total}],
    });
    let sale = shop.sale(product, sale).await.expect(201).json();
    ["subtotal_minor", "tax_minor", "total_minor"].map(|name| {
        let amount = &sale["order"][name];
        amount.as_i64().unwrap_or_else(|| panic!("{name}: {sale}"))
    })
}

#[tokio::test]
async fn rounds_tax_up_when_half_a_cent_is_left() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.tax_class("full", 190_000).await;
    let class = json!({"tax_class": "full"});
    shop.prices_include_tax(false).await;
    // 19 % of 1.50 is 28.5 cents, of 0.50 it is 9.5 cents.
    let tea = shop.product_with("TEA", 150, class.clone()).await;
    assert_eq!(sold(&shop, &tea, 179).await, [150, 29, 179]);
    let bun = shop.product_with("BUN", 50, class).await;
    assert_eq!(sold(&shop, &bun, 60).await, [50, 10, 60]);
    shop.assert_integrity();
}

#[tokio::test]
async fn rounds_tax_up_when_the_price_includes_half_a_cent() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.tax_class("fifth", 200_000).await;
    shop.prices_include_tax(true).await;
    // A sixth of 15 cents is 2.5 cents.
    let bun = shop
        .product_with("BUN", 15, json!({"tax_class": "fifth"}))
        .await;
    assert_eq!(sold(&shop, &bun, 15).await, [12, 3, 15]);
    shop.assert_integrity();
}

async fn own_total(shop: &TestShop, product: &str, total: i64) -> Value {
    let sale = json!({
        "lines": [{"product_id": product, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": total}],
    });
    let sale = shop.sale(product, sale).await.expect(201).json();
    sale["financial_order"]["base_total_minor"].clone()
}

#[tokio::test]
async fn rounds_the_own_currency_total_up_when_half_a_cent_is_left() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.sells_in("USD", "0.5").await;
    // 5 US cents are 2.5 euro cents, 7 are 3.5.
    for (sku, price, own) in [("BUN", 5, 3), ("TEA", 7, 4)] {
        let product = shop
            .product_with(sku, price, json!({"currency": "USD"}))
            .await;
        assert_eq!(own_total(&shop, &product, price).await, own, "{sku}");
    }
    shop.assert_integrity();
}

#[tokio::test]
async fn rounds_the_own_currency_total_up_when_the_rate_is_the_other_way_round() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.post("/v1/currencies")
        .json(json!({"code": "USD"}))
        .send()
        .await
        .expect(201);
    let rate = json!({"base": "EUR", "quote": "USD", "rate": "2"});
    shop.post("/v1/exchange-rates")
        .json(rate)
        .send()
        .await
        .expect(201);
    let bun = shop
        .product_with("BUN", 5, json!({"currency": "USD"}))
        .await;
    assert_eq!(own_total(&shop, &bun, 5).await, 3);
    shop.assert_integrity();
}
