//! The integrity check finds each kind of change that is made with a shell, past the program and
//! its triggers.

use std::fs;

use serde_json::json;
use tillbox::tenant::integrity::Report;

use crate::support::{TestApp, TestShop};

/// SQL that changes a shop's file, and the check that must find it.
const TAMPERINGS: &[(&str, &str)] = &[
    (
        "UPDATE financial_order SET snapshot = replace(snapshot, 'TEA', 'TEE') WHERE seq = 1",
        "snapshots",
    ),
    (
        "UPDATE financial_order SET snapshot_hash = zeroblob(32) WHERE seq = 1",
        "snapshots",
    ),
    (
        "UPDATE invoice SET snapshot = replace(snapshot, 'TEA', 'TEE') WHERE seq = 1",
        "snapshots",
    ),
    (
        "UPDATE financial_order SET total_minor = total_minor + 1, subtotal_minor = subtotal_minor \
         + 1 WHERE seq = 1",
        "snapshot totals",
    ),
    (
        "UPDATE invoice SET total_minor = total_minor + 1 WHERE seq = 1",
        "snapshot totals",
    ),
    (
        "UPDATE invoice SET number = 'INV-2026-000009' WHERE seq = 1",
        "snapshot totals",
    ),
    (
        "UPDATE invoice SET issued_at = issued_at - 1 WHERE seq = 1",
        "snapshot totals",
    ),
    (
        "UPDATE invoice SET balance_minor = 1 WHERE seq = 1",
        "invoices",
    ),
    (
        "UPDATE invoice SET currency = 'USD' WHERE seq = 1",
        "invoices",
    ),
    (
        "UPDATE order_line SET quantity = quantity + 1 WHERE seq = 1",
        "order lines",
    ),
    (
        "UPDATE order_line SET name = 'Gold' WHERE seq = 1",
        "order lines",
    ),
    (
        "UPDATE sales_order SET number = 'ORD-000009' WHERE seq = 1",
        "order lines",
    ),
    (
        "UPDATE order_line SET product_id = (SELECT id FROM product WHERE sku = 'MUG') WHERE sku = \
         'TEA'",
        "order lines",
    ),
    (
        "UPDATE sales_order SET placed_at = 0 WHERE seq = 1",
        "order lines",
    ),
    (
        "UPDATE sales_order SET prices_include_tax = 1 WHERE seq = 1",
        "order lines",
    ),
    (
        "UPDATE sales_order SET tax_lines = replace(tax_lines, '190000', '70000') WHERE seq = 1",
        "order lines",
    ),
    (
        "INSERT INTO financial_transaction (id, financial_order_id, kind, status, amount_minor, \
         currency, completed_at)
         SELECT randomblob(16), financial_order_id, 'debit', 'completed', amount_minor, currency, \
         completed_at FROM financial_transaction WHERE seq = 1",
        "debits",
    ),
    (
        "UPDATE financial_transaction SET completed_at = 0 WHERE seq = 1",
        "financial transactions",
    ),
    (
        "UPDATE ledger_account SET kind = 'expense' WHERE code = '4000'",
        "accounts",
    ),
    (
        "INSERT INTO ledger_account VALUES ('1200', 'EU!', 'Payment clearing', 'asset')",
        "accounts",
    ),
    (
        "UPDATE order_line SET unit_price_minor = unit_price_minor + 1 WHERE order_id = (SELECT id \
         FROM sales_order WHERE status = 'pending')",
        "line sums",
    ),
    (
        "CREATE TRIGGER gift AFTER INSERT ON payment BEGIN DELETE FROM payment; END",
        "schema",
    ),
    (
        "UPDATE order_line SET net_minor = net_minor + 1, total_minor = total_minor + 1 WHERE seq \
         = 1",
        "order sums",
    ),
    ("DELETE FROM order_line WHERE seq = 1", "order sums"),
    (
        "UPDATE sales_order SET tax_lines = '[]' WHERE seq = 1",
        "tax lines",
    ),
    (
        "UPDATE sales_order SET status = 'pending' WHERE seq = 1",
        "orders and books",
    ),
    (
        "UPDATE sales_order SET currency = 'USD' WHERE seq = 1",
        "orders and books",
    ),
    ("DELETE FROM invoice WHERE seq = 1", "orders and books"),
    (
        "UPDATE payment SET amount_minor = amount_minor - 1, tendered_minor = NULL WHERE seq = 1",
        "payments",
    ),
    (
        "UPDATE payment SET status = 'failed' WHERE seq = 1",
        "payments",
    ),
    (
        "UPDATE payment SET currency = 'USD' WHERE seq = 1",
        "payments",
    ),
    ("DELETE FROM payment WHERE seq = 1", "payments"),
    (
        "DELETE FROM financial_transaction WHERE seq = 1",
        "financial transactions",
    ),
    (
        "UPDATE financial_transaction SET amount_minor = 1 WHERE seq = 1",
        "financial transactions",
    ),
    (
        "UPDATE financial_transaction SET currency = 'USD' WHERE seq = 1",
        "financial transactions",
    ),
    (
        "UPDATE ledger_transfer SET amount_minor = amount_minor + 1 WHERE seq = 1",
        "ledger",
    ),
    (
        "UPDATE ledger_transfer SET credit_code = '1200' WHERE seq = 1",
        "ledger",
    ),
    (
        "UPDATE ledger_transfer SET debit_code = '1200' WHERE seq = 1",
        "payment accounts",
    ),
    (
        "UPDATE ledger_transfer SET credit_code = '4000' WHERE credit_code = '2200'",
        "ledger",
    ),
    (
        "UPDATE ledger_transfer SET currency = 'USD' WHERE seq = 1",
        "ledger",
    ),
    (
        "UPDATE ledger_entry SET booked_at = booked_at - 86400000 WHERE seq = 1",
        "ledger",
    ),
    (
        "UPDATE payment SET method = 'card' WHERE method = 'manual'",
        "payment accounts",
    ),
    (
        "UPDATE payment SET method = 'gift' WHERE status = 'pending'",
        "vocabularies",
    ),
    (
        "UPDATE job SET queue = 'gift' WHERE seq = 1",
        "vocabularies",
    ),
    (
        "UPDATE inventory_movement SET kind = 'gift' WHERE kind = 'count'",
        "vocabularies",
    ),
    (
        "UPDATE sales_order SET channel = 'gift' WHERE status = 'pending'",
        "vocabularies",
    ),
    (
        "UPDATE payment SET method = 'manual' WHERE seq = 1",
        "payment accounts",
    ),
    (
        "DELETE FROM ledger_transfer WHERE entry_seq = 1; DELETE FROM ledger_entry WHERE seq = 1",
        "ledger",
    ),
    (
        "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor) \
         VALUES (1, '1000', '4000', 'EUR', 1)",
        "ledger",
    ),
    (
        "INSERT INTO ledger_entry (id, kind, subject_id, description, booked_at, created_at, hash) \
         VALUES (randomblob(16), 'order_paid', randomblob(16), '', 0, 0, zeroblob(32))",
        "ledger entries",
    ),
    (
        "INSERT INTO ledger_entry (id, kind, subject_id, description, booked_at, created_at, hash) \
         SELECT randomblob(16), 'gift', id, '', 0, 0, zeroblob(32) FROM financial_order LIMIT 1",
        "ledger entries",
    ),
    (
        "UPDATE series SET last_number = last_number + 1 WHERE name = 'invoice/INV-2026-#'",
        "invoice numbers",
    ),
    (
        "DELETE FROM series WHERE name = 'invoice/INV-2026-#'",
        "invoice numbers",
    ),
    (
        "UPDATE invoice SET series_number = 9 WHERE seq = 1",
        "invoice numbers",
    ),
    (
        "UPDATE series SET last_number = last_number + 1 WHERE name = 'order'",
        "order numbers",
    ),
    ("DELETE FROM series WHERE name = 'order'", "order numbers"),
    (
        "UPDATE sales_order SET number = 'ORD-000009' WHERE status = 'pending'",
        "order numbers",
    ),
    ("UPDATE stock SET on_hand = on_hand + 1", "stock"),
    (
        "DELETE FROM inventory_movement WHERE kind = 'sale'",
        "stock",
    ),
    ("DELETE FROM stock", "stock"),
    (
        "UPDATE inventory_movement SET on_hand_after = on_hand_after + 1 WHERE seq = 1",
        "stock \
        movements",
    ),
    ("UPDATE stock SET reserved = 0", "reserved stock"),
    (
        "UPDATE reservation SET status = 'held' WHERE status = 'consumed'",
        "reservations",
    ),
    (
        "UPDATE reservation SET status = 'released' WHERE status = 'held'",
        "reservations",
    ),
    (
        "UPDATE payment SET order_id = randomblob(16) WHERE status = 'pending'",
        "foreign keys",
    ),
    (
        "UPDATE payment SET provider_reference = 'R-1' WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE payment SET created_at = created_at - 1 WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE payment SET succeeded_at = succeeded_at - 1 WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE payment SET id = randomblob(16) WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE payment SET tendered_minor = amount_minor + 1 WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE financial_transaction SET id = randomblob(16) WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE financial_order SET created_at = created_at - 1 WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE invoice SET id = randomblob(16) WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE order_line SET id = randomblob(16) WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE sales_order SET channel = 'sale' WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE ledger_entry SET description = 'Order ORD-000009' WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE ledger_entry SET created_at = created_at - 1 WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE ledger_entry SET hash = zeroblob(32) WHERE seq = 2",
        "ledger chain",
    ),
    (
        "UPDATE ledger_entry SET hash = zeroblob(32) WHERE seq = 1",
        "ledger chain",
    ),
    (
        // A whole sale is removed, and the books are closed over the gap.
        "DELETE FROM ledger_transfer WHERE entry_seq = 1; DELETE FROM ledger_entry WHERE seq = 1",
        "ledger chain",
    ),
    (
        "UPDATE audit_log SET actor = 'nobody' WHERE seq = 2",
        "audit chain",
    ),
    ("DELETE FROM audit_log WHERE seq = 2", "audit chain"),
    ("DELETE FROM shop", "single rows"),
    ("DELETE FROM currency_setting", "single rows"),
    ("DELETE FROM epoch", "single rows"),
];

/// A shop with something of everything: a paid checkout, a waiting one, a taxed sale with two
/// payments.
async fn busy_shop(app: &TestApp) -> TestShop {
    let shop = app.tenant("corner");
    shop.tax_class("vat", 190_000).await;
    let tea = shop.stocked("TEA", 450, 10).await;
    let mug = shop
        .product_with("MUG", 1_000, json!({"tax_class": "vat"}))
        .await;
    shop.sell(&[(&tea, 1), (&mug, 1)]).await;
    shop.place(&[(&tea, 1)], "cash").await;
    let payments = json!([{"method": "cash", "amount_minor": 1_000}, {"method": "manual",
        "amount_minor": 190}]);
    let body = json!({"lines": [{"product_id": mug, "quantity": 1}], "payments": payments});
    shop.sale("s", body).await.expect(201);
    app.work_off();
    shop
}

/// The SQL with all triggers dropped, because they would stop it.
fn without_triggers(shop: &TestShop, sql: &str) -> String {
    let drop = |name: String| format!("DROP TRIGGER {name};");
    let triggers = shop
        .rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .into_iter()
        .map(drop);
    format!(
        "PRAGMA foreign_keys = OFF; {} {sql}",
        triggers.collect::<String>()
    )
}

fn found(report: &Report, check: &str) -> bool {
    report.checks[check] > 0
        && report
            .mismatches
            .iter()
            .any(|mismatch| mismatch.check == check)
}

#[tokio::test]
async fn finds_each_kind_of_tampering() {
    let app = TestApp::start();
    let shop = busy_shop(&app).await;
    shop.assert_integrity();
    app.stop();
    let path = shop.path();
    let sound = fs::read(&path).expect("the file");
    let mut missed = Vec::new();
    for (sql, check) in TAMPERINGS {
        fs::write(&path, &sound).expect("the file");
        shop.raw(&without_triggers(&shop, sql))
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_ne!(fs::read(&path).expect("the file"), sound, "{sql}");
        // The landlord's checkpoint would reject a file with another end.
        app.landlord_raw("DELETE FROM tenant_checkpoint")
            .expect("forgotten");
        app.resume();
        let report = shop.integrity();
        if report.passes() || !found(&report, check) {
            missed.push(format!("{check}: {sql}\n   found: {:?}", report.mismatches));
        }
        app.stop();
    }
    assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
    fs::write(&path, &sound).expect("the file");
    app.resume();
    shop.assert_integrity();
}

#[tokio::test]
async fn finds_dropped_trigger() {
    let app = TestApp::start();
    let shop = busy_shop(&app).await;
    for name in shop.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'") {
        let sql = shop.rows(&format!(
            "SELECT sql FROM sqlite_schema WHERE name = '{name}'"
        ));
        shop.raw(&format!("DROP TRIGGER {name}")).expect("it goes");
        let details: Vec<_> = shop
            .integrity()
            .mismatches
            .into_iter()
            .map(|mismatch| mismatch.detail)
            .collect();
        assert_eq!(details, [format!("trigger {name} is missing")]);
        let harmless = format!("CREATE TRIGGER {name} AFTER INSERT ON payment BEGIN SELECT 1; END");
        shop.raw(&harmless).expect("it comes");
        let details: Vec<_> = shop
            .integrity()
            .mismatches
            .into_iter()
            .map(|mismatch| mismatch.detail)
            .collect();
        assert_eq!(details, [format!("trigger {name} was changed")]);
        shop.raw(&format!("DROP TRIGGER {name}; {}", sql[0]))
            .expect("it comes back");
    }
    shop.assert_integrity();
}

#[tokio::test]
async fn rejects_raw_sql_on_locked_rows() {
    let app = TestApp::start();
    let shop = busy_shop(&app).await;
    for table in [
        "financial_order",
        "invoice",
        "financial_transaction",
        "ledger_entry",
        "ledger_transfer",
        "audit_log",
        "sales_order",
        "order_line",
        "series",
    ] {
        assert!(
            shop.count(&format!("SELECT count(*) FROM {table}")) > 0,
            "{table}"
        );
        let sql = format!("DELETE FROM {table}");
        let error = shop.raw(&sql).expect_err(&sql).to_string();
        assert!(error.contains("never deleted"), "{sql}: {error}");
    }
    for sql in [
        "UPDATE payment SET amount_minor = amount_minor + 1 WHERE status = 'succeeded'",
        "UPDATE payment SET status = 'pending' WHERE status = 'succeeded'",
        "DELETE FROM payment WHERE status = 'succeeded'",
        "UPDATE invoice SET total_minor = total_minor + 1",
        "UPDATE invoice SET snapshot = '{}'",
        "UPDATE financial_order SET total_minor = total_minor + 1, subtotal_minor = subtotal_minor \
         + 1",
        "UPDATE financial_order SET status = 'pending'",
        "UPDATE financial_transaction SET amount_minor = 1",
        "UPDATE ledger_entry SET booked_at = 0",
        "UPDATE ledger_transfer SET amount_minor = amount_minor + 1",
        "UPDATE audit_log SET actor = 'nobody'",
        "UPDATE sales_order SET email = NULL, exchange_rate_id = randomblob(16) WHERE status = \
         'paid'",
        "UPDATE sales_order SET status = 'pending' WHERE status = 'paid'",
        "UPDATE order_line SET quantity = quantity + 1 WHERE order_id IN (SELECT id FROM \
         sales_order WHERE status = 'paid')",
        "UPDATE series SET last_number = 1",
    ] {
        let error = shop.raw(sql).expect_err(sql).to_string();
        let is_refused = error.contains("never") || error.contains("only moves forward");
        assert!(is_refused, "{sql}: {error}");
    }
    shop.assert_integrity();
}
