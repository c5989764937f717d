//! The documents that a ledger entry books, and their digest, which the ledger's chain covers.

use super::financial_order::{FinancialOrder, find_financial_order};
use super::order_paid::ORDER_PAID;
use super::transaction::find_credit;
use crate::primitives::digest::Parts;
use crate::primitives::id::{FinancialOrderId, FinancialTransactionId};
use crate::primitives::{Digest, Timestamp};
use crate::storage::{StorageError, TenantView};
use crate::tenant::invoices::{self, Invoice};
use crate::tenant::ledger;
use crate::tenant::orders::{self, Order};
use crate::tenant::payments::{self, Payment, PaymentStatus};

/// The documents from which a paid order is booked.
#[derive(Clone, Copy, Debug)]
pub(super) struct PaidDocuments<'a> {
    /// With its lines.
    pub(super) order: &'a Order,
    pub(super) financial_order: &'a FinancialOrder,
    pub(super) invoice: &'a Invoice,
    pub(super) credit: FinancialTransactionId,
    pub(super) payments: &'a [Payment],
}

impl PaidDocuments<'_> {
    /// The digest of all that cannot change any more. It covers lines, taxes and seller through the
    /// snapshots' hashes.
    pub(super) fn digest(&self) -> Digest {
        let mut parts = Parts::default();
        self.order_in(&mut parts);
        let of = self.financial_order;
        parts.bytes(of.id.as_bytes());
        parts.bytes(of.order_id.as_bytes());
        parts.number(of.subtotal.minor());
        parts.number(of.discount.minor());
        parts.number(of.tax.minor());
        parts.number(of.total.minor());
        parts.optional(
            of.snapshot_hash
                .as_ref()
                .map(|hash| hash.as_bytes().as_slice()),
        );
        parts.number(of.locked_at.map_or(i64::MIN, Timestamp::as_millis));
        parts.number(of.paid_at.map_or(i64::MIN, Timestamp::as_millis));
        parts.number(of.created_at.as_millis());
        let invoice = self.invoice;
        parts.bytes(invoice.id.as_bytes());
        parts.bytes(invoice.order_id.as_bytes());
        parts.bytes(invoice.financial_order_id.as_bytes());
        parts.bytes(invoice.number.as_bytes());
        parts.number(invoice.tax.minor());
        parts.number(invoice.total.minor());
        parts.bytes(invoice.snapshot_hash.as_bytes());
        parts.number(invoice.issued_at.as_millis());
        parts.bytes(self.credit.as_bytes());
        self.payments
            .iter()
            .for_each(|payment| payment_in(&mut parts, payment));
        parts.finish()
    }

    fn order_in(&self, parts: &mut Parts) {
        let order = self.order;
        parts.bytes(order.id.as_bytes());
        parts.bytes(order.number.as_bytes());
        parts.bytes(order.channel.as_str().as_bytes());
        parts.bytes(order.currency.code().as_bytes());
        parts.number(order.subtotal.minor());
        parts.number(order.discount.minor());
        parts.number(order.tax.minor());
        parts.number(order.total.minor());
        parts.number(order.placed_at.as_millis());
        order
            .lines
            .iter()
            .for_each(|line| parts.bytes(line.id.as_bytes()));
    }
}

fn payment_in(parts: &mut Parts, payment: &Payment) {
    parts.bytes(payment.id.as_bytes());
    parts.bytes(payment.method.as_str().as_bytes());
    parts.bytes(payment.amount.currency().code().as_bytes());
    parts.number(payment.amount.minor());
    parts.number(
        payment
            .tendered
            .map_or(i64::MIN, |tendered| tendered.minor()),
    );
    parts.optional(
        payment
            .provider_reference
            .as_ref()
            .map(|note| note.as_str().as_bytes()),
    );
    parts.number(payment.created_at.as_millis());
    parts.number(payment.succeeded_at.map_or(i64::MIN, Timestamp::as_millis));
}

/// Walks the ledger's chain with the documents of each entry and returns the sequence numbers of
/// the entries that do not match.
pub fn verify_ledger(view: &TenantView) -> Result<Vec<i64>, StorageError> {
    ledger::verify_chain(view, documents_of)
}

fn documents_of(
    view: &TenantView,
    kind: &str,
    subject_id: [u8; 16],
) -> Result<Option<Digest>, StorageError> {
    if kind != ORDER_PAID {
        return Ok(None);
    }
    let Some(of) = find_financial_order(view, FinancialOrderId::from_bytes(subject_id))? else {
        return Ok(None);
    };
    let (order, invoice) = (
        orders::find_order(view, of.order_id)?,
        invoices::find_invoice_of_order(view, of.order_id)?,
    );
    let credit = find_credit(view, of.id)?;
    let mut paid = payments::list_payments_of_order(view, of.order_id)?;
    paid.retain(|payment| payment.status == PaymentStatus::Succeeded);
    let (Some(order), Some(invoice), Some(credit)) = (order, invoice, credit) else {
        return Ok(None);
    };
    let documents = PaidDocuments {
        order: &order,
        financial_order: &of,
        invoice: &invoice,
        credit,
        payments: &paid,
    };
    Ok(Some(documents.digest()))
}
