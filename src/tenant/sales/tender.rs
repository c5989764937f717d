//! Payments of a sale: allocates them to its total and computes the change.

use super::model::SalePayment;
use crate::primitives::id::{PaymentId, PaymentKind};
use crate::primitives::{Money, MoneyError};
use crate::storage::{StorageError, TenantWork};
use crate::tenant::Policy;
use crate::tenant::checkout::SellRefused;
use crate::tenant::orders::Order;
use crate::tenant::payments::{self, Method, NewPayment, Payment, PaymentRefused};
use crate::tenant::pricing::PricingRefused;

/// The part of the total that a payment covers, and the amount handed over where that was more.
pub(super) struct Tender {
    id: PaymentId,
    method: Method,
    amount: Money,
    tendered: Option<Money>,
}

/// Allocates payments to a total: each covers a part of it, together they cover it, and only some
/// methods give change. A total of zero needs no payment.
pub(super) fn put_to(
    work: &TenantWork,
    policy: &Policy,
    payments: &[SalePayment],
    total: Money,
) -> Result<Vec<Tender>, SellRefused> {
    for payment in payments {
        payments::require_method(policy, payment.method)?;
        payments::require_reference(payment.method, None)?;
    }
    if !total.is_zero() && payments.iter().any(|payment| payment.amount_minor == 0) {
        return Err(PaymentRefused::Zero(total).into());
    }
    let to_tender = |payment: &SalePayment| {
        Ok(Tender {
            id: payment.id.unwrap_or_else(|| work.new_id::<PaymentKind>()),
            method: payment.method,
            amount: Money::price(payment.amount_minor, total.currency())?,
            tendered: None,
        })
    };
    let tenders = payments
        .iter()
        .map(to_tender)
        .collect::<Result<Vec<_>, MoneyError>>();
    let mut tenders = tenders.map_err(PricingRefused::from)?;
    let sum = |sum: Money, tender: &Tender| sum.plus(tender.amount);
    let paid = tenders
        .iter()
        .try_fold(Money::zero(total.currency()), sum)
        .map_err(PricingRefused::from)?;
    if paid.minor() < total.minor() {
        return Err(PaymentRefused::Insufficient { paid, total }.into());
    }
    let change = paid
        .minus(total)
        .and_then(|change| give_change(&mut tenders, change));
    if change.map_err(PricingRefused::from)?.is_zero() {
        Ok(tenders)
    } else {
        Err(PaymentRefused::Exceeds(total).into())
    }
}

/// Deducts change from the payments that give it, the last first; returns the remainder that could
/// not be given.
fn give_change(tenders: &mut [Tender], mut change: Money) -> Result<Money, MoneyError> {
    for tender in tenders
        .iter_mut()
        .rev()
        .filter(|tender| tender.method.rules().gives_change)
    {
        if change.is_zero() {
            break;
        }
        let part = if change.minor() < tender.amount.minor() {
            change
        } else {
            tender.amount
        };
        tender.tendered = Some(tender.amount);
        tender.amount = tender.amount.minus(part)?;
        change = change.minus(part)?;
    }
    Ok(change)
}

/// Inserts the payments of an order as succeeded.
pub(super) fn pay(
    work: &mut TenantWork,
    order: &Order,
    tenders: &[Tender],
) -> Result<Vec<Payment>, StorageError> {
    let pay = |tender: &Tender| {
        let new = NewPayment {
            id: tender.id,
            order_id: order.id,
            method: tender.method,
            succeeded_at: Some(order.placed_at),
            amount: tender.amount,
            tendered: tender.tendered,
        };
        payments::insert_payment(work, &new)
    };
    tenders.iter().map(pay).collect()
}
