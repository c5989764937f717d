//! Retention of carts. Ordered carts stay: the order refers to its cart.

use crate::primitives::Timestamp;
use crate::storage::{Rows, Statement, StorageError, TenantView, TenantWork, params, statements};

statements! {
    COUNT_WITH_KEY = "SELECT count(*) FROM cart WHERE status IN ('open', 'abandoned') AND \
        client_hash IS NULL AND updated_at < ?1";
    WITH_KEY = "SELECT id FROM cart WHERE status IN ('open', 'abandoned') AND client_hash IS NULL \
        AND updated_at < ?1 ORDER BY updated_at LIMIT ?2";
    COUNT_ANONYMOUS = "SELECT count(*) FROM cart WHERE client_hash IS NOT NULL AND updated_at < ?1";
    ANONYMOUS = "SELECT id FROM cart WHERE client_hash IS NOT NULL AND updated_at < ?1 ORDER BY \
        updated_at LIMIT ?2";
    COUNT_EMPTY = "SELECT count(*) FROM cart WHERE client_hash IS NOT NULL AND updated_at >= ?2 \
        AND updated_at < ?1
             AND NOT EXISTS (SELECT 1 FROM cart_item WHERE cart_id = cart.id)";
    EMPTY = "SELECT id FROM cart WHERE client_hash IS NOT NULL AND updated_at < ?1 AND NOT EXISTS \
        (SELECT 1 FROM cart_item WHERE cart_id = cart.id)
             ORDER BY updated_at LIMIT ?2";
    DELETE_ITEMS = "DELETE FROM cart_item WHERE cart_id = ?1";
    DELETE = "DELETE FROM cart WHERE id = ?1 AND status IN ('open', 'abandoned')";
}

/// Cut-offs for carts that were not ordered: one untouched since before its cut-off is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CartCutOffs {
    /// For a cart made with an API key.
    pub with_key: Timestamp,
    /// For a cart made without a key.
    pub anonymous: Timestamp,
    /// For an empty cart made without a key.
    pub empty: Timestamp,
}

/// Counts the carts that are due for deletion.
pub fn count_due(view: &TenantView, due: &CartCutOffs) -> Result<i64, StorageError> {
    let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let with_key = view.one(&COUNT_WITH_KEY, params![due.with_key], count)?;
    let empty = view.one(&COUNT_EMPTY, params![due.empty, due.anonymous], count)?;
    Ok(with_key + count_anonymous_carts(view, due.anonymous)? + empty)
}

/// Deletes carts that are due, at most `limit`. Returns the number of deleted carts.
pub fn delete_due(
    work: &mut TenantWork,
    due: &CartCutOffs,
    limit: u32,
) -> Result<usize, StorageError> {
    let with_key = delete(work, &WITH_KEY, due.with_key, limit)?;
    Ok(with_key + delete_anonymous_due(work, due, remaining(limit, with_key))?)
}

/// Whether [`delete_anonymous_due`] has anything to delete.
pub fn has_anonymous_due(view: &TenantView, due: &CartCutOffs) -> Result<bool, StorageError> {
    for (found_by, cut_off) in [(&ANONYMOUS, due.anonymous), (&EMPTY, due.empty)] {
        let found = view.find(found_by, params![cut_off, 1], |_| Ok(()))?;
        if found.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// As [`delete_due`], but only carts made without an API key.
pub fn delete_anonymous_due(
    work: &mut TenantWork,
    due: &CartCutOffs,
    limit: u32,
) -> Result<usize, StorageError> {
    let carts = delete_anonymous_carts(work, due.anonymous, limit)?;
    Ok(carts + delete_empty_carts(work, due.empty, remaining(limit, carts))?)
}

/// Counts the carts of callers without an API key that were not ordered and not touched since
/// `untouched_since`.
pub fn count_anonymous_carts(
    view: &TenantView,
    untouched_since: Timestamp,
) -> Result<i64, StorageError> {
    view.one(&COUNT_ANONYMOUS, params![untouched_since], |row| row.get(0))
}

/// Deletes carts of callers without an API key that were not ordered and not touched since
/// `untouched_since`, with their items; the longest untouched first, at most `limit`. Returns the
/// number of deleted carts.
pub fn delete_anonymous_carts(
    work: &mut TenantWork,
    untouched_since: Timestamp,
    limit: u32,
) -> Result<usize, StorageError> {
    delete(work, &ANONYMOUS, untouched_since, limit)
}

/// As [`delete_anonymous_carts`], but only empty ones.
fn delete_empty_carts(
    work: &mut TenantWork,
    untouched_since: Timestamp,
    limit: u32,
) -> Result<usize, StorageError> {
    delete(work, &EMPTY, untouched_since, limit)
}

fn remaining(limit: u32, deleted: usize) -> u32 {
    limit.saturating_sub(u32::try_from(deleted).unwrap_or(u32::MAX))
}

fn delete(
    work: &mut TenantWork,
    found_by: &Statement,
    cut_off: Timestamp,
    limit: u32,
) -> Result<usize, StorageError> {
    let carts = work.all(found_by, params![cut_off, limit], |row| {
        row.get::<_, [u8; 16]>(0)
    })?;
    for id in &carts {
        work.change(&DELETE_ITEMS, params![id], Rows::Any)?;
        work.change(&DELETE, params![id], Rows::Exactly(1))?;
    }
    Ok(carts.len())
}
