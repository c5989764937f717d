//! A tenant's file of the previous schema version, and its expected state after the migration.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use tillbox::storage::{FileKind as _, Migration, Tenant};

use crate::daemon::command;
use crate::oracle::Verdict;
use crate::table::{Finding, Kind};

/// The tenant with the older file.
const SLUG: &str = "older";
const LATEST: usize = Tenant::MIGRATIONS.len();
/// A row that every version must keep.
const KEPT: &str = "CREATE TABLE kept (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT; INSERT \
    INTO kept VALUES (1, 'kept');";

/// Creates a tenant in a directory that no process has open, and replaces its file by an older one
/// with the same identity.
pub fn create(dir: &Path) -> String {
    let made = command(
        dir,
        &["tenant", "create", SLUG, "--name", "Elder", "--json"],
    )
    .expect("the tenant is created");
    let id = made["id"].as_str().expect("an id").to_owned();
    let path = file(dir, &id);
    let conn = Connection::open(&path).expect("it opens");
    let one = |sql: &str| {
        conn.query_row(sql, [], |row| row.get::<_, String>(0))
            .expect("a text")
    };
    let identity = one("SELECT sql FROM sqlite_schema WHERE name = 'file_identity'");
    let row = one(
        "SELECT format('INSERT INTO file_identity VALUES (1, x''%s'', %d)', hex(file_id), \
         created_at) FROM file_identity",
    );
    conn.close().expect("it closes");
    for suffix in ["", "-wal", "-shm"] {
        // The last connection may have removed these when it closed.
        let _gone = fs::remove_file(beside(&path, suffix));
    }
    let conn = Connection::open(&path).expect("a new file");
    let pragmas = format!(
        "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA \
         application_id={};",
        Tenant::APPLICATION_ID
    );
    conn.execute_batch(&format!("{pragmas} {identity}; {row}; {KEPT}"))
        .expect("a tenant's file");
    for migration in &Tenant::MIGRATIONS[..LATEST - 1] {
        let Migration::Sql(sql) = migration else {
            panic!("a rebuilt table needs its rows here");
        };
        conn.execute_batch(sql).expect("it migrates");
    }
    conn.execute_batch(&format!("PRAGMA user_version={}", LATEST - 1))
        .expect("a version");
    id
}

/// Checks the file after a disturbed migration: it migrates and keeps all its content, and its
/// snapshot is the complete older file. Then removes the tenant with its snapshot.
pub fn examine(dir: &Path, id: &str) -> Verdict {
    command(dir, &["tenant", "migrate", SLUG])
        .map_err(|error| format!("the older file: {error}"))?;
    let path = file(dir, id);
    for (path, version) in [
        (&path, LATEST),
        (&beside(&path, &format!(".pre-v{LATEST}")), LATEST - 1),
    ] {
        let found = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        if found
            != (
                i64::try_from(version).unwrap_or(0),
                "kept".to_owned(),
                "ok".to_owned(),
            )
        {
            let text = format!("{} has (version, text, verdict) {found:?}", path.display());
            return Err(Finding::new(Kind::Lost, text));
        }
    }
    command(dir, &["tenant", "delete", SLUG, "--yes"])
        .map_err(|error| format!("the older file's tenant: {error}"))?;
    Ok(())
}

fn read(path: &Path) -> rusqlite::Result<(i64, String, String)> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let sql = "SELECT (SELECT user_version FROM pragma_user_version), (SELECT text FROM kept), \
        (SELECT quick_check FROM pragma_quick_check)";
    conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

fn file(dir: &Path, id: &str) -> PathBuf {
    dir.join("tenants").join(format!("{id}.db"))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
