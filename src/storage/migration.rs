//! The steps from one version of a file's schema to the next. `schema/README.md` says how to write
//! one.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite_migration::{HookError, HookResult};

/// A step from one version of a schema to the next.
#[derive(Clone, Copy, Debug)]
pub enum Migration {
    Sql(&'static str),
    Rebuild(Rebuild),
}

/// A table in its new form, for changes that ALTER TABLE cannot make
/// (<https://www.sqlite.org/lang_altertable.html#otheralter>).
///
/// The indexes and triggers of the table are created again from their stored SQL: dropping a table
/// drops them silently, and a lost trigger would open final rows to changes.
#[derive(Clone, Copy, Debug)]
pub struct Rebuild {
    pub table: &'static str,
    /// The columns, constraints and options: `(id INTEGER PRIMARY KEY, …) STRICT`.
    pub definition: &'static str,
    /// The names of the new columns to fill, each with an expression over the old row. Columns that
    /// are not named get their defaults.
    pub columns: &'static [(&'static str, &'static str)],
}

impl Rebuild {
    /// Rebuilds the table, inside the migration's transaction and with foreign keys unenforced;
    /// checks them at the end.
    pub(super) fn apply(&self, conn: &Connection) -> HookResult {
        let Self {
            table, definition, ..
        } = self;
        let mut dependents = conn.prepare(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 AND type IN ('index', 'trigger')
             AND sql IS NOT NULL ORDER BY type, name",
        )?;
        let dependents = dependents
            .query_map([table], |row| row.get::<_, String>(0))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let list = |pick: fn(&(&'static str, &'static str)) -> &'static str| {
            self.columns.iter().map(pick).collect::<Vec<_>>().join(", ")
        };
        let (names, values) = (list(|(name, _)| name), list(|(_, value)| value));
        conn.execute_batch(&format!(
            "CREATE TABLE {table}_new {definition};
             INSERT INTO {table}_new ({names}) SELECT {values} FROM {table};
             DROP TABLE {table};"
        ))?;
        // Without it, the renaming fails on each trigger of another table that names this one.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, true)?;
        let renamed = conn.execute_batch(&format!("ALTER TABLE {table}_new RENAME TO {table}"));
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, false)?;
        renamed?;
        for sql in dependents {
            conn.execute_batch(&sql)?;
        }
        if conn.prepare("PRAGMA foreign_key_check")?.exists([])? {
            return Err(HookError::Hook(format!(
                "rows refer to rows that are no longer in {table}"
            )));
        }
        Ok(())
    }
}
