//! Idempotency keys: the first answer of a request, stored in the transaction of its effects.
//!
//! A file has one writer, so a second request with the same key runs after the first one's rows
//! exist, or behind it in the same batch, and gets the same answer: both never run. Refusals store
//! nothing, so a corrected request may use its key again. Keys expire by the wall clock, and none
//! expires while that is suspect: a clock that was set ahead would allow a second execution.
//!
//! A key is stored as the SHA-256 of its namespace and text. The keys of callers without an API key
//! are in another table, for an hour: see `keyless_answers.rs`.

use super::keyless_answers::{self, Content, KeylessAnswer};
use crate::primitives::id::CartId;
use crate::primitives::limits::{
    IDEMPOTENCY_KEY_CHARS_MAX, IDEMPOTENCY_TTL_MS, KEYLESS_ANSWER_TTL_MS,
};
use crate::primitives::{Actor, Class, ClientHash, Digest, Refusal, Timestamp};
use crate::storage::{Rows, StorageError, TenantView, TenantWork, params, statements};

pub use super::keyless_answers::{KeylessUsage, delete_keyless, usage as keyless_usage};

statements! {
    FIND = "SELECT request_hash, status, body FROM idempotency_key
        WHERE key_hash = ?1 AND created_at > ?2";
    EXPIRED = "SELECT key_hash FROM idempotency_key
        WHERE created_at <= ?1 ORDER BY created_at LIMIT 2";
    COUNT_EXPIRED = "SELECT count(*) FROM idempotency_key WHERE created_at <= ?1";
    FORGET_EXPIRED = "DELETE FROM idempotency_key WHERE seq IN (SELECT seq FROM idempotency_key \
        WHERE created_at <= ?1 ORDER BY created_at LIMIT ?2)";
    FORGET = "DELETE FROM idempotency_key WHERE key_hash = ?1";
    STORE = "INSERT INTO idempotency_key (key_hash, request_hash, status, body, created_at) VALUES \
        (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (key_hash) DO UPDATE SET request_hash = excluded.request_hash, status = \
             excluded.status, body = excluded.body, created_at = excluded.created_at";
}

/// An `Idempotency-Key` bound to its request.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: String,
    client: Option<ClientHash>,
    request_hash: Digest,
}

/// The reason why a key is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the Idempotency-Key is empty; send a fresh UUID for every new sale")]
    Empty,
    #[error(
        "the Idempotency-Key is longer than {IDEMPOTENCY_KEY_CHARS_MAX} characters; shorten it"
    )]
    TooLong,
    /// Other than printable ASCII characters.
    #[error(
        "the Idempotency-Key may contain only printable ASCII characters, bare or between two \
         quotes"
    )]
    Form,
}

/// The key was used before for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this Idempotency-Key was used for a different request; use a new key for a new request")]
pub struct KeyReused;

impl Refusal for KeyReused {
    fn class(&self) -> Class {
        Class::Invalid
    }
    fn code(&self) -> &'static str {
        "idempotency_key_reused"
    }
}

/// An answer as sent to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

/// The decision of a request about its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOutcome<T, N> {
    /// Store the answer under the key.
    Keep(T),
    /// Store an answer that shows a cart. For a caller without an API key, only the status and the
    /// cart's id are stored.
    KeepCart(T, CartId),
    /// Commit the effects without storing the key: a declined payment.
    Forget(N),
}

/// The answer of [`once`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once<N> {
    /// Executed now.
    First(StoredAnswer),
    /// Executed before.
    Replayed(StoredAnswer),
    /// Executed before; the answer is the present state of this cart.
    ReplayedCart {
        /// The HTTP status of the first answer.
        status: u16,
        cart_id: CartId,
    },
    /// Executed now, and the key is free.
    Forgotten(N),
}

impl IdempotencyKey {
    /// Parses the header's value, bare or quoted (RFC 8941 string), and binds it to the request's
    /// method, path and body.
    pub fn parse(header: &str, method: &str, path: &str, body: &[u8]) -> Result<Self, KeyError> {
        let bare = header
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(header)
            .trim_matches(' ');
        if bare.is_empty() {
            return Err(KeyError::Empty);
        }
        if bare.len() > IDEMPOTENCY_KEY_CHARS_MAX {
            return Err(KeyError::TooLong);
        }
        if !bare
            .bytes()
            .all(|byte| (byte.is_ascii_graphic() && byte != b'"') || byte == b' ')
        {
            return Err(KeyError::Form);
        }
        Ok(Self {
            key: bare.to_owned(),
            client: None,
            request_hash: Digest::of_parts(&[method.as_bytes(), path.as_bytes(), body]),
        })
    }

    /// The key of one client: for a call that any two strangers may send alike, such as the
    /// creation of a cart, so that neither gets the other's answer.
    #[must_use]
    pub fn of_client(mut self, client: ClientHash) -> Self {
        self.client = Some(client);
        self
    }
}

/// Whether keys expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExpiry {
    /// The clock is trusted: expired keys are free and are deleted.
    Active,
    /// The clock is suspect: all keys stay valid.
    Suspended,
}

impl KeyExpiry {
    /// The creation time from which a key with the given lifetime is still valid.
    fn oldest(self, now: Timestamp, life_ms: i64) -> Timestamp {
        match self {
            Self::Active => now.plus_millis(-life_ms),
            Self::Suspended => Timestamp::from_millis_clamped(i64::MIN),
        }
    }
}

/// Runs `f` unless its key has an answer; stores the answer of `f` with its effects, if it is to be
/// kept.
///
/// # Errors
/// [`KeyReused`] for the same key with another request, and the refusals of `f`.
pub fn once<N, E>(
    work: &mut TenantWork,
    key: &IdempotencyKey,
    expiry: KeyExpiry,
    f: impl FnOnce(&mut TenantWork) -> Result<KeyOutcome<StoredAnswer, N>, E>,
) -> Result<Once<N>, E>
where
    E: From<StorageError> + From<KeyReused>,
{
    if work.origin().actor == Actor::Storefront {
        return once_keyless(work, key, expiry, f);
    }
    let oldest = expiry.oldest(work.now(), IDEMPOTENCY_TTL_MS);
    // All API keys share one namespace: a till may get a new API key between a request and its
    // repetition.
    let hash = Digest::of_parts(&[b"shop", key.key.as_bytes()]);
    let stored = work.find(&FIND, params![hash, oldest], |row| {
        Ok((
            row.get::<_, Digest>("request_hash")?,
            StoredAnswer {
                status: row.get("status")?,
                body: row.get("body")?,
            },
        ))
    })?;
    match stored {
        Some((hash, answer)) if hash == key.request_hash => return Ok(Once::Replayed(answer)),
        Some(_) => return Err(KeyReused.into()),
        None => {}
    }
    let answer = match f(work)? {
        KeyOutcome::Keep(answer) | KeyOutcome::KeepCart(answer, _) => answer,
        KeyOutcome::Forget(answer) => return Ok(Once::Forgotten(answer)),
    };
    // Each new key deletes two expired ones, so the table shrinks to a day's worth after a rush.
    for expired in work.all(&EXPIRED, params![oldest], |row| row.get::<_, Digest>(0))? {
        work.change(&FORGET, params![expired], Rows::AtMostOne)?;
    }
    work.insert(
        &STORE,
        params![
            hash,
            key.request_hash,
            answer.status,
            answer.body,
            work.now()
        ],
    )?;
    Ok(Once::First(answer))
}

/// The variant of [`once`] for a caller without an API key.
fn once_keyless<N, E>(
    work: &mut TenantWork,
    key: &IdempotencyKey,
    expiry: KeyExpiry,
    f: impl FnOnce(&mut TenantWork) -> Result<KeyOutcome<StoredAnswer, N>, E>,
) -> Result<Once<N>, E>
where
    E: From<StorageError> + From<KeyReused>,
{
    let client = key
        .client
        .as_ref()
        .map_or(&[][..], |client| client.as_bytes());
    let hash = Digest::of_parts(&[key.key.as_bytes(), client]);
    let oldest = expiry.oldest(work.now(), KEYLESS_ANSWER_TTL_MS);
    if let Some(stored) = keyless_answers::find(work, &hash, oldest)? {
        if stored.request_hash != key.request_hash {
            return Err(KeyReused.into());
        }
        let status = stored.status;
        return Ok(match stored.content {
            Content::Body(body) => Once::Replayed(StoredAnswer { status, body }),
            Content::Cart(cart_id) => Once::ReplayedCart { status, cart_id },
        });
    }
    let (answer, content) = match f(work)? {
        KeyOutcome::Keep(answer) => {
            let content = Content::Body(answer.body.clone());
            (answer, content)
        }
        KeyOutcome::KeepCart(answer, cart_id) => (answer, Content::Cart(cart_id)),
        KeyOutcome::Forget(answer) => return Ok(Once::Forgotten(answer)),
    };
    let stored = KeylessAnswer {
        request_hash: key.request_hash,
        status: answer.status,
        content,
    };
    keyless_answers::store(work, &hash, &stored, oldest)?;
    Ok(Once::First(answer))
}

/// Counts the answers older than `cut_off`.
pub fn count_expired(view: &TenantView, cut_off: Timestamp) -> Result<i64, StorageError> {
    view.one(&COUNT_EXPIRED, params![cut_off], |row| row.get(0))
}

/// Deletes at most `limit` of the oldest expired answers. Returns their number.
pub fn forget_expired(
    work: &mut TenantWork,
    cut_off: Timestamp,
    limit: u32,
) -> Result<usize, StorageError> {
    work.change(&FORGET_EXPIRED, params![cut_off, limit], Rows::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_printable_keys_bare_or_quoted() {
        let parse =
            |header: &str| IdempotencyKey::parse(header, "POST", "/", b"").map(|key| key.key);
        for (header, key) in [
            ("a", "a"),
            (" a b ", "a b"),
            ("\"a\"", "a"),
            ("\" a \"", "a"),
        ] {
            assert_eq!(parse(header).as_deref(), Ok(key), "{header:?}");
        }
        for (header, error) in [
            ("", KeyError::Empty),
            ("\" \"", KeyError::Empty),
            ("\"a", KeyError::Form),
            ("a\"b", KeyError::Form),
            ("\"a\t\"", KeyError::Form),
            ("\t", KeyError::Form),
        ] {
            assert_eq!(parse(header), Err(error), "{header:?}");
        }
    }
}
