//! The audit chain: who did what to what, each entry holding the hash of the one before.
//!
//! A row that is changed, left out or put in between breaks every hash after it; [`verify`] says where.

use serde_json::Value;

use crate::primitives::{Digest, Timestamp};
use crate::storage::{FileKind, StorageError, View, Work, params, statements};

statements! {
    LAST = "SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1";
    LINK = "SELECT hash FROM audit_log WHERE seq = ?1";
    APPEND = "INSERT INTO audit_log (at, actor, action, subject, request_id, details, prev_hash, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    CHAIN = "SELECT seq, at, actor, action, subject, request_id, details, prev_hash, hash FROM audit_log ORDER BY seq";
    PAGE = "SELECT seq, at, actor, action, subject, request_id, details, prev_hash, hash FROM audit_log WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
}

/// What happened, by whom, to what.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AuditEntry {
    /// When it happened (not when it was written down).
    pub at: Timestamp,
    /// Who did it, as `Actor` shows itself.
    pub actor: String,
    /// What: a past-tense `subject.verb`, such as `order.paid`.
    pub action: String,
    /// To what: `kind:id`.
    pub subject: String,
    /// In which request.
    pub request_id: Option<String>,
    /// More, as JSON. No secrets, no personal data beyond ids.
    pub details: Value,
}

/// An entry as it stands in the chain.
#[derive(Clone, Debug)]
pub struct ChainedEntry {
    /// Its place.
    pub seq: i64,
    /// What it says.
    pub entry: AuditEntry,
    /// The hash of the entry before.
    pub prev_hash: Digest,
    /// Its own.
    pub hash: Digest,
}

/// The hash of an entry after `prev`: SHA-256 over the parts, each with its length.
fn hash(prev: &Digest, entry: &AuditEntry, details: &str) -> Digest {
    Digest::of_parts(&[
        prev.as_bytes(),
        &entry.at.as_millis().to_be_bytes(),
        entry.actor.as_bytes(),
        entry.action.as_bytes(),
        entry.subject.as_bytes(),
        entry.request_id.as_deref().unwrap_or_default().as_bytes(),
        details.as_bytes(),
    ])
}

/// Appends an entry to the chain.
///
/// # Errors
/// [`StorageError`].
pub fn append<K: FileKind>(work: &mut Work<'_, K>, entry: &AuditEntry) -> Result<(), StorageError> {
    let (_, prev) = end(work)?;
    let details = entry.details.to_string();
    let hash = hash(&prev, entry, &details);
    work.insert(
        &APPEND,
        params![
            entry.at,
            entry.actor,
            entry.action,
            entry.subject,
            entry.request_id,
            details,
            prev,
            hash
        ],
    )
}

fn chained(row: &crate::storage::Row<'_>) -> rusqlite::Result<(ChainedEntry, String)> {
    let details: String = row.get(6)?;
    let entry = AuditEntry {
        at: row.get(1)?,
        actor: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        request_id: row.get(5)?,
        details: serde_json::from_str(&details).unwrap_or(Value::Null),
    };
    Ok((
        ChainedEntry {
            seq: row.get(0)?,
            entry,
            prev_hash: row.get(7)?,
            hash: row.get(8)?,
        },
        details,
    ))
}

/// Entries before `before`, the newest first.
///
/// # Errors
/// [`StorageError`].
pub fn list<K: FileKind>(view: &View<'_, K>, before: i64, limit: u32) -> Result<Vec<ChainedEntry>, StorageError> {
    view.all(&PAGE, params![before, limit], |row| chained(row).map(|(entry, _)| entry))
}

/// Where the chain ends: the place of the last entry and its hash; place 0 when there is none.
///
/// # Errors
/// [`StorageError`].
pub fn end<K: FileKind>(view: &View<'_, K>) -> Result<(i64, Digest), StorageError> {
    let last = view.find(&LAST, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(last.unwrap_or((0, Digest::none())))
}

/// The hash of the entry at a place, if there is one.
///
/// # Errors
/// [`StorageError`].
pub fn hash_at<K: FileKind>(view: &View<'_, K>, seq: i64) -> Result<Option<Digest>, StorageError> {
    view.find(&LINK, params![seq], |row| row.get(0))
}

/// Walks the chain from its beginning; gives the number of entries and the first that does not fit, if one does not.
///
/// # Errors
/// [`StorageError`].
pub fn verify<K: FileKind>(view: &View<'_, K>) -> Result<(u64, Option<i64>), StorageError> {
    let (mut prev, mut count, mut broken) = (Digest::none(), 0_u64, None);
    view.all(&CHAIN, [], |row| {
        let (link, details) = chained(row)?;
        count += 1;
        if broken.is_none() && (link.prev_hash != prev || link.hash != hash(&prev, &link.entry, &details)) {
            broken = Some(link.seq);
        }
        prev = link.hash;
        Ok(())
    })?;
    Ok((count, broken))
}
