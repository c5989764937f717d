//! Why a job was not done, and what that means for it. The only file that batches a [`Class`] into
//! "again" or "never again".

use crate::primitives::{Class, Refusal, chain};
use crate::storage::StorageError;

/// A failed attempt. Its text is kept with the job and logged, causes included: this is where the
/// chain ends.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct JobError {
    text: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Another attempt would end the same way.
    Permanent,
    /// Another attempt may succeed.
    Passing,
    /// The fault is the file's or the machine's. The job is not to blame, and no attempt of a local
    /// one is counted.
    Unavailable,
}

impl JobError {
    /// The job itself is at fault: it is discarded at once.
    pub fn permanent(text: impl Into<String>) -> Self {
        let text = text.into();
        let verdict = Verdict::Permanent;
        Self { text, verdict }
    }

    /// It is tried again, as often as its queue allows.
    pub fn passing(text: impl Into<String>) -> Self {
        let text = text.into();
        let verdict = Verdict::Passing;
        Self { text, verdict }
    }

    /// A rule or the storage refused what the job wanted to do.
    pub fn refused(refusal: &impl Refusal) -> Self {
        let text = chain(refusal);
        let verdict = verdict(refusal.class());
        Self { text, verdict }
    }

    pub(super) fn is_permanent(&self) -> bool {
        self.verdict == Verdict::Permanent
    }

    pub(super) fn is_unavailable(&self) -> bool {
        self.verdict == Verdict::Unavailable
    }
}

impl From<StorageError> for JobError {
    fn from(error: StorageError) -> Self {
        Self::refused(&error)
    }
}

const fn verdict(class: Class) -> Verdict {
    match class {
        Class::Malformed
        | Class::Invalid
        | Class::Unauthenticated
        | Class::Declined
        | Class::Forbidden
        | Class::NotFound => Verdict::Permanent,
        Class::Conflict | Class::Stale | Class::Internal => Verdict::Passing,
        Class::Unavailable | Class::StorageFull => Verdict::Unavailable,
    }
}
