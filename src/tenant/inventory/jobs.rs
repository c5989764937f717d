//! Expiry of the reservations of orders that are not paid in time.

use serde::{Deserialize, Serialize};

use super::store;
use crate::primitives::Timestamp;
use crate::primitives::id::OrderId;
use crate::primitives::limits::EXPIRE_RESERVATIONS_MAX;
use crate::storage::{StorageError, TenantView, TenantWork};

/// The kind of the job that ends the reservations of an order.
pub const EXPIRE_RESERVATION: &str = "inventory.expire_reservation";

/// The payload of an [`EXPIRE_RESERVATION`] job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireReservation {
    pub order_id: OrderId,
}

/// Handles an [`EXPIRE_RESERVATION`] job: releases the expired reservations of the order. An order
/// that was paid or cancelled has none. Returns the number of reservations ended.
pub fn expire(work: &mut TenantWork, order_id: OrderId) -> Result<usize, StorageError> {
    let ended = store::expire(work, order_id)?;
    if ended > 0 {
        work.on_commit(
            move || tracing::info!(%order_id, reservations = ended, "reservation expired"),
        );
    }
    Ok(ended)
}

/// Whether [`expire_reservations`] has anything to do. Checked first, so that an idle process
/// writes nothing.
pub fn has_overdue(view: &TenantView, now: Timestamp) -> Result<bool, StorageError> {
    store::has_overdue(view, now)
}

/// Ends expired reservations, even if their job is gone. Ends at most `EXPIRE_RESERVATIONS_MAX` per
/// call, so that sales run in between. Returns the number ended; if it is the maximum, call again.
pub fn expire_reservations(work: &mut TenantWork) -> Result<usize, StorageError> {
    let ended = store::expire_due(work, EXPIRE_RESERVATIONS_MAX)?;
    if ended > 0 {
        work.on_commit(move || tracing::info!(reservations = ended, "reservations expired"));
    }
    Ok(ended)
}
