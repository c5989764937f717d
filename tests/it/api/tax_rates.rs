//! Tests of `/v1/tax-rates`: the rates of tax classes over time.

use serde_json::{Value, json};
use tillbox::primitives::TimeZone;
use tillbox::tenancy::Scope;
use tillbox::tenant::new_shop::{NewShop, NewShopTax};
use tillbox::tenant::settings::NewSettings;

use crate::support::answer::pointers;
use crate::support::{TestApp, TestShop};

#[tokio::test]
async fn starts_with_standard_class_and_adds_rates() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let body = json!({"tax_class": "standard", "name": "VAT 19 %", "rate_ppm": 190_000});
    let added = shop
        .post("/v1/tax-rates")
        .json(body)
        .send()
        .await
        .expect(201)
        .json();
    assert_eq!(
        added,
        json!({"id": added["id"], "tax_class": "standard", "name": "VAT 19 %", "rate_ppm": 190_000,
            "valid_from": "2026-01-15T10:00:00Z", "used": false})
    );
    let body = json!({"tax_class": "reduced", "name": "VAT 7 %", "rate_ppm": 70_000,
        "valid_from": "2027-01-01T00:00:00+01:00"});
    let later = shop
        .post("/v1/tax-rates")
        .json(body)
        .send()
        .await
        .expect(201);
    assert_eq!(later.string("/valid_from"), "2026-12-31T23:00:00Z");
    let product =
        json!({"sku": "BOOK", "name": "Book", "price_minor": 1000, "tax_class": "reduced"});
    shop.post("/v1/catalog/products")
        .json(product)
        .send()
        .await
        .expect(201);
    let listed = shop.get("/v1/tax-rates").send().await.expect(200).json();
    let names: Vec<_> = listed["data"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|rate| rate["name"].clone())
        .collect();
    assert_eq!(names, ["VAT 7 %", "VAT 19 %", "No tax"]);
    assert_eq!(
        shop.count("SELECT count(*) FROM job WHERE payload ->> '$.action' = 'tax_rate.added'"),
        2
    );
    let first = shop.get("/v1/tax-rates?limit=2").send().await.expect(200);
    let rest = shop
        .get(&format!(
            "/v1/tax-rates?limit=2&cursor={}",
            first.string("/next_cursor")
        ))
        .send()
        .await;
    assert_eq!(rest.expect(200).json()["data"][0]["name"], "No tax");
}

#[tokio::test]
async fn rejects_invalid_rates_without_traces() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (rates, jobs) = (
        shop.count("SELECT count(*) FROM tax_rate"),
        shop.count("SELECT count(*) FROM job"),
    );
    let body =
        json!({"tax_class": "Stan dard", "name": "", "rate_ppm": -1, "valid_from": "yesterday"});
    let refused = shop
        .post("/v1/tax-rates")
        .json(body)
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(
        pointers(&refused),
        ["/tax_class", "/name", "/rate_ppm", "/valid_from"]
    );
    for (rate, code) in [
        (json!(1_000_001), "invalid"),
        (json!(i64::MAX), "invalid"),
        (json!(0.19), "wrong_type"),
        (json!("19"), "wrong_type"),
    ] {
        let body = json!({"tax_class": "standard", "name": "x", "rate_ppm": rate});
        let refused = shop
            .post("/v1/tax-rates")
            .json(body)
            .send()
            .await
            .refused(422, "validation_failed");
        assert_eq!(
            (pointers(&refused), &refused["errors"][0]["code"]),
            (vec!["/rate_ppm".to_owned()], &json!(code)),
            "{rate}"
        );
    }
    assert_eq!(shop.count("SELECT count(*) FROM tax_rate"), rates);
    assert_eq!(shop.count("SELECT count(*) FROM job"), jobs);
}

#[tokio::test]
async fn rejects_second_rate_with_same_start() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let body = json!({"tax_class": "standard", "name": "VAT 19 %", "rate_ppm": 190_000,
        "valid_from": "2026-02-01T00:00:00Z"});
    shop.post("/v1/tax-rates")
        .json(body)
        .send()
        .await
        .expect(201);
    let same_instant = json!({"tax_class": "standard", "name": "VAT 16 %", "rate_ppm": 160_000,
        "valid_from": "2026-02-01T01:00:00+01:00"});
    shop.post("/v1/tax-rates")
        .json(same_instant)
        .send()
        .await
        .refused(409, "tax_rate_exists");
    assert_eq!(
        shop.rows("SELECT name FROM tax_rate ORDER BY seq"),
        ["No tax", "VAT 19 %"]
    );
}

#[tokio::test]
async fn allows_keyless_reads_and_requires_scope_for_changes() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.get("/v1/tax-rates")
        .anonymous()
        .header("x-tillbox-tenant", "corner")
        .send()
        .await
        .expect(200);
    let body = json!({"tax_class": "standard", "name": "VAT 19 %", "rate_ppm": 190_000});
    let key = shop.key_with(&[Scope::CatalogRead]);
    shop.get("/v1/tax-rates")
        .bearer(&key)
        .send()
        .await
        .expect(200);
    let refused = shop
        .post("/v1/tax-rates")
        .bearer(&key)
        .json(body.clone())
        .send()
        .await;
    refused.refused(403, "insufficient_scope");
    let anonymous = shop
        .post("/v1/tax-rates")
        .anonymous()
        .header("x-tillbox-tenant", "corner")
        .json(body);
    anonymous.send().await.refused(401, "unauthenticated");
    assert_eq!(shop.count("SELECT count(*) FROM tax_rate"), 1);
}

/// A shop without a tax rate and without "no tax".
fn unconfigured(app: &TestApp, slug: &str, zone: &str) -> TestShop {
    let shop = NewShop {
        settings: NewSettings {
            timezone: TimeZone::parse(zone).expect("a zone"),
            ..NewShop::untaxed().settings
        },
        tax: NewShopTax::Later,
    };
    app.tenant_with(slug, "EUR", shop)
}

async fn add_rate(shop: &TestShop, body: Value) -> Value {
    let added = shop.post("/v1/tax-rates").json(body).send().await;
    added.expect(201).json()
}

#[tokio::test]
async fn sells_nothing_before_tax_is_configured() {
    let app = TestApp::start();
    let shop = unconfigured(&app, "corner", "UTC");
    let tea = shop.stocked("TEA", 450, 100).await;
    let sale = |sold_at: &str| {
        json!({"lines": [{"product_id": tea, "quantity": 1}], "sold_at": sold_at,
            "payments": [{"method": "cash", "amount_minor": 450}]})
    };
    for (key, sold_at) in [
        ("now", "2026-01-15T10:00:00Z"),
        ("fact", "2026-01-14T10:00:00Z"),
    ] {
        let refused = shop.sale(key, sale(sold_at)).await;
        let refused = refused.refused(409, "tax_not_configured");
        assert!(
            refused["detail"]
                .as_str()
                .is_some_and(|text| text.contains("/v1/tax-rates/none"))
        );
    }
    let cart = shop.cart(&[(&tea, 1)]).await;
    let placed = shop.checkout("cart", &cart, "cash").await;
    placed.refused(409, "tax_not_configured");
    assert_eq!(shop.count("SELECT count(*) FROM sales_order"), 0);
    let none = || shop.post("/v1/tax-rates/none").json(json!({})).send();
    let set = none().await.expect(200).json();
    assert_eq!(
        (&set["rate_ppm"], &set["valid_from"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(
        none().await.expect(200).json()["id"],
        set["id"],
        "the same again"
    );
    shop.sale("now", sale("2026-01-15T10:00:00Z"))
        .await
        .expect(201);
    shop.assert_integrity();
}

#[tokio::test]
async fn ends_no_tax_with_first_rate() {
    let app = TestApp::start();
    let shop = unconfigured(&app, "corner", "UTC");
    shop.post("/v1/tax-rates/none")
        .json(json!({}))
        .send()
        .await
        .expect(200);
    let body = json!({"tax_class": "standard", "name": "VAT 19 %", "rate_ppm": 190_000});
    add_rate(&shop, body).await;
    let tea = shop.stocked("TEA", 100, 100).await;
    let body = json!({"lines": [{"product_id": tea, "quantity": 1}],
        "sold_at": "2025-06-01T10:00:00Z", "payments": [{"method": "cash", "amount_minor": 119}]});
    let sold = shop.sale("before", body).await.expect(201).json();
    assert_eq!(
        sold["order"]["tax_minor"], 19,
        "a sale before the first rate has the first rate"
    );
    let none = shop.post("/v1/tax-rates/none").json(json!({})).send();
    none.await.refused(409, "tax_is_configured");
}

#[tokio::test]
async fn corrects_and_withdraws_rates_until_a_document_has_them() {
    let app = TestApp::start();
    let shop = unconfigured(&app, "corner", "UTC");
    let body = json!({"tax_class": "standard", "name": "VAT 91 %", "rate_ppm": 910_000,
        "valid_from": "2026-01-01T00:00:00Z"});
    let rate = add_rate(&shop, body).await;
    let path = format!("/v1/tax-rates/{}", rate["id"].as_str().expect("an id"));
    let patch = |body: Value| shop.patch(&path).json(body).send();
    let mended = patch(json!({"name": "VAT 19 %", "rate_ppm": 190_000}))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&mended["name"], &mended["rate_ppm"], &mended["valid_from"]),
        (
            &json!("VAT 19 %"),
            &json!(190_000),
            &json!("2026-01-01T00:00:00Z")
        )
    );
    let later = json!({"tax_class": "standard", "name": "VAT 21 %", "rate_ppm": 210_000,
        "valid_from": "2027-01-01"});
    let later = add_rate(&shop, later).await;
    let taken = patch(json!({"valid_from": "2027-01-01"})).await;
    taken.refused(409, "tax_rate_exists");
    let tea = shop.stocked("TEA", 100, 100).await;
    let body = json!({"lines": [{"product_id": tea, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": 119}]});
    shop.sale("one", body).await.expect(201);
    patch(json!({"name": "VAT"}))
        .await
        .refused(409, "tax_rate_in_use");
    let delete = |id: &Value| {
        let path = format!("/v1/tax-rates/{}", id.as_str().expect("an id"));
        shop.delete(&path).send()
    };
    delete(&rate["id"]).await.refused(409, "tax_rate_in_use");
    delete(&later["id"]).await.expect(204);
    delete(&later["id"])
        .await
        .refused(404, "tax_rate_not_found");
    for sql in ["UPDATE tax_rate SET rate_ppm = 0", "DELETE FROM tax_rate"] {
        assert!(shop.raw(sql).is_err(), "{sql}");
    }
    let refused = patch(json!({"rate_ppm": -1, "name": "", "valid_from": "soon"})).await;
    let refused = refused.refused(422, "validation_failed");
    assert_eq!(pointers(&refused), ["/name", "/rate_ppm", "/valid_from"]);
    shop.assert_integrity();
}

#[tokio::test]
async fn begins_rate_and_year_of_number_at_midnight_of_the_shop() {
    let app = TestApp::start();
    let shop = unconfigured(&app, "corner", "Pacific/Auckland");
    let body = json!({"tax_class": "standard", "name": "GST 15 %", "rate_ppm": 150_000,
        "valid_from": "2020-01-01"});
    let rate = add_rate(&shop, body).await;
    assert_eq!(rate["valid_from"], "2019-12-31T11:00:00Z");
    let body = json!({"tax_class": "standard", "name": "GST 20 %", "rate_ppm": 200_000,
        "valid_from": "2026-01-01"});
    add_rate(&shop, body).await;
    let tea = shop.stocked("TEA", 100, 100).await;
    let sell = async |key: &str, sold_at: &str, amount: i64| {
        let body = json!({"lines": [{"product_id": tea, "quantity": 1}], "sold_at": sold_at,
            "payments": [{"method": "cash", "amount_minor": amount}]});
        shop.sale(key, body).await.expect(201).json()
    };
    // 2025-12-31 23:59:59 and 2026-01-01 00:00:00 in Auckland.
    let old = sell("old", "2025-12-31T10:59:59Z", 115).await;
    let new = sell("new", "2025-12-31T11:00:00Z", 120).await;
    assert_eq!(old["invoice"]["number"], "INV-2025-000001");
    assert_eq!(new["invoice"]["number"], "INV-2026-000001");
    let report = |period: &str| shop.get(&format!("/v1/reports/revenue?{period}")).send();
    let day = report("from=2026-01-01&to=2026-01-01")
        .await
        .expect(200)
        .json();
    assert_eq!(day["from"], "2025-12-31T11:00:00Z");
    assert_eq!(day["to"], "2026-01-01T11:00:00Z");
    assert_eq!(day["currencies"][0]["tax_minor"], 20);
    let before = report("to=2025-12-31").await.expect(200).json();
    assert_eq!(before["currencies"][0]["tax_minor"], 15);
    let reversed = report("from=2026-01-02&to=2026-01-01").await;
    assert_eq!(
        pointers(&reversed.refused(422, "validation_failed")),
        ["?to"]
    );
    shop.assert_integrity();
}
