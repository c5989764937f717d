//! The hash chain of the ledger: the hash of each entry covers the previous hash, the entry, its
//! transfers and the documents that it books.
//!
//! A row that was changed, removed or inserted by a failing disk or by hand breaks the chain there;
//! [`verify`] returns the place. The end of the chain is also in the landlord's file
//! (`tenancy::checkpoints`), so a lost tail is detected too.
//!
//! Deliberately not covered: data that may change after the booking, such as the status of an
//! order, or a customer's address, which may have to be erased by law.

use super::accounts::AccountCode;
use super::queries::Transfer;
use crate::primitives::digest::Parts;
use crate::primitives::id::EntryId;
use crate::primitives::{Currency, Digest, Timestamp};
use crate::storage::{Row, StorageError, TenantView, params, statements};

/// Entries read in one pass.
const AT_ONCE: i64 = 500;

statements! {
    LAST = "SELECT seq, hash FROM ledger_entry ORDER BY seq DESC LIMIT 1";
    LINK = "SELECT hash FROM ledger_entry WHERE seq = ?1";
    LINKS = "SELECT seq, hash, id, kind, subject_id, description, booked_at, created_at FROM \
        ledger_entry WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    TRANSFERS_OF = "SELECT debit_code, credit_code, currency, amount_minor FROM ledger_transfer \
        WHERE entry_seq = ?1 ORDER BY seq";
}

/// The data of an entry that the chain covers.
pub(super) struct Link<'a> {
    pub(super) id: EntryId,
    pub(super) kind: &'a str,
    pub(super) subject_id: [u8; 16],
    pub(super) description: &'a str,
    pub(super) booked_at: Timestamp,
    pub(super) created_at: Timestamp,
    /// Digest of the documents that it books.
    pub(super) documents: Digest,
}

impl Link<'_> {
    /// The hash of the entry after `prev`, with its transfers.
    pub(super) fn hash(
        &self,
        prev: &Digest,
        transfers: impl Iterator<Item = (AccountCode, AccountCode, Currency, i64)>,
    ) -> Digest {
        let mut parts = Parts::default();
        parts.bytes(prev.as_bytes());
        parts.bytes(self.id.as_bytes());
        parts.bytes(self.kind.as_bytes());
        parts.bytes(&self.subject_id);
        parts.bytes(self.description.as_bytes());
        parts.number(self.booked_at.as_millis());
        parts.number(self.created_at.as_millis());
        parts.bytes(self.documents.as_bytes());
        for (debit, credit, currency, amount_minor) in transfers {
            parts.bytes(debit.as_str().as_bytes());
            parts.bytes(credit.as_str().as_bytes());
            parts.bytes(currency.code().as_bytes());
            parts.number(amount_minor);
        }
        parts.finish()
    }
}

/// The end of the chain: sequence number and hash of the last entry; 0 when nothing is booked.
pub fn end(view: &TenantView) -> Result<(i64, Digest), StorageError> {
    let last = view.find(&LAST, [], |row| Ok((row.get("seq")?, row.get("hash")?)))?;
    Ok(last.unwrap_or((0, Digest::none())))
}

/// The hash of the entry with a sequence number, if there is one.
pub fn hash_at(view: &TenantView, seq: i64) -> Result<Option<Digest>, StorageError> {
    view.find(&LINK, params![seq], |row| row.get(0))
}

struct Stored {
    seq: i64,
    hash: Digest,
    id: EntryId,
    kind: String,
    subject_id: [u8; 16],
    description: String,
    booked_at: Timestamp,
    created_at: Timestamp,
}

/// Computes the digest of the documents that an entry of this kind books for this subject; `None`
/// when documents are missing.
pub type DocumentsOf = fn(&TenantView, &str, [u8; 16]) -> Result<Option<Digest>, StorageError>;

/// Walks the chain from its beginning and returns the sequence numbers of the entries that do not
/// match.
pub fn verify(view: &TenantView, documents_of: DocumentsOf) -> Result<Vec<i64>, StorageError> {
    let (mut broken, mut prev, mut after) = (Vec::new(), Digest::none(), 0);
    loop {
        let stored = view.all(&LINKS, params![after, AT_ONCE], stored)?;
        let Some(last) = stored.last() else {
            return Ok(broken);
        };
        after = last.seq;
        for entry in stored {
            if expected(view, documents_of, &prev, &entry)? != Some(entry.hash) {
                broken.push(entry.seq);
            }
            prev = entry.hash;
        }
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        seq: row.get("seq")?,
        hash: row.get("hash")?,
        id: row.get("id")?,
        kind: row.get("kind")?,
        subject_id: row.get("subject_id")?,
        description: row.get("description")?,
        booked_at: row.get("booked_at")?,
        created_at: row.get("created_at")?,
    })
}

/// The hash that an entry should have; `None` when documents that it books are missing.
fn expected(
    view: &TenantView,
    documents_of: DocumentsOf,
    prev: &Digest,
    entry: &Stored,
) -> Result<Option<Digest>, StorageError> {
    let Some(documents) = documents_of(view, &entry.kind, entry.subject_id)? else {
        return Ok(None);
    };
    let map = |row: &Row<'_>| {
        Ok(Transfer {
            debit: row.get("debit_code")?,
            credit: row.get("credit_code")?,
            currency: row.get("currency")?,
            amount_minor: row.get("amount_minor")?,
        })
    };
    let transfers = view.all(&TRANSFERS_OF, params![entry.seq], map)?;
    let link = Link {
        id: entry.id,
        kind: &entry.kind,
        subject_id: entry.subject_id,
        description: &entry.description,
        booked_at: entry.booked_at,
        created_at: entry.created_at,
        documents,
    };
    let moved = transfers.into_iter().map(|transfer| {
        (
            transfer.debit,
            transfer.credit,
            transfer.currency,
            transfer.amount_minor,
        )
    });
    Ok(Some(link.hash(prev, moved)))
}
