//! Settlement of a paid order: all steps that follow from the payment, in one transaction. Each
//! step looks for its own result first, so settlement can be repeated at any time without effect.
//! The last two steps depend on the ledger's: a booked order has been handed over and announced,
//! whatever has happened to its products since.

use serde_json::json;

use super::documents::PaidDocuments;
use super::financial_order::{self, FinancialOrder};
use super::{order_paid, transaction};
use crate::platform::audit;
use crate::primitives::{Timestamp, refusals};
use crate::storage::{StorageError, TenantWork};
use crate::tenant::Policy;
use crate::tenant::confirmation;
use crate::tenant::inventory::{self, Goods, StockRefused};
use crate::tenant::invoices::{self, Invoice, InvoiceRefused};
use crate::tenant::orders::Order;
use crate::tenant::payments::Payment;

/// The records of a paid order.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub order: Order,
    /// The locked financial record.
    pub financial_order: FinancialOrder,
    pub invoice: Invoice,
}

refusals! {
    /// Reasons to refuse settlement; the payment is not accepted then.
    pub enum SettleRefused {}
    inherits { Stock(StockRefused), Invoice(InvoiceRefused), Storage(StorageError) }
}

/// Settles an order that was paid by `payments`, as of `at`, and removes its goods from stock. A
/// repetition changes nothing and returns the same.
pub fn settle(
    work: &mut TenantWork,
    policy: &Policy,
    order: Order,
    payments: &[Payment],
    goods: Goods<'_>,
    at: Timestamp,
) -> Result<Settlement, SettleRefused> {
    let financial_order = financial_order::lock_and_mark_paid(work, &order, at)?;
    let invoice = invoices::issue_invoice(work, policy, &order, financial_order.id, at)?;
    let credit = transaction::complete_credit(work, &financial_order, at)?;
    let documents = PaidDocuments {
        order: &order,
        financial_order: &financial_order,
        invoice: &invoice,
        credit,
        payments,
    };
    let digest = documents.digest();
    let is_new =
        order_paid::book_order_paid(work, &financial_order, &order.number, payments, digest, at)?;
    if is_new {
        inventory::hand_over(work, order.id, goods, at)?;
        announce(work, &order, &financial_order, &invoice, payments)?;
    }
    Ok(Settlement {
        order,
        financial_order,
        invoice,
    })
}

/// Records the settlement in the audit trail and the log, and queues the customer's confirmation.
fn announce(
    work: &mut TenantWork,
    order: &Order,
    of: &FinancialOrder,
    invoice: &Invoice,
    payments: &[Payment],
) -> Result<(), StorageError> {
    let details = json!({"number": order.number, "invoice": invoice.number,
        "total_minor": order.total.minor(), "currency": order.currency});
    audit::record(work, "order.paid", &format!("order:{}", order.id), details)?;
    confirmation::enqueue_confirmation(work, order)?;
    let tenant_id = crate::tenant::id_of(work);
    let (order_id, financial_order_id, invoice_id) = (order.id, of.id, invoice.id);
    let payment_ids: Vec<_> = payments.iter().map(|payment| payment.id).collect();
    let request_id = work.origin().request_id.clone();
    work.on_commit(move || {
        for payment_id in payment_ids {
            tracing::info!(request_id, %tenant_id, %order_id, %financial_order_id, %invoice_id,
                %payment_id, "payment succeeded");
        }
    });
    Ok(())
}
