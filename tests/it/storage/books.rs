//! The books cannot be rewritten, not even by somebody with the `sqlite3` shell. Whoever drops a trigger first leaves a trace in the
//! schema, which the integrity check reads; everything short of that is refused here.

use crate::support::{TestApp, TestShop};

/// One sale with everything that hangs on it, written by hand; and beside it a pending payment, a draft invoice and an open financial order.
const ROWS: &str = "
PRAGMA foreign_keys = OFF;
INSERT INTO sales_order (seq, id, number, channel, status, currency, prices_include_tax, subtotal_minor, discount_minor, tax_minor, total_minor, tax_lines, placed_at, updated_at)
VALUES (1, x'00000000000000000000000000000001', 'O-1', 'sale', 'paid', 'EUR', 0, 100, 0, 19, 119, '[]', 1, 1);
INSERT INTO payment (seq, id, order_id, method, status, amount_minor, currency, created_at, updated_at, succeeded_at)
VALUES (1, x'00000000000000000000000000000001', x'00000000000000000000000000000001', 'cash', 'succeeded', 119, 'EUR', 1, 1, 1),
       (2, x'00000000000000000000000000000002', x'00000000000000000000000000000001', 'cash', 'pending', 119, 'EUR', 1, 1, NULL);
INSERT INTO financial_order (seq, id, order_id, status, currency, subtotal_minor, discount_minor, tax_minor, total_minor, snapshot, snapshot_hash, locked_at, paid_at, created_at)
VALUES (1, x'00000000000000000000000000000001', x'00000000000000000000000000000001', 'paid', 'EUR', 100, 0, 19, 119, '{}', zeroblob(32), 1, 1, 1),
       (2, x'00000000000000000000000000000002', x'00000000000000000000000000000002', 'draft', 'EUR', 100, 0, 19, 119, NULL, NULL, NULL, NULL, 1);
INSERT INTO financial_transaction (seq, id, financial_order_id, kind, status, amount_minor, currency, completed_at)
VALUES (1, x'00000000000000000000000000000001', x'00000000000000000000000000000001', 'credit', 'completed', 119, 'EUR', 1);
INSERT INTO invoice (seq, id, order_id, financial_order_id, status, series, series_number, number, currency, tax_minor, total_minor, balance_minor, snapshot, snapshot_hash, issued_at)
VALUES (1, x'00000000000000000000000000000001', x'00000000000000000000000000000001', x'00000000000000000000000000000001', 'issued', 'S', 1, 'INV-1', 'EUR', 19, 119, 0, '{}', zeroblob(32), 1),
       (2, x'00000000000000000000000000000002', x'00000000000000000000000000000001', x'00000000000000000000000000000001', 'draft', 'S', 2, 'INV-2', 'EUR', 19, 119, 0, '{}', zeroblob(32), 1);
INSERT OR IGNORE INTO ledger_account (code, currency, name, kind) VALUES ('t1', 'EUR', 'Cash', 'asset'), ('t2', 'EUR', 'Sales', 'revenue');
INSERT INTO ledger_entry (seq, id, kind, subject_id, description, booked_at, created_at, hash)
VALUES (1, x'00000000000000000000000000000001', 'sale', x'00000000000000000000000000000001', 'a sale', 1, 1, zeroblob(32));
INSERT INTO ledger_transfer (seq, entry_seq, debit_code, credit_code, currency, amount_minor) VALUES (1, 1, 't1', 't2', 'EUR', 119);
INSERT INTO audit_log (seq, at, actor, action, subject, details, prev_hash, hash) VALUES (1, 1, 'system', 'a', 'b', '{}', zeroblob(32), zeroblob(32));
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
];

fn books() -> TestShop {
    let shop = TestApp::start().tenant("corner");
    shop.raw("DELETE FROM job").expect("the rows of the start go");
    shop.raw(ROWS).expect("the rows go in");
    shop
}

fn columns(shop: &TestShop, table: &str) -> Vec<String> {
    shop.rows(&format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"))
}

fn all(shop: &TestShop) -> Vec<Vec<String>> {
    FINAL
        .iter()
        .map(|table| shop.rows(&format!("SELECT * FROM {table} ORDER BY seq")))
        .collect()
}

/// As the `sqlite3` shell would: with the defaults of the library, under which REPLACE fires no delete triggers.
#[track_caller]
fn refused(shop: &TestShop, sql: &str) {
    for switches in ["", "PRAGMA recursive_triggers = ON; ", "PRAGMA foreign_keys = ON; "] {
        let result = shop.raw(&format!("{switches}{sql}"));
        let error = result.expect_err(sql).to_string();
        assert!(error.contains("never"), "{switches}{sql}: {error}");
    }
}

#[test]
fn final_rows_cannot_be_deleted() {
    let shop = books();
    let before = all(&shop);
    for table in FINAL {
        refused(&shop, &format!("DELETE FROM {table} WHERE seq = 1"));
        refused(&shop, &format!("DELETE FROM {table}"));
    }
    assert_eq!(all(&shop), before);
}

#[test]
fn no_column_of_a_final_row_can_be_changed() {
    let shop = books();
    let before = all(&shop);
    for table in FINAL {
        for column in columns(&shop, table) {
            let other = match column.as_str() {
                "id" | "order_id" | "subject_id" | "financial_order_id" | "exchange_rate_id" => "x'00000000000000000000000000000009'",
                "snapshot_hash" | "hash" | "prev_hash" => "randomblob(32)",
                "snapshot" | "details" => "'{\"a\":1}'",
                "currency" => "'USD'",
                "status" => {
                    if *table == "financial_transaction" {
                        "'completed'"
                    } else {
                        "'draft'"
                    }
                }
                "kind" | "method" | "number" | "series" | "debit_code" | "credit_code" | "actor" | "action" | "subject" | "request_id"
                | "description" | "provider_reference" => "'manual'",
                // Totals are checked against each other before any trigger: both sides move.
                "subtotal_minor" => "subtotal_minor + 1, total_minor = total_minor + 1",
                "total_minor" if *table == "financial_order" => "total_minor + 1, subtotal_minor = subtotal_minor + 1",
                "discount_minor" => "discount_minor + 1, total_minor = total_minor - 1",
                "tax_minor" if *table == "financial_order" => "tax_minor + 1, total_minor = total_minor + 1",
                _ => "1234",
            };
            refused(&shop, &format!("UPDATE {table} SET {column} = {other} WHERE seq = 1"));
            refused(&shop, &format!("UPDATE OR REPLACE {table} SET {column} = {other} WHERE seq = 1"));
        }
    }
    assert_eq!(all(&shop), before);
}

/// REPLACE deletes the row in its way, and fires no delete trigger unless `recursive_triggers` is on, which it is not in the shell.
#[test]
fn a_final_row_cannot_be_replaced() {
    let shop = books();
    let before = all(&shop);
    for table in FINAL {
        let columns = columns(&shop, table);
        let list = columns.join(", ");
        refused(
            &shop,
            &format!("REPLACE INTO {table} ({list}) SELECT {list} FROM {table} WHERE seq = 1"),
        );
        // By another of its keys alone: the row gets a new place.
        let without_seq: Vec<&str> = columns.iter().map(String::as_str).filter(|column| *column != "seq").collect();
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

/// An open row that takes the place, the id or the number of a final one would push it out.
#[test]
fn an_open_row_cannot_push_a_final_one_out() {
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
    ] {
        let sql = format!("UPDATE OR REPLACE {table} SET {column} = (SELECT {column} FROM {table} WHERE seq = 1) WHERE seq = 2");
        refused(&shop, &sql);
    }
    assert_eq!(all(&shop), before);
}

#[test]
fn what_is_open_may_still_change_and_what_is_final_may_not_even_move_on() {
    let shop = books();
    for sql in [
        "UPDATE payment SET status = 'failed', failure_code = 'no' WHERE seq = 2",
        "DELETE FROM payment WHERE seq = 2",
        "UPDATE financial_order SET subtotal_minor = 200, total_minor = 219 WHERE seq = 2",
        "UPDATE financial_order SET snapshot = '{}', snapshot_hash = zeroblob(32), locked_at = 1, status = 'pending' WHERE seq = 2",
        "UPDATE financial_order SET paid_at = 2, status = 'paid' WHERE seq = 2",
        "UPDATE invoice SET total_minor = 120 WHERE seq = 2",
        "UPDATE invoice SET status = 'issued' WHERE seq = 2",
        "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor)
         VALUES ((SELECT max(seq) FROM ledger_entry), 't1', 't2', 'EUR', 1)",
    ] {
        shop.raw(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let entry = "INSERT INTO ledger_entry (id, kind, subject_id, description, booked_at, created_at, hash) VALUES (randomblob(16), 'later', randomblob(16), '', 1, 1, zeroblob(32))";
    shop.raw(entry).expect("another booking");
    refused(
        &shop,
        "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor) VALUES (1, 't1', 't2', 'EUR', 1)",
    );
    refused(&shop, "UPDATE ledger_account SET kind = 'expense'");
    refused(&shop, "REPLACE INTO ledger_account VALUES ('t1', 'EUR', 'Gifts', 'liability')");
    refused(&shop, "DELETE FROM ledger_account");
    for sql in [
        "UPDATE payment SET status = 'succeeded' WHERE seq = 1",
        "UPDATE payment SET status = 'refunded' WHERE seq = 1",
        "UPDATE financial_order SET status = 'paid' WHERE seq = 1",
        "UPDATE financial_order SET status = 'refunded' WHERE seq IN (1, 2)",
        "UPDATE invoice SET balance_minor = 10",
    ] {
        refused(&shop, sql);
    }
}

#[test]
fn the_schema_knows_no_unbalanced_books() {
    let shop = books();
    for sql in [
        "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor) VALUES (1, 't1', 't1', 'EUR', 1)",
        "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor) VALUES (1, 't1', 't2', 'EUR', 0)",
        "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor) VALUES (1, 't1', 't2', 'EUR', -1)",
        "PRAGMA foreign_keys = ON; INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, amount_minor) VALUES (1, 't1', 't2', 'USD', 1)",
    ] {
        assert!(shop.raw(sql).is_err(), "{sql}");
    }
}

#[test]
fn the_landlords_audit_log_cannot_be_rewritten_either() {
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
