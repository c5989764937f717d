//! SQL and row mapping of the payments.

use super::model::{NewPayment, Payment, PaymentStatus};
use crate::platform::page::{Page, PageRequest};
use crate::primitives::id::{OrderId, PaymentId};
use crate::primitives::{Currency, Money, Note};
use crate::storage::{
    Row, Rows, StorageError, TenantView, TenantWork, money, money_if_any, named_params, params,
    statements,
};

/// Columns that [`payment`] reads.
macro_rules! columns {
    () => {
        "id, order_id, method, status, amount_minor, tendered_minor, currency, provider_reference, \
         failure_code, created_at, succeeded_at, updated_at"
    };
}

statements! {
    INSERT = "INSERT INTO payment (id, order_id, method, status, amount_minor, tendered_minor, \
        currency, created_at, updated_at, succeeded_at)
              VALUES (:id, :order_id, :method, :status, :amount, :tendered, :currency, :now, :now, \
              :succeeded_at)";
    FIND = concat!("SELECT ", columns!(), " FROM payment WHERE id = ?1");
    EXISTS = "SELECT 1 FROM payment WHERE id = ?1";
    OF_ORDER = concat!("SELECT ", columns!(), " FROM payment WHERE order_id = ?1 ORDER BY seq");
    PAGE = concat!("SELECT ", columns!(), ", seq FROM payment WHERE seq < ?1 ORDER BY seq DESC \
        LIMIT ?2");
    SUCCEED = "UPDATE payment SET status = 'succeeded', provider_reference = ?2, succeeded_at = \
        ?3, updated_at = ?3
               WHERE id = ?1 AND status IN ('pending', 'authorized')";
    FAIL = "UPDATE payment SET status = 'failed', failure_code = ?2, provider_reference = ?3, \
        updated_at = ?4
            WHERE id = ?1 AND status IN ('pending', 'authorized')";
    CANCEL = "UPDATE payment SET status = 'cancelled', updated_at = ?2 WHERE id = ?1 AND status IN \
        ('pending', 'authorized')";
    CANCEL_OPEN = "UPDATE payment SET status = 'cancelled', updated_at = ?2 WHERE order_id = ?1 \
        AND status IN ('pending', 'authorized')";
}

fn payment(row: &Row<'_>) -> rusqlite::Result<Payment> {
    let currency: Currency = row.get("currency")?;
    Ok(Payment {
        id: row.get("id")?,
        order_id: row.get("order_id")?,
        method: row.get("method")?,
        status: row.get("status")?,
        amount: money(row, "amount_minor", currency)?,
        tendered: money_if_any(row, "tendered_minor", currency)?,
        provider_reference: row.get("provider_reference")?,
        failure_code: row.get("failure_code")?,
        created_at: row.get("created_at")?,
        succeeded_at: row.get("succeeded_at")?,
        updated_at: row.get("updated_at")?,
    })
}

pub fn insert_payment(work: &mut TenantWork, new: &NewPayment) -> Result<Payment, StorageError> {
    let now = work.now();
    let status = match new.succeeded_at {
        Some(_) => PaymentStatus::Succeeded,
        None => PaymentStatus::Pending,
    };
    let row = named_params! {
        ":id": new.id, ":order_id": new.order_id, ":method": new.method, ":status": status,
            ":amount": new.amount.minor(),
        ":tendered": new.tendered.map(Money::minor), ":currency": new.amount.currency(),
            ":now": now, ":succeeded_at": new.succeeded_at,
    };
    work.insert(&INSERT, row)?;
    Ok(Payment {
        id: new.id,
        order_id: new.order_id,
        method: new.method,
        status,
        amount: new.amount,
        tendered: new.tendered,
        provider_reference: None,
        failure_code: None,
        created_at: now,
        updated_at: now,
        succeeded_at: new.succeeded_at,
    })
}

pub fn find_payment(view: &TenantView, id: PaymentId) -> Result<Option<Payment>, StorageError> {
    view.find(&FIND, params![id], payment)
}

/// Whether a payment with this id exists.
pub fn is_payment_known(view: &TenantView, id: PaymentId) -> Result<bool, StorageError> {
    Ok(view.find(&EXISTS, params![id], |_| Ok(()))?.is_some())
}

/// The payments of an order, the oldest first.
pub fn list_payments_of_order(
    view: &TenantView,
    order_id: OrderId,
) -> Result<Vec<Payment>, StorageError> {
    view.all(&OF_ORDER, params![order_id], payment)
}

/// Lists a page of payments, the newest first; those of `order` if given, all in one page.
pub fn list_payments(
    view: &TenantView,
    page: PageRequest,
    order: Option<OrderId>,
) -> Result<Page<Payment>, StorageError> {
    if let Some(order) = order {
        let mut payments = list_payments_of_order(view, order)?;
        payments.reverse();
        return Ok(Page::whole(payments));
    }
    page.read(view, &PAGE, payment)
}

pub(in crate::tenant) fn succeed(
    work: &mut TenantWork,
    payment: &mut Payment,
    reference: Option<&Note>,
) -> Result<(), StorageError> {
    let now = work.now();
    work.change(
        &SUCCEED,
        params![payment.id, reference, now],
        Rows::Exactly(1),
    )?;
    payment.updated_at = now;
    payment.status = PaymentStatus::Succeeded;
    payment.provider_reference = reference.cloned();
    payment.succeeded_at = Some(now);
    Ok(())
}

pub(in crate::tenant) fn fail(
    work: &mut TenantWork,
    payment: &mut Payment,
    code: &str,
    reference: Option<&Note>,
) -> Result<(), StorageError> {
    let now = work.now();
    work.change(
        &FAIL,
        params![payment.id, code, reference, now],
        Rows::Exactly(1),
    )?;
    payment.updated_at = now;
    payment.status = PaymentStatus::Failed;
    payment.failure_code = Some(code.to_owned());
    payment.provider_reference = reference.cloned();
    Ok(())
}

pub(super) fn cancel(work: &mut TenantWork, payment: &mut Payment) -> Result<(), StorageError> {
    let now = work.now();
    work.change(&CANCEL, params![payment.id, now], Rows::Exactly(1))?;
    payment.updated_at = now;
    payment.status = PaymentStatus::Cancelled;
    Ok(())
}

pub(super) fn cancel_all_open(
    work: &mut TenantWork,
    order_id: OrderId,
) -> Result<(), StorageError> {
    let now = work.now();
    work.change(&CANCEL_OPEN, params![order_id, now], Rows::Any)
        .map(drop)
}
