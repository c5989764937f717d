//! Idempotency keys: the first answer of a request, kept in the transaction of its effects.
//!
//! Because a file has one writer, a second request with the same key either comes after the first
//! one's rows are there (and gets its answer) or is in the same batch behind it (and gets it too):
//! there is no moment in which both run. Refusals keep nothing, so a request that was mended may
//! use its key again. A key's day is over by the clock on the wall, so none is while that is not
//! trusted: one that was set ahead would let a call happen twice. Keys are stored as the SHA-256 of
//! their namespace and text; those of earlier versions stand there as text until they expire.
//! Callers without an API key have their keys in another table, for an hour: see
//! `keyless_answers.rs`.

use super::keyless_answers::{self, Content, KeylessAnswer};
use crate::primitives::id::CartId;
use crate::primitives::limits::{
    IDEMPOTENCY_KEY_CHARS_MAX, IDEMPOTENCY_TTL_MS, KEYLESS_ANSWER_TTL_MS,
};
use crate::primitives::{Actor, Class, Digest, Refusal, Timestamp};
use crate::storage::{Rows, StorageError, TenantView, TenantWork, params, statements};

pub use super::keyless_answers::{KeylessUsage, delete_keyless, usage as keyless_usage};

statements! {
    FIND = "SELECT request_hash, status, body FROM idempotency_key WHERE key IN (?1, ?3) AND \
        created_at > ?2";
    STORED_BYTES = "SELECT coalesce(sum(length(body) + 200), 0) FROM idempotency_key";
    EXPIRED = "SELECT key FROM idempotency_key WHERE created_at <= ?1 ORDER BY created_at LIMIT 2";
    COUNT_EXPIRED = "SELECT count(*) FROM idempotency_key WHERE created_at <= ?1";
    FORGET_EXPIRED = "DELETE FROM idempotency_key WHERE seq IN (SELECT seq FROM idempotency_key \
        WHERE created_at <= ?1 ORDER BY created_at LIMIT ?2)";
    FORGET = "DELETE FROM idempotency_key WHERE key = ?1";
    STORE = "INSERT INTO idempotency_key (key, request_hash, status, body, created_at) VALUES (?1, \
        ?2, ?3, ?4, ?5)
             ON CONFLICT (key) DO UPDATE SET request_hash = excluded.request_hash, status = \
             excluded.status, body = excluded.body, created_at = excluded.created_at";
}

/// An `Idempotency-Key` together with what it stands for.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: String,
    request_hash: Digest,
}

/// What a key's header may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing in it.
    #[error("the Idempotency-Key is empty; send a fresh UUID for every new sale")]
    Empty,
    /// More than the limit.
    #[error("the Idempotency-Key is longer than {IDEMPOTENCY_KEY_CHARS_MAX} characters")]
    TooLong,
    /// Other than printable ASCII.
    #[error(
        "the Idempotency-Key may hold printable ASCII characters only, bare or between two quotes"
    )]
    Form,
}

/// The key was used before, for another request.
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

/// An answer as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

/// What is to become of a request's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<T, N> {
    /// The answer is kept under the key.
    Keep(T),
    /// The same, for an answer that shows a cart: under the key of a caller without an API key,
    /// only the status and the cart are kept.
    KeepCart(T, CartId),
    /// What was done stays done, and nothing is kept of the key: a payment that was declined.
    Forget(N),
}

/// A first answer, the first one again, or one that is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once<N> {
    /// The request was carried out now.
    First(StoredAnswer),
    /// It had been carried out before.
    Replayed(StoredAnswer),
    /// It had been carried out before; the answer is the present state of this cart.
    ReplayedCart {
        /// The HTTP status of the first answer.
        status: u16,
        /// The cart.
        cart_id: CartId,
    },
    /// It was carried out now, and its key is free.
    Forgotten(N),
}

impl IdempotencyKey {
    /// Reads the header's value, bare or quoted (RFC 8941 string), and binds it to the request's
    /// method, path and body.
    ///
    /// # Errors
    /// [`KeyError`].
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
            request_hash: Digest::of_parts(&[method.as_bytes(), path.as_bytes(), body]),
        })
    }
}

/// The name of a key in files of earlier versions, which is hashed today. Those without an API key
/// have a room of their own: a stranger must not use up the keys of the till. All API keys share
/// one, because a till may get a new API key between a request and its repetition.
fn name_of(actor: Actor, key: &str) -> String {
    match actor {
        Actor::Storefront => format!("storefront {key}"),
        Actor::ApiKey(_) | Actor::Operator | Actor::System => format!("shop {key}"),
    }
}

/// Whether keys grow old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aging {
    /// The clock is trusted: after their time they are free, and go.
    Counts,
    /// It is not: all of them stand, and none goes.
    Rests,
}

impl Aging {
    /// The instant since which a key of a certain life still counts.
    fn oldest(self, now: Timestamp, life_ms: i64) -> Timestamp {
        match self {
            Self::Counts => now.plus_millis(-life_ms),
            Self::Rests => Timestamp::from_millis_clamped(i64::MIN),
        }
    }
}

/// Runs `f` unless its key has an answer already; what `f` answers is kept with its effects, if it
/// is to be kept.
///
/// # Errors
/// [`KeyReused`] for the same key with another request, and whatever `f` refuses.
pub fn once<N, E>(
    work: &mut TenantWork,
    key: &IdempotencyKey,
    aging: Aging,
    f: impl FnOnce(&mut TenantWork) -> Result<Verdict<StoredAnswer, N>, E>,
) -> Result<Once<N>, E>
where
    E: From<StorageError> + From<KeyReused>,
{
    if work.origin().actor == Actor::Storefront {
        return once_keyless(work, key, aging, f);
    }
    let oldest = aging.oldest(work.now(), IDEMPOTENCY_TTL_MS);
    let name = name_of(work.origin().actor, &key.key);
    let hash = Digest::of(name.as_bytes()).to_string();
    let stored = work.find(&FIND, params![hash, oldest, name], |row| {
        Ok((
            row.get::<_, Digest>(0)?,
            StoredAnswer {
                status: row.get(1)?,
                body: row.get(2)?,
            },
        ))
    })?;
    match stored {
        Some((hash, answer)) if hash == key.request_hash => return Ok(Once::Replayed(answer)),
        Some(_) => return Err(KeyReused.into()),
        None => {}
    }
    let answer = match f(work)? {
        Verdict::Keep(answer) | Verdict::KeepCart(answer, _) => answer,
        Verdict::Forget(answer) => return Ok(Once::Forgotten(answer)),
    };
    // Two expired keys go with each new one, so the table comes back to a day's worth after a rush.
    for expired in work.all(&EXPIRED, params![oldest], |row| row.get::<_, String>(0))? {
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

/// [`once`], for a caller without an API key.
fn once_keyless<N, E>(
    work: &mut TenantWork,
    key: &IdempotencyKey,
    aging: Aging,
    f: impl FnOnce(&mut TenantWork) -> Result<Verdict<StoredAnswer, N>, E>,
) -> Result<Once<N>, E>
where
    E: From<StorageError> + From<KeyReused>,
{
    let name = name_of(Actor::Storefront, &key.key);
    let hash = Digest::of(name.as_bytes());
    let oldest = aging.oldest(work.now(), KEYLESS_ANSWER_TTL_MS);
    let earlier_oldest = aging.oldest(work.now(), IDEMPOTENCY_TTL_MS);
    if let Some(stored) = keyless_answers::find(work, &hash, oldest, &name, earlier_oldest)? {
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
        Verdict::Keep(answer) => {
            let content = Content::Body(answer.body.clone());
            (answer, content)
        }
        Verdict::KeepCart(answer, cart_id) => (answer, Content::Cart(cart_id)),
        Verdict::Forget(answer) => return Ok(Once::Forgotten(answer)),
    };
    let stored = KeylessAnswer {
        request_hash: key.request_hash,
        status: answer.status,
        content,
    };
    keyless_answers::store(work, &hash, &stored, oldest)?;
    Ok(Once::First(answer))
}

/// The bytes of the answers of callers with an API key, 200 for each row and its index entries
/// included. Reads all of them: for the lane of long reads.
///
/// # Errors
/// [`StorageError`].
pub fn stored_bytes(view: &TenantView) -> Result<i64, StorageError> {
    view.one(&STORED_BYTES, [], |row| row.get(0))
}

/// How many answers are older than is promised.
///
/// # Errors
/// [`StorageError`].
pub fn count_expired(view: &TenantView, cut_off: Timestamp) -> Result<i64, StorageError> {
    view.one(&COUNT_EXPIRED, params![cut_off], |row| row.get(0))
}

/// Forgets the oldest of them, at most `limit`. Gives how many went.
///
/// # Errors
/// [`StorageError`].
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
    fn a_key_is_printable_also_between_quotes() {
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
