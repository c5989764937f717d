//! Stored answers of callers without a key, in a table of their own: small, short-lived and
//! bounded, so that a stranger's keys cost a file little and the lookup of a till's key nothing.
//!
//! - The answer of a cart call is the status and the cart's id. A replay shows the cart as it is at
//!   that moment, or 404 `cart_not_found` once it is gone.
//! - The answer of a checkout is kept whole and replayed byte for byte. The cap never evicts it;
//!   the rate limit of checkouts bounds their number.
//! - Triggers keep the sums in `keyless_usage` for every insert and delete: no request counts rows.

use crate::primitives::id::CartId;
use crate::primitives::limits::KEYLESS_ANSWER_BYTES_MAX;
use crate::primitives::{Digest, Timestamp};
use crate::storage::{Rows, StorageError, TenantView, TenantWork, params, statements};

statements! {
    FIND = "SELECT request_hash, status, cart_id, body FROM keyless_answer WHERE key_hash = ?1 AND \
        created_at > ?2";
    STORE = "INSERT INTO keyless_answer (key_hash, request_hash, status, cart_id, body, \
        created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    DELETE_OF_KEY = "DELETE FROM keyless_answer WHERE key_hash = ?1";
    COUNT_EXPIRED = "SELECT count(*) FROM keyless_answer WHERE created_at <= ?1";
    HAS_EXPIRED = "SELECT 1 FROM keyless_answer WHERE created_at <= ?1 LIMIT 1";
    DELETE_EXPIRED = "DELETE FROM keyless_answer WHERE seq IN (SELECT seq FROM keyless_answer \
        WHERE created_at <= ?1 ORDER BY created_at LIMIT ?2)";
    DELETE_OLDEST_OF_CARTS = "DELETE FROM keyless_answer WHERE seq IN (SELECT seq FROM \
        keyless_answer WHERE cart_id IS NOT NULL ORDER BY seq LIMIT ?1)";
    USAGE = "SELECT carts, answers, answer_bytes FROM keyless_usage WHERE singleton = 1";
}

/// Expired or evicted answers that go with each new one: the table shrinks while it is used.
const DELETED_PER_STORED: u32 = 2;

/// The sums of what callers without a key have stored in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeylessUsage {
    /// Carts that were made without a key and not ordered.
    pub carts: i64,
    /// Stored answers.
    pub answers: i64,
    /// Bytes of the stored answers, 200 for each row and its index entries included.
    pub answer_bytes: i64,
}

/// The content of a stored answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The body, byte for byte.
    Body(Vec<u8>),
    /// The cart from which a replay builds the body.
    Cart(CartId),
}

/// A stored answer.
pub(super) struct KeylessAnswer {
    pub(super) request_hash: Digest,
    pub(super) status: u16,
    pub(super) content: Content,
}

/// The answer of a key, if it is younger than `oldest`.
pub(super) fn find(
    view: &TenantView,
    key_hash: &Digest,
    oldest: Timestamp,
) -> Result<Option<KeylessAnswer>, StorageError> {
    view.find(&FIND, params![key_hash, oldest], |row| {
        Ok(KeylessAnswer {
            request_hash: row.get("request_hash")?,
            status: row.get("status")?,
            content: match row.get::<_, Option<CartId>>("cart_id")? {
                Some(cart) => Content::Cart(cart),
                None => Content::Body(row.get("body")?),
            },
        })
    })
}

/// Stores an answer. Deletes a few expired ones with it, and a few of carts when all answers
/// together exceed the cap.
pub(super) fn store(
    work: &mut TenantWork,
    key_hash: &Digest,
    answer: &KeylessAnswer,
    oldest: Timestamp,
) -> Result<(), StorageError> {
    delete_expired(work, oldest, DELETED_PER_STORED)?;
    // An expired answer of the same key, where more had expired than that.
    work.change(&DELETE_OF_KEY, params![key_hash], Rows::AtMostOne)?;
    let (cart_id, body) = match &answer.content {
        Content::Cart(cart) => (Some(*cart), None),
        Content::Body(body) => (None, Some(body)),
    };
    let now = work.now();
    let KeylessAnswer {
        request_hash,
        status,
        ..
    } = answer;
    work.insert(
        &STORE,
        params![key_hash, request_hash, status, cart_id, body, now],
    )?;
    if usage(work)?.answer_bytes > KEYLESS_ANSWER_BYTES_MAX {
        work.change(
            &DELETE_OLDEST_OF_CARTS,
            params![DELETED_PER_STORED],
            Rows::Any,
        )?;
    }
    Ok(())
}

/// The sums of what callers without a key have stored: one row is read.
///
/// # Errors
/// [`StorageError`].
pub fn usage(view: &TenantView) -> Result<KeylessUsage, StorageError> {
    view.one(&USAGE, [], |row| {
        Ok(KeylessUsage {
            carts: row.get("carts")?,
            answers: row.get("answers")?,
            answer_bytes: row.get("answer_bytes")?,
        })
    })
}

/// Counts the keyless answers that are not younger than `cut_off`.
///
/// # Errors
/// [`StorageError`].
pub fn count_expired(view: &TenantView, cut_off: Timestamp) -> Result<i64, StorageError> {
    view.one(&COUNT_EXPIRED, params![cut_off], |row| row.get(0))
}

/// Tells whether [`delete_expired`] has anything to delete.
///
/// # Errors
/// [`StorageError`].
pub fn has_expired(view: &TenantView, cut_off: Timestamp) -> Result<bool, StorageError> {
    let found = view.find(&HAS_EXPIRED, params![cut_off], |_| Ok(()))?;
    Ok(found.is_some())
}

/// Deletes the oldest keyless answers that are not younger than `cut_off`, at most `limit`. Returns
/// the number of deleted rows.
///
/// # Errors
/// [`StorageError`].
pub fn delete_expired(
    work: &mut TenantWork,
    cut_off: Timestamp,
    limit: u32,
) -> Result<usize, StorageError> {
    work.change(&DELETE_EXPIRED, params![cut_off, limit], Rows::Any)
}

/// Deletes the oldest keyless answers of carts, however young, at most `limit`, never one of a
/// checkout. Returns the number of deleted rows.
///
/// # Errors
/// [`StorageError`].
pub fn delete_keyless(work: &mut TenantWork, limit: u32) -> Result<usize, StorageError> {
    work.change(&DELETE_OLDEST_OF_CARTS, params![limit], Rows::Any)
}
