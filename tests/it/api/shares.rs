//! The disk share per tenant: a tenant that reaches it still sells but grows no more, and other
//! tenants are not affected.

use std::time::Duration;

use serde_json::{Value, json};
use tillbox::config::ByteSize;

use crate::support::{Answer, TestApp, TestShop, logs};

/// Restarts with a share of which the tenant's file uses `percent` percent.
fn use_percent(shop: &TestShop, percent: u64) {
    shop.app.stop();
    let used = std::fs::metadata(shop.path()).expect("a file").len();
    shop.app.restart_with(|config| {
        config.storage.tenant_max = Some(ByteSize::bytes(used * 100 / percent));
    });
}

async fn storefront_cart(shop: &TestShop) -> Answer {
    let cart = shop.app.call(http::Method::POST, "/v1/carts");
    let cart = cart.header("x-tillbox-tenant", shop.slug.as_str());
    cart.json(json!({})).send().await
}

fn tea(sku: &str) -> Value {
    json!({"sku": sku, "name": sku, "price_minor": 1})
}

fn sale(product: &str) -> Value {
    json!({
        "lines": [{"product_id": product, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": 450}],
    })
}

#[tokio::test]
async fn refuses_the_storefront_first_when_a_tenant_nears_its_share() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let product = shop.product("TEA", 450).await;
    storefront_cart(&shop).await.expect(201);
    use_percent(&shop, 82);
    let before = shop.census();
    let refused = storefront_cart(&shop)
        .await
        .refused(507, "tenant_storage_full");
    let detail = refused["detail"].as_str().expect("a detail");
    assert!(
        detail.contains("wrote nothing; try again later"),
        "{detail}"
    );
    assert!(shop.grown_since(&before).is_empty());
    shop.post("/v1/catalog/products")
        .json(tea("B"))
        .send()
        .await
        .expect(201);
    shop.sale("k", sale(&product)).await.expect(201);
}

#[tokio::test]
async fn sells_on_when_a_tenant_is_above_its_share_at_start() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let other = app.tenant("other");
    let product = shop.stocked("TEA", 450, 10).await;
    let placed = shop.place(&[(&product, 1)], "cash").await;
    let cart = shop.cart(&[(&product, 1)]).await;
    use_percent(&shop, 120);
    let before = shop.census();
    let refused = shop
        .post("/v1/catalog/products")
        .json(tea("B"))
        .send()
        .await;
    let detail = refused.refused(507, "tenant_storage_full")["detail"].to_string();
    assert!(
        detail.contains("retention prune --now answers,carts"),
        "{detail}"
    );
    shop.post("/v1/carts")
        .json(json!({}))
        .send()
        .await
        .refused(507, "tenant_storage_full");
    storefront_cart(&shop)
        .await
        .refused(507, "tenant_storage_full");
    assert!(shop.grown_since(&before).is_empty());

    shop.sale("k", sale(&product)).await.expect(201);
    shop.confirm("c", &placed.payment).await.expect(200);
    shop.checkout("o", &cart, "cash").await.expect(201);
    shop.get("/v1/orders").send().await.expect(200);
    app.work_off();
    shop.assert_integrity();

    // The other tenant's file has the same size and the same share, which alone limits it.
    app.restart_with(|config| config.storage.tenant_max = Some(ByteSize::bytes(64 << 20)));
    storefront_cart(&other).await.expect(201);
    storefront_cart(&shop).await.expect(201);
}

#[tokio::test]
async fn reports_a_limited_tenant_until_it_is_below_its_share() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let product = shop.product("TEA", 450).await;
    use_percent(&shop, 120);
    let key = app.landlord_key();
    for _ in 0..3 {
        storefront_cart(&shop)
            .await
            .refused(507, "tenant_storage_full");
        app.advance(Duration::from_secs(1));
    }
    let health = app.get("/health").bearer(&key).send().await.json();
    let limited = &health["details"]["limited_tenants"][0];
    assert_eq!(limited["slug"], "corner", "{health}");
    assert_eq!(limited["refused"], "growth", "{health}");
    assert!(
        limited["used_bytes"].as_u64() > limited["share_bytes"].as_u64(),
        "{health}"
    );
    let public = app.get("/health").send().await.json();
    assert_eq!(public["details"], Value::Null);
    let metrics = app.get("/metrics").send().await.expect(200);
    assert!(
        metrics
            .text()
            .lines()
            .any(|line| line == "tillbox_tenants_storage_limited 1"),
        "the gauge counts it"
    );
    let lines = logs().of_tenant(&shop.id.to_string());
    let lines = lines.only(|line| line["share_bytes"].is_u64());
    assert_eq!(lines.lines().len(), 1, "said once: {lines:?}");

    app.restart_with(|config| config.storage.tenant_max = Some(ByteSize::bytes(64 << 20)));
    shop.sale("k", sale(&product)).await.expect(201);
    storefront_cart(&shop).await.expect(201);
    let health = app.get("/health").bearer(&key).send().await.json();
    assert_eq!(health["details"]["limited_tenants"], json!([]));
}

#[tokio::test]
async fn derives_the_share_from_the_free_space_when_none_is_configured() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    storefront_cart(&shop).await.expect(201);
    let used = std::fs::metadata(shop.path()).expect("a file").len();
    let free = app.app().limits.space.measure().expect("a disk").free;
    let usage = app.app().limits.shares.refresh(shop.id).expect("a disk");
    assert!(usage.used >= used, "{usage:?}");
    // Other processes use the disk, so the share is compared roughly.
    let share = (free - (64 << 20)) * 4;
    assert!(
        (share / 2..=share * 2).contains(&usage.share),
        "{usage:?} {share}"
    );
}
