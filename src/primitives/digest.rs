//! A SHA-256 digest: of a snapshot, of a request, of an API key. Shown as 64 hex digits.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// 32 bytes of SHA-256 (FIPS 180-4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of several parts, each preceded by its length, so that no two lists of parts
    /// collide by concatenation.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut digest = Parts::default();
        parts.iter().for_each(|part| digest.bytes(part));
        digest.finish()
    }

    /// What stands in the place of the one before, where there is none.
    pub const fn none() -> Self {
        Self([0; 32])
    }

    /// From stored bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A digest that is put together part by part, each preceded by its length.
#[derive(Clone, Default)]
pub struct Parts(Sha256);

impl Parts {
    /// Adds a part.
    pub fn bytes(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    /// Adds a part that may be missing, which is another thing than an empty one.
    pub fn optional(&mut self, part: Option<&[u8]>) {
        self.number(i64::from(part.is_some()));
        self.bytes(part.unwrap_or_default());
    }

    /// Adds a number.
    pub fn number(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
