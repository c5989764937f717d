//! Sales through the API, as a shop's programs make them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tillbox::storage::StorageError;
use tillbox::tenant::integrity::{self, Report};
use tillbox::worker;

use super::{Answer, TestApp, TestShop, blocking};

/// An order that waits for its payment.
#[derive(Clone, Debug)]
pub struct Placed {
    pub order: String,
    pub payment: String,
}

impl TestApp {
    /// Runs all jobs that are due now.
    pub fn work_off(&self) {
        let app = self.app();
        blocking(|| worker::run_until_idle(&app));
    }
}

impl TestShop {
    /// Enables another currency, with a rate to the shop's own that has always been valid.
    pub async fn sells_in(&self, code: &str, rate: &str) {
        self.post("/v1/currencies")
            .json(json!({"code": code}))
            .send()
            .await
            .expect(201);
        let own = self
            .get("/v1/settings/currency")
            .send()
            .await
            .expect(200)
            .string("/base_currency");
        let rate = json!({"base": code, "quote": own, "rate": rate,
            "effective_at": "2000-01-01T00:00:00Z"});
        self.post("/v1/exchange-rates")
            .json(rate)
            .send()
            .await
            .expect(201);
    }

    /// Creates a product with further fields, such as a tax class or a currency.
    pub async fn product_with(&self, sku: &str, price_minor: i64, more: Value) -> String {
        let mut body =
            json!({"sku": sku, "name": format!("Product {sku}"), "price_minor": price_minor});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        self.post("/v1/catalog/products")
            .json(body)
            .send()
            .await
            .expect(201)
            .string("/id")
    }

    /// Creates a product with tracked stock of `on_hand` units.
    pub async fn stocked(&self, sku: &str, price_minor: i64, on_hand: i64) -> String {
        let id = self
            .product_with(sku, price_minor, json!({"track_stock": true}))
            .await;
        let path = format!("/v1/inventory/stock/{id}");
        self.patch(&path)
            .json(json!({"on_hand": on_hand}))
            .send()
            .await
            .expect(200);
        id
    }

    /// On hand, reserved and available.
    pub async fn stock(&self, product: &str) -> [i64; 3] {
        let stock = self
            .get(&format!("/v1/inventory/stock/{product}"))
            .send()
            .await
            .expect(200)
            .json();
        ["on_hand", "reserved", "available"].map(|name| stock[name].as_i64().expect("a number"))
    }

    /// Adds a rate valid since 1970 to the tax class.
    pub async fn tax_class(&self, class: &str, rate_ppm: i64) {
        let body = json!({"tax_class": class, "name": format!("Tax {class}"), "rate_ppm": rate_ppm,
            "valid_from": "1970-01-01T00:00:00Z"});
        self.post("/v1/tax-rates")
            .json(body)
            .send()
            .await
            .expect(201);
    }

    /// Sets whether unit prices include tax.
    pub async fn prices_include_tax(&self, included: bool) {
        let body = json!({"prices_include_tax": included});
        self.patch("/v1/settings/shop")
            .json(body)
            .send()
            .await
            .expect(200);
    }

    /// Creates a cart with items.
    pub async fn cart(&self, items: &[(&str, i64)]) -> String {
        let cart = self
            .post("/v1/carts")
            .json(json!({}))
            .send()
            .await
            .expect(201)
            .string("/id");
        for (product, quantity) in items {
            let body = json!({"product_id": product, "quantity": quantity});
            self.post(&format!("/v1/carts/{cart}/items"))
                .json(body)
                .send()
                .await
                .expect(201);
        }
        cart
    }

    /// Calls `POST /v1/checkout`.
    pub async fn checkout(&self, key: &str, cart: &str, method: &str) -> Answer {
        let body = json!({"cart_id": cart, "email": "ada@example.org", "payment_method": method});
        self.post("/v1/checkout").key(key).json(body).send().await
    }

    /// Creates a cart and checks it out, under a key made of the cart's id.
    pub async fn place(&self, items: &[(&str, i64)], method: &str) -> Placed {
        let cart = self.cart(items).await;
        let placed = self
            .checkout(&format!("place {cart}"), &cart, method)
            .await
            .expect(201);
        Placed {
            order: placed.string("/order/id"),
            payment: placed.string("/payment/id"),
        }
    }

    /// Calls `POST /v1/checkout/confirm-payment`.
    pub async fn confirm(&self, key: &str, payment: &str) -> Answer {
        let body = json!({"payment_id": payment});
        self.post("/v1/checkout/confirm-payment")
            .key(key)
            .json(body)
            .send()
            .await
    }

    /// Creates a cart, checks it out and confirms the payment. Returns the confirmation's answer.
    pub async fn sell(&self, items: &[(&str, i64)]) -> Value {
        let placed = self.place(items, "cash").await;
        self.confirm(&format!("confirm {}", placed.payment), &placed.payment)
            .await
            .expect(200)
            .json()
    }

    /// Calls `POST /v1/sales`.
    pub async fn sale(&self, key: &str, body: Value) -> Answer {
        self.post("/v1/sales").key(key).json(body).send().await
    }

    /// Cancels, confirms or ships an order: `event` is the last part of the path.
    pub async fn move_order(&self, order: &str, event: &str) -> Answer {
        self.post(&format!("/v1/orders/{order}/{event}"))
            .send()
            .await
    }

    /// The number of rows of each table, without the empty ones.
    pub fn census(&self) -> BTreeMap<String, i64> {
        let tables = self.rows(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        );
        let count = |table: String| {
            let rows = self.count(&format!("SELECT count(*) FROM {table}"));
            (rows > 0).then_some((table, rows))
        };
        tables.into_iter().filter_map(count).collect()
    }

    /// The growth of each table since `before`, without the unchanged ones.
    pub fn grown_since(&self, before: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
        let growth = |(table, rows): (String, i64)| {
            let growth = rows - before.get(&table).copied().unwrap_or_default();
            (growth != 0).then_some((table, growth))
        };
        self.census().into_iter().filter_map(growth).collect()
    }

    /// Runs the integrity check.
    pub fn integrity(&self) -> Report {
        let db = self.db();
        let report: Result<Report, StorageError> =
            blocking(|| db.read_long(integrity::check).wait());
        report.expect("the checks run")
    }

    /// Asserts that the integrity check passes.
    #[track_caller]
    pub fn assert_integrity(&self) {
        let report = self.integrity();
        assert!(report.passes(), "{:#?}", report.mismatches);
        assert!(report.checks.len() >= 16, "{:?}", report.checks);
    }
}

/// Growth as a map, for comparison with [`TestShop::grown_since`].
pub fn rows<const N: usize>(growth: [(&str, i64); N]) -> BTreeMap<String, i64> {
    growth
        .into_iter()
        .map(|(table, rows)| (table.to_owned(), rows))
        .collect()
}
