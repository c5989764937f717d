//! (a): the raw limit. The rows of one real sale are taken from a shop's file and written again and again, with new ids and numbers, by plain
//! prepared statements on one connection: no look-up, no rule, no JSON, no hashing, no channel.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::figures::{Figure, now, since_us};

/// How ids are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// 16 bytes, as Tillbox does.
    Blob,
    /// 36 characters.
    Text,
}

/// The tables that a sale writes rows to, parents first.
const TABLES: [&str; 10] = [
    "sales_order",
    "order_line",
    "inventory_movement",
    "payment",
    "financial_order",
    "invoice",
    "financial_transaction",
    "ledger_entry",
    "ledger_transfer",
    "job",
];

struct Row {
    insert: String,
    values: Vec<Value>,
    columns: Vec<String>,
}

/// Writes sales of `batch` to a commit for the length of a round.
pub fn run(template: &Path, dir: &Path, batch: usize, ids: Ids, round: Duration) -> Figure {
    std::fs::create_dir_all(dir).expect("a directory");
    let path = dir.join("raw.db");
    let source = Connection::open(template).expect("the template");
    let rows = rows(&source);
    let conn = copy(&source, &path, ids);
    let products: Vec<Value> = source
        .prepare("SELECT id FROM product")
        .expect("reads")
        .query_map([], |row| row.get(0))
        .expect("reads")
        .collect::<Result<_, _>>()
        .expect("reads");
    let (mut counter, mut latencies, start) = (1_000_000_u64, Vec::new(), now());
    let mut key = conn
        .prepare(
            "INSERT INTO idempotency_key (key, request_hash, status, body, created_at) VALUES (?1, zeroblob(32), 201, zeroblob(2600), 0)",
        )
        .expect("prepares");
    while start.elapsed() < round {
        let began = now();
        conn.execute_batch("BEGIN IMMEDIATE").expect("begins");
        for _ in 0..batch {
            counter += 1;
            write(&conn, &rows, &products, counter, ids);
            key.execute([format!("0190a3b2-7c4d-7e5f-8a6b-{counter:012x}")]).expect("inserts");
        }
        conn.execute_batch("COMMIT").expect("commits");
        let took = since_us(began);
        latencies.extend(std::iter::repeat_n(took, batch));
    }
    Figure::new(latencies, start.elapsed())
}

/// The rows that the template's one sale wrote.
fn rows(source: &Connection) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in TABLES {
        // Deliveries and the audit entries of the set-up are rows too, but not the sale's.
        let only = match table {
            "inventory_movement" => "WHERE kind = 'sale'",
            "job" => "WHERE payload LIKE '%order.paid%'",
            _ => "",
        };
        let mut select = source.prepare(&format!("SELECT * FROM {table} {only}")).expect("reads");
        let columns: Vec<String> = select.column_names().iter().map(ToString::to_string).collect();
        let marks: Vec<String> = (2..=columns.len()).map(|index| format!("?{}", index - 1)).collect();
        // The first column is `seq`, which the file gives.
        let insert = format!("INSERT INTO {table} ({}) VALUES ({})", columns[1..].join(", "), marks.join(", "));
        let read = select.query_map([], |row| {
            (1..columns.len()).map(|index| row.get(index)).collect::<Result<Vec<Value>, _>>()
        });
        for values in read.expect("reads") {
            rows.push(Row {
                insert: insert.clone(),
                values: values.expect("reads"),
                columns: columns[1..].to_vec(),
            });
        }
    }
    rows
}

/// A file of the same schema with the shop's products in it and no sale.
fn copy(source: &Connection, path: &Path, ids: Ids) -> Connection {
    let conn = Connection::open(path).expect("a file");
    conn.execute_batch("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000; PRAGMA temp_store=MEMORY;").expect("settings");
    conn.set_prepared_statement_cache_capacity(64);
    let mut schema = source
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid")
        .expect("reads");
    for sql in schema.query_map([], |row| row.get::<_, String>(0)).expect("reads") {
        let sql = sql.expect("reads");
        let sql = if ids == Ids::Text {
            sql.replace(" BLOB", " ANY").replace("= 16)", ">= 16)")
        } else {
            sql
        };
        conn.execute_batch(&sql).expect("the schema");
    }
    for table in ["product", "stock", "ledger_account", "series"] {
        let mut select = source.prepare(&format!("SELECT * FROM {table}")).expect("reads");
        let width = select.column_count();
        let marks: Vec<String> = (1..=width).map(|index| format!("?{index}")).collect();
        let insert = format!("INSERT INTO {table} VALUES ({})", marks.join(", "));
        let read = select
            .query_map([], |row| (0..width).map(|index| row.get(index)).collect::<Result<Vec<Value>, _>>())
            .expect("reads");
        for values in read {
            let values = values.expect("reads").into_iter().map(|value| stored(value, ids));
            conn.execute(&insert, params_from_iter(values)).expect("inserts");
        }
    }
    conn.execute_batch("PRAGMA foreign_keys=ON").expect("settings");
    conn
}

fn write(conn: &Connection, rows: &[Row], products: &[Value], counter: u64, ids: Ids) {
    let mut renamed: HashMap<Vec<u8>, Value> = HashMap::new();
    for product in products {
        if let Value::Blob(bytes) = product {
            renamed.insert(bytes.clone(), stored(product.clone(), ids));
        }
    }
    let mut entry_seq = 0;
    for row in rows {
        let values = row
            .values
            .iter()
            .zip(&row.columns)
            .map(|(value, column)| match (value, column.as_str()) {
                (_, "number") => Value::Text(format!("NUM-{counter:07}")),
                (_, "series_number") => Value::Integer(counter as i64),
                (_, "entry_seq") => Value::Integer(entry_seq),
                (Value::Blob(bytes), _) if bytes.len() == 16 => {
                    let fresh = renamed.len() as u64;
                    renamed
                        .entry(bytes.clone())
                        .or_insert_with(|| stored(Value::Blob(time_ordered(counter, fresh)), ids))
                        .clone()
                }
                (value, _) => value.clone(),
            });
        conn.prepare_cached(&row.insert)
            .expect("prepares")
            .execute(params_from_iter(values))
            .expect("inserts");
        if row.insert.starts_with("INSERT INTO ledger_entry") {
            entry_seq = conn.last_insert_rowid();
        }
    }
    for product in products {
        let mut update = conn
            .prepare_cached("UPDATE stock SET on_hand = on_hand - 1 WHERE product_id = ?1")
            .expect("prepares");
        update.execute([stored(product.clone(), ids)]).expect("updates");
    }
    for series in ["order", "invoice"] {
        let mut update = conn
            .prepare_cached("UPDATE series SET last_number = last_number + 1 WHERE name LIKE ?1 || '%'")
            .expect("prepares");
        update.execute([series]).expect("updates");
    }
}

/// A UUIDv7-like id: time first, then what looks random.
fn time_ordered(counter: u64, fresh: u64) -> Vec<u8> {
    let mixed = (counter * 31 + fresh).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut id = (counter << 16).to_be_bytes().to_vec();
    id.extend(mixed.to_be_bytes());
    id
}

fn stored(value: Value, ids: Ids) -> Value {
    match value {
        Value::Blob(bytes) if ids == Ids::Text && bytes.len() == 16 => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Value::Text(format!(
                "{}-{}-{}-{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            ))
        }
        value => value,
    }
}
