//! `order_paid`: debits cash or clearing for each payment; credits revenue with the net amount and
//! tax payable with the tax. A discount is no revenue: both are after discounts.

use crate::primitives::Timestamp;
use crate::storage::{StorageError, TenantWork};
use crate::tenant::ledger::PaidDocuments;
use crate::tenant::ledger::store::{AccountCode, NewEntry, book};
use crate::tenant::payments::Method;

/// Books a paid order as of `at`; `false` when it is booked already.
///
/// # Panics
/// When the payments do not add up to the total, which the callers have checked.
pub fn order_paid(
    work: &mut TenantWork,
    documents: PaidDocuments<'_>,
    at: Timestamp,
) -> Result<bool, StorageError> {
    let (order, of, payments) = (
        documents.order,
        documents.financial_order,
        documents.payments,
    );
    let account = |method| match method {
        Method::Cash => AccountCode::Cash,
        Method::Manual | Method::Test => AccountCode::Clearing,
    };
    let debits: Vec<_> = payments
        .iter()
        .map(|payment| (account(payment.method), payment.amount))
        .collect();
    let net = of.total.minus(of.tax).expect("the total holds the tax");
    let credits = [
        (AccountCode::Revenue, net),
        (AccountCode::TaxPayable, of.tax),
    ];
    let entry = NewEntry {
        kind: "order_paid",
        subject_id: *of.id.as_bytes(),
        description: &format!("Order {}", order.number),
        booked_at: at,
        debits: &debits,
        credits: &credits,
        documents: documents.digest(),
    };
    book(work, &entry)
}
