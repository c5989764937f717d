//! The error of a failed job, and whether the job is retried. The only file that maps a [`Class`]
//! to "retry" or "discard".

use crate::outbound::mail::MailError;
use crate::primitives::{Class, Refusal, chain};
use crate::storage::StorageError;

/// A failed attempt. Its text, causes included, is stored with the job and logged; the error chain
/// ends here.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct JobError {
    text: String,
    kind: FailureKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureKind {
    /// Another attempt would end the same way.
    Permanent,
    /// Another attempt may succeed.
    Transient,
    /// The file or the machine failed. The attempt of a local job is not counted.
    Unavailable,
}

impl JobError {
    /// The job itself is invalid: it is discarded at once.
    pub fn permanent(text: impl Into<String>) -> Self {
        let text = text.into();
        let kind = FailureKind::Permanent;
        Self { text, kind }
    }

    /// The job is retried as often as its queue allows.
    pub fn transient(text: impl Into<String>) -> Self {
        let text = text.into();
        let kind = FailureKind::Transient;
        Self { text, kind }
    }

    /// A domain rule or the storage rejected the job's operation.
    pub fn refused(refusal: &impl Refusal) -> Self {
        let text = chain(refusal);
        let kind = kind_of(refusal.class());
        Self { text, kind }
    }

    pub(super) fn is_permanent(&self) -> bool {
        self.kind == FailureKind::Permanent
    }

    pub(super) fn is_unavailable(&self) -> bool {
        self.kind == FailureKind::Unavailable
    }
}

impl From<StorageError> for JobError {
    fn from(error: StorageError) -> Self {
        Self::refused(&error)
    }
}

impl From<MailError> for JobError {
    fn from(error: MailError) -> Self {
        let text = chain(&error);
        if error.is_permanent() {
            Self::permanent(text)
        } else {
            Self::transient(text)
        }
    }
}

const fn kind_of(class: Class) -> FailureKind {
    match class {
        Class::Malformed
        | Class::Invalid
        | Class::Unauthenticated
        | Class::Declined
        | Class::Forbidden
        | Class::NotFound => FailureKind::Permanent,
        Class::Conflict | Class::Stale | Class::Internal => FailureKind::Transient,
        Class::Unavailable | Class::StorageFull => FailureKind::Unavailable,
    }
}
