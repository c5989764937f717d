//! The identity of a file: its kind and its id.

use rusqlite::Connection;

use super::{FileKind, StorageError, StorageErrorKind};

/// The identity stored inside a file, which detects a file under another's name.
pub type FileId = [u8; 16];

/// The only table that precedes the first migration.
pub const IDENTITY_TABLE: &str = "CREATE TABLE file_identity (
    singleton  INTEGER PRIMARY KEY CHECK (singleton = 1),
    file_id    BLOB NOT NULL CHECK (length(file_id) = 16),
    created_at INTEGER NOT NULL
) STRICT;";

/// Refuses a file of another kind or with another id with `WrongIdentity`.
pub fn check_identity<K: FileKind>(conn: &Connection, id: FileId) -> Result<(), StorageError> {
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application != K::APPLICATION_ID {
        return Err(StorageError::new(StorageErrorKind::WrongIdentity));
    }
    let stored: FileId = conn.query_row(
        "SELECT file_id FROM file_identity WHERE singleton = 1",
        [],
        |row| row.get(0),
    )?;
    if stored == id {
        Ok(())
    } else {
        Err(StorageError::new(StorageErrorKind::WrongIdentity))
    }
}
