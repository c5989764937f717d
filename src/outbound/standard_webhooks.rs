//! Signed webhooks by the Standard Webhooks specification
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>):
//! the receiver can tell that a message is ours, whole, fresh, and whether it came before.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;

use crate::primitives::{Entropy, Timestamp};

/// What a key begins with when it is written down.
const PREFIX: &str = "whsec_";
/// How long a key is, in bytes: at least and at the most.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The key that sender and receiver share.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

/// Never the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

impl SigningKey {
    /// Reads a key as it is written down: `whsec_` and 24 to 64 bytes in base64.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let key = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        KEY_BYTES.contains(&key.len()).then_some(Self(key))
    }

    /// A new key.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut key = vec![0; 32];
        entropy.fill(&mut key);
        Self(key)
    }

    /// The key as it is written down: for the receiver, and for nobody else.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// The headers of a message. `id` is the message's on every attempt, `at` the attempt's.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    #[must_use]
    pub fn headers(&self, id: &str, at: Timestamp, body: &[u8]) -> Vec<(&'static str, String)> {
        let seconds = at.as_millis().div_euclid(1_000).to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length is one");
        for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
            mac.update(part);
        }
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        vec![
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds),
            ("webhook-signature", signature),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::SeededEntropy;

    /// The example that libraries for receivers are tested with.
    #[test]
    fn a_receivers_library_would_take_the_signature() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let at = Timestamp::from_millis_clamped(1_614_265_330_999);
        let headers = key.headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at,
            br#"{"test": 2432232314}"#,
        );
        let expected = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ];
        assert_eq!(
            headers,
            expected.map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn a_key_is_read_as_it_is_written_and_never_shown() {
        let key = SigningKey::new(&SeededEntropy::new(1));
        assert_eq!(SigningKey::parse(&key.expose()), Some(key.clone()));
        assert!(!format!("{key:?}").contains(&key.expose()[PREFIX.len()..]));
        for wrong in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
            "whsec_!fKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            assert_eq!(SigningKey::parse(wrong), None, "{wrong}");
        }
    }
}
