//! Use cases: Open a further payment for an unpaid order; cancel a payment.

use serde_json::json;

use super::methods::Method;
use super::model::{NewPayment, Payment, PaymentRefused, PaymentStatus, advice};
use super::store;
use crate::platform::audit;
use crate::primitives::Note;
use crate::primitives::id::{OrderId, PaymentId, PaymentKind};
use crate::primitives::limits::PAYMENTS_PER_ORDER_MAX;
use crate::storage::{StorageError, TenantView, TenantWork};
use crate::tenant::Policy;
use crate::tenant::orders::{self, OrderEvent};

/// The command to open a payment.
#[derive(Clone, Copy, Debug)]
pub struct OpenPayment {
    pub order_id: OrderId,
    pub method: Method,
}

/// Refuses a payment that has ended.
pub fn require_unprocessed(view: &TenantView, payment: &Payment) -> Result<(), PaymentRefused> {
    match payment.status {
        PaymentStatus::Pending | PaymentStatus::Authorized => Ok(()),
        PaymentStatus::Succeeded => Err(PaymentRefused::AlreadyProcessed),
        over => {
            let order = orders::require_order(view, payment.order_id)?;
            Err(PaymentRefused::Over(over, advice(order.status)))
        }
    }
}

/// Refuses a method that is not available.
pub(in crate::tenant) fn require_method(
    policy: &Policy,
    method: Method,
) -> Result<(), PaymentRefused> {
    if (method.rules().is_allowed)(policy) {
        Ok(())
    } else {
        Err(PaymentRefused::MethodUnavailable(method))
    }
}

/// Refuses a payment without the reference that its method needs.
pub(in crate::tenant) fn require_reference(
    method: Method,
    reference: Option<&Note>,
) -> Result<(), PaymentRefused> {
    if method.rules().needs_reference && reference.is_none() {
        Err(PaymentRefused::ReferenceMissing(method))
    } else {
        Ok(())
    }
}

/// Opens a payment over the whole total of an order, after the previous one failed or was
/// cancelled.
pub fn open_payment(
    work: &mut TenantWork,
    policy: &Policy,
    command: &OpenPayment,
) -> Result<Payment, PaymentRefused> {
    let order = orders::require_order(work, command.order_id)?;
    require_method(policy, command.method)?;
    if orders::next_status(order.status, OrderEvent::Pay).is_none() {
        return Err(PaymentRefused::OrderNotPayable(order.status));
    }
    let before = store::list_payments_of_order(work, order.id)?;
    let is_open = |payment: &&Payment| {
        matches!(
            payment.status,
            PaymentStatus::Pending | PaymentStatus::Authorized | PaymentStatus::Unknown
        )
    };
    if let Some(open) = before.iter().find(is_open) {
        return Err(PaymentRefused::OtherPending(open.id));
    }
    if before.len() as i64 >= PAYMENTS_PER_ORDER_MAX {
        return Err(PaymentRefused::TooMany);
    }
    let id = work.new_id::<PaymentKind>();
    let new = NewPayment {
        id,
        order_id: order.id,
        method: command.method,
        succeeded_at: None,
        amount: order.total,
        tendered: None,
    };
    let payment = store::insert_payment(work, &new)?;
    audit::record(
        work,
        "payment.opened",
        &format!("payment:{id}"),
        json!({"order": order.number, "method": command.method}),
    )?;
    Ok(payment)
}

/// Cancels a payment that has not succeeded. The order keeps waiting for a payment.
pub fn cancel_payment(
    work: &mut TenantWork,
    id: PaymentId,
    reason: Option<&Note>,
) -> Result<Payment, PaymentRefused> {
    let mut payment = store::find_payment(work, id)?.ok_or(PaymentRefused::NotFound)?;
    require_unprocessed(work, &payment)?;
    store::cancel(work, &mut payment)?;
    audit::record(
        work,
        "payment.cancelled",
        &format!("payment:{id}"),
        json!({"reason": reason}),
    )?;
    Ok(payment)
}

/// Cancels all open payments of a cancelled order.
pub fn cancel_open(work: &mut TenantWork, order_id: OrderId) -> Result<(), StorageError> {
    store::cancel_all_open(work, order_id)
}
