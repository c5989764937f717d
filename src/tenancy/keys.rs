//! API keys: `tb_PREFIX_SECRET`. The prefix is public and used for the lookup; of the whole key
//! only the SHA-256 is stored. The secret has 256 bits, so a slow hash would only cost time in
//! every request.

use subtle::ConstantTimeEq;

use crate::primitives::{Digest, Entropy};

const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const PREFIX_CHARS: usize = 8;
const SECRET_CHARS: usize = 52;

/// A new key, shown once.
#[derive(Clone)]
pub struct NewKey {
    /// The public part.
    pub prefix: String,
    /// The whole key. Never log or store it.
    pub secret: String,
    /// The stored part.
    pub hash: Digest,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewKey({}_***)", self.prefix)
    }
}

pub fn generate(entropy: &dyn Entropy) -> NewKey {
    let mut bytes = [0_u8; PREFIX_CHARS + SECRET_CHARS];
    entropy.fill(&mut bytes);
    let text: String = bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect();
    let prefix = format!("tb_{}", &text[..PREFIX_CHARS]);
    let secret = format!("{prefix}_{}", &text[PREFIX_CHARS..]);
    let hash = Digest::of(secret.as_bytes());
    NewKey {
        prefix,
        secret,
        hash,
    }
}

/// The prefix of a presented key, if it is well-formed.
pub fn prefix_of(presented: &str) -> Option<&str> {
    let (prefix, secret) = presented.rsplit_once('_')?;
    let is_form = |text: &str, chars: usize| {
        text.len() == chars && text.bytes().all(|byte| ALPHABET.contains(&byte))
    };
    (is_form(secret, SECRET_CHARS) && is_form(prefix.strip_prefix("tb_")?, PREFIX_CHARS))
        .then_some(prefix)
}

/// Whether the hash of a presented key is the stored one, in constant time.
pub fn matches(presented: &Digest, stored: &Digest) -> bool {
    presented.as_bytes().ct_eq(stored.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::SeededEntropy;

    #[test]
    fn exposes_prefix_and_redacts_secret() {
        let key = generate(&SeededEntropy::new(7));
        assert_eq!(prefix_of(&key.secret), Some(key.prefix.as_str()));
        assert!(!format!("{key:?}").contains(&key.secret[12..]));
        assert!(matches(&Digest::of(key.secret.as_bytes()), &key.hash));
        for text in [
            "",
            "tb_",
            "tb_abc",
            &key.prefix,
            &key.secret[1..],
            &format!("{}x", key.secret),
            &key.secret.to_uppercase(),
        ] {
            assert_eq!(prefix_of(text), None, "{text:?}");
        }
    }
}
