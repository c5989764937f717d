//! A nearly full disk: necessary work goes on, growth is rejected with a reason, and no restart is
//! needed.

use serde_json::json;
use tillbox::config::ByteSize;

use crate::support::TestApp;

/// A reserve larger than any disk.
const ALL_THERE_IS: u64 = 1 << 60;

#[tokio::test]
async fn refuses_sales_but_serves_the_rest_below_the_disk_reserve() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let placed = shop.place(&[(&tea, 1)], "cash").await;
    let sale = json!({"lines": [{"product_id": tea, "quantity": 1}], "payments": [{"method": "cash",
        "amount_minor": 450}]});
    shop.sale("before", sale.clone()).await.expect(201);
    app.restart_with(|config| config.storage.disk_reserve = ByteSize::bytes(ALL_THERE_IS));
    let again = shop.sale("before", sale.clone()).await.expect(201);
    assert_eq!(
        again.header("idempotent-replayed"),
        Some("true"),
        "the replay returns the first answer"
    );
    let before = shop.census();
    let problem = shop
        .sale("k", sale.clone())
        .await
        .refused(507, "storage_full");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("free some space")),
        "{problem}"
    );
    shop.post("/v1/catalog/products")
        .json(json!({"sku": "B", "name": "B", "price_minor": 1}))
        .send()
        .await
        .refused(507, "storage_full");
    assert!(
        shop.grown_since(&before).is_empty(),
        "a refusal leaves nothing"
    );
    shop.get("/v1/orders").send().await.expect(200);
    let health = app
        .get("/health")
        .bearer(&app.landlord_key())
        .send()
        .await
        .expect(503)
        .json();
    assert_eq!(health["services"]["db"], "fail", "{health}");
    assert!(health["details"]["disk"].is_string(), "{health}");
    shop.move_order(&placed.order, "cancel").await.expect(200);
    app.work_off();
    app.restart_with(|config| config.storage.disk_reserve = ByteSize::bytes(0));
    shop.sale("k", sale).await.expect(201);
    app.get("/health/live").send().await.expect(200);
    shop.assert_integrity();
}
