//! Tests of `/v1/ledger`: accounts, entries, the trial balance.

use serde_json::{Value, json};

use crate::support::{TestApp, TestShop};

/// Records a sale of goods for `amount` plus 19 % tax.
async fn sale(shop: &TestShop, product: &str, sold_at: &str, method: &str, amount: i64) -> Value {
    let body = json!({"sold_at": sold_at, "lines": [{"product_id": product, "quantity": 1,
        "unit_price_minor": amount}],
                      "payments": [{"method": method, "amount_minor": amount * 119 / 100}]});
    shop.sale(&format!("{sold_at} {method} {amount}"), body)
        .await
        .expect(201)
        .json()
}

async fn balance(shop: &TestShop, query: &str) -> Value {
    shop.get(&format!("/v1/ledger/trial-balance{query}"))
        .send()
        .await
        .expect(200)
        .json()
}

/// Lists code, currency, debit and credit of each account.
fn accounts(balance: &Value) -> Vec<String> {
    let accounts = balance["accounts"].as_array().expect("a list");
    let line = |account: &Value| {
        let text = |name: &str| account[name].as_str().expect("a text").to_owned();
        format!(
            "{} {} {} {}",
            text("code"),
            text("currency"),
            account["debit_minor"],
            account["credit_minor"]
        )
    };
    accounts.iter().map(line).collect()
}

#[tokio::test]
async fn sums_trial_balance_up_to_its_time() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    assert_eq!(
        balance(&shop, "").await,
        json!({"as_of": "2026-01-15T10:00:00Z", "currencies": [], "accounts": []})
    );
    shop.tax_class("vat", 190_000).await;
    let mug = shop
        .product_with("MUG", 100, json!({"tax_class": "vat"}))
        .await;
    shop.sells_in("USD", "0.9").await;
    let imported = shop
        .product_with("USA", 100, json!({"tax_class": "vat", "currency": "USD"}))
        .await;
    sale(&shop, &mug, "2025-12-31T23:59:59.999Z", "cash", 1_000).await;
    sale(&shop, &mug, "2026-01-01T00:00:00Z", "manual", 2_000).await;
    sale(&shop, &imported, "2026-01-02T00:00:00Z", "cash", 400).await;
    assert_eq!(
        accounts(&balance(&shop, "").await),
        [
            "1000 EUR 1190 0",
            "1200 EUR 2380 0",
            "1210 EUR 0 0",
            "2200 EUR 0 570",
            "4000 EUR 0 3000",
            "1000 USD 476 0",
            "1200 USD 0 0",
            "1210 USD 0 0",
            "2200 USD 0 76",
            "4000 USD 0 400"
        ]
    );
    let old = balance(&shop, "?as_of=2025-12-31T23:59:59.999Z").await;
    assert_eq!(old["as_of"], "2025-12-31T23:59:59.999Z");
    assert_eq!(
        old["currencies"],
        json!([{"currency": "EUR", "debit_minor": 1_190, "credit_minor": 1_190}, {"currency": "USD",
            "debit_minor": 0, "credit_minor": 0}])
    );
    let older = balance(&shop, "?as_of=2025-12-31T23:59:59.998Z").await;
    assert_eq!(older["currencies"][0]["debit_minor"], 0);
    // The same instant in another zone.
    let zoned = balance(&shop, "?as_of=2026-01-01T01:00:00%2B01:00").await;
    assert_eq!(zoned["currencies"][0]["debit_minor"], 3_570);
    for query in [
        "?as_of=",
        "?as_of=now",
        "?as_of=2026-01-01",
        "?asof=2026-01-01T00:00:00Z",
    ] {
        let refused = shop
            .get(&format!("/v1/ledger/trial-balance{query}"))
            .send()
            .await;
        refused.refused(422, "validation_failed");
    }
    shop.assert_integrity();
}

#[tokio::test]
async fn creates_accounts_for_each_currency_sold_in() {
    let app = TestApp::start();
    let shop = app.tenant_in("corner", "JPY");
    let tea = shop.product("TEA", 450).await;
    shop.sell(&[(&tea, 1)]).await;
    let accounts = shop
        .get("/v1/ledger/accounts")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        accounts["data"],
        json!([{"code": "1000", "name": "Cash", "currency": "JPY", "kind": "asset"},
               {"code": "1200", "name": "Payment clearing", "currency": "JPY", "kind": "asset"},
               {"code": "1210", "name": "Card clearing", "currency": "JPY", "kind": "asset"},
               {"code": "2200", "name": "Sales tax payable", "currency": "JPY",
                   "kind": "liability"},
               {"code": "4000", "name": "Sales revenue", "currency": "JPY", "kind": "revenue"}])
    );
}

#[tokio::test]
async fn lists_entries_with_their_transfers() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.tax_class("vat", 190_000).await;
    let mug = shop
        .product_with("MUG", 100, json!({"tax_class": "vat"}))
        .await;
    sale(&shop, &mug, "2026-01-01T00:00:00Z", "cash", 1_000).await;
    sale(&shop, &mug, "2025-01-01T00:00:00Z", "card", 2_000).await;
    let first = shop
        .get("/v1/ledger/transactions?limit=1")
        .send()
        .await
        .expect(200)
        .json();
    let transfer = |debit: &str, credit: &str, amount: i64| {
        json!({"debit_account": debit,
        "credit_account": credit, "amount_minor": amount, "currency": "EUR"})
    };
    let entry = |found: &Value, order: &str, at: &str, transfers: Value| {
        json!([{"id": found["data"][0]["id"], "kind": "order_paid",
        "description": format!("Order {order}"), "booked_at": at, "transfers": transfers}])
    };
    let transfers = json!([
        transfer("1210", "4000", 2_000),
        transfer("1210", "2200", 380)
    ]);
    assert_eq!(
        first["data"],
        entry(&first, "ORD-000002", "2025-01-01T00:00:00Z", transfers)
    );
    let path = format!(
        "/v1/ledger/transactions?cursor={}",
        first["next_cursor"].as_str().expect("more")
    );
    let second = shop.get(&path).send().await.expect(200).json();
    let transfers = json!([
        transfer("1000", "4000", 1_000),
        transfer("1000", "2200", 190)
    ]);
    assert_eq!(
        second["data"],
        entry(&second, "ORD-000001", "2026-01-01T00:00:00Z", transfers)
    );
    assert_eq!(second["next_cursor"], Value::Null);
}

#[tokio::test]
async fn lists_accounts_by_currency_and_then_by_code() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.sells_in("CHF", "1").await;
    shop.tax_class("vat", 190_000).await;
    let tea = shop
        .product_with("TEA", 100, json!({"tax_class": "vat"}))
        .await;
    let swiss = json!({"tax_class": "vat", "currency": "CHF"});
    let imported = shop.product_with("CHF", 100, swiss).await;
    sale(&shop, &tea, "2026-01-02T00:00:00Z", "cash", 100).await;
    sale(&shop, &imported, "2026-01-03T00:00:00Z", "cash", 100).await;
    let listed = shop
        .get("/v1/ledger/accounts")
        .send()
        .await
        .expect(200)
        .json();
    let name = |account: &Value| {
        ["currency", "code"]
            .map(|name| account[name].as_str().expect("a text").to_owned())
            .join(" ")
    };
    let listed: Vec<_> = listed["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(name)
        .collect();
    let expected = ["CHF", "EUR"].iter().flat_map(|currency| {
        ["1000", "1200", "1210", "2200", "4000"].map(|code| format!("{currency} {code}"))
    });
    assert_eq!(listed, expected.collect::<Vec<_>>());
}
