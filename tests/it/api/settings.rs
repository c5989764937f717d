//! Tests of `/v1/settings`.

use serde_json::{Value, json};
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
            "timezone": "UTC", "legal_name": null, "address": null, "country": null,
            "vat_id": null, "tax_id": null, "contact_email": null, "contact_phone": null,
            "updated_at": "2026-01-15T10:00:00Z"})
    );
    assert_eq!(shown.header("etag"), Some("\"v1\""));
    let changed = shop
        .patch("/v1/settings/shop")
        .json(json!({"prices_include_tax": true}))
        .send()
        .await
        .expect(200);
    assert_eq!(changed.json()["prices_include_tax"], json!(true));
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

#[tokio::test]
async fn names_seller_and_buyer_on_invoices() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let change = |body: Value| shop.patch("/v1/settings/shop").json(body).send();
    let seller = json!({"legal_name": "Corner Tea GmbH", "address": "Teestr. 1\r\n10115 Berlin",
        "country": "DE", "vat_id": "de 136 695 976", "tax_id": "30/123/45678",
        "contact_email": "books@Corner.example", "contact_phone": "+49 30 1234"});
    let shown = change(seller).await.expect(200).json();
    assert_eq!(shown["vat_id"], "DE136695976");
    assert_eq!(shown["address"], "Teestr. 1\n10115 Berlin");
    let tea = shop.stocked("TEA", 450, 10).await;
    let buyer = json!({"name": "Kaufhaus Wien AG", "address": "Ring 2, 1010 Wien",
        "country": "AT", "vat_id": "ATU13585627"});
    let body = json!({"lines": [{"product_id": tea, "quantity": 1}], "buyer": buyer,
        "payments": [{"method": "cash", "amount_minor": 450}]});
    let sold = shop.sale("one", body.clone()).await.expect(201).json();
    assert_eq!(sold["order"]["buyer"], buyer);
    let invoice = &sold["invoice"];
    for part in ["name", "address", "country", "vat_id"] {
        assert_eq!(invoice["buyer"][part], buyer[part]);
    }
    assert_eq!(
        invoice["seller"],
        json!({"address": "Teestr. 1\n10115 Berlin", "country": "DE",
            "email": "books@corner.example", "name": "Corner Tea GmbH", "phone": "+49 30 1234",
            "tax_id": "30/123/45678", "vat_id": "DE136695976"})
    );
    // A later change leaves issued invoices as they are.
    change(json!({"legal_name": null, "vat_id": null}))
        .await
        .expect(200);
    let again = shop.sale("one", body).await.expect(201).json();
    assert_eq!(again, sold);
    let cart = shop.cart(&[(&tea, 1)]).await;
    let body = json!({"cart_id": cart, "email": "a@example.org", "payment_method": "cash",
        "buyer": {"name": "Ada"}});
    let placed = shop.post("/v1/checkout").key("web").json(body).send().await;
    let buyer = placed.expect(201).json()["order"]["buyer"].clone();
    assert_eq!(
        buyer,
        json!({"name": "Ada", "address": null, "country": null, "vat_id": null})
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn rejects_wrong_seller_and_buyer() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let change = |body: Value| shop.patch("/v1/settings/shop").json(body).send();
    let body = json!({"timezone": "Europe/Atlantis", "country": "UK", "vat_id": "DE136695977",
        "contact_email": "none", "address": "1\n2\n3\n4\n5\n6\n7"});
    let refused = change(body).await.refused(422, "validation_failed");
    assert_eq!(
        pointers(&refused),
        [
            "/timezone",
            "/address",
            "/country",
            "/vat_id",
            "/contact_email"
        ]
    );
    let body = json!({"country": "FR", "vat_id": "DE136695976"});
    change(body).await.refused(422, "vat_id_mismatch");
    let tea = shop.stocked("TEA", 450, 10).await;
    let body = json!({"lines": [{"product_id": tea, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": 450}],
        "buyer": {"country": "FR", "vat_id": "DE136695976"}});
    let refused = shop
        .sale("one", body)
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers(&refused), ["/buyer/vat_id"]);
}
