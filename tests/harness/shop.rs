//! A shop of the real program, with its products.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::process::{Client, tillbox};

/// A shop that the command line has created.
pub struct Shop {
    pub id: String,
    /// Its API key with all scopes.
    pub key: String,
    pub file: PathBuf,
}

impl Shop {
    /// Creates a shop. The name is the slug; `more` are further arguments.
    pub fn create(data_dir: &Path, slug: &str, more: &[&str]) -> Self {
        let args = [
            "tenant", "create", "--no-tax", slug, "--name", slug, "--json",
        ];
        let output = tillbox(data_dir, &[&args[..], more].concat()).output();
        let output = output.expect("the program runs");
        let made: Value = serde_json::from_slice(&output.stdout).expect("the shop as JSON");
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        let id = text("id");
        let file = data_dir.join("tenants").join(format!("{id}.db"));
        Self {
            id,
            key: text("api_key"),
            file,
        }
    }
}

impl Client {
    /// Adds a rate of the standard tax class.
    pub fn add_tax_rate(&mut self, rate_ppm: u32) {
        let body = json!({"tax_class": "standard", "name": "VAT", "rate_ppm": rate_ppm,
            "valid_from": "2007-01-01T00:00:00Z"});
        self.post("/v1/tax-rates", "tax", &body)
            .expect("an answer")
            .expect(201);
    }

    /// Creates a product of 2.50 and returns its id.
    pub fn create_product(&mut self, sku: &str, name: &str, track_stock: bool) -> String {
        let body = json!({"sku": sku, "name": name, "price_minor": 250,
            "track_stock": track_stock});
        let created = self.post("/v1/catalog/products", &format!("product-{sku}"), &body);
        created.expect("an answer").expect(201).string("/id")
    }

    pub fn set_stock(&mut self, product: &str, on_hand: i64) {
        let body = json!({"on_hand": on_hand}).to_string();
        let headers = [("content-type", "application/json")];
        let path = format!("/v1/inventory/stock/{product}");
        let changed = self.request("PATCH", &path, &headers, body.as_bytes());
        changed.expect("an answer").expect(200);
    }
}
