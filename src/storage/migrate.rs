//! Numbered migrations, applied when a file is opened: each file separately, in a transaction,
//! after a snapshot.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::data_dir::{beside, give_to_owner, sync_dir};
use super::file::{IDENTITY_TABLE, io_error};
use super::{FileKind, StorageError, StorageErrorKind, View};

fn migrations<K: FileKind>() -> Migrations<'static> {
    Migrations::new(
        K::MIGRATIONS
            .iter()
            .map(|sql| M::up(sql).foreign_key_check())
            .collect(),
    )
}

fn version(conn: &Connection) -> Result<usize, StorageError> {
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    usize::try_from(version).map_err(|_| StorageError::new(StorageErrorKind::Corrupt))
}

/// Refuses a file of a newer version with `NewerSchema`, before anything is written to it.
pub fn refuse_newer<K: FileKind>(conn: &Connection) -> Result<(), StorageError> {
    if version(conn)? > K::MIGRATIONS.len() {
        Err(StorageError::new(StorageErrorKind::NewerSchema))
    } else {
        Ok(())
    }
}

/// Applies missing migrations; on an error the file is unchanged. Foreign keys are checked after
/// each migration and not during it, so that a referenced table can be rebuilt
/// (<https://www.sqlite.org/lang_altertable.html#otheralter>).
pub fn to_latest<K: FileKind>(conn: &mut Connection) -> Result<(), StorageError> {
    let enforced: bool = conn.query_row("PRAGMA foreign_keys", [], |row| row.get(0))?;
    conn.execute_batch("PRAGMA foreign_keys=OFF")?;
    let migrated = migrations::<K>()
        .to_latest(conn)
        .map_err(|error| match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => StorageError::from(err),
            _ => StorageError::new(StorageErrorKind::Other),
        });
    if enforced {
        conn.execute_batch("PRAGMA foreign_keys=ON")?;
    }
    migrated
}

/// Migrates a file with data: makes a durable snapshot beside it (`NAME.pre-vN`), then applies all
/// migrations in one transaction. On an error the file is unchanged. The snapshot stays until the
/// operator removes it: it is the way back to the older program.
pub fn with_snapshot<K: FileKind>(conn: &mut Connection, path: &Path) -> Result<(), StorageError> {
    let from = version(conn)?;
    if from == K::MIGRATIONS.len() {
        return Ok(());
    }
    let snapshot = beside(path, &format!(".pre-v{}", K::MIGRATIONS.len()));
    let partial = beside(&snapshot, ".tmp");
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_error(&error)),
        _ => {}
    }
    conn.execute("VACUUM INTO ?1", [partial.to_string_lossy()])?;
    let dir = path.parent().unwrap_or(Path::new("."));
    give_to_owner(dir, &partial).map_err(|error| io_error(&error))?;
    File::open(&partial)
        .and_then(|file| file.sync_all())
        .map_err(|error| io_error(&error))?;
    std::fs::rename(&partial, &snapshot).map_err(|error| io_error(&error))?;
    sync_dir(dir).map_err(|error| io_error(&error))?;
    to_latest::<K>(conn)?;
    tracing::info!(file = %path.display(), kind = K::NAME, from, to = K::MIGRATIONS.len(), "file \
        migrated");
    Ok(())
}

/// Compares a file's schema with that of a new file: dropped triggers, changed tables. One line per
/// difference.
pub fn schema_differences<K: FileKind>(view: &View<'_, K>) -> Result<Vec<String>, StorageError> {
    let mut fresh = Connection::open_in_memory()?;
    fresh.execute_batch(IDENTITY_TABLE)?;
    to_latest::<K>(&mut fresh)?;
    let (found, expected) = (schema(view.conn)?, schema(&fresh)?);
    let missing = expected
        .iter()
        .filter_map(|(name, sql)| match found.get(name) {
            None => Some(format!("{name} is missing")),
            Some(found) if found != sql => Some(format!("{name} was changed")),
            Some(_) => None,
        });
    let unexpected = found.keys().filter(|name| !expected.contains_key(*name));
    Ok(missing
        .chain(unexpected.map(|name| format!("{name} does not belong to the schema")))
        .collect())
}

/// The SQL of each schema object; internal ones of SQLite have none.
fn schema(conn: &Connection) -> Result<BTreeMap<String, String>, StorageError> {
    let mut prepared = conn.prepare(
        "SELECT type || ' ' || name AS object, sql FROM sqlite_schema WHERE sql IS NOT NULL",
    )?;
    let parts = prepared.query_map([], |row| Ok((row.get("object")?, row.get("sql")?)))?;
    Ok(parts.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::file::{self, Check};

    enum Old {}
    enum New {}
    enum Broken {}
    const FIRST: &str = "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;";

    macro_rules! kind {
        ($kind:ident, $migrations:expr) => {
            impl FileKind for $kind {
                const NAME: &'static str = "thing";
                const APPLICATION_ID: i32 = 7;
                const MIGRATIONS: &'static [&'static str] = $migrations;
            }
        };
    }
    kind!(Old, &[FIRST]);
    kind!(
        New,
        &[
            FIRST,
            "ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 1;"
        ]
    );
    const FAMILY: &str = "CREATE TABLE parent (id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK \
        (kind IN ('a'))) STRICT;
        CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parent \
        (id)) STRICT;";
    enum Family {}
    enum Rebuilt {}
    enum Orphaned {}
    kind!(Family, &[FAMILY]);
    kind!(
        Rebuilt,
        &[
            FAMILY,
            "CREATE TABLE parent_new (id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN \
             ('a', 'b'))) STRICT;
             INSERT INTO parent_new SELECT id, kind FROM parent; DROP TABLE parent; ALTER TABLE \
             parent_new RENAME TO parent;"
        ]
    );
    kind!(Orphaned, &[FAMILY, "DELETE FROM parent;"]);
    kind!(
        Broken,
        &[
            FIRST,
            "ALTER TABLE thing ADD COLUMN size INTEGER; SELECT * FROM absent;"
        ]
    );

    fn old_file(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("a.db");
        file::create::<Old>(
            &path,
            [1; 16],
            crate::primitives::Timestamp::from_millis_clamped(0),
        )
        .expect("creates");
        let conn =
            file::open_writer::<Old>(&path, [1; 16], Check::AfterUncleanStop).expect("opens");
        conn.execute("INSERT INTO thing (name) VALUES ('kept')", [])
            .expect("inserts");
        path
    }

    #[test]
    fn rebuilds_referenced_table_and_rejects_dangling_references() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.db");
        file::create::<Family>(
            &path,
            [1; 16],
            crate::primitives::Timestamp::from_millis_clamped(0),
        )
        .expect("creates");
        let conn =
            file::open_writer::<Family>(&path, [1; 16], Check::AfterUncleanStop).expect("opens");
        conn.execute_batch("INSERT INTO parent VALUES (1, 'a'); INSERT INTO child VALUES (1, 1)")
            .expect("inserts");
        drop(conn);
        assert!(file::open_writer::<Orphaned>(&path, [1; 16], Check::AfterUncleanStop).is_err());
        let conn = file::open_writer::<Rebuilt>(&path, [1; 16], Check::AfterUncleanStop)
            .expect("migrates");
        conn.execute_batch("INSERT INTO parent VALUES (2, 'b'); INSERT INTO child VALUES (2, 2)")
            .expect("inserts");
        assert!(
            conn.execute("INSERT INTO child VALUES (3, 3)", []).is_err(),
            "references are enforced again"
        );
    }

    #[test]
    fn migrates_old_file_after_snapshot() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = old_file(dir.path());
        let conn =
            file::open_writer::<New>(&path, [1; 16], Check::AfterUncleanStop).expect("migrates");
        let row: (String, i64) = conn
            .query_row("SELECT name, size FROM thing", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .expect("a row");
        assert_eq!(row, ("kept".to_owned(), 1));
        let snapshot =
            file::open_writer::<Old>(&beside(&path, ".pre-v2"), [1; 16], Check::AfterUncleanStop)
                .expect("the snapshot opens with the old program");
        assert_eq!(
            snapshot
                .query_row("SELECT count(*) FROM thing", [], |row| row.get::<_, i64>(0))
                .expect("counts"),
            1
        );
    }

    #[test]
    fn leaves_file_unchanged_when_migration_fails() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = old_file(dir.path());
        assert!(file::open_writer::<Broken>(&path, [1; 16], Check::AfterUncleanStop).is_err());
        let conn = file::open_writer::<Old>(&path, [1; 16], Check::AfterUncleanStop)
            .expect("still opens with the old program");
        assert_eq!(
            conn.query_row("SELECT name FROM thing", [], |row| row.get::<_, String>(0))
                .expect("a row"),
            "kept"
        );
    }

    #[test]
    fn refuses_newer_file_without_touching_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = old_file(dir.path());
        drop(file::open_writer::<New>(&path, [1; 16], Check::AfterUncleanStop).expect("migrates"));
        let before = std::fs::read(&path).expect("reads");
        let error = file::open_writer::<Old>(&path, [1; 16], Check::AfterUncleanStop)
            .expect_err("is newer");
        assert_eq!(error.kind(), StorageErrorKind::NewerSchema);
        assert_eq!(std::fs::read(&path).expect("reads"), before);
    }
}
