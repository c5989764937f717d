//! Use cases: Cancel an unpaid order, and release the stock it holds; cancel the unpaid orders of
//! one client without an API key, or of all such clients.

use serde_json::json;

use super::orders::{self, Order, OrderRefused};
use super::{inventory, payments};
use crate::platform::audit;
use crate::primitives::ClientHash;
use crate::primitives::id::OrderId;
use crate::primitives::limits::CANCELLED_PER_CALL_MAX;
use crate::storage::TenantWork;

/// Cancels an unpaid order: releases its stock and cancels its open payments.
pub fn cancel_order(work: &mut TenantWork, id: OrderId) -> Result<Order, OrderRefused> {
    let mut order = orders::require_order(work, id)?;
    orders::mark_cancelled(work, &mut order)?;
    inventory::release(work, id)?;
    payments::cancel_open(work, id)?;
    audit::record(
        work,
        "order.cancelled",
        &format!("order:{id}"),
        json!({"number": order.number}),
    )?;
    Ok(order)
}

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
            orders::client_of(work, id)?
                .ok_or(OrderRefused::NotFound)?
                .ok_or(OrderRefused::NoClient)?,
        ),
    };
    let mut order_ids = orders::list_unpaid(work, client, CANCELLED_PER_CALL_MAX + 1)?;
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
