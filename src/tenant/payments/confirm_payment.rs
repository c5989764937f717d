//! Use case: Confirm a payment. It succeeds, with everything that follows from it in the same
//! transaction, or it is declined.

use serde_json::json;

use super::model::{Method, Payment, PaymentRefused};
use super::open_payment::{require_method, require_unprocessed};
use super::store;
use crate::platform::audit;
use crate::primitives::Note;
use crate::primitives::id::PaymentId;
use crate::storage::TenantWork;
use crate::tenant::Policy;
use crate::tenant::finance::{self, SettleRefused, Settlement};
use crate::tenant::inventory::{self, Goods};
use crate::tenant::orders::{self, OrderEvent};

/// The reference that makes a `test` payment be declined, for developers.
pub const DECLINE: &str = "decline";

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

/// Confirms a payment. In one transaction, in this order: the payment succeeds; the order is paid;
/// the financial order is synced, locked and marked paid; the invoice is issued; the financial
/// transaction is completed; the ledger entry is booked; the stock leaves; the audit entry and the
/// confirmation are queued.
///
/// # Panics When the amount differs from the order's total. Every payment of an unpaid order covers
/// the total.
pub fn confirm_payment(
    work: &mut TenantWork,
    policy: &Policy,
    command: &ConfirmPayment,
) -> Result<Confirmed, PaymentRefused> {
    let mut payment =
        store::find_payment(work, command.payment_id)?.ok_or(PaymentRefused::NotFound)?;
    require_unprocessed(work, &payment)?;
    require_method(policy, payment.method)?;
    let mut order = orders::require_order(work, payment.order_id)?;
    if orders::next_status(order.status, OrderEvent::Pay).is_none() {
        return Err(PaymentRefused::OrderNotPayable(order.status));
    }
    let reference = command.provider_reference.as_ref();
    if payment.method == Method::Test
        && reference.is_some_and(|reference| reference.as_str() == DECLINE)
    {
        store::fail(work, &mut payment, "declined", reference)?;
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
    store::succeed(work, &mut payment, reference)?;
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
