//! Tests of `/v1/payments` and of the confirmation of payments.

use serde_json::{Value, json};

use crate::support::sale::{Placed, rows};
use crate::support::{Answer, TestApp, TestShop, logs};

/// An unused id.
const NOBODY: &str = "01890000-0000-7000-8000-000000000001";

async fn open(shop: &TestShop, key: &str, order: &str, method: &str) -> Answer {
    let body = json!({"order_id": order, "method": method});
    shop.post("/v1/payments").key(key).json(body).send().await
}

async fn decline(shop: &TestShop, key: &str, placed: &Placed) -> Answer {
    let body = json!({"payment_id": placed.payment, "provider_reference": "decline"});
    shop.post("/v1/checkout/confirm-payment")
        .key(key)
        .json(body)
        .send()
        .await
}

async fn status(shop: &TestShop, payment: &str) -> Value {
    shop.get(&format!("/v1/payments/{payment}"))
        .send()
        .await
        .expect(200)
        .json()["status"]
        .clone()
}

#[tokio::test]
async fn keeps_declined_payment_as_failed_and_accepts_a_new_one() {
    let app = TestApp::start_dev();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let placed = shop.place(&[(&tea, 2)], "test").await;
    let before = shop.census();
    let refused = decline(&shop, "d", &placed)
        .await
        .refused(402, "payment_declined");
    assert_eq!(refused["payment_id"], placed.payment);
    assert_eq!(
        shop.grown_since(&before),
        rows([("job", 1)]),
        "an audit entry without the key"
    );
    let shown = shop
        .get(&format!("/v1/payments/{}", placed.payment))
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        ["status", "failure_code", "succeeded_at"].map(|name| &shown[name]),
        [&json!("failed"), &json!("declined"), &Value::Null]
    );
    assert_eq!(
        shop.stock(&tea).await,
        [10, 2, 8],
        "the order goes on waiting"
    );
    // The same request again: the payment has ended, and the key does not block anything.
    let refused = decline(&shop, "d", &placed)
        .await
        .refused(409, "payment_over");
    assert_eq!(refused["payment_status"], "failed");
    shop.confirm("d", &placed.payment)
        .await
        .refused(409, "payment_over");

    let second = open(&shop, "o", &placed.order, "test").await.expect(201);
    assert_eq!(second.json()["amount_minor"], 900);
    let second = second.string("/id");
    let refused = open(&shop, "o-2", &placed.order, "cash")
        .await
        .refused(409, "payment_pending");
    assert_eq!(refused["payment_id"], second);
    let done = shop.confirm("d", &second).await.expect(200).json();
    assert_eq!(
        (&done["order"]["status"], &done["payment"]["id"]),
        (&json!("paid"), &json!(second))
    );
    let refused = open(&shop, "o-3", &placed.order, "cash")
        .await
        .refused(409, "order_not_payable");
    assert_eq!(refused["order_status"], "paid");
    assert_eq!(status(&shop, &placed.payment).await, "failed");
    assert_eq!(
        shop.rows(
            "SELECT json_extract(payload, '$.action') FROM job WHERE queue = 'audit' ORDER \
            BY seq DESC LIMIT 4"
        ),
        [
            "order.paid",
            "payment.opened",
            "payment.failed",
            "order.placed"
        ]
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn allows_decline_only_for_test_payments() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let placed = shop.place(&[(&tea, 1)], "cash").await;
    decline(&shop, "d", &placed).await.expect(200);
}

#[tokio::test]
async fn rejects_and_logs_second_confirmation() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let placed = shop.place(&[(&tea, 1)], "cash").await;
    let done = shop.confirm("c-1", &placed.payment).await.expect(200);
    let before = shop.census();
    let noted = || {
        logs()
            .of_tenant(&shop.id.to_string())
            .security()
            .saying("double payment processing")
    };
    assert_eq!(noted().lines().len(), 0);

    let replay = shop.confirm("c-1", &placed.payment).await.expect(200);
    assert_eq!(
        (replay.text(), replay.header("idempotent-replayed")),
        (done.text(), Some("true"))
    );
    assert_eq!(noted().lines().len(), 0, "a retry is not a double payment");

    shop.confirm("c-2", &placed.payment)
        .await
        .refused(409, "payment_already_processed");
    let found = noted();
    let [line] = found.lines() else {
        panic!("{found:?}")
    };
    assert!(line.to_string().contains(&placed.payment), "{line}");
    // By the other path as well, and by cancelling.
    let path = format!("/v1/payments/{}/confirm", placed.payment);
    let call = shop.post(&path).key("c-3").json(json!({}));
    call.send().await.refused(409, "payment_already_processed");
    let path = format!("/v1/payments/{}/cancel", placed.payment);
    shop.post(&path)
        .send()
        .await
        .refused(409, "payment_already_processed");
    assert_eq!(noted().lines().len(), 2);
    assert_eq!(shop.grown_since(&before), rows([]));
    assert_eq!(shop.stock(&tea).await, [9, 0, 9]);
    shop.assert_integrity();
}

#[tokio::test]
async fn confirms_payment_by_its_own_path() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let placed = shop.place(&[(&tea, 1)], "manual").await;
    let path = format!("/v1/payments/{}/confirm", placed.payment);
    let unkeyed = shop.post(&path).json(json!({})).send().await;
    unkeyed.refused(400, "idempotency_key_missing");
    let body = json!({"provider_reference": "receipt 12"});
    let done = shop
        .post(&path)
        .key("k")
        .json(body)
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (
            &done["payment"]["provider_reference"],
            &done["order"]["status"]
        ),
        (&json!("receipt 12"), &json!("paid"))
    );
    let other = shop.place(&[(&tea, 1)], "manual").await;
    let path = format!("/v1/payments/{}/confirm", other.payment);
    // The key is bound to its path: another payment with the same key is another request.
    let call = shop
        .post(&path)
        .key("k")
        .json(json!({"provider_reference": "receipt 12"}));
    call.send().await.refused(422, "idempotency_key_reused");
    shop.assert_integrity();
}

#[tokio::test]
async fn confirms_card_payment_with_or_without_reference() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    for (key, body) in [
        ("bare", json!({})),
        (
            "receipt",
            json!({"provider_reference": "terminal 7, receipt 12"}),
        ),
    ] {
        let placed = shop.place(&[(&tea, 1)], "card").await;
        let path = format!("/v1/payments/{}/confirm", placed.payment);
        let call = shop.post(&path).key(key).json(body.clone());
        let done = call.send().await.expect(200).json();
        assert_eq!(
            (
                &done["payment"]["method"],
                &done["payment"]["provider_reference"]
            ),
            (&json!("card"), &body["provider_reference"])
        );
        let again = shop.post(&path).key(&format!("{key} again")).json(body);
        again.send().await.refused(409, "payment_already_processed");
    }
    let debited = shop.rows("SELECT DISTINCT debit_code FROM ledger_transfer");
    assert_eq!(debited, ["1210"]);
    let placed = shop.place(&[(&tea, 1)], "card").await;
    let path = format!("/v1/payments/{}/cancel", placed.payment);
    let cancelled = shop.post(&path).send().await.expect(200).json();
    assert_eq!(cancelled["status"], "cancelled");
    shop.assert_integrity();
}

#[tokio::test]
async fn names_all_methods_when_one_is_unknown() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let placed = shop.place(&[(&tea, 1)], "cash").await;
    let refused = open(&shop, "o", &placed.order, "cheque")
        .await
        .refused(422, "validation_failed");
    assert_eq!(
        refused["errors"][0]["detail"],
        "unknown payment method; use one of cash, card, manual, test"
    );
}

#[tokio::test]
async fn accepts_new_payment_after_cancellation() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let placed = shop.place(&[(&tea, 1)], "manual").await;
    let path = format!("/v1/payments/{}/cancel", placed.payment);
    assert_eq!(
        shop.post(&path).send().await.expect(200).json()["status"],
        "cancelled"
    );
    let refused = shop.post(&path).send().await.refused(409, "payment_over");
    assert_eq!(refused["payment_status"], "cancelled");
    shop.confirm("c", &placed.payment)
        .await
        .refused(409, "payment_over");
    let second = open(&shop, "o", &placed.order, "cash")
        .await
        .expect(201)
        .string("/id");
    shop.confirm("c", &second).await.expect(200);
    shop.assert_integrity();
}

#[tokio::test]
async fn limits_order_to_fifty_payments() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let placed = shop.place(&[(&tea, 1)], "manual").await;
    let mut payment = placed.payment.clone();
    for number in 1..50 {
        shop.post(&format!("/v1/payments/{payment}/cancel"))
            .send()
            .await
            .expect(200);
        payment = open(&shop, &format!("o-{number}"), &placed.order, "cash")
            .await
            .expect(201)
            .string("/id");
    }
    shop.post(&format!("/v1/payments/{payment}/cancel"))
        .send()
        .await
        .expect(200);
    open(&shop, "too many", &placed.order, "cash")
        .await
        .refused(409, "too_many_payments");
}

#[tokio::test]
async fn rejects_invalid_input_without_traces() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let placed = shop.place(&[(&tea, 1)], "cash").await;
    let before = shop.census();
    shop.confirm("c", NOBODY)
        .await
        .refused(404, "payment_not_found");
    shop.confirm("c", "17")
        .await
        .refused(422, "validation_failed");
    open(&shop, "c", NOBODY, "cash")
        .await
        .refused(404, "order_not_found");
    open(&shop, "c", &placed.order, "test")
        .await
        .refused(422, "payment_method_unavailable");
    open(&shop, "c", "x", "gold")
        .await
        .refused(422, "validation_failed");
    shop.get(&format!("/v1/payments/{NOBODY}"))
        .send()
        .await
        .refused(404, "payment_not_found");
    shop.get("/v1/payments/x")
        .send()
        .await
        .refused(400, "malformed_id");
    shop.post(&format!("/v1/payments/{NOBODY}/cancel"))
        .send()
        .await
        .refused(404, "payment_not_found");
    let unkeyed = shop
        .post("/v1/payments")
        .json(json!({"order_id": placed.order, "method": "cash"}))
        .send()
        .await;
    unkeyed.refused(400, "idempotency_key_missing");
    for reference in [json!(""), json!("x".repeat(501)), json!(7)] {
        let body = json!({"payment_id": placed.payment, "provider_reference": reference});
        let call = shop
            .post("/v1/checkout/confirm-payment")
            .key("c")
            .json(body);
        call.send().await.refused(422, "validation_failed");
    }
    assert_eq!(shop.grown_since(&before), rows([]));
    shop.confirm("c", &placed.payment).await.expect(200);
}

#[tokio::test]
async fn lists_newest_payments_first() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let (first, second) = (
        shop.place(&[(&tea, 1)], "cash").await,
        shop.place(&[(&tea, 2)], "manual").await,
    );
    let page = shop
        .get("/v1/payments?limit=1")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(page["data"][0]["id"], second.payment);
    let path = format!(
        "/v1/payments?limit=1&cursor={}",
        page["next_cursor"].as_str().expect("more")
    );
    let page = shop.get(&path).send().await.expect(200).json();
    assert_eq!(
        (&page["data"][0]["id"], &page["next_cursor"]),
        (&json!(first.payment), &Value::Null)
    );
}
