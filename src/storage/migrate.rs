//! Numbered migrations, applied when a file is opened: each file separately, in a transaction,
//! after a snapshot.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, Transaction};
use rusqlite_migration::{M, Migrations};

use super::data_dir::{beside, give_to_owner, sync_dir};
use super::error::io_error;
use super::identity::IDENTITY_TABLE;
use super::migration::Migration;
use super::{FileKind, StorageError, StorageErrorKind, View};

fn migrations<K: FileKind>() -> Migrations<'static> {
    let step = |migration: &'static Migration| match migration {
        Migration::Sql(sql) => M::up(sql),
        Migration::Rebuild(rebuild) => M::up_with_hook("", |transaction: &Transaction<'_>| {
            rebuild.apply(transaction)
        }),
    };
    let steps = K::MIGRATIONS.iter().map(step);
    Migrations::new(steps.map(M::foreign_key_check).collect())
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
    use crate::storage::Rebuild;
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
                const MIGRATIONS: &'static [Migration] = $migrations;
            }
        };
    }
    kind!(Old, &[Migration::Sql(FIRST)]);
    kind!(
        New,
        &[
            Migration::Sql(FIRST),
            Migration::Sql("ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 1;")
        ]
    );
    const FAMILY: &str = "
        CREATE TABLE parent (id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('a')))
        STRICT;
        CREATE INDEX parent_by_kind ON parent (kind);
        CREATE TRIGGER parent_no_delete BEFORE DELETE ON parent
        BEGIN SELECT RAISE(ABORT, 'parents are never deleted'); END;
        CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parent (id))
        STRICT;
        CREATE TRIGGER child_of_a BEFORE INSERT ON child
        WHEN NOT EXISTS (SELECT 1 FROM parent WHERE id = NEW.parent AND kind = 'a')
        BEGIN SELECT RAISE(ABORT, 'only parents of kind a have children'); END;";
    enum Family {}
    enum Rebuilt {}
    enum Orphaned {}
    kind!(Family, &[Migration::Sql(FAMILY)]);
    kind!(
        Rebuilt,
        &[
            Migration::Sql(FAMILY),
            Migration::Rebuild(Rebuild {
                table: "parent",
                definition: "(id INTEGER PRIMARY KEY, size INTEGER NOT NULL DEFAULT 1, kind TEXT \
                             NOT NULL) STRICT",
                columns: &[("id", "id"), ("kind", "upper(kind) || lower(kind)")],
            }),
            Migration::Sql("UPDATE parent SET kind = 'a' WHERE kind = 'Aa';"),
        ]
    );
    kind!(
        Orphaned,
        &[
            Migration::Sql(FAMILY),
            Migration::Rebuild(Rebuild {
                table: "parent",
                definition: "(id INTEGER PRIMARY KEY, kind TEXT NOT NULL) STRICT",
                columns: &[("id", "id + 1"), ("kind", "kind")],
            })
        ]
    );
    kind!(
        Broken,
        &[
            Migration::Sql(FIRST),
            Migration::Sql("ALTER TABLE thing ADD COLUMN size INTEGER; SELECT * FROM absent;")
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

    fn objects(conn: &Connection) -> Vec<String> {
        schema(conn).expect("a schema").into_keys().collect()
    }

    #[test]
    fn rebuilds_table_with_indexes_and_triggers_and_rejects_dangling_references() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.db");
        let now = crate::primitives::Timestamp::from_millis_clamped(0);
        file::create::<Family>(&path, [1; 16], now).expect("creates");
        let conn =
            file::open_writer::<Family>(&path, [1; 16], Check::AfterUncleanStop).expect("opens");
        conn.execute_batch("INSERT INTO parent VALUES (1, 'a'); INSERT INTO child VALUES (1, 1)")
            .expect("inserts");
        let before = objects(&conn);
        drop(conn);
        assert!(file::open_writer::<Orphaned>(&path, [1; 16], Check::AfterUncleanStop).is_err());
        let conn = file::open_writer::<Rebuilt>(&path, [1; 16], Check::AfterUncleanStop)
            .expect("migrates");
        assert_eq!(objects(&conn), before);
        let refused = |sql: &str| conn.execute(sql, []).expect_err("is refused").to_string();
        assert_eq!(refused("DELETE FROM parent"), "parents are never deleted");
        conn.execute_batch(
            "INSERT INTO parent (id, kind) VALUES (2, 'b'); INSERT INTO child VALUES (2, 1)",
        )
        .expect("inserts");
        assert_eq!(
            refused("INSERT INTO child VALUES (3, 2)"),
            "only parents of kind a have children"
        );
        let size: i64 = conn
            .query_row("SELECT sum(size) FROM parent", [], |row| row.get(0))
            .expect("a number");
        assert_eq!(size, 2, "a column that is not filled has its default");
        assert!(
            refused("UPDATE child SET parent = 3").contains("FOREIGN KEY"),
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
