//! Use case: Staff cancels the unpaid orders of one client without an API key, or of all such
//! clients, and releases the stock they hold.

use super::model::OrderRefused;
use super::move_order::cancel_order;
use super::store;
use crate::primitives::ClientHash;
use crate::primitives::id::OrderId;
use crate::primitives::limits::CANCELLED_PER_CALL_MAX;
use crate::storage::TenantWork;

/// The orders to cancel.
#[derive(Clone, Copy, Debug)]
pub enum CancelUnpaid {
    /// All unpaid orders that were placed without an API key.
    All,
    OfClient(ClientHash),
    /// The orders of the client that placed this order.
    OfClientOf(OrderId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelledUnpaid {
    /// The cancelled orders, the oldest first.
    pub order_ids: Vec<OrderId>,
    /// Whether unpaid orders remain: one call cancels a limited number.
    pub has_more: bool,
}

/// Cancels unpaid orders that were placed without an API key. Each is cancelled as by
/// [`cancel_order`]: with an audit entry, its stock released and its payments cancelled.
///
/// # Errors
/// `NotFound` or `NoClient` for the given order.
pub fn cancel_unpaid(
    work: &mut TenantWork,
    command: CancelUnpaid,
) -> Result<CancelledUnpaid, OrderRefused> {
    let client = match command {
        CancelUnpaid::All => None,
        CancelUnpaid::OfClient(client) => Some(client),
        CancelUnpaid::OfClientOf(id) => Some(
            store::client_of(work, id)?
                .ok_or(OrderRefused::NotFound)?
                .ok_or(OrderRefused::NoClient)?,
        ),
    };
    let mut order_ids = store::unpaid_of(work, client, CANCELLED_PER_CALL_MAX + 1)?;
    let has_more = order_ids.len() > CANCELLED_PER_CALL_MAX as usize;
    order_ids.truncate(CANCELLED_PER_CALL_MAX as usize);
    for id in &order_ids {
        cancel_order(work, *id)?;
    }
    Ok(CancelledUnpaid {
        order_ids,
        has_more,
    })
}
