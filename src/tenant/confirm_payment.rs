//! Use case: Confirm a payment. It succeeds, with everything that follows from it in the same
//! transaction, or it is declined.

use serde_json::json;

use super::Policy;
use super::finance::{self, SettleRefused, Settlement};
use super::inventory::{self, Goods};
use super::orders::{self, OrderEvent, OrderRefused};
use super::payments::{self, Payment, PaymentRefused};
use crate::platform::audit;
use crate::primitives::id::PaymentId;
use crate::primitives::{Note, refusals};
use crate::storage::{StorageError, TenantWork};

/// The command to confirm a payment.
#[derive(Clone, Debug)]
pub struct ConfirmPayment {
    pub payment_id: PaymentId,
    /// The provider's reference of the payment.
    pub provider_reference: Option<Note>,
}

/// The outcome of a confirmation.
#[derive(Clone, Debug)]
pub enum Confirmed {
    /// The payment succeeded and the books are complete.
    Succeeded(Box<(Payment, Settlement)>),
    /// The payment is kept as failed; the order keeps waiting for a payment.
    Declined(Payment),
}

refusals! {
    /// Reasons to refuse a confirmation; the first that applies wins, in this order.
    pub enum ConfirmRefused {}
    inherits { Payment(PaymentRefused), Settle(SettleRefused), Storage(StorageError) }
}

impl From<OrderRefused> for ConfirmRefused {
    fn from(refused: OrderRefused) -> Self {
        Self::Payment(refused.into())
    }
}

/// Confirms a payment. In one transaction, in this order: the payment succeeds; the order is paid;
/// the financial order is synced, locked and marked paid; the invoice is issued; the financial
/// transaction is completed; the ledger entry is booked; the stock leaves; the audit entry and the
/// confirmation are queued.
///
/// # Panics
/// When the amount differs from the order's total. Every payment of an unpaid order covers the
/// total.
pub fn confirm_payment(
    work: &mut TenantWork,
    policy: &Policy,
    command: &ConfirmPayment,
) -> Result<Confirmed, ConfirmRefused> {
    let mut payment =
        payments::find_payment(work, command.payment_id)?.ok_or(PaymentRefused::NotFound)?;
    payments::require_unprocessed(work, &payment)?;
    payments::require_method(policy, payment.method)?;
    let mut order = orders::require_order(work, payment.order_id)?;
    if orders::next_status(order.status, OrderEvent::Pay).is_none() {
        return Err(PaymentRefused::OrderNotPayable(order.status).into());
    }
    let reference = command.provider_reference.as_ref();
    payments::require_reference(payment.method, reference)?;
    let declined_by = payment.method.rules().declined_by;
    if declined_by.is_some() && reference.map(Note::as_str) == declined_by {
        payments::fail(work, &mut payment, "declined", reference)?;
        audit::record(
            work,
            "payment.failed",
            &format!("payment:{}", payment.id),
            json!({"order": order.number}),
        )?;
        return Ok(Confirmed::Declined(payment));
    }
    assert!(
        payment.amount == order.total,
        "a payment of a waiting order is over its total"
    );
    inventory::require_held_or_available(work, order.id).map_err(SettleRefused::from)?;
    payments::succeed(work, &mut payment, reference)?;
    orders::mark_paid(work, &mut order)?;
    let at = work.now();
    let settlement = finance::settle(
        work,
        policy,
        order,
        std::slice::from_ref(&payment),
        Goods::Held,
        at,
    )?;
    Ok(Confirmed::Succeeded(Box::new((payment, settlement))))
}
