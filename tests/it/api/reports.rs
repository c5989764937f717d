//! Tests of `/v1/reports`.

use serde_json::{Value, json};

use crate::support::answer::pointers;
use crate::support::{TestApp, TestShop};

async fn revenue(shop: &TestShop, query: &str) -> Value {
    shop.get(&format!("/v1/reports/revenue{query}"))
        .send()
        .await
        .expect(200)
        .json()
}

#[tokio::test]
async fn sums_revenue_of_the_period_from_the_ledger() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    assert_eq!(revenue(&shop, "").await["currencies"], json!([]));
    shop.tax_class("vat", 190_000).await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"tax_class": "vat"}))
        .await;
    shop.sells_in("USD", "0.9").await;
    let dollars = shop
        .product_with("USA", 700, json!({"currency": "USD"}))
        .await;
    let sale = |product: &str, at: &str, amount: i64| {
        json!({"sold_at": at,
        "lines": [{"product_id": product, "quantity": 1}], "payments": [{"method": "cash",
        "amount_minor": amount}]})
    };
    for (number, (product, at, amount)) in [
        (&mug, "2025-12-31T23:59:59.999Z", 1_190),
        (&mug, "2026-01-01T00:00:00Z", 1_190),
        (&dollars, "2026-01-10T00:00:00Z", 700),
        (&mug, "2026-01-15T10:00:00Z", 1_190),
    ]
    .into_iter()
    .enumerate()
    {
        shop.sale(&format!("s-{number}"), sale(product, at, amount))
            .await
            .expect(201);
    }
    // Pending and cancelled orders are not revenue.
    let cancelled = shop.place(&[(&mug, 1)], "cash").await;
    shop.move_order(&cancelled.order, "cancel")
        .await
        .expect(200);
    shop.place(&[(&mug, 1)], "cash").await;

    let euros = |revenue: i64, entries: i64| {
        json!({"currency": "EUR", "revenue_minor": revenue,
        "tax_minor": revenue * 19 / 100, "entries": entries})
    };
    let usd = json!({"currency": "USD", "revenue_minor": 700, "tax_minor": 0, "entries": 1});
    let all = revenue(&shop, "").await;
    assert_eq!(
        (&all["from"], &all["currencies"]),
        (&Value::Null, &json!([euros(3_000, 3), usd])),
        "the period includes its start"
    );
    let january = revenue(&shop, "?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z").await;
    assert_eq!(january["currencies"], json!([euros(2_000, 2), usd]));
    let last_year = revenue(&shop, "?to=2026-01-01T00:00:00Z").await;
    assert_eq!(
        (&last_year["to"], &last_year["currencies"]),
        (&json!("2026-01-01T00:00:00Z"), &json!([euros(1_000, 1)]))
    );
    let none = revenue(&shop, "?from=2026-01-15T10:00:00.001Z").await;
    assert_eq!(none["currencies"], json!([]));
}

#[tokio::test]
async fn rejects_invalid_periods() {
    let shop = TestApp::start().tenant("corner");
    let backwards =
        shop.get("/v1/reports/revenue?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z");
    let refused = backwards.send().await.refused(422, "validation_failed");
    assert_eq!(pointers(&refused), ["?to"]);
    // A misspelt parameter must not mean an unbounded period.
    for query in [
        "?form=2026-01-01T00:00:00Z",
        "?from=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z",
    ] {
        let refused = shop
            .get(&format!("/v1/reports/revenue{query}"))
            .send()
            .await;
        refused.refused(422, "validation_failed");
    }
    let refused = shop
        .get("/v1/reports/revenue?from=x&to=y")
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers(&refused), ["?from", "?to"]);
}

/// A correction debits the account that the sale credited: revenue is the difference. An entry with
/// two transfers counts once.
#[tokio::test]
async fn subtracts_later_corrections() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let payments = json!([
        {"method": "cash", "amount_minor": 200},
        {"method": "manual", "amount_minor": 250},
    ]);
    let lines = json!([{"product_id": tea, "quantity": 1}]);
    shop.sale("one", json!({"lines": lines, "payments": payments}))
        .await
        .expect(201);
    let euros = |revenue: i64, entries: i64| {
        json!([{
            "currency": "EUR", "revenue_minor": revenue, "tax_minor": 0, "entries": entries,
        }])
    };
    assert_eq!(revenue(&shop, "").await["currencies"], euros(450, 1));
    shop.raw(
        "INSERT INTO ledger_entry (id, kind, subject_id, description, booked_at, created_at, hash)
         SELECT zeroblob(16), 'correction', zeroblob(16), 'Correction', booked_at, created_at, \
         zeroblob(32)
         FROM ledger_entry;
         INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor)
         VALUES (2, '4000', '1000', 'EUR', 100)",
    )
    .expect("inserted");
    assert_eq!(revenue(&shop, "").await["currencies"], euros(350, 2));
}
