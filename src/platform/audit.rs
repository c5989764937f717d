//! The audit chain: each entry contains the hash of the entry before.
//!
//! A changed, missing or inserted row breaks every later hash; [`verify`] finds the first one.
//!
//! The chain is pruned from its beginning only. Before a deletion, an anchor records the last entry
//! to be deleted with its hash, and the remaining chain is verified against it. The newest entry
//! always stays, because the next one refers to it.

use serde_json::Value;

use super::queue::{self, NewJob, Queue};
use crate::primitives::{Digest, Timestamp};
use crate::storage::{
    FileKind, Landlord, Rows, StorageError, Tenant, View, Work, params, statements,
};

/// The kind of the job that appends an entry to a tenant's chain.
pub const APPEND_AUDIT: &str = "audit.append";

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

/// One recorded action.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AuditEntry {
    /// The time of the action (not of the recording).
    pub at: Timestamp,
    /// The actor, as `Actor` displays it.
    pub actor: String,
    /// A past-tense `subject.verb`, such as `order.paid`.
    pub action: String,
    /// The affected entity: `kind:id`.
    pub subject: String,
    pub request_id: Option<String>,
    /// Further facts as JSON. No secrets, no personal data beyond ids.
    pub details: Value,
}

/// An entry with its position in the chain.
#[derive(Clone, Debug)]
pub struct ChainedEntry {
    pub seq: i64,
    pub entry: AuditEntry,
    /// The hash of the entry before.
    pub prev_hash: Digest,
    pub hash: Digest,
}

/// A kind of file with an audit chain.
pub trait Audited: FileKind + Sized {
    /// The subject of entries about retention.
    const RETENTION: &'static str;

    /// Adds an entry in the transaction of the change.
    fn add(work: &mut Work<'_, Self>, entry: &AuditEntry) -> Result<(), StorageError>;
}

/// A tenant's entry is queued as a job, whose handler appends it. So the chain costs a sale one
/// row, and no change can be without its entry.
impl Audited for Tenant {
    const RETENTION: &'static str = "shop:retention";

    fn add(work: &mut Work<'_, Self>, entry: &AuditEntry) -> Result<(), StorageError> {
        queue::enqueue(work, &NewJob::new(Queue::Audit, APPEND_AUDIT, entry)).map(drop)
    }
}

impl Audited for Landlord {
    const RETENTION: &'static str = "landlord:retention";

    fn add(work: &mut Work<'_, Self>, entry: &AuditEntry) -> Result<(), StorageError> {
        append(work, entry)
    }
}

/// Records what just happened: `action` in the past tense, `subject` as `kind:id`.
pub fn record<K: Audited>(
    work: &mut Work<'_, K>,
    action: &str,
    subject: &str,
    details: Value,
) -> Result<(), StorageError> {
    let origin = work.origin();
    let entry = AuditEntry {
        at: work.now(),
        actor: origin.actor.to_string(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        request_id: origin.request_id.clone(),
        details,
    };
    K::add(work, &entry)
}

/// The hash of an entry after `prev`: SHA-256 over the parts, each preceded by its length.
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
    let details: String = row.get("details")?;
    let entry = AuditEntry {
        at: row.get("at")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        request_id: row.get("request_id")?,
        details: serde_json::from_str(&details).unwrap_or(Value::Null),
    };
    Ok((
        ChainedEntry {
            seq: row.get("seq")?,
            entry,
            prev_hash: row.get("prev_hash")?,
            hash: row.get("hash")?,
        },
        details,
    ))
}

/// Lists entries before `before`, the newest first.
pub fn list<K: FileKind>(
    view: &View<'_, K>,
    before: i64,
    limit: u32,
) -> Result<Vec<ChainedEntry>, StorageError> {
    view.all(&PAGE, params![before, limit], |row| {
        chained(row).map(|(entry, _)| entry)
    })
}

/// The sequence number and hash of the last entry; 0 for an empty chain.
pub fn end<K: FileKind>(view: &View<'_, K>) -> Result<(i64, Digest), StorageError> {
    let last = view.find(&LAST, [], |row| Ok((row.get("seq")?, row.get("hash")?)))?;
    Ok(last.unwrap_or((0, Digest::none())))
}

pub fn hash_at<K: FileKind>(view: &View<'_, K>, seq: i64) -> Result<Option<Digest>, StorageError> {
    view.find(&LINK, params![seq], |row| row.get(0))
}

/// The result of [`verify`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The number of entries.
    pub entries: u64,
    /// The first entry that does not match.
    pub broken: Option<i64>,
    /// The last pruned entry; 0 when none was pruned.
    pub pruned_to: i64,
}

/// The last pruned entry with its hash.
pub fn anchor<K: FileKind>(view: &View<'_, K>) -> Result<Option<(i64, Digest)>, StorageError> {
    view.find(&ANCHOR, [], |row| Ok((row.get("seq")?, row.get("hash")?)))
}

/// Verifies the chain from its beginning, or from the anchor.
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
        // Entries up to the anchor may remain after a power failure and begin anywhere; they still
        // have to lead to the anchor.
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

/// The sequence number of the newest entry; 0 for an empty chain.
pub fn find_newest<K: FileKind>(view: &View<'_, K>) -> Result<i64, StorageError> {
    Ok(end(view)?.0)
}

/// Finds the last of the entries at the chain's beginning that are older than `cut_off`, and their
/// number. The first younger entry ends them, because the clock may have been wrong anywhere. The
/// newest entry stays; `newest` overrides it with the newest entry of an earlier instant, so that
/// later ones do not count.
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

/// Deletes at most `limit` of the oldest entries up to `to`, which [`find_prunable`] returned,
/// after it has recorded the anchor. Returns the number of deleted entries.
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
