//! Tests of `/v1/currencies` and `/v1/settings/currency`.

use serde_json::json;

use crate::support::answer::pointers;
use crate::support::{TestApp, TestShop};

async fn enable(shop: &TestShop, code: &str, enabled: bool) -> crate::support::Answer {
    shop.post("/v1/currencies")
        .json(json!({"code": code, "enabled": enabled}))
        .send()
        .await
}

#[tokio::test]
async fn starts_with_the_shops_currency() {
    let shop = TestApp::start().tenant_in("corner", "KWD");
    let listed = shop.get("/v1/currencies").send().await.expect(200);
    let own =
        json!({"code": "KWD", "enabled": true, "is_base": true, "digits": 3, "last_day": null});
    assert_eq!(listed.json(), json!({"data": [own], "next_cursor": null}));
    enable(&shop, "KWD", false)
        .await
        .refused(409, "currency_is_base");
    assert_eq!(shop.rows("SELECT code, enabled FROM currency"), ["KWD|1"]);
}

#[tokio::test]
async fn enables_and_disables_currencies() {
    let shop = TestApp::start().tenant("corner");
    let body = json!({"code": "USD"});
    let usd = shop
        .post("/v1/currencies")
        .json(body)
        .send()
        .await
        .expect(201);
    assert_eq!(
        usd.json(),
        json!({"code": "USD", "enabled": true, "is_base": false, "digits": 2, "last_day": null})
    );
    enable(&shop, "USD", true).await.expect(201);
    enable(&shop, "JPY", true).await.expect(201);
    assert_eq!(
        enable(&shop, "USD", false).await.expect(201).json()["enabled"],
        false
    );
    assert_eq!(
        shop.rows("SELECT code, enabled FROM currency ORDER BY seq"),
        ["EUR|1", "USD|0", "JPY|1"]
    );
    let trail = "SELECT payload ->> '$.action', payload ->> '$.subject' FROM job WHERE payload ->> \
        '$.action' LIKE 'currency.%' ORDER BY seq";
    assert_eq!(
        shop.rows(trail),
        [
            "currency.enabled|currency:USD",
            "currency.enabled|currency:JPY",
            "currency.disabled|currency:USD"
        ]
    );
    let first = shop.get("/v1/currencies?limit=2").send().await.expect(200);
    assert_eq!(
        (
            &first.json()["data"][0]["code"],
            &first.json()["data"][1]["code"]
        ),
        (&json!("JPY"), &json!("USD"))
    );
    let rest = shop
        .get(&format!(
            "/v1/currencies?cursor={}",
            first.string("/next_cursor")
        ))
        .send()
        .await
        .expect(200);
    assert_eq!(rest.json()["data"][0]["code"], "EUR");
}

#[tokio::test]
async fn reads_ended_currency_but_rejects_enabling_it() {
    let app = TestApp::start();
    let shop = app.tenant("zagreb");
    enable(&shop, "HRK", true)
        .await
        .refused(422, "currency_ended");
    assert_eq!(
        shop.count("SELECT count(*) FROM currency WHERE code = 'HRK'"),
        0
    );
    // A currency that was enabled before its end stays in the list; once disabled, it stays off.
    app.clock()
        .set(tillbox::primitives::Timestamp::parse("2022-12-31T23:59:59Z").expect("an instant"));
    enable(&shop, "HRK", true).await.expect(201);
    app.advance(std::time::Duration::from_secs(1));
    let kuna = enable(&shop, "HRK", true).await.expect(201);
    assert_eq!(
        (&kuna.json()["enabled"], &kuna.json()["last_day"]),
        (&json!(true), &json!("2022-12-31"))
    );
    enable(&shop, "HRK", false).await.expect(201);
    enable(&shop, "HRK", true)
        .await
        .refused(422, "currency_ended");
    assert_eq!(
        shop.get("/v1/currencies").send().await.expect(200).json()["data"][0]["code"],
        "HRK"
    );
}

#[tokio::test]
async fn rejects_invalid_currency() {
    let shop = TestApp::start().tenant("corner");
    for (body, pointer) in [
        (json!({"code": "usd"}), "/code"),
        (json!({"code": "XAU"}), "/code"),
        (json!({"code": "EEK"}), "/code"),
        (json!({"code": "USD", "enabled": null}), "/enabled"),
        (json!({"code": "USD", "rate": 1}), "/rate"),
    ] {
        let refused = shop
            .post("/v1/currencies")
            .json(body.clone())
            .send()
            .await
            .refused(422, "validation_failed");
        assert_eq!(pointers(&refused), [pointer], "{body}");
    }
    assert_eq!(shop.rows("SELECT code FROM currency"), ["EUR"]);
}

#[tokio::test]
async fn shows_and_changes_settings() {
    let shop = TestApp::start().tenant("corner");
    let shown = shop.get("/v1/settings/currency").send().await.expect(200);
    let settings = json!({"base_currency": "EUR", "rate_source": "manual_first",
            "rate_max_age_days": 7,
            "updated_at": "2026-01-15T10:00:00Z"});
    assert_eq!(
        (shown.json(), shown.header("etag")),
        (settings, Some("\"v1\""))
    );
    let change = |tag: &'static str, body: serde_json::Value| {
        shop.patch("/v1/settings/currency")
            .header("if-match", tag)
            .json(body)
    };
    let changed = change("\"v1\"", json!({"rate_source": "published"}))
        .send()
        .await
        .expect(200);
    let settings = json!({"base_currency": "EUR", "rate_source": "published",
            "rate_max_age_days": 7,
            "updated_at": "2026-01-15T10:00:00Z"});
    assert_eq!(
        (changed.json(), changed.header("etag")),
        (settings, Some("\"v2\""))
    );
    change("\"v1\"", json!({"rate_max_age_days": 3}))
        .send()
        .await
        .refused(412, "stale_version");
    let same = change("\"v2\"", json!({"rate_source": "published"}))
        .send()
        .await
        .expect(200);
    assert_eq!(same.header("etag"), Some("\"v2\""));
    assert_eq!(
        shop.rows("SELECT rate_source, rate_max_age_days, version FROM currency_setting"),
        ["published|7|2"]
    );
    for (body, pointer) in [
        (json!({"rate_source": "guessed"}), "/rate_source"),
        (json!({"rate_max_age_days": 0}), "/rate_max_age_days"),
        (json!({"rate_max_age_days": 367}), "/rate_max_age_days"),
        (json!({"base_currency": "USD"}), "/base_currency"),
        (json!({"rate_source": null}), "/rate_source"),
    ] {
        let refused = shop
            .patch("/v1/settings/currency")
            .json(body.clone())
            .send()
            .await
            .refused(422, "validation_failed");
        assert_eq!(pointers(&refused), [pointer], "{body}");
    }
}
