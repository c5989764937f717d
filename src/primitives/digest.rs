//! A SHA-256 digest of a snapshot, a request or an API key. Displayed as 64 hex digits.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// 32 bytes of SHA-256 (FIPS 180-4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
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

    /// The all-zero digest: the predecessor of the first entry of a chain.
    pub const fn none() -> Self {
        Self([0; 32])
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A digest under construction: parts are added one by one, each preceded by its length.
#[derive(Clone, Default)]
pub struct Parts(Sha256);

impl Parts {
    pub fn bytes(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    /// Adds an optional part; a missing part differs from an empty one.
    pub fn optional(&mut self, part: Option<&[u8]>) {
        self.number(i64::from(part.is_some()));
        self.bytes(part.unwrap_or_default());
    }

    pub fn number(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    /// Returns the digest of all parts.
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
