//! Retention of stock: deletes old movements, and reservations that have ended.
//!
//! Before movements are deleted, an anchor records the quantity on hand of each product after the
//! last of them, in the same transaction: stock stays the sum of its movements. Movements are
//! deleted in the order in which they happened. The newest one stays, so that no sequence number is
//! assigned twice.

use crate::primitives::Timestamp;
use crate::storage::{Rows, StorageError, TenantView, TenantWork, params, statements};

statements! {
    NEWEST = "SELECT seq FROM inventory_movement ORDER BY seq DESC LIMIT 1";
    FIRST_SINCE = "SELECT seq FROM inventory_movement WHERE at >= ?1 ORDER BY seq LIMIT 1";
    COUNT_TO = "SELECT count(*) FROM inventory_movement WHERE seq <= ?1";
    BATCH_END = "SELECT seq FROM inventory_movement WHERE seq <= ?1 ORDER BY seq LIMIT 1 OFFSET ?2";
    BATCH_REST = "SELECT seq FROM inventory_movement WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1";
    // By `seq`: the index on the product covers all movements.
    ANCHOR = "INSERT INTO inventory_anchor (product_id, seq, balance, pruned_at)
              SELECT product_id, max(seq), on_hand_after, ?2 FROM inventory_movement NOT INDEXED \
              WHERE seq <= ?1 GROUP BY product_id";
    FORGET_ANCHORS = "DELETE FROM inventory_anchor AS one WHERE product_id IN (SELECT product_id \
        FROM inventory_movement NOT INDEXED WHERE seq <= ?1)
              AND seq < (SELECT max(seq) FROM inventory_anchor WHERE product_id = one.product_id)";
    PRUNE = "DELETE FROM inventory_movement WHERE seq <= ?1";
    COUNT_OVER = "SELECT count(*) FROM reservation WHERE status <> 'held' AND expires_at < ?1";
    DELETE_OVER = "DELETE FROM reservation WHERE seq IN (SELECT seq FROM reservation WHERE status \
        <> 'held' AND expires_at < ?1 ORDER BY expires_at LIMIT ?2)";
}

/// The last movement of the leading run that is older than `cut_off`, and the length of that run.
/// Movements that a till dated back keep the position at which they were recorded.
pub fn find_prunable(view: &TenantView, cut_off: Timestamp) -> Result<(i64, i64), StorageError> {
    let newest: i64 = view.find(&NEWEST, [], |row| row.get(0))?.unwrap_or(0);
    let kept: Option<i64> = view.find(&FIRST_SINCE, params![cut_off], |row| row.get(0))?;
    let to = kept.unwrap_or(newest).min(newest) - 1;
    Ok((to, view.one(&COUNT_TO, params![to], |row| row.get(0))?))
}

/// Deletes the first `limit` movements up to `to`, which [`find_prunable`] returned. Returns the
/// number deleted.
pub fn prune_movements(work: &mut TenantWork, to: i64, limit: u32) -> Result<usize, StorageError> {
    let end: Option<i64> =
        match work.find(&BATCH_END, params![to, limit.saturating_sub(1)], |row| {
            row.get(0)
        })? {
            Some(end) => Some(end),
            None => work.find(&BATCH_REST, params![to], |row| row.get(0))?,
        };
    let Some(end) = end else { return Ok(0) };
    let now = work.now();
    work.change(&ANCHOR, params![end, now], Rows::Any)?;
    work.change(&FORGET_ANCHORS, params![end], Rows::Any)?;
    work.change(&PRUNE, params![end], Rows::Any)
}

/// Counts the reservations that ended before `cut_off`.
pub fn count_over(view: &TenantView, cut_off: Timestamp) -> Result<i64, StorageError> {
    view.one(&COUNT_OVER, params![cut_off], |row| row.get(0))
}

/// Deletes the oldest reservations that ended before `cut_off`, at most `limit`. Returns the number
/// deleted.
pub fn delete_over(
    work: &mut TenantWork,
    cut_off: Timestamp,
    limit: u32,
) -> Result<usize, StorageError> {
    work.change(&DELETE_OVER, params![cut_off, limit], Rows::Any)
}
