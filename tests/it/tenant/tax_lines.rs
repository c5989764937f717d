//! Which tax rate a sale takes at an instant, and how classes that share a rate become one tax line
//! with one rounding.

use serde_json::{Value, json};
use tillbox::primitives::Timestamp;
use tillbox::primitives::limits::{ORDER_TOTAL_MINOR_MAX, PRICE_MINOR_MAX};

use crate::support::{TestApp, TestShop};

async fn rate(shop: &TestShop, class: &str, name: &str, rate_ppm: i64, since: &str) {
    let body = json!({"tax_class": class, "name": name, "rate_ppm": rate_ppm, "valid_from": since});
    shop.post("/v1/tax-rates")
        .json(body)
        .send()
        .await
        .expect(201);
}

/// A product of a class, whose SKU is the class.
async fn of_class(shop: &TestShop, class: &str, price_minor: i64) -> String {
    shop.product_with(class, price_minor, json!({"tax_class": class}))
        .await
}

fn sale(products: &[&str], total: i64) -> Value {
    let lines: Vec<_> = products
        .iter()
        .map(|id| json!({"product_id": id, "quantity": 1}))
        .collect();
    json!({"lines": lines, "payments": [{"method": "cash", "amount_minor": total}]})
}

#[tokio::test]
async fn takes_the_rate_from_its_first_instant_until_the_next_one() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.prices_include_tax(false).await;
    rate(&shop, "book", "VAT 5 %", 50_000, "1970-01-01T00:00:00Z").await;
    // The later rate is added first: the order of the instants counts, not that of the rows.
    rate(&shop, "book", "VAT 20 %", 200_000, "2026-03-01T00:00:00Z").await;
    rate(&shop, "book", "VAT 10 %", 100_000, "2026-02-01T00:00:00Z").await;
    let listed = shop
        .get("/v1/tax-rates?limit=3")
        .send()
        .await
        .expect(200)
        .json();
    let names: Vec<_> = (0..3)
        .map(|at| listed["data"][at]["name"].clone())
        .collect();
    assert_eq!(
        names,
        ["VAT 10 %", "VAT 20 %", "VAT 5 %"],
        "the last that was added first"
    );
    let book = of_class(&shop, "book", 1_000).await;
    for (at, tax) in [
        ("2026-01-31T23:59:59.999Z", 50),
        ("2026-02-01T00:00:00Z", 100),
        ("2026-02-28T23:59:59.999Z", 100),
        ("2026-03-01T00:00:00Z", 200),
    ] {
        app.clock().set(Timestamp::parse(at).expect("an instant"));
        let sold = shop
            .sale(at, sale(&[&book], 1_000 + tax))
            .await
            .expect(201)
            .json();
        assert_eq!(sold["order"]["tax_minor"], tax, "{at}");
    }
}

fn tax_line(name: &str, rate_ppm: i64, net_minor: i64, tax_minor: i64) -> Value {
    json!({
        "discount_minor": 0, "name": name, "net_minor": net_minor, "rate_ppm": rate_ppm,
        "tax_minor": tax_minor,
    })
}

#[tokio::test]
async fn rounds_once_for_classes_with_equal_rate_and_name() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.prices_include_tax(false).await;
    for (class, name, ppm) in [
        ("book", "VAT", 190_000),
        ("food", "Levy", 190_000),
        ("game", "VAT", 70_000),
        ("tool", "VAT", 190_000),
    ] {
        rate(&shop, class, name, ppm, "1970-01-01T00:00:00Z").await;
    }
    // 19 % of 3.00 are 57 cents; 28.5 cents rounded up twice would be 58.
    let mut products = Vec::new();
    for class in ["tool", "game", "book", "food"] {
        products.push(of_class(&shop, class, 150).await);
    }
    let products: Vec<_> = products.iter().map(String::as_str).collect();
    let sold = shop
        .sale("one", sale(&products, 697))
        .await
        .expect(201)
        .json();
    assert_eq!(
        sold["order"]["tax_lines"],
        json!([
            tax_line("Levy", 190_000, 150, 29),
            tax_line("VAT", 190_000, 300, 57),
            tax_line("VAT", 70_000, 150, 11),
        ]),
        "the highest rate first, equal rates by name"
    );
    // The odd cent goes to the first line, and each line keeps its own class.
    assert_eq!(
        shop.rows("SELECT tax_class, tax_minor FROM order_line ORDER BY seq"),
        ["tool|29", "game|11", "book|28", "food|29"]
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn refuses_an_order_when_its_tax_takes_it_over_the_limit() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.prices_include_tax(false).await;
    rate(&shop, "book", "VAT", 1_000_000, "1970-01-01T00:00:00Z").await;
    // With 100 % of tax, half of the limit is the most.
    let dear = of_class(&shop, "book", ORDER_TOTAL_MINOR_MAX / 2).await;
    let body = json!({
        "sku": "over", "name": "Over", "price_minor": PRICE_MINOR_MAX / 2 + 1, "tax_class": "book",
    });
    let over = shop
        .post("/v1/catalog/products")
        .json(body)
        .send()
        .await
        .expect(201)
        .string("/id");
    shop.sale("over", sale(&[&over], ORDER_TOTAL_MINOR_MAX))
        .await
        .refused(422, "amount_too_large");
    shop.sale("most", sale(&[&dear], ORDER_TOTAL_MINOR_MAX))
        .await
        .expect(201);
}
