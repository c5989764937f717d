//! A column in the middle of every table breaks nothing: no statement depends on the order.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::json;
use tillbox::storage::data_dir::beside;

use crate::support::TestApp;

/// A `CREATE TABLE` with one more column behind the first one.
fn widened(sql: &str) -> String {
    let mut depth = 0;
    for (place, c) in sql.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => {
                return format!("{}, inserted TEXT{}", &sql[..place], &sql[place..]);
            }
            ')' => depth -= 1,
            ',' if depth == 1 => {
                return format!("{}, inserted TEXT{}", &sql[..place], &sql[place..]);
            }
            _ => {}
        }
    }
    panic!("not a table: {sql}");
}

/// Copies a file that nobody has open into one whose tables have the column.
fn widen(path: &Path) {
    let wide = beside(path, ".wide");
    let conn = Connection::open(&wide).expect("opens");
    conn.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA auto_vacuum = INCREMENTAL;")
        .expect("is set");
    conn.execute("ATTACH ?1 AS old", [path.to_string_lossy()])
        .expect("attaches");
    let texts = |sql: &str| -> Vec<String> {
        let mut prepared = conn.prepare(sql).expect("prepares");
        let rows = prepared.query_map([], |row| row.get(0)).expect("runs");
        rows.collect::<Result<_, _>>().expect("reads")
    };
    for pragma in ["application_id", "user_version"] {
        let value: i64 = conn
            .query_row(&format!("PRAGMA old.{pragma}"), [], |row| row.get(0))
            .expect("a number");
        conn.execute_batch(&format!("PRAGMA {pragma} = {value}"))
            .expect("is set");
    }
    let objects = "FROM old.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' AND";
    let tables = texts(&format!("SELECT name {objects} type = 'table'"));
    assert!(tables.len() > 5, "{tables:?}");
    for table in tables {
        let sql = texts(&format!("SELECT sql {objects} name = '{table}'"));
        conn.execute_batch(&widened(&sql[0])).expect("creates");
        let columns = texts(&format!(
            "SELECT group_concat(name) FROM pragma_table_info('{table}', 'old')"
        ));
        let columns = &columns[0];
        conn.execute_batch(&format!(
            "INSERT INTO main.{table} ({columns}) SELECT {columns} FROM old.{table}"
        ))
        .expect("copies");
        let position = "SELECT cid FROM pragma_table_info WHERE arg = ?1 AND name = 'inserted'";
        let position: i64 = conn
            .query_row(position, [&table], |row| row.get(0))
            .expect("has the column");
        assert_eq!(position, 1, "{table}");
    }
    for sql in texts(&format!("SELECT sql {objects} type <> 'table'")) {
        conn.execute_batch(&sql).expect("creates");
    }
    drop(conn);
    fs::rename(&wide, path).expect("replaces the file");
}

#[tokio::test]
async fn sells_and_lists_when_every_table_has_new_column_in_middle() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    app.stop();
    widen(&shop.path());
    widen(&app.data_dir().join("landlord.db"));
    app.resume();
    let product = shop.stocked("TEA-1", 1_190, 10).await;
    shop.sell(&[(&product, 2)]).await;
    app.work_off();
    assert_eq!(shop.stock(&product).await, [8, 0, 8]);
    for (path, field, value) in [
        ("catalog/products", "sku", json!("TEA-1")),
        ("orders", "total_minor", json!(2_380)),
        ("payments", "amount_minor", json!(2_380)),
        ("financial-orders", "total_minor", json!(2_380)),
        ("invoices", "total_minor", json!(2_380)),
    ] {
        let list = shop.get(&format!("/v1/{path}")).send().await.expect(200);
        assert_eq!(list.json()["data"][0][field], value, "{path}");
    }
    assert_eq!(
        shop.count("SELECT count(*) FROM sales_order WHERE inserted IS NULL"),
        1
    );
}
