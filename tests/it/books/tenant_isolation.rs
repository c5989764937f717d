//! Sales of two shops with the same products and numbers: neither sees, counts or moves anything of
//! the other.

use serde_json::json;

use crate::support::sale::rows;
use crate::support::{TestApp, TestShop};

async fn assert_lists_are_empty(shop: &TestShop) {
    for list in [
        "orders",
        "payments",
        "invoices",
        "financial-orders",
        "financial-transactions",
        "ledger/transactions",
    ] {
        let page = shop
            .get(&format!("/v1/{list}"))
            .send()
            .await
            .expect(200)
            .json();
        assert_eq!(page["data"], json!([]), "{list}");
    }
}

#[tokio::test]
async fn isolates_tenants_on_sale_path() {
    let app = TestApp::start();
    let (ours, theirs) = (app.tenant("corner"), app.tenant("harbour"));
    let other_tea = theirs.stocked("TEA", 450, 10).await;
    ours.stocked("TEA", 450, 10).await;
    let done = theirs.sell(&[(&other_tea, 1)]).await;
    let waiting = theirs.place(&[(&other_tea, 2)], "cash").await;
    let cart = theirs.cart(&[(&other_tea, 1)]).await;
    let (before, theirs_before) = (ours.census(), theirs.census());

    ours.checkout("k", &cart, "cash")
        .await
        .refused(404, "cart_not_found");
    ours.confirm("k", &waiting.payment)
        .await
        .refused(404, "payment_not_found");
    let body = json!({"order_id": waiting.order, "method": "cash"});
    ours.post("/v1/payments")
        .key("k")
        .json(body)
        .send()
        .await
        .refused(404, "order_not_found");
    let line = json!({"product_id": other_tea, "quantity": 1});
    let body = json!({"lines": [line], "payments": [{"method": "cash", "amount_minor": 450}]});
    ours.sale("k", body).await.refused(422, "product_not_found");
    let id = |path: &str| {
        done.pointer(path)
            .and_then(|id| id.as_str())
            .expect("an id")
            .to_owned()
    };
    for path in [
        format!("/v1/orders/{}", id("/order/id")),
        format!("/v1/payments/{}", id("/payment/id")),
        format!("/v1/financial-orders/{}", id("/financial_order/id")),
        format!("/v1/invoices/{}", id("/invoice/id")),
        format!("/v1/carts/{cart}"),
        format!("/v1/inventory/stock/{other_tea}"),
    ] {
        theirs.get(&path).send().await.expect(200);
        assert_eq!(
            ours.get(&path).send().await.expect(404).problem()["status"],
            404,
            "{path}"
        );
    }
    for event in ["confirm", "ship", "cancel"] {
        ours.move_order(&waiting.order, event)
            .await
            .refused(404, "order_not_found");
    }
    let path = format!("/v1/payments/{}/cancel", waiting.payment);
    ours.post(&path)
        .send()
        .await
        .refused(404, "payment_not_found");
    assert_lists_are_empty(&ours).await;
    assert_eq!(ours.grown_since(&before), rows([]));
    assert_eq!(theirs.grown_since(&theirs_before), rows([]));
}

#[tokio::test]
async fn scopes_numbers_keys_and_client_ids_to_one_shop() {
    let app = TestApp::start();
    let (ours, theirs) = (app.tenant("corner"), app.tenant("harbour"));
    let (tea, other_tea) = (
        ours.stocked("TEA", 450, 10).await,
        theirs.stocked("TEA", 450, 10).await,
    );
    let (first, other) = (
        ours.sell(&[(&tea, 1)]).await,
        theirs.sell(&[(&other_tea, 1)]).await,
    );
    assert_eq!(
        (&first["order"]["number"], &first["invoice"]["number"]),
        (&json!("ORD-000001"), &json!("INV-2026-000001"))
    );
    assert_eq!(first["order"]["number"], other["order"]["number"]);
    let sale = |product: &str| {
        let line = json!({"id": "018a0000-0000-7000-8000-000000000002", "product_id": product,
            "quantity": 1});
        json!({"id": "018a0000-0000-7000-8000-000000000001", "lines": [line],
            "payments": [{"method": "cash", "amount_minor": 450}]})
    };
    let (a, b) = (
        ours.sale("same", sale(&tea)).await.expect(201),
        theirs.sale("same", sale(&other_tea)).await.expect(201),
    );
    assert_eq!(a.string("/order/id"), b.string("/order/id"));
    assert_eq!(
        (a.string("/invoice/number"), b.string("/invoice/number")),
        ("INV-2026-000002".into(), "INV-2026-000002".into())
    );
    assert_ne!(a.string("/invoice/id"), b.string("/invoice/id"));
    assert_eq!(
        (ours.stock(&tea).await, theirs.stock(&other_tea).await),
        ([8, 0, 8], [8, 0, 8])
    );
    ours.assert_integrity();
    theirs.assert_integrity();
}
