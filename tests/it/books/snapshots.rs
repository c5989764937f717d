//! Locked documents: the snapshot is canonical, its hash matches, and it contains the sale.

use serde_json::{Value, json};
use tillbox::primitives::Digest;

use crate::support::{TestApp, TestShop};

/// RFC 8785, by a library that is independent of our code.
fn canonical(document: &Value) -> String {
    serde_json_canonicalizer::to_string(document).expect("JSON")
}

/// The stored snapshots with their hashes.
fn snapshots(shop: &TestShop, table: &str) -> Vec<(String, String)> {
    let texts = shop.rows(&format!("SELECT snapshot FROM {table} ORDER BY seq"));
    let hashes = shop.rows(&format!("SELECT snapshot_hash FROM {table} ORDER BY seq"));
    texts.into_iter().zip(hashes).collect()
}

#[tokio::test]
async fn stores_canonical_snapshots_with_their_hash() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.tax_class("vat", 190_000).await;
    let odd = json!({"name": "Žluťoučký \"kůň\" \\ 1/2 <€ 😀>", "tax_class": "vat"});
    let odd = shop.product_with("Ö-1", 333, odd).await;
    let dear = shop.product("DEAR", 9_000_000_000_000).await;
    shop.sell(&[(&odd, 3)]).await;
    shop.sell(&[(&dear, 1)]).await;
    for table in ["financial_order", "invoice"] {
        let stored = snapshots(&shop, table);
        assert_eq!(stored.len(), 2, "{table}");
        for (text, hash) in stored {
            assert_eq!(Digest::of(text.as_bytes()).to_string(), hash, "{table}");
            let document: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(canonical(&document), text, "{table}");
        }
    }
    let list = shop
        .get("/v1/financial-orders")
        .send()
        .await
        .expect(200)
        .json();
    for order in list["data"].as_array().expect("a list") {
        let again = canonical(&order["snapshot"]);
        assert_eq!(
            order["snapshot_hash"],
            Digest::of(again.as_bytes()).to_string(),
            "the answer alone proves it"
        );
    }
}

#[tokio::test]
async fn records_sale_to_minor_unit_in_snapshot() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.tax_class("vat", 190_000).await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"tax_class": "vat"}))
        .await;
    let done = shop.sell(&[(&mug, 2)]).await;
    let line = json!({"product_id": mug, "sku": "MUG", "name": "Product MUG", "quantity": 2,
        "unit": "C62", "quantity_scale": 0, "discount_minor": 0, "shared_discount_minor": 0,
        "unit_price_minor": 1_000, "tax_class": "vat",
        "tax_name": "Tax vat", "tax_rate_ppm": 190_000, "net_minor": 2_000, "tax_minor": 380,
            "total_minor": 2_380});
    let tax_line = json!({"name": "Tax vat", "rate_ppm": 190_000, "discount_minor": 0,
        "net_minor": 2_000, "tax_minor": 380});
    let sums = json!({"version": 1, "currency": "EUR", "order_number": "ORD-000001",
        "prices_include_tax": false, "lines": [line], "tax_lines": [tax_line],
        "subtotal_minor": 2_000, "discount_minor": 0, "tax_minor": 380, "total_minor": 2_380});
    let mut expected = sums.clone();
    expected["order_id"] = done["order"]["id"].clone();
    expected["placed_at"] = json!("2026-01-15T10:00:00Z");
    assert_eq!(done["financial_order"]["snapshot"], expected);
    let mut expected = sums;
    expected["number"] = json!("INV-2026-000001");
    expected["issued_at"] = json!("2026-01-15T10:00:00Z");
    expected["seller"] = json!({"name": "Shop corner"});
    let stored: Value =
        serde_json::from_str(&shop.rows("SELECT snapshot FROM invoice")[0]).expect("JSON");
    assert_eq!(stored, expected);
    assert_eq!(
        (&done["invoice"]["lines"], &done["invoice"]["tax_lines"]),
        (&expected["lines"], &expected["tax_lines"])
    );
}
