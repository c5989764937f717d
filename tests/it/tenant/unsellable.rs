//! Products that cannot be sold because of their currency: which ones are reported, and from which
//! instant.

use serde_json::json;
use tillbox::primitives::{Currency, Timestamp};
use tillbox::tenant::currency::{Published, list_currencies_of_products, list_unsellable};

use crate::support::{TestApp, TestShop};

fn reasons(shop: &TestShop, at: &str) -> Vec<String> {
    let at = Timestamp::parse(at).expect("an instant");
    shop.write(move |work| {
        let currencies = list_currencies_of_products(work)?;
        list_unsellable(work, &Published::default(), &currencies, at)
    })
    .expect("read")
}

#[tokio::test]
async fn reports_only_the_currencies_of_active_products() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.product("TEA", 450).await;
    let mug = shop
        .product_with("MUG", 450, json!({"currency": "USD"}))
        .await;
    let found = reasons(&shop, "2026-01-15T10:00:00Z");
    assert!(
        matches!(&found[..], [one] if one.contains("does not sell in USD")),
        "{found:?}"
    );
    let hide = format!("/v1/catalog/products/{mug}/deactivate");
    shop.post(&hide).send().await.expect(200);
    assert_eq!(reasons(&shop, "2026-01-15T10:00:00Z"), [""; 0]);
    let currencies = shop
        .write(|work| list_currencies_of_products(work))
        .expect("read");
    assert_eq!(
        currencies
            .into_iter()
            .map(Currency::code)
            .collect::<Vec<_>>(),
        ["EUR"]
    );
}

#[tokio::test]
async fn reports_the_own_currency_from_the_day_after_its_last() {
    let app = TestApp::start();
    app.clock()
        .set(Timestamp::parse("2022-12-01T00:00:00Z").expect("an instant"));
    let shop = app.tenant_in("zagreb", "HRK");
    assert_eq!(reasons(&shop, "2022-12-31T23:59:59.999Z"), [""; 0]);
    let found = reasons(&shop, "2023-01-01T00:00:00Z");
    assert!(
        matches!(&found[..], [one] if one.contains("ended on 2022-12-31")),
        "{found:?}"
    );
}
