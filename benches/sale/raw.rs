//! (a): the raw limit. The rows of one real sale are read from a tenant's file and written
//! repeatedly, with new ids and numbers, by plain prepared statements on one connection: no
//! look-up, no rule, no JSON, no hashing, no channel.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, Statement, params_from_iter};

use crate::metric::{Metric, now, since_us};

/// The storage format of ids.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// 16 bytes, as in Tillbox.
    Blob,
    /// 36 characters.
    Text,
}

/// The tables of a sale, parents first.
const TABLES: [&str; 11] = [
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
    "idempotency_key",
];

/// The source of a value when its row is written again.
enum Cell {
    /// The original value.
    Same(Value),
    /// An id: fresh in each sale, and the same for all cells that shared an id.
    Id(usize),
    /// A unique number.
    Number,
    /// A unique, unordered key, like those of clients.
    Key,
    /// A number of a series.
    SeriesNumber,
    /// The ledger entry that was written last.
    Entry,
}

struct TemplateRow {
    insert: String,
    cells: Vec<Cell>,
    is_entry: bool,
}

/// Writes sales, `batch` to a commit, for one round.
pub fn run(template: &Path, dir: &Path, batch: usize, ids: Ids, round: Duration) -> Metric {
    std::fs::create_dir_all(dir).expect("a directory");
    let path = dir.join("raw.db");
    let source = Connection::open(template).expect("the template");
    let products: Vec<Value> = source
        .prepare("SELECT id FROM product")
        .expect("reads")
        .query_map([], |row| row.get(0))
        .expect("reads")
        .collect::<Result<_, _>>()
        .expect("reads");
    let (rows, known) = rows(&source, &products);
    let conn = copy(&source, &path, ids);
    let products: Vec<Value> = products
        .into_iter()
        .map(|product| stored(product, ids))
        .collect();
    let mut sale = Sale::prepare(&conn, &rows, &products, known - products.len(), ids);
    let (mut latencies, start) = (Vec::new(), now());
    while start.elapsed() < round {
        let began = now();
        conn.execute_batch("BEGIN IMMEDIATE").expect("begins");
        (0..batch).for_each(|_| sale.write());
        conn.execute_batch("COMMIT").expect("commits");
        let took = since_us(began);
        latencies.extend(std::iter::repeat_n(took, batch));
    }
    Metric::new(latencies, start.elapsed())
}

/// Reads the rows of the template's sale. Also returns the number of different ids in them, the
/// products' first.
fn rows(source: &Connection, products: &[Value]) -> (Vec<TemplateRow>, usize) {
    let (mut rows, mut known) = (Vec::new(), products.to_vec());
    for table in TABLES {
        // Deliveries and the audit entries of the set-up do not belong to the sale.
        let only = match table {
            "inventory_movement" => "WHERE kind = 'sale'",
            "job" => "WHERE payload LIKE '%order.paid%'",
            _ => "",
        };
        let mut select = source
            .prepare(&format!("SELECT * FROM {table} {only}"))
            .expect("reads");
        let columns: Vec<String> = select
            .column_names()
            .iter()
            .map(ToString::to_string)
            .collect();
        // SQLite assigns the first column, `seq`.
        let placeholders: Vec<String> = (1..columns.len())
            .map(|index| format!("?{index}"))
            .collect();
        let insert = format!(
            "INSERT INTO {table} ({}) VALUES ({})",
            columns[1..].join(", "),
            placeholders.join(", ")
        );
        let read = select.query_map([], |row| {
            (1..columns.len())
                .map(|index| row.get(index))
                .collect::<Result<Vec<Value>, _>>()
        });
        for values in read.expect("reads") {
            let named = columns[1..].iter().zip(values.expect("reads"));
            let mut cell = |(column, value): (&String, Value)| match (column.as_str(), value) {
                ("number", _) => Cell::Number,
                ("key", _) => Cell::Key,
                ("series_number", _) => Cell::SeriesNumber,
                ("entry_seq", _) => Cell::Entry,
                (_, Value::Blob(id)) if id.len() == 16 => {
                    Cell::Id(index_of(&mut known, Value::Blob(id)))
                }
                (_, value) => Cell::Same(value),
            };
            rows.push(TemplateRow {
                insert: insert.clone(),
                cells: named.map(&mut cell).collect(),
                is_entry: table == "ledger_entry",
            });
        }
    }
    (rows, known.len())
}

fn index_of(known: &mut Vec<Value>, id: Value) -> usize {
    known
        .iter()
        .position(|known| *known == id)
        .unwrap_or_else(|| {
            known.push(id);
            known.len() - 1
        })
}

/// One sale, prepared for repeated writing.
struct Sale<'c> {
    conn: &'c Connection,
    rows: Vec<(Statement<'c>, &'c TemplateRow)>,
    stock: Statement<'c>,
    series: Statement<'c>,
    products: &'c [Value],
    fresh: usize,
    ids: Ids,
    counter: u64,
}

impl<'c> Sale<'c> {
    fn prepare(
        conn: &'c Connection,
        rows: &'c [TemplateRow],
        products: &'c [Value],
        fresh: usize,
        ids: Ids,
    ) -> Self {
        let prepare = |sql: &str| conn.prepare(sql).expect("prepares");
        Self {
            conn,
            rows: rows.iter().map(|row| (prepare(&row.insert), row)).collect(),
            stock: prepare("UPDATE stock SET on_hand = on_hand - 1 WHERE product_id = ?1"),
            series: prepare(
                "UPDATE series SET last_number = last_number + 1 WHERE name LIKE ?1 || '%'",
            ),
            products,
            fresh,
            ids,
            counter: 1_000_000,
        }
    }

    fn write(&mut self) {
        self.counter += 1;
        let (counter, number, mut entry) =
            (self.counter as i64, format!("NUM-{:07}", self.counter), 0);
        let key = format!(
            "shop {:016x}",
            self.counter.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        );
        let fresh: Vec<Value> = (0..self.fresh)
            .map(|at| stored(Value::Blob(time_ordered(self.counter, at as u64)), self.ids))
            .collect();
        for (insert, row) in &mut self.rows {
            for (at, cell) in row.cells.iter().enumerate() {
                let bound = match cell {
                    Cell::Same(value) => insert.raw_bind_parameter(at + 1, value),
                    Cell::Id(place) if *place < self.products.len() => {
                        insert.raw_bind_parameter(at + 1, &self.products[*place])
                    }
                    Cell::Id(place) => {
                        insert.raw_bind_parameter(at + 1, &fresh[*place - self.products.len()])
                    }
                    Cell::Number => insert.raw_bind_parameter(at + 1, &number),
                    Cell::Key => insert.raw_bind_parameter(at + 1, &key),
                    Cell::SeriesNumber => insert.raw_bind_parameter(at + 1, counter),
                    Cell::Entry => insert.raw_bind_parameter(at + 1, entry),
                };
                bound.expect("binds");
            }
            insert.raw_execute().expect("inserts");
            if row.is_entry {
                entry = self.conn.last_insert_rowid();
            }
        }
        for product in self.products {
            self.stock.execute([product]).expect("updates");
        }
        for series in ["order", "invoice"] {
            self.series.execute([series]).expect("updates");
        }
    }
}

/// Creates a file of the same schema with the tenant's products and no sale.
fn copy(source: &Connection, path: &Path, ids: Ids) -> Connection {
    let conn = Connection::open(path).expect("a file");
    conn.execute_batch(
        "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA \
        synchronous=FULL; PRAGMA wal_autocheckpoint=4000; PRAGMA \
        temp_store=MEMORY;",
    )
    .expect("settings");
    conn.set_prepared_statement_cache_capacity(64);
    let mut schema = source
        .prepare(
            "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' \
            ORDER BY rowid",
        )
        .expect("reads");
    for sql in schema
        .query_map([], |row| row.get::<_, String>(0))
        .expect("reads")
    {
        let sql = sql.expect("reads");
        let sql = if ids == Ids::Text {
            sql.replace(" BLOB", " ANY").replace("= 16)", ">= 16)")
        } else {
            sql
        };
        conn.execute_batch(&sql).expect("the schema");
    }
    for table in ["product", "stock", "ledger_account", "series"] {
        let mut select = source
            .prepare(&format!("SELECT * FROM {table}"))
            .expect("reads");
        let width = select.column_count();
        let placeholders: Vec<String> = (1..=width).map(|index| format!("?{index}")).collect();
        let insert = format!("INSERT INTO {table} VALUES ({})", placeholders.join(", "));
        let read = select
            .query_map([], |row| {
                (0..width)
                    .map(|index| row.get(index))
                    .collect::<Result<Vec<Value>, _>>()
            })
            .expect("reads");
        for values in read {
            let values = values
                .expect("reads")
                .into_iter()
                .map(|value| stored(value, ids));
            conn.execute(&insert, params_from_iter(values))
                .expect("inserts");
        }
    }
    conn.execute_batch("PRAGMA foreign_keys=ON")
        .expect("settings");
    conn
}

/// Creates a UUIDv7-like id: time first, then pseudo-random bytes.
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
