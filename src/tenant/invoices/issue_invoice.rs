//! Use case: the invoice of a paid order is issued.

use serde::Serialize;

use super::store::{self, Invoice, InvoiceStatus};
use crate::platform::series;
use crate::primitives::id::InvoiceKind;
use crate::primitives::{Class, Money, Name, Refusal, Timestamp};
use crate::storage::{StorageError, TenantWork};
use crate::tenant::finance::{FinancialOrder, SnapshotMoney, canonical};
use crate::tenant::orders::Order;
use crate::tenant::{Policy, settings};

/// Why an invoice is not issued.
#[derive(Debug, thiserror::Error)]
pub enum InvoiceRefused {
    /// Another series has written that number: the format was changed to one that runs into it.
    #[error("the invoice number {0} is taken; the operator has to change invoicing.number_format to one that no earlier format runs into")]
    NumberTaken(String),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal for InvoiceRefused {
    fn class(&self) -> Class {
        match self {
            Self::NumberTaken(_) => Class::Conflict,
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NumberTaken(_) => "invoice_number_taken",
            Self::Storage(error) => error.code(),
        }
    }
}

/// What an invoice says, as it is locked.
#[derive(Serialize)]
struct Document<'a> {
    version: u8,
    number: &'a str,
    issued_at: Timestamp,
    seller: Seller<'a>,
    #[serde(flatten)]
    money: SnapshotMoney<'a>,
}

#[derive(Serialize)]
struct Seller<'a> {
    name: &'a Name,
}

/// Issues the invoice of a paid order, dated `at`; gives the one that is there when there is one. Nothing is left to be paid of it.
///
/// # Errors
/// [`InvoiceRefused`].
pub fn issue_invoice(
    work: &mut TenantWork,
    policy: &Policy,
    order: &Order,
    financial_order: &FinancialOrder,
    at: Timestamp,
) -> Result<Invoice, InvoiceRefused> {
    if let Some(found) = store::find_invoice_of_order(work, order.id)? {
        return Ok(found);
    }
    let (format, year) = (&policy.invoice_number, at.year());
    let series = format!("invoice/{}", format.series(year));
    let place = series::next(work, &series)?;
    let number = format.render(year, place);
    if store::is_number_known(work, &number)? {
        return Err(InvoiceRefused::NumberTaken(number));
    }
    let seller = settings::shop(work)?.name;
    let seller = Seller { name: &seller };
    let snapshot = canonical(&Document {
        version: 1,
        number: &number,
        issued_at: at,
        seller,
        money: SnapshotMoney::of(order),
    });
    let invoice = Invoice {
        id: work.new_id::<InvoiceKind>(),
        order_id: order.id,
        financial_order_id: financial_order.id,
        status: InvoiceStatus::Issued,
        number,
        tax: order.tax,
        total: order.total,
        balance: Money::zero(order.currency),
        snapshot: snapshot.text,
        snapshot_hash: snapshot.hash,
        issued_at: at,
    };
    let place = i64::try_from(place).expect("a series counts in an i64");
    store::insert(work, &invoice, &series, place)?;
    let (tenant_id, order_id, financial_order_id, invoice_id) = (crate::tenant::id_of(work), order.id, financial_order.id, invoice.id);
    let request_id = work.origin().request_id.clone();
    work.on_commit(move || tracing::info!(request_id, %tenant_id, %order_id, %financial_order_id, %invoice_id, "invoice issued"));
    Ok(invoice)
}
