//! Use cases: Mark an order paid or cancelled, confirm it, ship it. The table in `model.rs` decides
//! whether; the side effects of each transition are here.

use serde_json::json;

use super::model::{Order, OrderEvent, OrderRefused, OrderStatus, next_status};
use super::queries::require_order;
use super::store;
use crate::platform::audit;
use crate::primitives::id::OrderId;
use crate::storage::TenantWork;

/// Marks an order paid. `finance::settle` does everything else that follows from a payment.
///
/// # Errors
/// `IllegalTransition`.
pub fn mark_paid(work: &mut TenantWork, order: &mut Order) -> Result<(), OrderRefused> {
    move_to(work, order, OrderEvent::Pay)
}

/// Accepts a paid order.
pub fn confirm_order(work: &mut TenantWork, id: OrderId) -> Result<Order, OrderRefused> {
    let mut order = require_order(work, id)?;
    move_to(work, &mut order, OrderEvent::Confirm)?;
    audit::record(
        work,
        "order.confirmed",
        &format!("order:{id}"),
        json!({"number": order.number}),
    )?;
    Ok(order)
}

/// Records that the goods were handed over or sent.
pub fn ship_order(work: &mut TenantWork, id: OrderId) -> Result<Order, OrderRefused> {
    let mut order = require_order(work, id)?;
    move_to(work, &mut order, OrderEvent::Ship)?;
    audit::record(
        work,
        "order.shipped",
        &format!("order:{id}"),
        json!({"number": order.number}),
    )?;
    Ok(order)
}

/// Marks an order cancelled. `cancellation::cancel_order` does everything else.
///
/// # Errors
/// `IllegalTransition`.
pub fn mark_cancelled(work: &mut TenantWork, order: &mut Order) -> Result<(), OrderRefused> {
    move_to(work, order, OrderEvent::Cancel)
}

fn move_to(
    work: &mut TenantWork,
    order: &mut Order,
    event: OrderEvent,
) -> Result<(), OrderRefused> {
    let from: OrderStatus = order.status;
    let to = next_status(from, event).ok_or(OrderRefused::IllegalTransition {
        status: from,
        event,
    })?;
    store::set_status(work, order, to)?;
    Ok(())
}
