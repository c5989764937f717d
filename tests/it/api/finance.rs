//! Tests of `/v1/financial-orders` and `/v1/financial-transactions`.

use serde_json::{Value, json};
use tillbox::tenancy::Scope;

use crate::support::TestApp;

/// An unused id.
const NOBODY: &str = "01890000-0000-7000-8000-000000000001";

#[tokio::test]
async fn shows_financial_order_as_locked() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    shop.place(&[(&tea, 9)], "cash").await;
    let done = shop.sell(&[(&tea, 2)]).await;
    let list = shop
        .get("/v1/financial-orders")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        list["data"],
        json!([done["financial_order"]]),
        "a pending order has no financial order"
    );
    let path = format!(
        "/v1/financial-orders/{}",
        done["financial_order"]["id"].as_str().expect("an id")
    );
    let order = done["order"]["id"].as_str().expect("an id");
    shop.move_order(order, "confirm").await.expect(200);
    app.advance(std::time::Duration::from_secs(60));
    app.restart();
    assert_eq!(
        shop.get(&path).send().await.expect(200).json(),
        done["financial_order"]
    );
    shop.get(&format!("/v1/financial-orders/{NOBODY}"))
        .send()
        .await
        .refused(404, "financial_order_not_found");
    shop.get("/v1/financial-orders/x")
        .send()
        .await
        .refused(400, "malformed_id");
}

#[tokio::test]
async fn creates_one_completed_credit_per_paid_order() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let (first, second) = (shop.sell(&[(&tea, 1)]).await, shop.sell(&[(&tea, 2)]).await);
    let list = shop
        .get("/v1/financial-transactions")
        .send()
        .await
        .expect(200)
        .json();
    let rows: Vec<&Value> = list["data"].as_array().expect("a list").iter().collect();
    let credit = |row: &Value, done: &Value, amount: i64| {
        json!({"id": row["id"], "financial_order_id": done["financial_order"]["id"],
            "kind": "credit", "status": "completed",
               "amount_minor": amount, "currency": "EUR", "completed_at": "2026-01-15T10:00:00Z"})
    };
    assert_eq!(rows.len(), 2);
    assert_eq!(*rows[0], credit(rows[0], &second, 900));
    assert_eq!(*rows[1], credit(rows[1], &first, 450));
}

#[tokio::test]
async fn requires_finance_scope() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (till, books) = (
        shop.key_with(&[Scope::Pos, Scope::Checkout, Scope::Orders]),
        shop.key_with(&[Scope::Finance]),
    );
    for path in [
        "/v1/financial-orders",
        "/v1/financial-transactions",
        "/v1/invoices",
        "/v1/ledger/accounts",
        "/v1/ledger/transactions",
        "/v1/ledger/trial-balance",
    ] {
        shop.get(path).bearer(&books).send().await.expect(200);
        shop.get(path)
            .bearer(&till)
            .send()
            .await
            .refused(403, "insufficient_scope");
        let storefront = shop
            .get(path)
            .anonymous()
            .header("host", "corner.shop.test")
            .send()
            .await;
        storefront.refused(401, "unauthenticated");
    }
    shop.get("/v1/reports/revenue")
        .bearer(&books)
        .send()
        .await
        .refused(403, "insufficient_scope");
}
