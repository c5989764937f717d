//! Sales in currencies other than the shop's own: a document keeps its rate, and without a rate
//! nothing is sold.

use http::Method;
use serde_json::{Value, json};
use tillbox::primitives::{Quantity, Refusal as _, Sku, Timestamp};
use tillbox::tenant::sales::{ImportLine, ImportSale, ImportedSale, import_sale};

use crate::support::{TestApp, TestShop};

const RATES: &str =
    "Date,USD,JPY,CHF,\n2026-01-15,1.1624,184.31,0.9314,\n2026-01-14,1.1651,184.82,0.9333,\n";

async fn import(app: &TestApp, csv: &str) {
    app.admin("/v1/admin/exchange-rates/import")
        .json(json!({"csv": csv}))
        .send()
        .await
        .expect(200);
}

async fn enable(shop: &TestShop, code: &str) {
    shop.post("/v1/currencies")
        .json(json!({"code": code}))
        .send()
        .await
        .expect(201);
}

fn cash(product: &str, amount: i64) -> Value {
    json!({"lines": [{"product_id": product, "quantity": 1}], "payments": [{"method": "cash",
        "amount_minor": amount}]})
}

/// Currency and total in the shop's own, and the snapshot's fraction.
fn converted(financial_order: &Value) -> String {
    let (own, total) = (
        &financial_order["base_currency"],
        &financial_order["base_total_minor"],
    );
    let rate = &financial_order["snapshot"]["exchange_rate"];
    assert_eq!(
        (
            &financial_order["snapshot"]["base_currency"],
            &financial_order["snapshot"]["base_total_minor"]
        ),
        (own, total)
    );
    assert_eq!(rate["id"], financial_order["exchange_rate_id"]);
    format!(
        "{own} {total} {} / {}",
        rate["numerator"], rate["denominator"]
    )
    .replace('"', "")
}

#[tokio::test]
async fn keeps_published_rate_that_sale_used() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    import(&app, RATES).await;
    enable(&shop, "USD").await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"currency": "USD"}))
        .await;
    let sold = shop.sale("one", cash(&mug, 1_000)).await.expect(201).json();
    // 10.00 USD ÷ 1.1624 = 8.6028… EUR
    assert_eq!(converted(&sold["financial_order"]), "EUR 860 1 / 1.1624");
    shop.sale("two", cash(&mug, 1_000)).await.expect(201);
    assert_eq!(
        shop.rows(
            "SELECT base, quote, numerator, denominator, source, effective_at FROM exchange_rate"
        ),
        ["USD|EUR|1|1.1624|ecb|1768435200000"],
        "one copy for both"
    );
    // Rates published later, also for the same day, change no document.
    import(&app, "Date,USD\n2026-01-15,1.2\n").await;
    let id = sold["financial_order"]["id"].as_str().expect("an id");
    let later = shop
        .get(&format!("/v1/financial-orders/{id}"))
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(converted(&later), "EUR 860 1 / 1.1624");
    let third = shop
        .sale("three", cash(&mug, 1_000))
        .await
        .expect(201)
        .json();
    assert_eq!(converted(&third["financial_order"]), "EUR 833 1 / 1.2");
    shop.assert_integrity();
}

#[tokio::test]
async fn stores_no_rate_for_sale_in_base_currency() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let sold = shop.sale("one", cash(&tea, 450)).await.expect(201).json();
    let order = &sold["financial_order"];
    assert_eq!(
        (
            &order["base_currency"],
            &order["base_total_minor"],
            &order["exchange_rate_id"]
        ),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert!(
        order["snapshot"].get("exchange_rate").is_none()
            && order["snapshot"].get("base_currency").is_none()
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn pays_order_at_rate_of_placement() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    import(&app, RATES).await;
    enable(&shop, "JPY").await;
    let tea = shop
        .product_with("TEA", 1_000, json!({"currency": "JPY"}))
        .await;
    let cart = shop
        .post("/v1/carts")
        .json(json!({"currency": "JPY"}))
        .send()
        .await
        .expect(201)
        .string("/id");
    let item = json!({"product_id": tea, "quantity": 1});
    shop.post(&format!("/v1/carts/{cart}/items"))
        .json(item)
        .send()
        .await
        .expect(201);
    let body = json!({"cart_id": cart, "email": "eve@example.org", "payment_method": "manual"});
    let placed = shop
        .post("/v1/checkout")
        .header("idempotency-key", "c")
        .json(body)
        .send()
        .await
        .expect(201);
    // A payment is still accepted when the rate is too old for a new order.
    app.clock()
        .set(Timestamp::parse("2026-02-10T10:00:00Z").expect("an instant"));
    let body = json!({"payment_id": placed.string("/payment/id")});
    let confirm = shop
        .post("/v1/checkout/confirm-payment")
        .header("idempotency-key", "p")
        .json(body);
    let done = confirm.send().await.expect(200).json();
    // 1000 JPY ÷ 184.31 = 5.4256… EUR
    assert_eq!(converted(&done["financial_order"]), "EUR 543 1 / 184.31");
    shop.assert_integrity();
}

#[tokio::test]
async fn computes_cross_rate_over_euro() {
    let app = TestApp::start();
    let shop = app.tenant_in("bern", "CHF");
    import(&app, RATES).await;
    enable(&shop, "USD").await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"currency": "USD"}))
        .await;
    let sold = shop.sale("one", cash(&mug, 1_000)).await.expect(201).json();
    assert_eq!(
        converted(&sold["financial_order"]),
        "CHF 801 0.9314 / 1.1624"
    );
    // A till sends a sale of the day before: at the rate of that day.
    let mut late = cash(&mug, 1_000);
    late["sold_at"] = json!("2026-01-14T18:00:00Z");
    let sold = shop.sale("late", late).await.expect(201).json();
    assert_eq!(
        converted(&sold["financial_order"]),
        "CHF 801 0.9333 / 1.1651"
    );
    shop.assert_integrity();
}

async fn mug_in_dollars(shop: &TestShop) -> String {
    let mug = shop
        .product_with(
            "MUG",
            1_000,
            json!({"currency": "USD", "track_stock": true}),
        )
        .await;
    shop.call(Method::PATCH, &format!("/v1/inventory/stock/{mug}"))
        .json(json!({"on_hand": 5}))
        .send()
        .await
        .expect(200);
    mug
}

#[tokio::test]
async fn refuses_sale_and_writes_nothing_without_rate() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let mug = mug_in_dollars(&shop).await;
    let before = shop.census();
    shop.sale("s", cash(&mug, 1_000))
        .await
        .refused(422, "currency_not_enabled");
    shop.post("/v1/carts")
        .json(json!({"currency": "USD"}))
        .send()
        .await
        .refused(422, "currency_not_enabled");
    assert_eq!(shop.grown_since(&before), Default::default());
    enable(&shop, "USD").await;
    let cart = shop
        .post("/v1/carts")
        .json(json!({"currency": "USD"}))
        .send()
        .await
        .expect(201)
        .string("/id");
    let item = json!({"product_id": mug, "quantity": 1});
    shop.post(&format!("/v1/carts/{cart}/items"))
        .json(item)
        .send()
        .await
        .expect(201);
    let before = shop.census();
    let refused = shop
        .sale("s", cash(&mug, 1_000))
        .await
        .refused(422, "no_exchange_rate");
    assert_eq!(
        (&refused["base"], &refused["quote"]),
        (&json!("USD"), &json!("EUR"))
    );
    let body = json!({"cart_id": cart, "email": "eve@example.org", "payment_method": "cash"});
    let checkout = || {
        shop.post("/v1/checkout")
            .header("idempotency-key", "c")
            .json(body.clone())
            .send()
    };
    checkout().await.refused(422, "no_exchange_rate");
    // Rates that are too old do not count.
    import(&app, "Date,USD\n2026-01-07,1.16\n").await;
    checkout().await.refused(422, "no_exchange_rate");
    assert_eq!(shop.grown_since(&before), Default::default());
    // As soon as a rate exists, the same requests are carried out.
    import(&app, RATES).await;
    checkout().await.expect(201);
    shop.sale("s", cash(&mug, 1_000)).await.expect(201);
    // The currency is disabled, effective at once.
    shop.post("/v1/currencies")
        .json(json!({"code": "USD", "enabled": false}))
        .send()
        .await
        .expect(201);
    shop.sale("t", cash(&mug, 1_000))
        .await
        .refused(422, "currency_not_enabled");
    shop.assert_integrity();
}

fn past_sale(number: &str, sold_at: &str) -> ImportSale {
    ImportSale {
        number: number.to_owned(),
        sold_at: Timestamp::parse(sold_at).expect("an instant"),
        total_minor: 1_000,
        lines: vec![ImportLine {
            sku: Sku::parse("MUG").expect("a SKU"),
            quantity: Quantity::new(1).expect("a quantity"),
            unit_price_minor: 1_000,
        }],
    }
}

/// A currency was enabled while it existed, with a rate of the shop's own that holds until the next
/// one. After its end nothing is sold in it, and earlier sales still enter the books.
#[tokio::test]
async fn refuses_sale_in_discontinued_currency() {
    let app = TestApp::start();
    let at = |text: &str| app.clock().set(Timestamp::parse(text).expect("an instant"));
    at("2022-12-31T23:59:59Z");
    let shop = app.tenant("zagreb");
    shop.sells_in("HRK", "0.13").await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"currency": "HRK"}))
        .await;
    let cart = shop
        .post("/v1/carts")
        .json(json!({"currency": "HRK"}))
        .send()
        .await
        .expect(201);
    let cart = cart.string("/id");
    let item = json!({"product_id": mug, "quantity": 1});
    shop.post(&format!("/v1/carts/{cart}/items"))
        .json(item)
        .send()
        .await
        .expect(201);
    shop.sale("then", cash(&mug, 1_000)).await.expect(201);
    at("2023-01-01T00:00:00Z");
    let before = shop.census();
    let refused = shop
        .sale("now", cash(&mug, 1_000))
        .await
        .refused(422, "currency_ended");
    assert!(
        refused["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("2022-12-31")),
        "{refused}"
    );
    let body = json!({"cart_id": cart, "email": "eve@example.org", "payment_method": "cash"});
    let checkout = shop
        .post("/v1/checkout")
        .header("idempotency-key", "c")
        .json(body);
    checkout.send().await.refused(422, "currency_ended");
    let new = shop.post("/v1/carts").json(json!({"currency": "HRK"}));
    new.send().await.refused(422, "currency_ended");
    assert_eq!(shop.grown_since(&before), Default::default());
    let mut late = cash(&mug, 1_000);
    late["sold_at"] = json!("2022-12-31T20:00:00Z");
    shop.sale("late", late).await.expect(201);
    let policy = app.app().policy.clone();
    let import = |sale: ImportSale| {
        let policy = policy.clone();
        let imported = shop.write(move |work| {
            Ok(import_sale(work, &policy, &Default::default(), &sale)
                .map_err(|refused| refused.code()))
        });
        imported.expect("the storage works")
    };
    assert_eq!(
        import(past_sale("4711", "2022-12-30T12:00:00Z")),
        Ok(ImportedSale::Recorded)
    );
    assert_eq!(
        import(past_sale("4712", "2023-01-01T00:00:00Z")),
        Err("currency_ended")
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn rejects_total_that_overflows_base_currency() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.sells_in("USD", "1000000").await;
    let dear = shop
        .product_with("DEAR", 10_000_000_000, json!({"currency": "USD"}))
        .await;
    let before = shop.census();
    shop.sale("s", cash(&dear, 10_000_000_000))
        .await
        .refused(422, "amount_too_large");
    assert_eq!(shop.grown_since(&before), Default::default());
}

#[tokio::test]
async fn finds_document_with_changed_rate() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.sells_in("USD", "0.9").await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"currency": "USD"}))
        .await;
    shop.sale("one", cash(&mug, 1_000)).await.expect(201);
    shop.assert_integrity();
    assert!(
        shop.raw("UPDATE financial_order SET base_total_minor = 901")
            .is_err(),
        "it is locked"
    );
    shop.raw("DROP TRIGGER exchange_rate_no_update; UPDATE exchange_rate SET numerator = '0.8'")
        .expect("without its guard");
    let found = shop.integrity().mismatches;
    assert!(
        found.iter().any(|one| one.check == "exchange rates"),
        "{found:?}"
    );
}

/// Caches never hold amounts, sums or stock. Those are read from the file each time, so a change
/// behind the program's back is visible at once.
#[tokio::test]
async fn never_caches_money_or_stock() {
    let day = |config: &mut tillbox::config::Config| {
        config.cache.rate_ttl = "24h".parse().expect("a span");
        config.cache.settings_ttl = "24h".parse().expect("a span");
    };
    let app = TestApp::with(false, day);
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 9).await;
    let order = shop
        .sale("one", cash(&tea, 450))
        .await
        .expect(201)
        .string("/order/id");
    let ask = async |path: &str, pointer: &str| {
        shop.get(path)
            .send()
            .await
            .expect(200)
            .json()
            .pointer(pointer)
            .cloned()
    };
    let (stock, product) = (
        format!("/v1/inventory/stock/{tea}"),
        format!("/v1/catalog/products/{tea}"),
    );
    let (order, balance) = (format!("/v1/orders/{order}"), "/v1/ledger/trial-balance");
    let asked = [
        (stock.as_str(), "/on_hand"),
        (&product, "/price_minor"),
        (&order, "/total_minor"),
        (balance, "/currencies/0/debit_minor"),
        ("/v1/reports/revenue", "/currencies/0/revenue_minor"),
    ];
    let mut before = Vec::new();
    for (path, pointer) in asked {
        before.push(ask(path, pointer).await);
        assert_eq!(ask(path, pointer).await, before[before.len() - 1], "{path}");
    }
    assert_eq!(
        before,
        [8, 450, 450, 450, 450].map(|number| Some(json!(number)))
    );
    shop.raw(
        "UPDATE stock SET on_hand = 7; UPDATE product SET price_minor = 460; DROP TRIGGER \
         sales_order_final; UPDATE sales_order SET total_minor = 451, subtotal_minor = 451;
         DROP TRIGGER ledger_transfer_no_update; UPDATE ledger_transfer SET amount_minor = 452",
    )
    .expect("behind the program's back");
    for ((path, pointer), now) in asked.into_iter().zip([7, 460, 451, 452, 452]) {
        assert_eq!(ask(path, pointer).await, Some(json!(now)), "{path}");
    }
    shop.sale("two", cash(&tea, 460)).await.expect(201);
    assert_eq!(
        ask(balance, "/currencies/0/debit_minor").await,
        Some(json!(452 + 460))
    );
}

/// The enabled currencies are cached for a while. A change behind the program's back is visible
/// when the entry expires.
#[tokio::test]
async fn caches_currencies_until_they_expire() {
    let app = TestApp::with(false, |config| {
        config.cache.settings_ttl = "5m".parse().expect("a span")
    });
    let shop = app.tenant("corner");
    import(&app, RATES).await;
    let (tea, mug) = (
        shop.product("TEA", 450).await,
        shop.product_with("MUG", 1_000, json!({"currency": "USD"}))
            .await,
    );
    shop.sale("first", cash(&tea, 450)).await.expect(201);
    shop.raw(
        "INSERT INTO currency (code, enabled, created_at, updated_at) VALUES ('USD', 1, 0, 0)",
    )
    .expect("written");
    app.advance(std::time::Duration::from_secs(299));
    shop.sale("s", cash(&mug, 1_000))
        .await
        .refused(422, "no_exchange_rate");
    app.advance(std::time::Duration::from_secs(1));
    shop.sale("s", cash(&mug, 1_000)).await.expect(201);
}
