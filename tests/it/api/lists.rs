//! Rules of all lists: the number of statements for a page does not depend on its number of rows.

use serde_json::json;

use crate::support::shop::Call;
use crate::support::{TestApp, TestShop};

const ROWS: usize = 40;
/// [`ROWS`] currencies besides the shop's own.
const CURRENCIES: &str = "USD JPY CHF GBP AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF \
    BMD BND \
                          BOB BRL BSD BTN BWP BZD CAD CDF CLP CNY COP CRC CZK DJF DKK DOP DZD EGP \
                          ETB FJD";

/// Finds the paths in the OpenAPI document whose answer is a page.
fn lists() -> Vec<String> {
    let document = tillbox::http::openapi();
    let paths = document["paths"].as_object().expect("paths");
    let is_list = |path: &&String| {
        let content = &paths[*path]["get"]["responses"]["200"]["content"];
        let answer = &content["application/json"]["schema"]["$ref"];
        answer
            .as_str()
            .is_some_and(|name| name.contains("PageView"))
    };
    paths.keys().filter(is_list).cloned().collect()
}

/// Creates a tenant with at least [`ROWS`] rows in each list, and as many tenants and keys.
async fn full_tenant(app: &TestApp) -> TestShop {
    let shop = app.tenant("corner");
    let (tea, mug) = (
        shop.stocked("TEA", 100, 10_000).await,
        shop.product("MUG", 900).await,
    );
    for number in 0..ROWS {
        let lines = json!([{"product_id": tea, "quantity": 1}, {"product_id": mug, "quantity": 1}]);
        let payments = json!([{"method": "cash", "amount_minor": 500}, {"method": "manual",
            "amount_minor": 500}]);
        let sale = json!({"lines": lines, "payments": payments});
        shop.sale(&format!("s-{number}"), sale).await.expect(201);
        shop.product(&format!("P-{number}"), 1).await;
        let category = json!({"name": format!("Category {number}")});
        shop.post("/v1/catalog/categories")
            .json(category)
            .send()
            .await
            .expect(201);
        shop.tax_class(&format!("class-{number}"), 70_000).await;
        shop.key_with(&[]);
        app.landlord_key();
    }
    for code in CURRENCIES.split(' ') {
        shop.sells_in(code, "0.5").await;
    }
    app.work_off();
    app.landlord_raw(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO tenant (id, slug, name, currency, status, created_at, updated_at)
         SELECT randomblob(16), 'shop-' || i, 'Shop', 'EUR', 'suspended', 0, 0 FROM n;
         INSERT INTO tenant_domain (host, tenant_id) SELECT slug || '.example.org', id FROM tenant;"
    ))
    .expect("rows");
    shop
}

#[tokio::test]
async fn runs_same_number_of_statements_for_full_page_and_one_row() {
    let app = TestApp::start();
    let shop = full_tenant(&app).await;
    let key = app.landlord_key();
    let (tenant, landlord) = (shop.db(), app.app().stores.directory.database().clone());
    let statements = || tenant.stats().statements() + landlord.stats().statements();
    let lists = lists();
    assert!(lists.len() >= 14, "{lists:?}");
    for path in lists {
        let call = |limit: usize| -> Call {
            let path = format!("{}?limit={limit}", path.replace("{slug}", "corner"));
            if path.starts_with("/v1/landlord") {
                app.get(&path).bearer(&key)
            } else {
                shop.get(&path)
            }
        };
        let mut costs = Vec::new();
        // The first call fills the cache of its key.
        for limit in [1, 1, ROWS] {
            let before = statements();
            let answer = call(limit).send().await.expect(200).json();
            costs.push(statements() - before);
            assert_eq!(
                answer["data"].as_array().map(Vec::len),
                Some(limit),
                "{path}"
            );
        }
        assert_eq!(costs[1], costs[2], "{path}");
        assert!((1..=3).contains(&costs[2]), "{path}: {costs:?}");
    }
}
