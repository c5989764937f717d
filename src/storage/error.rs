//! The error of all file operations, classified by SQLite's result codes and never by its message
//! texts.

use rusqlite::ErrorCode;

use crate::primitives::{Class, Refusal};

/// A storage fault. `Display` says what is wrong and what to do; the handler logs the source.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct StorageError {
    kind: StorageErrorKind,
    statement: Option<&'static str>,
    #[source]
    source: Option<rusqlite::Error>,
}

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageErrorKind {
    /// Another process holds the file's write lock.
    #[error("the data file is locked by another program; close it and try again")]
    Busy,
    #[error("the disk is full; nothing was written; free some space and try again")]
    Full,
    /// The file or file system cannot be written.
    #[error(
        "the data file cannot be written; check its permissions and that the file system is not \
         read-only"
    )]
    ReadOnly,
    /// A constraint of the schema would be violated.
    #[error("the data file's own rules refused the change; nothing was written")]
    Constraint,
    #[error("the data file is damaged; restore it from a backup")]
    Corrupt,
    #[error("the data file is not a SQLite file; restore it from a backup")]
    NotADatabase,
    #[error("the data file is missing; restore it from a backup")]
    Missing,
    /// The file is missing because it was damaged or behind its checkpoint, and was quarantined.
    #[error(
        "the data file was rejected and is kept beside its place as .quarantined; put a good copy \
         in its place (the log says what was wrong; if it lacked sales: tillbox tenant \
         accept-loss)"
    )]
    Quarantined,
    /// The checkpoint in the landlord's file cannot be read.
    #[error(
        "the landlord's file, which contains the checkpoint of the data file, cannot be read; \
         check the landlord's file"
    )]
    CheckpointUnreadable,
    /// The disk failed twice while the file was open.
    #[error(
        "the disk failed twice under the data file, and nothing more is written to it; check the \
         disk, then open the file again: tillbox tenant migrate SLUG"
    )]
    Held,
    /// The file lacks acknowledged changes.
    #[error(
        "the data file lacks acknowledged sales: it is an older copy, or the disk did not keep \
         what it confirmed; put the newest copy in its place, or accept the loss: tillbox tenant \
         accept-loss"
    )]
    Behind,
    /// The file belongs to another kind or tenant.
    #[error("the data file belongs to another tenant; put the right file in its place")]
    WrongIdentity,
    /// The file was written by a newer version of this program.
    #[error("the data file was written by a newer version of Tillbox; install that version")]
    NewerSchema,
    /// The disk or the kernel failed.
    #[error(
        "the disk failed; it is unknown whether the last change was kept; try again with the same \
         key"
    )]
    Io,
    /// The system cannot open the file at present.
    #[error(
        "the data file cannot be opened at present; check its permissions and the process's limit \
         of open files"
    )]
    CannotOpen,
    /// A read exceeded its deadline.
    #[error("the read took too long and was stopped; request less at once")]
    Interrupted,
    /// The inbox is full.
    #[error("too many requests are waiting for this shop; try again in a moment")]
    Overloaded,
    #[error("the data file was closed; try again")]
    Closed,
    /// The request panicked and was rolled back.
    #[error("an internal fault; nothing was written")]
    Panicked,
    /// A statement touched an unexpected number of rows.
    #[error("a change touched an unexpected number of rows; nothing was written")]
    UnexpectedRows,
    #[error("the storage failed; nothing was written")]
    Other,
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
        use StorageErrorKind as K;
        match self.kind {
            K::Full => Class::StorageFull,
            K::Busy
            | K::Overloaded
            | K::Closed
            | K::Interrupted
            | K::ReadOnly
            | K::Io
            | K::CannotOpen => Class::Unavailable,
            K::Corrupt
            | K::NotADatabase
            | K::Missing
            | K::Quarantined
            | K::CheckpointUnreadable
            | K::Held
            | K::Behind
            | K::WrongIdentity
            | K::NewerSchema => Class::Unavailable,
            K::Constraint | K::Panicked | K::UnexpectedRows | K::Other => Class::Internal,
        }
    }

    fn code(&self) -> &'static str {
        use StorageErrorKind as K;
        match self.kind {
            K::Full => "storage_full",
            K::ReadOnly => "storage_read_only",
            K::Busy | K::Overloaded | K::Closed => "overloaded",
            K::Interrupted => "read_timeout",
            K::Io
            | K::CannotOpen
            | K::Corrupt
            | K::NotADatabase
            | K::Missing
            | K::Quarantined
            | K::CheckpointUnreadable
            | K::Held
            | K::Behind
            | K::WrongIdentity
            | K::NewerSchema => "tenant_unavailable",
            K::Constraint | K::Panicked | K::UnexpectedRows | K::Other => "internal_error",
        }
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
