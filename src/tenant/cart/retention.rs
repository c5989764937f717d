//! Carts that nobody comes back to. Those that became an order stay: the order says which cart it
//! was.

use crate::primitives::Timestamp;
use crate::storage::{Rows, StorageError, TenantView, TenantWork, params, statements};

statements! {
    COUNT_LEFT = "SELECT count(*) FROM cart WHERE status IN ('open', 'abandoned') AND updated_at < \
        ?1";
    LEFT = "SELECT id FROM cart WHERE status IN ('open', 'abandoned') AND updated_at < ?1 ORDER BY \
        updated_at LIMIT ?2";
    DELETE_ITEMS = "DELETE FROM cart_item WHERE cart_id = ?1";
    DELETE = "DELETE FROM cart WHERE id = ?1 AND status IN ('open', 'abandoned')";
}

/// How many carts nobody has touched since before `cut_off`.
///
/// # Errors
/// [`StorageError`].
pub fn count_left(view: &TenantView, cut_off: Timestamp) -> Result<i64, StorageError> {
    view.one(&COUNT_LEFT, params![cut_off], |row| row.get(0))
}

/// Deletes those that were left first, at most `limit`, with what is in them. Gives how many went.
///
/// # Errors
/// [`StorageError`].
pub fn delete_left(
    work: &mut TenantWork,
    cut_off: Timestamp,
    limit: u32,
) -> Result<usize, StorageError> {
    let left = work.all(&LEFT, params![cut_off, limit], |row| {
        row.get::<_, [u8; 16]>(0)
    })?;
    for id in &left {
        work.change(&DELETE_ITEMS, params![id], Rows::Any)?;
        work.change(&DELETE, params![id], Rows::Exactly(1))?;
    }
    Ok(left.len())
}
