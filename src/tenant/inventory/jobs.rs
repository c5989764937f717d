//! What happens to reservations later: they end when their order is not paid in time.

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
    /// Whose reservations.
    pub order_id: OrderId,
}

/// Handles an [`EXPIRE_RESERVATION`] job: what the order still holds and whose time is over becomes
/// available again. Of an order that was paid or cancelled meanwhile nothing is held; then this
/// does nothing. Gives how many reservations ended.
pub fn expire(work: &mut TenantWork, order_id: OrderId) -> Result<usize, StorageError> {
    let ended = store::expire(work, order_id)?;
    if ended > 0 {
        work.on_commit(
            move || tracing::info!(%order_id, reservations = ended, "reservation expired"),
        );
    }
    Ok(ended)
}

/// Whether [`expire_reservations`] has anything to do: asked first, so that a process at rest
/// writes nothing.
pub fn has_overdue(view: &TenantView, now: Timestamp) -> Result<bool, StorageError> {
    store::has_overdue(view, now)
}

/// ChainEnds reservations whose time is over, whatever became of their jobs: at most so many that
/// sales go on meanwhile. Gives how many ended; a full batch means that there may be more.
pub fn expire_reservations(work: &mut TenantWork) -> Result<usize, StorageError> {
    let ended = store::expire_due(work, EXPIRE_RESERVATIONS_MAX)?;
    if ended > 0 {
        work.on_commit(move || tracing::info!(reservations = ended, "reservations expired"));
    }
    Ok(ended)
}
