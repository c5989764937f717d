//! The error of all file operations, classified by SQLite's result codes and never by its message
//! texts.

use rusqlite::ErrorCode;

use crate::primitives::{Class, Refusal, refusals};

/// A storage fault. `Display` says what is wrong and what to do; the handler logs the source.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct StorageError {
    kind: StorageErrorKind,
    statement: Option<&'static str>,
    #[source]
    source: Option<rusqlite::Error>,
}

refusals! {
    /// The kind of a fault.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub enum StorageErrorKind {
        /// Another process holds the file's write lock.
        Busy: Unavailable "overloaded",
            "the data file is locked by another program; close it and try again";
        Full: StorageFull "storage_full",
            "the disk is full; nothing was written; free some space and try again";
        /// The file or file system cannot be written.
        ReadOnly: Unavailable "storage_read_only",
            "the data file cannot be written; check its permissions and that the file system is \
             not read-only";
        /// A constraint of the schema would be violated.
        Constraint: Internal "internal_error",
            "the data file's own rules refused the change; nothing was written";
        Corrupt: Unavailable "tenant_unavailable",
            "the data file is damaged; restore it from a backup";
        NotADatabase: Unavailable "tenant_unavailable",
            "the data file is not a SQLite file; restore it from a backup";
        Missing: Unavailable "tenant_unavailable",
            "the data file is missing; restore it from a backup";
        /// The file is missing because it was damaged or behind its checkpoint, and was
        /// quarantined.
        Quarantined: Unavailable "tenant_unavailable",
            "the data file was rejected and is kept beside its place as .quarantined; put a good \
             copy in its place (the log says what was wrong; if it lacked sales: tillbox tenant \
             accept-loss)";
        /// The checkpoint in the landlord's file cannot be read.
        CheckpointUnreadable: Unavailable "tenant_unavailable",
            "the landlord's file, which contains the checkpoint of the data file, cannot be read; \
             check the landlord's file";
        /// The disk failed twice while the file was open.
        Held: Unavailable "tenant_unavailable",
            "the disk failed twice under the data file, and nothing more is written to it; check \
             the disk, then open the file again: tillbox tenant migrate SLUG";
        /// The file lacks acknowledged changes.
        Behind: Unavailable "tenant_unavailable",
            "the data file lacks acknowledged sales: it is an older copy, or the disk did not \
             keep what it confirmed; put the newest copy in its place, or accept the loss: \
             tillbox tenant accept-loss";
        /// The file belongs to another kind or tenant.
        WrongIdentity: Unavailable "tenant_unavailable",
            "the data file belongs to another tenant; put the right file in its place";
        /// The file was written by a newer version of this program.
        NewerSchema: Unavailable "tenant_unavailable",
            "the data file was written by a newer version of Tillbox; install that version";
        /// The disk or the kernel failed.
        Io: Unavailable "tenant_unavailable",
            "the disk failed; it is unknown whether the last change was kept; try again with the \
             same key";
        /// The system cannot open the file at present.
        CannotOpen: Unavailable "tenant_unavailable",
            "the data file cannot be opened at present; check its permissions and the process's \
             limit of open files";
        /// A read exceeded its deadline.
        Interrupted: Unavailable "read_timeout",
            "the read took too long and was stopped; request less at once";
        /// The inbox is full.
        Overloaded: Unavailable "overloaded",
            "too many requests are waiting for this shop; try again in a moment";
        Closed: Unavailable "overloaded", "the data file was closed; try again";
        /// The request panicked and was rolled back.
        Panicked: Internal "internal_error", "an internal fault; nothing was written";
        /// A statement touched an unexpected number of rows.
        UnexpectedRows: Internal "internal_error",
            "a change touched an unexpected number of rows; nothing was written";
        Other: Internal "internal_error", "the storage failed; nothing was written";
    }
}

impl StorageError {
    /// An error without a source.
    pub const fn new(kind: StorageErrorKind) -> Self {
        Self {
            kind,
            statement: None,
            source: None,
        }
    }

    /// An error of SQLite in `statement`.
    pub fn sqlite(source: rusqlite::Error, statement: &'static str) -> Self {
        Self {
            kind: kind_of(&source),
            statement: Some(statement),
            source: Some(source),
        }
    }

    /// The same error for another request of the same batch.
    pub(super) const fn copy(&self) -> Self {
        Self {
            kind: self.kind,
            statement: self.statement,
            source: None,
        }
    }

    /// An error for a statement that touched the wrong number of rows.
    pub(super) const fn unexpected_rows(statement: &'static str) -> Self {
        Self {
            kind: StorageErrorKind::UnexpectedRows,
            statement: Some(statement),
            source: None,
        }
    }

    pub const fn kind(&self) -> StorageErrorKind {
        self.kind
    }

    /// The name of the failed statement.
    pub const fn statement(&self) -> Option<&'static str> {
        self.statement
    }

    /// Whether the disk failed, so that the stored state is uncertain.
    pub fn is_disk_fault(&self) -> bool {
        matches!(self.kind, StorageErrorKind::Io) && !self.is_refused_write()
    }

    /// Whether a write was refused. The stored state is certain then; the cause may be a quota or a
    /// process limit, which SQLite does not distinguish.
    pub fn is_refused_write(&self) -> bool {
        let code = self.source.as_ref().and_then(|source| match source {
            rusqlite::Error::SqliteFailure(failure, _) => Some(failure.extended_code),
            _ => None,
        });
        code == Some(rusqlite::ffi::SQLITE_IOERR_WRITE)
    }

    /// The message of a trigger that refused to change final data. All triggers protect final data.
    pub fn immutable(&self) -> Option<&str> {
        match &self.source {
            Some(rusqlite::Error::SqliteFailure(failure, message))
                if failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER =>
            {
                Some(message.as_deref().unwrap_or_default())
            }
            _ => None,
        }
    }

    /// Whether the file itself is damaged.
    pub const fn is_damage(&self) -> bool {
        matches!(
            self.kind,
            StorageErrorKind::Corrupt | StorageErrorKind::NotADatabase
        )
    }

    /// Whether the file is wrong in a way that requires it to be quarantined.
    pub const fn requires_quarantine(&self) -> bool {
        self.is_damage() || matches!(self.kind, StorageErrorKind::Behind)
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(source: rusqlite::Error) -> Self {
        Self {
            kind: kind_of(&source),
            statement: None,
            source: Some(source),
        }
    }
}

fn kind_of(error: &rusqlite::Error) -> StorageErrorKind {
    let Some(code) = error.sqlite_error_code() else {
        return StorageErrorKind::Other;
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StorageErrorKind::Busy,
        ErrorCode::DiskFull => StorageErrorKind::Full,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => StorageErrorKind::ReadOnly,
        ErrorCode::ConstraintViolation => StorageErrorKind::Constraint,
        ErrorCode::DatabaseCorrupt => StorageErrorKind::Corrupt,
        ErrorCode::NotADatabase => StorageErrorKind::NotADatabase,
        ErrorCode::SystemIoFailure => StorageErrorKind::Io,
        ErrorCode::CannotOpen => StorageErrorKind::CannotOpen,
        ErrorCode::OperationInterrupted => StorageErrorKind::Interrupted,
        _ => StorageErrorKind::Other,
    }
}

impl Refusal for StorageError {
    fn class(&self) -> Class {
        self.kind.class()
    }

    fn code(&self) -> &'static str {
        self.kind.code()
    }
}

/// Converts an error of a file operation outside of SQLite.
pub fn io_error(error: &std::io::Error) -> StorageError {
    StorageError::new(match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            StorageErrorKind::Full
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            StorageErrorKind::ReadOnly
        }
        std::io::ErrorKind::NotFound => StorageErrorKind::Missing,
        _ => StorageErrorKind::Io,
    })
}
