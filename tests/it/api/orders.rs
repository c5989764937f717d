//! Tests of `/v1/orders`: reading orders and their transitions.

use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::sale::rows;

/// An unused id.
const NOBODY: &str = "01890000-0000-7000-8000-000000000001";

/// The states of an order, with the states on the way to each.
const WAYS: [(&str, &[&str]); 5] = [
    ("pending", &[]),
    ("paid", &["pay"]),
    ("confirmed", &["pay", "confirm"]),
    ("shipped", &["pay", "confirm", "ship"]),
    ("cancelled", &["cancel"]),
];

/// The allowed transitions. All others are rejected.
const TABLE: [(&str, &str, &str); 4] = [
    ("pending", "pay", "paid"),
    ("pending", "cancel", "cancelled"),
    ("paid", "confirm", "confirmed"),
    ("confirmed", "ship", "shipped"),
];

#[tokio::test]
async fn follows_transition_table_for_every_event_and_state() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 100, 1_000).await;
    for (state, way) in WAYS {
        for event in ["pay", "confirm", "ship", "cancel"] {
            let placed = shop.place(&[(&tea, 1)], "cash").await;
            let step = |event: &'static str, key: String| {
                let (shop, placed) = (shop.clone(), placed.clone());
                async move {
                    match event {
                        "pay" => shop.confirm(&key, &placed.payment).await,
                        event => shop.move_order(&placed.order, event).await,
                    }
                }
            };
            for event in way {
                step(event, format!("way {}", placed.order))
                    .await
                    .expect(200);
            }
            let before = shop.census();
            let answer = step(event, format!("{state} {event} {}", placed.order)).await;
            let now = shop
                .get(&format!("/v1/orders/{}", placed.order))
                .send()
                .await
                .expect(200);
            match TABLE
                .iter()
                .find(|(from, on, _)| *from == state && *on == event)
            {
                Some((_, _, to)) => {
                    answer.expect(200);
                    assert_eq!(now.json()["status"], *to);
                }
                None => {
                    assert_eq!(answer.status, 409, "{state} + {event}: {}", answer.text());
                    if event != "pay" {
                        let refused = answer.refused(409, "illegal_transition");
                        assert_eq!(
                            (&refused["order_status"], &refused["event"]),
                            (&json!(state), &json!(event))
                        );
                    }
                    assert_eq!(now.json()["status"], state);
                    assert_eq!(shop.grown_since(&before), rows([]), "{state} + {event}");
                }
            }
        }
    }
    shop.assert_integrity();
}

#[tokio::test]
async fn releases_stock_and_rejects_payment_when_cancelled() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 100, 2).await;
    let placed = shop.place(&[(&tea, 2)], "cash").await;
    let before = shop.census();
    let cancelled = shop
        .move_order(&placed.order, "cancel")
        .await
        .expect(200)
        .json();
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(shop.grown_since(&before), rows([("job", 1)]));
    assert_eq!(shop.stock(&tea).await, [2, 0, 2]);
    let refused = shop
        .confirm("c", &placed.payment)
        .await
        .refused(409, "payment_over");
    assert_eq!(refused["payment_status"], "cancelled");
    let body = json!({"order_id": placed.order, "method": "cash"});
    let refused = shop
        .post("/v1/payments")
        .key("p")
        .json(body)
        .send()
        .await
        .refused(409, "order_not_payable");
    assert_eq!(refused["order_status"], "cancelled");
    // The reservation expires later; stock is not released twice.
    app.advance(std::time::Duration::from_secs(15 * 60));
    app.work_off();
    assert_eq!(shop.stock(&tea).await, [2, 0, 2]);
    shop.sell(&[(&tea, 2)]).await;
    shop.assert_integrity();
}

#[tokio::test]
async fn keeps_sold_details_when_catalog_changes() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    let placed = shop.place(&[(&tea, 2)], "cash").await;
    let path = format!("/v1/orders/{}", placed.order);
    let before = shop.get(&path).send().await.expect(200).json();
    let change = json!({"name": "Coffee", "price_minor": 999, "sku": "COFFEE"});
    shop.patch(&format!("/v1/catalog/products/{tea}"))
        .json(change)
        .send()
        .await
        .expect(200);
    assert_eq!(shop.get(&path).send().await.expect(200).json(), before);
    let done = shop.confirm("c", &placed.payment).await.expect(200).json();
    assert_eq!(
        (
            &done["invoice"]["lines"][0]["sku"],
            &done["invoice"]["total_minor"]
        ),
        (&json!("TEA"), &json!(200))
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn lists_orders_by_page_and_status() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    for number in 1..=5 {
        let placed = shop.place(&[(&tea, number)], "cash").await;
        if number % 2 == 0 {
            shop.move_order(&placed.order, "cancel").await.expect(200);
        }
    }
    let page = |query: String| {
        let shop = shop.clone();
        async move {
            shop.get(&format!("/v1/orders{query}"))
                .send()
                .await
                .expect(200)
                .json()
        }
    };
    assert_eq!(numbers(&page(String::new()).await), [5, 4, 3, 2, 1]);
    let first = page("?limit=2".into()).await;
    shop.place(&[(&tea, 6)], "cash").await;
    let second = page(format!(
        "?limit=2&cursor={}",
        first["next_cursor"].as_str().expect("there is more")
    ))
    .await;
    let third = page(format!(
        "?limit=2&cursor={}",
        second["next_cursor"].as_str().expect("there is more")
    ))
    .await;
    assert_eq!(
        [numbers(&first), numbers(&second), numbers(&third)],
        [vec![5, 4], vec![3, 2], vec![1]]
    );
    assert_eq!(third["next_cursor"], Value::Null);
    assert_eq!(numbers(&page("?status=cancelled".into()).await), [4, 2]);
    let first = page("?status=pending&limit=2".into()).await;
    let second = page(format!(
        "?status=pending&limit=2&cursor={}",
        first["next_cursor"].as_str().expect("more")
    ))
    .await;
    assert_eq!(
        [numbers(&first), numbers(&second)],
        [vec![6, 5], vec![3, 1]]
    );
    for order in page(String::new()).await["data"]
        .as_array()
        .expect("a list")
    {
        assert_eq!(
            (
                order["items"].as_array().map(Vec::len),
                &order["items"][0]["total_minor"]
            ),
            (Some(1), &order["total_minor"]),
            "each order has its own lines"
        );
    }
}

#[tokio::test]
async fn rejects_invalid_filters() {
    let shop = TestApp::start().tenant("corner");
    for query in [
        "?status=lost",
        "?state=paid",
        "?limit=0",
        "?limit=201",
        "?limit=x",
        "?cursor=zz",
    ] {
        let refused = shop.get(&format!("/v1/orders{query}")).send().await;
        refused.refused(422, "validation_failed");
    }
}

fn numbers(page: &Value) -> Vec<i64> {
    let orders = page["data"].as_array().expect("a list");
    let number = |order: &Value| {
        order["number"]
            .as_str()
            .and_then(|text| text.strip_prefix("ORD-")?.parse().ok())
    };
    orders
        .iter()
        .map(|order| number(order).expect("a number"))
        .collect()
}

/// A client that missed the answer repeats the request with the same key. An unused body is
/// rejected.
#[tokio::test]
async fn replays_transition_for_same_key_and_rejects_body() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 100).await;
    let placed = shop.place(&[(&tea, 1)], "cash").await;
    let (order, payment) = (
        format!("/v1/orders/{}/cancel", placed.order),
        format!("/v1/payments/{}/cancel", placed.payment),
    );
    for path in [&order, &payment] {
        for (kind, body) in [
            ("application/json", "{\"a\":"),
            ("application/json", "{\"a\": 1}"),
            ("text/plain", "{}"),
        ] {
            let answer = shop
                .post(path)
                .header("content-type", kind)
                .bytes(body)
                .send()
                .await;
            assert!((400..=422).contains(&answer.status), "{}", answer.text());
        }
    }
    for (path, body) in [
        (&payment, json!({"reason": "changed his mind"})),
        (&order, json!({})),
    ] {
        let first = shop
            .post(path)
            .key(path)
            .json(body.clone())
            .send()
            .await
            .expect(200);
        let again = shop
            .post(path)
            .key(path)
            .json(body)
            .send()
            .await
            .expect(200);
        assert_eq!(
            (again.header("idempotent-replayed"), &again.body),
            (Some("true"), &first.body)
        );
        assert!(shop.post(path).send().await.status == 409);
    }
    let reasons = shop.rows(
        "SELECT payload ->> '$.details.reason' FROM job WHERE payload ->> \
        '$.action' = 'payment.cancelled'",
    );
    assert_eq!(reasons, ["changed his mind"]);
}

#[tokio::test]
async fn answers_404_for_unknown_and_400_for_malformed_ids() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for (method, tail) in [
        ("GET", ""),
        ("POST", "/confirm"),
        ("POST", "/ship"),
        ("POST", "/cancel"),
    ] {
        let method: http::Method = method.parse().expect("a method");
        let call = |id: &str| shop.call(method.clone(), &format!("/v1/orders/{id}{tail}"));
        call(NOBODY).send().await.refused(404, "order_not_found");
        for id in [
            "1",
            "ORD-000001",
            "00000000-0000-0000-0000-000000000000",
            "%ff",
            &"0".repeat(400),
        ] {
            call(id).send().await.refused(400, "malformed_id");
        }
    }
}

#[tokio::test]
async fn finds_order_and_documents_by_number_and_id() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let (sold, _other) = (shop.sell(&[(&tea, 1)]).await, shop.sell(&[(&tea, 2)]).await);
    let (id, number) = (
        sold["order"]["id"].as_str().expect("an id"),
        sold["order"]["number"].as_str().expect("a number"),
    );
    let rows = |page: crate::support::Answer| {
        page.expect(200).json()["data"]
            .as_array()
            .cloned()
            .expect("a list")
    };
    let orders = rows(
        shop.get(&format!("/v1/orders?number={number}"))
            .send()
            .await,
    );
    assert_eq!((orders.len(), &orders[0]["id"]), (1, &sold["order"]["id"]));
    assert!(
        rows(
            shop.get(&format!("/v1/orders?number={number}&status=pending"))
                .send()
                .await
        )
        .is_empty()
    );
    assert!(rows(shop.get("/v1/orders?number=ORD-9").send().await).is_empty());
    for (list, own) in [
        ("payments", "payment"),
        ("invoices", "invoice"),
        ("financial-orders", "financial_order"),
    ] {
        let found = rows(shop.get(&format!("/v1/{list}?order_id={id}")).send().await);
        assert_eq!(
            (found.len(), &found[0]["id"]),
            (1, &sold[own]["id"]),
            "{list}"
        );
        assert!(
            rows(shop.get(&format!("/v1/{list}?order_id={tea}")).send().await).is_empty(),
            "{list}"
        );
        shop.get(&format!("/v1/{list}?order_id=x"))
            .send()
            .await
            .refused(422, "validation_failed");
    }
}
