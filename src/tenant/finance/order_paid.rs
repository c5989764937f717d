//! The posting `order_paid`: debits the account of each payment's method; credits revenue with the
//! net amount and tax payable with the tax.

use super::financial_order::FinancialOrder;
use crate::primitives::{Digest, Timestamp};
use crate::storage::{StorageError, TenantWork};
use crate::tenant::ledger::{self, AccountCode, Posting};
use crate::tenant::payments::Payment;

/// The kind of the entry.
pub(super) const ORDER_PAID: &str = "order_paid";

/// Books a paid order with the digest of its documents, as of `at`; `false` when it is booked
/// already.
///
/// # Panics
/// When the payments do not add up to the total, which the callers have checked.
pub(super) fn book_order_paid(
    work: &mut TenantWork,
    of: &FinancialOrder,
    order_number: &str,
    payments: &[Payment],
    documents: Digest,
    at: Timestamp,
) -> Result<bool, StorageError> {
    let debits: Vec<_> = payments
        .iter()
        .map(|payment| (payment.method.rules().account, payment.amount))
        .collect();
    let net = of.total.minus(of.tax).expect("the total holds the tax");
    let credits = [
        (AccountCode::Revenue, net),
        (AccountCode::TaxPayable, of.tax),
    ];
    let posting = Posting {
        kind: ORDER_PAID,
        subject_id: *of.id.as_bytes(),
        description: &format!("Order {order_number}"),
        booked_at: at,
        debits: &debits,
        credits: &credits,
        documents,
    };
    ledger::book(work, &posting)
}
