//! The hash of a ledger entry covers each column of what it books: one changed value breaks the
//! chain at that entry, and restoring the value mends it.

use serde_json::json;
use tillbox::tenant::finance::verify_ledger;

use crate::support::{TestApp, TestShop, blocking};

/// Table, column and the expression that takes the value's place. Deliberately absent: what the law
/// may remove or what changes later.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("ledger_entry", "id", "zeroblob(16)"),
    ("ledger_entry", "kind", "'gift'"),
    ("ledger_entry", "subject_id", "zeroblob(16)"),
    ("ledger_entry", "description", "description || '9'"),
    ("ledger_entry", "booked_at", "booked_at - 1"),
    ("ledger_entry", "created_at", "created_at - 1"),
    ("ledger_entry", "hash", "zeroblob(32)"),
    ("ledger_transfer", "debit_code", "'2200'"),
    ("ledger_transfer", "credit_code", "'1200'"),
    ("ledger_transfer", "currency", "'USD'"),
    ("ledger_transfer", "amount_minor", "amount_minor + 1"),
    ("sales_order", "number", "'ORD-000009'"),
    ("sales_order", "channel", "'checkout'"),
    ("sales_order", "currency", "'USD'"),
    ("sales_order", "subtotal_minor", "subtotal_minor + 1"),
    ("sales_order", "discount_minor", "discount_minor + 1"),
    ("sales_order", "tax_minor", "tax_minor + 1"),
    ("sales_order", "total_minor", "total_minor + 1"),
    ("sales_order", "placed_at", "placed_at - 1"),
    ("order_line", "id", "zeroblob(16)"),
    ("financial_order", "subtotal_minor", "subtotal_minor + 1"),
    ("financial_order", "discount_minor", "discount_minor + 1"),
    ("financial_order", "tax_minor", "tax_minor + 1"),
    ("financial_order", "total_minor", "total_minor + 1"),
    ("financial_order", "snapshot_hash", "zeroblob(32)"),
    ("financial_order", "locked_at", "locked_at - 1"),
    ("financial_order", "paid_at", "paid_at - 1"),
    ("financial_order", "created_at", "created_at - 1"),
    ("invoice", "id", "zeroblob(16)"),
    ("invoice", "financial_order_id", "zeroblob(16)"),
    ("invoice", "number", "'INV-2026-000009'"),
    ("invoice", "tax_minor", "tax_minor + 1"),
    ("invoice", "total_minor", "total_minor + 1"),
    ("invoice", "snapshot_hash", "zeroblob(32)"),
    ("invoice", "issued_at", "issued_at - 1"),
    ("financial_transaction", "id", "zeroblob(16)"),
    ("payment", "id", "zeroblob(16)"),
    ("payment", "method", "'test'"),
    ("payment", "currency", "'USD'"),
    ("payment", "amount_minor", "amount_minor - 1"),
    ("payment", "tendered_minor", "amount_minor + 1"),
    ("payment", "provider_reference", "'R-1'"),
    ("payment", "created_at", "created_at - 1"),
    ("payment", "succeeded_at", "succeeded_at - 1"),
];

fn broken(shop: &TestShop) -> Vec<i64> {
    let db = shop.db();
    blocking(|| db.read_long(verify_ledger).wait()).expect("the chain is walked")
}

/// Runs SQL past the constraints of the file.
fn raw(shop: &TestShop, sql: &str) {
    let sql = format!("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; {sql}");
    shop.raw(&sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Two taxed sales for cash, without the triggers that keep their rows.
async fn two_sales(app: &TestApp) -> TestShop {
    let shop = app.tenant("corner");
    shop.tax_class("vat", 190_000).await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"tax_class": "vat"}))
        .await;
    for key in ["one", "two"] {
        let body = json!({
            "lines": [{"product_id": mug, "quantity": 1}],
            "payments": [{"method": "cash", "amount_minor": 1_190}],
        });
        shop.sale(key, body).await.expect(201);
    }
    shop.assert_integrity();
    for name in shop.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'") {
        shop.raw(&format!("DROP TRIGGER {name}")).expect("dropped");
    }
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_a_changed_value_in_each_column_that_is_booked() {
    let app = TestApp::start();
    let shop = two_sales(&app).await;
    assert_eq!(broken(&shop), [0; 0]);
    let mut wrong = Vec::new();
    for (table, column, value) in COLUMNS {
        let saved =
            format!("CREATE TABLE saved AS SELECT {column} AS was FROM {table} WHERE seq = 1");
        raw(
            &shop,
            &format!("{saved}; UPDATE {table} SET {column} = {value} WHERE seq = 1"),
        );
        let changed = broken(&shop);
        raw(
            &shop,
            &format!(
                "UPDATE {table} SET {column} = (SELECT was FROM saved) WHERE seq = 1; DROP TABLE \
                 saved"
            ),
        );
        let restored = broken(&shop);
        // The changed hash of an entry breaks the next one too, which holds it.
        let expected: &[i64] = if *column == "hash" { &[1, 2] } else { &[1] };
        if changed != expected || !restored.is_empty() {
            wrong.push(format!(
                "{table}.{column}: {changed:?}, restored {restored:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_transfers_in_another_order_and_entries_that_are_missing() {
    let app = TestApp::start();
    let shop = two_sales(&app).await;
    raw(
        &shop,
        "UPDATE ledger_transfer SET seq = -seq WHERE entry_seq = 1",
    );
    assert_eq!(broken(&shop), [1]);
    raw(
        &shop,
        "DELETE FROM ledger_transfer WHERE entry_seq = 1; DELETE FROM ledger_entry WHERE seq = 1",
    );
    assert_eq!(
        broken(&shop),
        [2],
        "the first entry that is left holds the hash of none"
    );
}
