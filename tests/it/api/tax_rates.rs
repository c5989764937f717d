//! Tests of `/v1/tax-rates`: the rates of tax classes over time.

use serde_json::json;
use tillbox::tenancy::Scope;

use crate::support::TestApp;
use crate::support::answer::pointers;

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
            "valid_from": "2026-01-15T10:00:00Z"})
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
