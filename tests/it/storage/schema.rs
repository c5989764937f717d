//! `schema/tenant.sql` and `schema/landlord.sql` are for reading: complete, and generated from a
//! migrated file.
//!
//! After a change of a migration: `UPDATE_SCHEMA=1 cargo test --test it schema`.

use std::path::Path;

use rusqlite::Connection;
use tillbox::primitives::Timestamp;
use tillbox::storage::{FileKind, Landlord, Tenant, file};

/// A new file of a kind, with a connection to it.
pub fn fresh<K: FileKind>(dir: &Path) -> Connection {
    let path = dir.join(format!("{}.db", K::NAME));
    file::create::<K>(&path, [7; 16], Timestamp::from_millis_clamped(0)).expect("the file is made");
    Connection::open(path).expect("the file opens")
}

fn whole_schema<K: FileKind>() -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let conn = fresh::<K>(dir.path());
    let version: i64 = conn
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .expect("a number");
    let mut text = format!(
        "-- The whole schema of a {} file, version {version}. Generated from the migrations in \
         schema/{}/, for reading; not run by anything.\n\
         -- To generate it again: UPDATE_SCHEMA=1 cargo test --test it schema\n\n\
         PRAGMA application_id = {};\nPRAGMA user_version = {version};\n",
        K::NAME,
        K::NAME,
        K::APPLICATION_ID
    );
    // Each table is followed by its indexes and triggers.
    let objects = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
                   ORDER BY tbl_name, CASE type WHEN 'table' THEN 1 WHEN 'index' THEN 2 ELSE 3 \
                   END, name";
    let mut prepared = conn.prepare(objects).expect("prepares");
    let rows = prepared
        .query_map([], |row| row.get::<_, String>(0))
        .expect("runs");
    for sql in rows {
        let sql = sql.expect("a text");
        let gap = if sql.starts_with("CREATE TABLE") {
            "\n"
        } else {
            ""
        };
        text.push_str(&format!("{gap}{sql};\n"));
    }
    text
}

fn agrees<K: FileKind>() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schema")
        .join(format!("{}.sql", K::NAME));
    let generated = whole_schema::<K>();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &generated).expect("the schema is written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == generated,
        "{} is out of date; run: UPDATE_SCHEMA=1 cargo test --test it schema",
        path.display()
    );
}

#[test]
fn keeps_tenant_schema_file_up_to_date() {
    agrees::<Tenant>();
}

#[test]
fn keeps_landlord_schema_file_up_to_date() {
    agrees::<Landlord>();
}

/// A database created from the schema file has the same objects as a migrated one.
#[test]
fn creates_same_objects_from_schema_file() {
    let conn = Connection::open_in_memory().expect("opens");
    conn.execute_batch(&whole_schema::<Tenant>())
        .expect("the text runs");
    let dir = tempfile::tempdir().expect("a directory");
    let objects = |conn: &Connection| -> i64 {
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .expect("a number")
    };
    assert_eq!(objects(&conn), objects(&fresh::<Tenant>(dir.path())));
}

#[test]
fn declares_every_table_strict() {
    let dir = tempfile::tempdir().expect("a directory");
    for conn in [fresh::<Tenant>(dir.path()), fresh::<Landlord>(dir.path())] {
        let loose: i64 = conn
            .query_row(
                "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND strict = 0 AND \
                 name NOT LIKE 'sqlite_%'",
                [],
                |row| row.get(0),
            )
            .expect("a number");
        assert_eq!(loose, 0);
    }
}
