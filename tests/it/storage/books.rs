//! The books cannot be rewritten, not even with the `sqlite3` shell. Dropping a trigger first
//! leaves a trace in the schema, which the integrity check finds; any other attempt is rejected
//! here.

use crate::support::{TestApp, TestShop};

/// One sale with all its rows, written by hand. Beside it an order that waits, a pending payment, a
/// draft invoice and an open financial order.
const ROWS: &str = "
PRAGMA foreign_keys = OFF;
INSERT INTO sales_order (seq, id, number, channel, status, currency, prices_include_tax, \
subtotal_minor, discount_minor, tax_minor, total_minor, tax_lines, email, cart_id, placed_at, \
updated_at, exchange_rate_id)
VALUES (1, x'00000000000000000000000000000001', 'O-1', 'sale', 'paid', 'EUR', 0, 100, 0, 19, 119, \
'[]', 'a@example.com', x'00000000000000000000000000000001', 1, 1,
        x'00000000000000000000000000000001'),
       (2, x'00000000000000000000000000000002', 'O-2', 'checkout', 'pending', 'EUR', 0, 100, 0, \
       19, 119, '[]', NULL, x'00000000000000000000000000000002', 1, 1, NULL);
INSERT INTO order_line (seq, id, order_id, product_id, sku, name, quantity, unit_price_minor, \
tax_class, tax_name, tax_rate_ppm, net_minor, tax_minor, total_minor, unit, quantity_scale, \
discount_minor, shared_discount_minor)
VALUES (1, x'00000000000000000000000000000001', x'00000000000000000000000000000001', \
x'00000000000000000000000000000001', 'TEA', 'Tea', 1, 100, 'vat', 'VAT', 190000, 100, 19, 119, \
       'C62', 0, 0, 0),
       (2, x'00000000000000000000000000000002', x'00000000000000000000000000000002', \
       x'00000000000000000000000000000001', 'TEA', 'Tea', 1, 100, 'vat', 'VAT', 190000, 100, 19, \
       119, 'C62', 0, 0, 0);
INSERT INTO exchange_rate (seq, id, base, quote, numerator, denominator, source, effective_at, \
created_at)
VALUES (1, x'00000000000000000000000000000001', 'USD', 'EUR', '0.9', '1', 'manual', 1, 1);
INSERT INTO series (name, last_number) VALUES ('S', 1);
INSERT INTO payment (seq, id, order_id, method, status, amount_minor, currency, created_at, \
updated_at, succeeded_at)
VALUES (1, x'00000000000000000000000000000001', x'00000000000000000000000000000001', 'cash', \
'succeeded', 119, 'EUR', 1, 1, 1),
       (2, x'00000000000000000000000000000002', x'00000000000000000000000000000001', 'cash', \
       'pending', 119, 'EUR', 1, 1, NULL);
INSERT INTO financial_order (seq, id, order_id, status, currency, subtotal_minor, discount_minor, \
tax_minor, total_minor, snapshot, snapshot_hash, locked_at, paid_at, created_at)
VALUES (1, x'00000000000000000000000000000001', x'00000000000000000000000000000001', 'paid', \
'EUR', 100, 0, 19, 119, '{}', zeroblob(32), 1, 1, 1),
       (2, x'00000000000000000000000000000002', x'00000000000000000000000000000002', 'draft', \
       'EUR', 100, 0, 19, 119, NULL, NULL, NULL, NULL, 1);
INSERT INTO financial_transaction (seq, id, financial_order_id, kind, status, amount_minor, \
currency, completed_at)
VALUES (1, x'00000000000000000000000000000001', x'00000000000000000000000000000001', 'credit', \
'completed', 119, 'EUR', 1);
INSERT INTO invoice (seq, id, order_id, financial_order_id, status, series, series_number, number, \
currency, tax_minor, total_minor, balance_minor, snapshot, snapshot_hash, issued_at)
VALUES (1, x'00000000000000000000000000000001', x'00000000000000000000000000000001', \
x'00000000000000000000000000000001', 'issued', 'S', 1, 'INV-1', 'EUR', 19, 119, 0, '{}', \
zeroblob(32), 1),
       (2, x'00000000000000000000000000000002', x'00000000000000000000000000000001', \
       x'00000000000000000000000000000001', 'draft', 'S', 2, 'INV-2', 'EUR', 19, 119, 0, '{}', \
       zeroblob(32), 1);
INSERT OR IGNORE INTO ledger_account (code, currency, name, kind) VALUES ('t1', 'EUR', 'Cash', \
'asset'), ('t2', 'EUR', 'Sales', 'revenue');
INSERT INTO ledger_entry (seq, id, kind, subject_id, description, booked_at, created_at, hash)
VALUES (1, x'00000000000000000000000000000001', 'sale', x'00000000000000000000000000000001', 'a \
sale', 1, 1, zeroblob(32));
INSERT INTO ledger_transfer (seq, entry_seq, debit_code, credit_code, currency, amount_minor) \
VALUES (1, 1, 't1', 't2', 'EUR', 119);
INSERT INTO audit_log (seq, at, actor, action, subject, details, prev_hash, hash) VALUES (1, 1, \
'system', 'a', 'b', '{}', zeroblob(32), zeroblob(32));
";

/// The tables whose first row is final.
const FINAL: &[&str] = &[
    "ledger_entry",
    "ledger_transfer",
    "audit_log",
    "financial_transaction",
    "financial_order",
    "invoice",
    "payment",
    "sales_order",
    "order_line",
    "exchange_rate",
];

/// Columns of a final row that may change: the address and the buyer, because the law may require
/// their removal.
const FREE: &[(&str, &str)] = &[
    ("sales_order", "email"),
    ("sales_order", "buyer"),
    ("sales_order", "updated_at"),
];

/// Tables with rules of their own. They are tested here by name or, those of stock and of pruned
/// rows, in `maintenance/retention_prune.rs`.
const GUARDED: &[&str] = &[
    "audit_anchor",
    "epoch",
    "inventory_anchor",
    "inventory_movement",
    "ledger_account",
    "product",
    "series",
    "shop",
    "tax_rate",
];

/// Tables that are no books, or whose rows are only on their way into one: a document copies what
/// it needs from them.
const NO_BOOKS: &[&str] = &[
    "alert_window",
    "cart",
    "cart_item",
    "category",
    "currency",
    "currency_setting",
    "file_identity",
    "idempotency_key",
    "keyless_answer",
    "keyless_usage",
    "job",
    "reservation",
    "stock",
];

fn books() -> TestShop {
    let shop = TestApp::start().tenant("corner");
    shop.raw("DELETE FROM job")
        .expect("the rows of the start go");
    shop.raw(ROWS).expect("the rows go in");
    shop
}

fn columns(shop: &TestShop, table: &str) -> Vec<String> {
    shop.rows(&format!(
        "SELECT name FROM pragma_table_info('{table}') ORDER BY cid"
    ))
}

fn all(shop: &TestShop) -> Vec<Vec<String>> {
    FINAL
        .iter()
        .map(|table| shop.rows(&format!("SELECT * FROM {table} ORDER BY seq")))
        .collect()
}

/// Uses the library's defaults, as the `sqlite3` shell does. Under them REPLACE fires no delete
/// triggers.
#[track_caller]
fn refused(shop: &TestShop, sql: &str) {
    for switches in [
        "",
        "PRAGMA recursive_triggers = ON; ",
        "PRAGMA foreign_keys = ON; ",
    ] {
        let result = shop.raw(&format!("{switches}{sql}"));
        let error = result.expect_err(sql).to_string();
        let is_refused = error.contains("never") || error.contains("only moves forward");
        assert!(is_refused, "{switches}{sql}: {error}");
    }
}

/// A new table must be added to one of the lists.
#[test]
fn classifies_every_table() {
    let found = books().rows(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT \
        LIKE 'sqlite_%' ORDER BY name",
    );
    let mut known = [FINAL, GUARDED, NO_BOOKS].concat();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn rejects_deletion_of_final_rows() {
    let shop = books();
    let before = all(&shop);
    for table in FINAL {
        refused(&shop, &format!("DELETE FROM {table} WHERE seq = 1"));
        refused(&shop, &format!("DELETE FROM {table}"));
    }
    assert_eq!(all(&shop), before);
}

#[test]
fn rejects_change_of_any_column_of_final_row() {
    let shop = books();
    let before = all(&shop);
    for table in FINAL {
        for column in columns(&shop, table) {
            if FREE.contains(&(table, &column)) {
                shop.raw(&format!("UPDATE {table} SET {column} = {column}"))
                    .expect("it may change");
                continue;
            }
            let other = match column.as_str() {
                "id" | "order_id" | "subject_id" | "financial_order_id" | "exchange_rate_id"
                | "cart_id" | "product_id" => "x'00000000000000000000000000000009'",
                "snapshot_hash" | "hash" | "prev_hash" | "request_hash" => "randomblob(32)",
                "client_hash" => "x'0000000000000009'",
                "snapshot" | "details" => "'{\"a\":1}'",
                "currency" => "'USD'",
                "base" | "quote" => "'CHF'",
                "source" => "'ecb'",
                "channel" => "'checkout'",
                "tax_lines" => "'[1]'",
                "prices_include_tax" => "1",
                "status" => match *table {
                    "financial_transaction" => "'completed'",
                    "sales_order" => "'pending'",
                    _ => "'draft'",
                },
                "kind" | "method" | "number" | "series" | "debit_code" | "credit_code"
                | "actor" | "action" | "subject" | "request_id" | "description"
                | "provider_reference" => "'manual'",
                // Totals are checked against each other before any trigger, so both sides change.
                "subtotal_minor" => "subtotal_minor + 1, total_minor = total_minor + 1",
                "net_minor" => "net_minor + 1, total_minor = total_minor + 1",
                "total_minor" if *table == "order_line" => {
                    "total_minor + 1, net_minor = net_minor + 1"
                }
                "total_minor" if *table != "invoice" => {
                    "total_minor + 1, subtotal_minor = subtotal_minor + 1"
                }
                "discount_minor" => "discount_minor + 1, total_minor = total_minor - 1",
                "tax_minor" if *table != "invoice" => {
                    "tax_minor + 1, total_minor = total_minor + 1"
                }
                _ => "1234",
            };
            refused(
                &shop,
                &format!("UPDATE {table} SET {column} = {other} WHERE seq = 1"),
            );
            refused(
                &shop,
                &format!("UPDATE OR REPLACE {table} SET {column} = {other} WHERE seq = 1"),
            );
        }
    }
    assert_eq!(all(&shop), before);
}

/// REPLACE deletes the row in its way. It fires no delete trigger unless `recursive_triggers` is
/// on, and the shell leaves it off.
#[test]
fn rejects_replacement_of_final_row() {
    let shop = books();
    let before = all(&shop);
    for table in FINAL {
        let columns = columns(&shop, table);
        let list = columns.join(", ");
        refused(
            &shop,
            &format!("REPLACE INTO {table} ({list}) SELECT {list} FROM {table} WHERE seq = 1"),
        );
        // By another of its keys alone: the row gets a new rowid.
        let without_seq: Vec<&str> = columns
            .iter()
            .map(String::as_str)
            .filter(|column| *column != "seq")
            .collect();
        let list = without_seq.join(", ");
        if !matches!(*table, "ledger_transfer" | "audit_log") {
            refused(
                &shop,
                &format!("REPLACE INTO {table} ({list}) SELECT {list} FROM {table} WHERE seq = 1"),
            );
        }
    }
    assert_eq!(all(&shop), before);
}

/// An open row with the rowid, the id or the number of a final one would replace it. The rowid has
/// other names, which a trigger on certain columns does not see.
#[test]
fn rejects_open_row_that_replaces_final_row() {
    let shop = books();
    let before = all(&shop);
    for (table, column) in [
        ("payment", "seq"),
        ("payment", "id"),
        ("financial_order", "seq"),
        ("financial_order", "id"),
        ("financial_order", "order_id"),
        ("invoice", "seq"),
        ("invoice", "id"),
        ("invoice", "number"),
        ("invoice", "series_number"),
        ("sales_order", "seq"),
        ("sales_order", "id"),
        ("sales_order", "number"),
        ("sales_order", "cart_id"),
        ("order_line", "seq"),
        ("order_line", "id"),
        ("payment", "rowid"),
        ("financial_order", "_rowid_"),
        ("invoice", "oid"),
        ("sales_order", "rowid"),
        ("order_line", "rowid"),
    ] {
        let sql = format!(
            "UPDATE OR REPLACE {table} SET {column} = (SELECT {column} FROM {table} WHERE seq = 1) \
             WHERE seq = 2"
        );
        refused(&shop, &sql);
    }
    assert_eq!(all(&shop), before);
}

#[test]
fn allows_change_of_open_rows_and_rejects_status_change_of_final_rows() {
    let shop = books();
    for sql in [
        "UPDATE payment SET status = 'failed', failure_code = 'no' WHERE seq = 2",
        "DELETE FROM payment WHERE seq = 2",
        "UPDATE financial_order SET subtotal_minor = 200, total_minor = 219 WHERE seq = 2",
        "UPDATE financial_order SET snapshot = '{}', snapshot_hash = zeroblob(32), locked_at = 1, \
         status = 'pending' WHERE seq = 2",
        "UPDATE financial_order SET paid_at = 2, status = 'paid' WHERE seq = 2",
        "UPDATE invoice SET total_minor = 120 WHERE seq = 2",
        "UPDATE invoice SET status = 'issued' WHERE seq = 2",
        "UPDATE sales_order SET subtotal_minor = 200, total_minor = 219, email = NULL WHERE seq = \
         2",
        "UPDATE order_line SET quantity = 2, net_minor = 200, total_minor = 219 WHERE seq = 2",
        "PRAGMA foreign_keys = OFF;
         INSERT INTO order_line (id, order_id, product_id, sku, name, quantity, unit_price_minor, \
         tax_class, tax_name, tax_rate_ppm, net_minor, tax_minor, total_minor, unit, \
         quantity_scale, discount_minor, shared_discount_minor)
         SELECT randomblob(16), x'00000000000000000000000000000003', product_id, sku, name, 1, \
         100, tax_class, tax_name, 0, 100, 0, 100, 'C62', 0, 0, 0 FROM order_line WHERE seq = 2",
        "DELETE FROM order_line WHERE order_id = x'00000000000000000000000000000003'",
        "UPDATE sales_order SET status = 'paid', updated_at = 2 WHERE seq = 2",
        "UPDATE sales_order SET status = 'confirmed' WHERE seq = 2",
        "UPDATE sales_order SET status = 'shipped', email = 'removed' WHERE seq = 2",
        "UPDATE series SET last_number = 2 WHERE name = 'S'",
        "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor)
         VALUES ((SELECT max(seq) FROM ledger_entry), 't1', 't2', 'EUR', 1)",
    ] {
        shop.raw(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let entry = "INSERT INTO ledger_entry (id, kind, subject_id, description, booked_at, \
        created_at, hash) VALUES (randomblob(16), 'later', randomblob(16), '', 1, 1, zeroblob(32))";
    shop.raw(entry).expect("another booking");
    refused(
        &shop,
        "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor) \
         VALUES (1, 't1', 't2', 'EUR', 1)",
    );
    refused(&shop, "UPDATE ledger_account SET kind = 'expense'");
    refused(
        &shop,
        "REPLACE INTO ledger_account VALUES ('t1', 'EUR', 'Gifts', 'liability')",
    );
    refused(&shop, "DELETE FROM ledger_account");
    for sql in [
        "UPDATE payment SET status = 'succeeded' WHERE seq = 1",
        "UPDATE financial_order SET status = 'paid' WHERE seq = 1",
        "UPDATE invoice SET balance_minor = 10",
        "UPDATE sales_order SET status = 'pending'",
        "UPDATE sales_order SET status = 'cancelled' WHERE seq = 2",
        "UPDATE sales_order SET exchange_rate_id = NULL WHERE seq = 1",
        "UPDATE order_line SET order_id = x'00000000000000000000000000000009' WHERE seq = 2",
        "INSERT INTO order_line (id, order_id, product_id, sku, name, quantity, unit_price_minor, \
         tax_class, tax_name, tax_rate_ppm, net_minor, tax_minor, total_minor, unit, \
         quantity_scale, discount_minor, shared_discount_minor)
         SELECT randomblob(16), order_id, product_id, sku, name, 1, 100, tax_class, tax_name, 0, \
         100, 0, 100, 'C62', 0, 0, 0 FROM order_line WHERE seq = 1",
    ] {
        refused(&shop, sql);
    }
}

/// No order number is deleted, and no series restarts. Waiting orders belong to the series too.
#[test]
fn never_reuses_numbers() {
    let shop = books();
    for sql in [
        "DELETE FROM sales_order WHERE status = 'pending'",
        "UPDATE sales_order SET number = 'O-9' WHERE status = 'pending'",
        "DELETE FROM series",
        "UPDATE series SET last_number = 3",
        "UPDATE series SET last_number = last_number - 1",
        "UPDATE series SET name = 'T', last_number = last_number + 1",
        "UPDATE OR REPLACE series SET last_number = last_number",
        "REPLACE INTO series VALUES ('S', 1)",
        "INSERT INTO series VALUES ('T', 5)",
    ] {
        refused(&shop, sql);
    }
}

#[test]
fn rejects_change_of_used_tax_rate() {
    let shop = books();
    let rates = "INSERT INTO tax_rate (seq, id, tax_class, name, rate_ppm, valid_from, used, \
        created_at)
        VALUES (11, randomblob(16), 'a', 'A', 190000, 1, 1, 1), \
        (12, randomblob(16), 'a', 'B', 200000, 2, 0, 1), (13, randomblob(16), 'n', 'N', 0, NULL, \
        1, 1), (14, randomblob(16), 'n', 'M', 70000, 5, 0, 1)";
    shop.raw(rates).expect("the rates go in");
    let all = || shop.rows("SELECT seq, hex(id), name, rate_ppm, valid_from FROM tax_rate");
    let before = all();
    for sql in [
        "UPDATE tax_rate SET rate_ppm = 0 WHERE seq = 11",
        "DELETE FROM tax_rate WHERE seq = 11",
        "REPLACE INTO tax_rate SELECT seq, id, tax_class, 'X', 0, valid_from, 0, created_at FROM \
         tax_rate WHERE seq = 11",
        "REPLACE INTO tax_rate (id, tax_class, name, rate_ppm, valid_from, created_at) VALUES \
         (randomblob(16), 'a', 'X', 0, 1, 1)",
        "REPLACE INTO tax_rate (id, tax_class, name, rate_ppm, valid_from, created_at) VALUES \
         (randomblob(16), 'n', 'X', 0, NULL, 1)",
        "UPDATE OR REPLACE tax_rate SET valid_from = 1 WHERE seq = 12",
        "UPDATE OR REPLACE tax_rate SET seq = 11 WHERE seq = 12",
        "UPDATE OR REPLACE tax_rate SET id = (SELECT id FROM tax_rate WHERE seq = 11) WHERE seq = \
         12",
        "UPDATE OR REPLACE tax_rate SET valid_from = NULL, rate_ppm = 0 WHERE seq = 14",
    ] {
        refused(&shop, sql);
    }
    assert_eq!(all(), before);
    shop.raw("UPDATE tax_rate SET valid_from = 3, rate_ppm = 210000 WHERE seq = 12")
        .expect("an unused rate changes");
}

#[test]
fn rejects_change_of_unit_of_product_in_use() {
    let shop = books();
    let product = "INSERT INTO product (seq, id, sku, barcode, name, price_minor, currency, \
        tax_class, track_stock, active, version, created_at, updated_at, unit, quantity_scale, \
        in_use)
        VALUES (11, randomblob(16), 'KG', '4011', 'x', 1, 'EUR', 'a', 0, 1, 1, 1, 1, 'KGM', 3, 1)";
    shop.raw(product).expect("the product goes in");
    for sql in [
        "UPDATE product SET unit = 'C62' WHERE seq = 11",
        "UPDATE product SET quantity_scale = 0 WHERE seq = 11",
        "UPDATE product SET in_use = 0 WHERE seq = 11",
        "UPDATE OR REPLACE product SET seq = 12 WHERE seq = 11",
        "DELETE FROM product WHERE seq = 11",
    ] {
        refused(&shop, sql);
    }
    let row = shop.rows("SELECT unit, quantity_scale, in_use FROM product WHERE seq = 11");
    assert_eq!(row, ["KGM|3|1"]);
}

/// Totals are read in it: changing it would change them all.
#[test]
fn rejects_currency_change_after_first_sale() {
    let shop = books();
    for sql in [
        "UPDATE shop SET currency = 'USD'",
        "UPDATE OR REPLACE shop SET currency = 'USD'",
        "REPLACE INTO shop SELECT singleton, name, 'USD', prices_include_tax, seller, timezone, \
         version, updated_at FROM shop",
        "DELETE FROM shop",
    ] {
        refused(&shop, sql);
    }
    shop.raw("UPDATE shop SET name = 'Other', prices_include_tax = 1")
        .expect("the rest may change");
}

/// A movement of a sale would be replaced by another of the same order and product with a new id
/// and rowid.
#[test]
fn rejects_replacement_of_sale_movement() {
    let shop = books();
    let columns = "(id, product_id, kind, quantity_delta, on_hand_after, order_id, at)";
    let row = |verb: &str, delta: i64| {
        format!(
            "{verb} INTO inventory_movement {columns} VALUES (randomblob(16), \
             x'00000000000000000000000000000001', 'sale', {delta}, 1,
             x'00000000000000000000000000000001', 1)"
        )
    };
    shop.raw(&format!("PRAGMA foreign_keys = OFF; {}", row("INSERT", -1)))
        .expect("a movement");
    refused(&shop, &row("REPLACE", -2));
    assert_eq!(
        shop.rows("SELECT quantity_delta FROM inventory_movement"),
        ["-1"]
    );
}

#[test]
fn rejects_unbalanced_entries_by_schema() {
    let shop = books();
    for sql in [
        "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor) \
         VALUES (1, 't1', 't1', 'EUR', 1)",
        "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor) \
         VALUES (1, 't1', 't2', 'EUR', 0)",
        "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor) \
         VALUES (1, 't1', 't2', 'EUR', -1)",
        "PRAGMA foreign_keys = ON; INSERT INTO ledger_transfer (entry_seq, debit_code, \
         credit_code, currency, amount_minor) VALUES (1, 't1', 't2', 'USD', 1)",
    ] {
        assert!(shop.raw(sql).is_err(), "{sql}");
    }
}

#[test]
fn rejects_rewrite_of_landlord_audit_log() {
    let app = TestApp::start();
    app.tenant("corner");
    let before = app.landlord_rows("SELECT * FROM audit_log");
    assert!(!before.is_empty());
    for sql in [
        "DELETE FROM audit_log",
        "UPDATE audit_log SET actor = 'nobody'",
        "REPLACE INTO audit_log SELECT * FROM audit_log WHERE seq = 1",
    ] {
        assert!(app.landlord_raw(sql).is_err(), "{sql}");
    }
    assert_eq!(app.landlord_rows("SELECT * FROM audit_log"), before);
}
