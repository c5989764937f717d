//! One error for all that a file can do to us, told from SQLite's result codes and never from its
//! message texts.

use rusqlite::ErrorCode;

use crate::primitives::{Class, Refusal};

/// A fault of the storage. `Display` says what it means and what to do; the source is logged where
/// it is handled.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct StorageError {
    kind: StorageErrorKind,
    statement: Option<&'static str>,
    #[source]
    source: Option<rusqlite::Error>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageErrorKind {
    /// Something outside of this process holds the file's write lock.
    #[error("the store's file is locked by another program; close it and try again")]
    Busy,
    /// No space left.
    #[error("the disk is full; nothing was written; free some space and try again")]
    Full,
    /// The file or file system cannot be written.
    #[error(
        "the store's file cannot be written; check its permissions and that the file system is not \
         read-only"
    )]
    ReadOnly,
    /// A rule of the schema was about to be broken.
    #[error("the store's own rules refused the change; nothing was written")]
    Constraint,
    /// The file is damaged.
    #[error("the store's file is damaged")]
    Corrupt,
    /// The file is no SQLite file.
    #[error("the store's file is not a SQLite file")]
    NotADatabase,
    /// There is no such file.
    #[error("the store's file is missing")]
    Missing,
    /// There is no such file because it was found damaged, or behind what was acknowledged, and set
    /// aside.
    #[error(
        "the store's file was found wrong and is kept beside its place as .quarantined; put a good \
         copy in its place (the log says what was wrong; if it lacked sales: tillbox tenant \
         accept-loss)"
    )]
    SetAside,
    /// What the landlord's file knows of the file cannot be read.
    #[error("the landlord's file cannot be read, which says how far the store's file has to be")]
    CheckpointUnreadable,
    /// The disk failed twice under the file.
    #[error(
        "the disk failed twice under the store's file, which is not written to any more; look at \
         the disk, then open it again by its name: tillbox tenant migrate SLUG"
    )]
    Held,
    /// The file lacks what its store had acknowledged.
    #[error(
        "the store's file lacks sales that were acknowledged: it is an older copy, or the disk did \
         not keep what it confirmed; put the newest copy in its place, or take the loss: tillbox \
         tenant accept-loss"
    )]
    Behind,
    /// The file belongs to another kind or another store.
    #[error("the store's file carries the identity of another one")]
    WrongIdentity,
    /// The file was written by a newer version of this program.
    #[error("the store's file was written by a newer version of Tillbox; install that version")]
    NewerSchema,
    /// The disk or the kernel failed.
    #[error(
        "the disk failed; whether the last change was kept is not known; try again with the same \
         key"
    )]
    Io,
    /// The system does not open it at present.
    #[error(
        "the store's file cannot be opened at present; look at its permissions and at how many \
         files the process may open"
    )]
    CannotOpen,
    /// A read went past its deadline.
    #[error("the read took too long and was stopped; ask for less at once")]
    Interrupted,
    /// More waits than the inbox holds.
    #[error("too many requests are waiting for this store; try again in a moment")]
    Overloaded,
    /// The file was closed meanwhile.
    #[error("the store's file was closed; try again")]
    Closed,
    /// The request hit a broken invariant and was rolled back.
    #[error("an internal fault; nothing was written")]
    Panicked,
    /// A statement touched another number of rows than it promised.
    #[error("a change touched an unexpected number of rows; nothing was written")]
    UnexpectedRows,
    /// Anything else.
    #[error("the store failed; nothing was written")]
    Other,
}

impl StorageError {
    /// An error without a source of its own.
    pub const fn new(kind: StorageErrorKind) -> Self {
        Self {
            kind,
            statement: None,
            source: None,
        }
    }

    /// An error of SQLite's in `statement`.
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

    /// A statement that touched the wrong number of rows.
    pub(super) const fn unexpected_rows(statement: &'static str) -> Self {
        Self {
            kind: StorageErrorKind::UnexpectedRows,
            statement: Some(statement),
            source: None,
        }
    }

    /// What happened.
    pub const fn kind(&self) -> StorageErrorKind {
        self.kind
    }

    /// The statement it happened in, by name.
    pub const fn statement(&self) -> Option<&'static str> {
        self.statement
    }

    /// Whether the disk failed in a way that leaves doubt about what it keeps.
    pub fn is_disk_fault(&self) -> bool {
        matches!(self.kind, StorageErrorKind::Io) && !self.is_refused_write()
    }

    /// Whether a write was refused. Nothing is in doubt then, and it may be nothing worse than a
    /// quota or a limit of the process, which SQLite tells no otherwise.
    pub fn is_refused_write(&self) -> bool {
        let code = self.source.as_ref().and_then(|source| match source {
            rusqlite::Error::SqliteFailure(failure, _) => Some(failure.extended_code),
            _ => None,
        });
        code == Some(rusqlite::ffi::SQLITE_IOERR_WRITE)
    }

    /// What a trigger said that refused a change of what is final. There are no triggers for
    /// anything else.
    pub fn immutable(&self) -> Option<&str> {
        match &self.source {
            Some(rusqlite::Error::SqliteFailure(failure, said))
                if failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER =>
            {
                Some(said.as_deref().unwrap_or_default())
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

    /// Whether the file is not what it should be, so that it has to be set aside.
    pub const fn sets_aside(&self) -> bool {
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
            | K::SetAside
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
            | K::SetAside
            | K::CheckpointUnreadable
            | K::Held
            | K::Behind
            | K::WrongIdentity
            | K::NewerSchema => "tenant_unavailable",
            K::Constraint | K::Panicked | K::UnexpectedRows | K::Other => "internal_error",
        }
    }
}
