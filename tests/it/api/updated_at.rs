//! `updated_at` is the instant of the last change of a product, an order, a payment, a stock and
//! the settings. A call that changes nothing leaves it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{TestApp, TestShop};

/// The member `updated_at` of an answer to GET.
async fn updated_at(shop: &TestShop, path: &str) -> Value {
    shop.get(path).send().await.expect(200).json()["updated_at"].clone()
}

/// Advances the clock by an hour, changes something twice in the same way, and checks that only the
/// first call is a change.
async fn changes(shop: &TestShop, path: &str, body: Value) {
    let before = updated_at(shop, path).await;
    shop.app.advance(Duration::from_secs(3_600));
    let now = json!(shop.app.now());
    assert_ne!(before, now, "{path}");
    let change = async || shop.patch(path).json(body.clone()).send().await.expect(200);
    assert_eq!(change().await.json()["updated_at"], now, "{path}");
    shop.app.advance(Duration::from_secs(3_600));
    assert_eq!(change().await.json()["updated_at"], now, "{path}");
    assert_eq!(updated_at(shop, path).await, now, "{path}");
}

#[tokio::test]
async fn changes_with_product_stock_and_settings() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let product = format!("/v1/catalog/products/{tea}");
    changes(&shop, &product, json!({"price_minor": 500})).await;
    let stock = format!("/v1/inventory/stock/{tea}");
    changes(&shop, &stock, json!({"on_hand": 9})).await;
    changes(&shop, "/v1/settings/shop", json!({"name": "Corner"})).await;
    let days = json!({"rate_max_age_days": 3});
    changes(&shop, "/v1/settings/currency", days).await;
    app.advance(Duration::from_secs(3_600));
    shop.post(&format!("{product}/deactivate"))
        .send()
        .await
        .expect(200);
    assert_eq!(updated_at(&shop, &product).await, json!(app.now()));
}

#[tokio::test]
async fn changes_with_order_payment_and_reservation() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let minute = || app.advance(Duration::from_secs(60));
    minute();
    let placed = shop.place(&[(&tea, 1)], "card").await;
    let paths = [
        format!("/v1/orders/{}", placed.order),
        format!("/v1/payments/{}", placed.payment),
        format!("/v1/inventory/stock/{tea}"),
    ];
    for path in &paths {
        assert_eq!(updated_at(&shop, path).await, json!(app.now()), "{path}");
    }
    minute();
    let done = shop.confirm("c", &placed.payment).await.expect(200).json();
    assert_eq!(done["order"]["updated_at"], json!(app.now()));
    assert_eq!(done["payment"]["updated_at"], json!(app.now()));
    for path in &paths {
        assert_eq!(updated_at(&shop, path).await, json!(app.now()), "{path}");
    }
    let other = shop.place(&[(&tea, 1)], "card").await;
    minute();
    let cancel = format!("/v1/orders/{}/cancel", other.order);
    let cancelled = shop.post(&cancel).send().await.expect(200).json();
    assert_eq!(cancelled["updated_at"], json!(app.now()));
    let payment = format!("/v1/payments/{}", other.payment);
    assert_eq!(updated_at(&shop, &payment).await, json!(app.now()));
    let stock = format!("/v1/inventory/stock/{tea}");
    assert_eq!(updated_at(&shop, &stock).await, json!(app.now()));
}
