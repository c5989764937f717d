//! The audit chain: who did what to what, each entry holding the hash of the one before.
//!
//! A row that is changed, left out or put in between breaks every hash after it; [`verify`] says
//! where.
//!
//! The chain is pruned from its beginning and never anywhere else: before anything goes, an anchor
//! says which entry is the last one that does, with its hash, and what is left is held against
//! that. The newest entry always stays, because the next one goes on from it.

use serde_json::Value;

use crate::primitives::{Digest, Timestamp};
use crate::storage::{FileKind, Rows, StorageError, View, Work, params, statements};

statements! {
    LAST = "SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1";
    LINK = "SELECT hash FROM audit_log WHERE seq = ?1";
    APPEND = "INSERT INTO audit_log (at, actor, action, subject, request_id, details, prev_hash, \
        hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    CHAIN = "SELECT seq, at, actor, action, subject, request_id, details, prev_hash, hash FROM \
        audit_log ORDER BY seq";
    ANCHOR = "SELECT seq, hash FROM audit_anchor ORDER BY seq DESC LIMIT 1";
    FIRST_SINCE = "SELECT seq FROM audit_log WHERE at >= ?1 ORDER BY seq LIMIT 1";
    COUNT_TO = "SELECT count(*) FROM audit_log WHERE seq <= ?1";
    INSERT_ANCHOR = "INSERT INTO audit_anchor (seq, hash, pruned_at) SELECT seq, hash, ?2 FROM \
        audit_log WHERE seq = ?1";
    PRUNE = "DELETE FROM audit_log WHERE seq IN (SELECT seq FROM audit_log WHERE seq <= ?1 ORDER \
        BY seq LIMIT ?2)";
    PAGE = "SELECT seq, at, actor, action, subject, request_id, details, prev_hash, hash FROM \
        audit_log WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
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
pub fn list<K: FileKind>(
    view: &View<'_, K>,
    before: i64,
    limit: u32,
) -> Result<Vec<ChainedEntry>, StorageError> {
    view.all(&PAGE, params![before, limit], |row| {
        chained(row).map(|(entry, _)| entry)
    })
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

/// What a walk through the chain has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many entries there are.
    pub entries: u64,
    /// The first that does not fit, if one does not.
    pub broken: Option<i64>,
    /// The last entry that was pruned; 0 when none was.
    pub pruned_to: i64,
}

/// The last entry that was pruned, with its hash.
///
/// # Errors
/// [`StorageError`].
pub fn anchor<K: FileKind>(view: &View<'_, K>) -> Result<Option<(i64, Digest)>, StorageError> {
    view.find(&ANCHOR, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Walks the chain from its beginning, or from where it was pruned.
///
/// # Errors
/// [`StorageError`].
pub fn verify<K: FileKind>(view: &View<'_, K>) -> Result<Verified, StorageError> {
    let anchor = anchor(view)?;
    let (pruned_to, anchor_hash) = anchor.unwrap_or((0, Digest::none()));
    let mut found = Verified {
        pruned_to,
        ..Verified::default()
    };
    let mut last: Option<(i64, Digest)> = None;
    view.all(&CHAIN, [], |row| {
        let (link, details) = chained(row)?;
        found.entries += 1;
        // What an anchor covers and was not deleted yet (the power went) begins anywhere; it still
        // has to lead to the anchor.
        let prev = match last {
            Some((_, hash)) => hash,
            None if link.seq <= pruned_to => link.prev_hash,
            None => anchor_hash,
        };
        let is_anchored = link.seq != pruned_to || link.hash == anchor_hash;
        if found.broken.is_none()
            && (link.prev_hash != prev
                || link.hash != hash(&prev, &link.entry, &details)
                || !is_anchored)
        {
            found.broken = Some(link.seq);
        }
        last = Some((link.seq, link.hash));
        Ok(())
    })?;
    // The newest entry is never pruned.
    if pruned_to > 0 && last.is_none_or(|(seq, _)| seq <= pruned_to) {
        found.broken = found.broken.or(Some(pruned_to + 1));
    }
    Ok(found)
}

/// The place of the newest entry; 0 when there is none.
///
/// # Errors
/// [`StorageError`].
pub fn find_newest<K: FileKind>(view: &View<'_, K>) -> Result<i64, StorageError> {
    Ok(end(view)?.0)
}

/// The last entry of those at the chain's beginning that are older than `cut_off`, and how many
/// they are. One that is not ends them, whatever comes behind it: a clock may have been anywhere.
/// The newest entry stays; `newest` says which one that was at an earlier instant, when those that
/// came since are not to count.
///
/// # Errors
/// [`StorageError`].
pub fn find_prunable<K: FileKind>(
    view: &View<'_, K>,
    cut_off: Timestamp,
    newest: Option<i64>,
) -> Result<(i64, i64), StorageError> {
    let newest = newest.map_or_else(|| find_newest(view), Ok)?;
    let kept = view.find(&FIRST_SINCE, params![cut_off], |row| row.get(0))?;
    let to = kept.unwrap_or(newest).min(newest) - 1;
    Ok((to, view.one(&COUNT_TO, params![to], |row| row.get(0))?))
}

/// Deletes the first few of the entries up to `to`, which [`find_prunable`] gave; the anchor comes
/// first. Gives how many went.
///
/// # Errors
/// [`StorageError`].
pub fn prune<K: FileKind>(
    work: &mut Work<'_, K>,
    to: i64,
    limit: u32,
) -> Result<usize, StorageError> {
    if anchor(work)?.is_none_or(|(seq, _)| seq < to) {
        let now = work.now();
        if work.change(&INSERT_ANCHOR, params![to, now], Rows::AtMostOne)? == 0 {
            return Ok(0);
        }
    }
    work.change(&PRUNE, params![to, limit], Rows::Any)
}
