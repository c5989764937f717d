//! Exchange rates that look alike: which one holds, and which one a document refers to.

use serde_json::{Value, json};

use crate::support::{TestApp, TestShop};

async fn import(app: &TestApp, csv: &str) {
    let import = app.admin("/v1/admin/exchange-rates/import");
    import.json(json!({"csv": csv})).send().await.expect(200);
}

async fn enable(shop: &TestShop, code: &str, enabled: bool) {
    let body = json!({"code": code, "enabled": enabled});
    shop.post("/v1/currencies")
        .json(body)
        .send()
        .await
        .expect(201);
}

async fn set(shop: &TestShop, base: &str, quote: &str, rate: &str, since: &str) {
    let body = json!({"base": base, "quote": quote, "rate": rate, "effective_at": since});
    shop.post("/v1/exchange-rates")
        .json(body)
        .send()
        .await
        .expect(201);
}

async fn holds(shop: &TestShop, base: &str, quote: &str) -> Value {
    let path = format!("/v1/exchange-rates?base={base}&quote={quote}&at=2026-01-15T10:00:00Z");
    shop.get(&path).send().await.expect(200).json()["data"][0].clone()
}

fn cash(product: &str, amount: i64) -> Value {
    json!({
        "lines": [{"product_id": product, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": amount}],
    })
}

#[tokio::test]
async fn takes_the_later_beginning_when_it_was_set_the_other_way_round() {
    let shop = TestApp::start().tenant("corner");
    set(&shop, "USD", "EUR", "0.8", "2026-01-10T00:00:00Z").await;
    set(&shop, "EUR", "USD", "1.1", "2026-01-01T00:00:00Z").await;
    assert_eq!(holds(&shop, "USD", "EUR").await["rate"], "0.8");
    // One that is written down later with an earlier beginning changes nothing.
    set(&shop, "USD", "EUR", "0.7", "2026-01-09T00:00:00Z").await;
    assert_eq!(holds(&shop, "EUR", "USD").await["rate"], "1.25");
    // Of two with one beginning, the last that was written.
    set(&shop, "EUR", "USD", "1.6", "2026-01-10T00:00:00Z").await;
    assert_eq!(holds(&shop, "USD", "EUR").await["rate"], "0.625");
    assert_eq!(holds(&shop, "EUR", "USD").await["rate"], "1.6");
    set(&shop, "USD", "EUR", "0.5", "2026-01-10T00:00:00Z").await;
    assert_eq!(holds(&shop, "EUR", "USD").await["rate"], "2");
}

#[tokio::test]
async fn dates_a_cross_rate_by_the_older_of_its_two_days() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    import(
        &app,
        "Date,USD,CHF\n2026-01-15,N/A,0.9314\n2026-01-14,1.1651,0.9333\n",
    )
    .await;
    for (base, quote) in [("USD", "CHF"), ("CHF", "USD")] {
        let rate = holds(&shop, base, quote).await;
        assert_eq!(
            rate["effective_at"], "2026-01-14T00:00:00Z",
            "{base} in {quote}: {rate}"
        );
    }
}

#[tokio::test]
async fn keeps_a_row_for_each_day_when_two_days_have_one_rate() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    import(&app, "Date,USD\n2026-01-15,1.1651\n2026-01-14,1.1651\n").await;
    enable(&shop, "USD", true).await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"currency": "USD"}))
        .await;
    shop.sale("today", cash(&mug, 1_000)).await.expect(201);
    let mut earlier = cash(&mug, 1_000);
    earlier["sold_at"] = json!("2026-01-14T23:59:59Z");
    shop.sale("yesterday", earlier).await.expect(201);
    assert_eq!(
        shop.rows(
            "SELECT r.effective_at / 86400000 - 20467 FROM financial_order f
             JOIN exchange_rate r ON r.id = f.exchange_rate_id ORDER BY f.seq"
        ),
        ["1", "0"]
    );
}

#[tokio::test]
async fn keeps_a_row_of_the_published_rate_when_a_manual_one_looks_the_same() {
    let app = TestApp::start();
    let shop = app.tenant_in("corner", "USD");
    import(&app, "Date,USD\n2026-01-15,1.1624\n").await;
    enable(&shop, "EUR", true).await;
    set(&shop, "EUR", "USD", "1.1624", "2026-01-15T00:00:00Z").await;
    let settings = shop
        .patch("/v1/settings/currency")
        .json(json!({"rate_source": "published"}));
    settings.send().await.expect(200);
    let mug = shop
        .product_with("MUG", 1_000, json!({"currency": "EUR"}))
        .await;
    shop.sale("one", cash(&mug, 1_000)).await.expect(201);
    assert_eq!(
        shop.rows(
            "SELECT r.source, f.base_total_minor FROM financial_order f
             JOIN exchange_rate r ON r.id = f.exchange_rate_id"
        ),
        ["ecb|1162"]
    );
}

#[tokio::test]
async fn lists_each_rate_once_over_all_pages() {
    let shop = TestApp::start().tenant("corner");
    for rate in ["0.7", "0.8", "0.9"] {
        set(&shop, "USD", "EUR", rate, "2026-01-10T00:00:00Z").await;
    }
    let (mut rates, mut path) = (Vec::new(), "/v1/exchange-rates?limit=1".to_owned());
    for _ in 0..4 {
        let page = shop.get(&path).send().await.expect(200).json();
        rates.extend(
            page["data"]
                .as_array()
                .expect("rows")
                .iter()
                .map(|row| row["rate"].clone()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/exchange-rates?limit=1&cursor={cursor}");
    }
    assert_eq!(rates, ["0.9", "0.8", "0.7"]);
}

#[tokio::test]
async fn records_a_change_of_the_currency_settings_once() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for days in [3, 3] {
        let change = shop
            .patch("/v1/settings/currency")
            .json(json!({"rate_max_age_days": days}));
        change.send().await.expect(200);
    }
    assert_eq!(
        shop.rows(
            "SELECT payload ->> '$.details.rate_max_age_days' FROM job
             WHERE payload ->> '$.action' = 'currency_settings.changed'"
        ),
        ["3"]
    );
}

#[tokio::test]
async fn writes_nothing_when_a_currency_is_enabled_already() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    enable(&shop, "USD", true).await;
    let before = shop.rows("SELECT * FROM currency ORDER BY seq");
    app.advance(std::time::Duration::from_secs(1));
    enable(&shop, "USD", true).await;
    assert_eq!(shop.rows("SELECT * FROM currency ORDER BY seq"), before);
}
