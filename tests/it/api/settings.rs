//! Tests of `/v1/settings`.

use serde_json::json;
use tillbox::tenancy::Scope;

use crate::support::TestApp;
use crate::support::answer::pointers;

#[tokio::test]
async fn shows_and_changes_shop() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let shown = shop.get("/v1/settings/shop").send().await.expect(200);
    assert_eq!(
        shown.json(),
        json!({"name": "Shop corner", "currency": "EUR", "prices_include_tax": false,
            "updated_at": "2026-01-15T10:00:00Z"})
    );
    assert_eq!(shown.header("etag"), Some("\"v1\""));
    let changed = shop
        .patch("/v1/settings/shop")
        .json(json!({"prices_include_tax": true}))
        .send()
        .await
        .expect(200);
    assert_eq!(
        changed.json(),
        json!({"name": "Shop corner", "currency": "EUR", "prices_include_tax": true,
            "updated_at": "2026-01-15T10:00:00Z"})
    );
    assert_eq!(changed.header("etag"), Some("\"v2\""));
    let renamed = shop
        .patch("/v1/settings/shop")
        .json(json!({"name": "Corner & Sons"}))
        .send()
        .await
        .expect(200);
    assert_eq!(renamed.json()["name"], "Corner & Sons");
    assert_eq!(
        shop.rows("SELECT name, prices_include_tax, version FROM shop"),
        ["Corner & Sons|1|3"]
    );
    assert_eq!(
        shop.count("SELECT count(*) FROM job WHERE payload ->> '$.action' = 'settings.changed'"),
        2
    );
}

#[tokio::test]
async fn ignores_change_to_equal_values() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let before = shop.get("/v1/settings/shop").send().await.expect(200);
    for same in [
        json!({}),
        json!({"name": before.json()["name"],
            "prices_include_tax": before.json()["prices_include_tax"]}),
    ] {
        let after = shop
            .patch("/v1/settings/shop")
            .json(same)
            .send()
            .await
            .expect(200);
        assert_eq!(
            (after.json(), after.header("etag")),
            (before.json(), before.header("etag"))
        );
    }
    assert_eq!(
        shop.count("SELECT count(*) FROM job WHERE payload ->> '$.action' = 'settings.changed'"),
        0
    );
}

#[tokio::test]
async fn rejects_lost_update() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let change = |tag: &str, name: &str| {
        shop.patch("/v1/settings/shop")
            .header("if-match", tag)
            .json(json!({"name": name}))
    };
    change("\"v1\"", "First").send().await.expect(200);
    for tag in ["\"v1\"", "\"v3\"", "\"something\"", "v2"] {
        change(tag, "Second")
            .send()
            .await
            .refused(412, "stale_version");
    }
    assert_eq!(shop.rows("SELECT name, version FROM shop"), ["First|2"]);
    change("*", "Third").send().await.expect(200);
    change("\"v3\"", "Fourth").send().await.expect(200);
}

#[tokio::test]
async fn rejects_invalid_settings() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let jobs = shop.count("SELECT count(*) FROM job");
    for (body, pointer, code) in [
        (json!({"name": ""}), "/name", "invalid"),
        (json!({"name": "x".repeat(201)}), "/name", "invalid"),
        (json!({"name": "a\nb"}), "/name", "invalid"),
        (
            json!({"prices_include_tax": "yes"}),
            "/prices_include_tax",
            "wrong_type",
        ),
        (json!({"currency": "USD"}), "/currency", "unknown_field"),
    ] {
        let refused = shop
            .patch("/v1/settings/shop")
            .json(body.clone())
            .send()
            .await
            .refused(422, "validation_failed");
        assert_eq!(
            (pointers(&refused), &refused["errors"][0]["code"]),
            (vec![pointer.to_owned()], &json!(code)),
            "{body}"
        );
    }
    assert_eq!(
        shop.rows("SELECT name, currency, version FROM shop"),
        ["Shop corner|EUR|1"]
    );
    assert_eq!(shop.count("SELECT count(*) FROM job"), jobs);
}

#[tokio::test]
async fn requires_admin_scope() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let key = shop.key_with(&[Scope::CatalogWrite, Scope::Orders]);
    shop.get("/v1/settings/shop")
        .bearer(&key)
        .send()
        .await
        .refused(403, "insufficient_scope");
    let anonymous = shop
        .patch("/v1/settings/shop")
        .anonymous()
        .header("x-tillbox-tenant", "corner")
        .json(json!({"name": "Mine"}));
    anonymous.send().await.refused(401, "unauthenticated");
    assert_eq!(shop.rows("SELECT name FROM shop"), ["Shop corner"]);
}
