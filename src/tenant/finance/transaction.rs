//! Financial transactions: money received (credit) or paid out (debit) for a financial order.
//! Written once, never changed.

use super::financial_order::FinancialOrder;
use crate::platform::page::{Page, PageRequest};
use crate::primitives::id::{FinancialOrderId, FinancialTransactionId, FinancialTransactionKind};
use crate::primitives::{Money, Timestamp};
use crate::storage::{
    Row, StorageError, TenantView, TenantWork, money, params, statements, text_enum,
};

text_enum! {
    /// The direction of a transaction.
    TransactionKind {
        /// Received.
        Credit = "credit",
        /// Paid out.
        Debit = "debit",
    }
}

statements! {
    CREDIT_OF = "SELECT id FROM financial_transaction WHERE financial_order_id = ?1 AND kind = \
        'credit'";
    INSERT_CREDIT = "INSERT INTO financial_transaction (id, financial_order_id, kind, status, \
        amount_minor, currency, completed_at)
                     VALUES (?1, ?2, 'credit', 'completed', ?3, ?4, ?5)";
    PAGE = "SELECT id, financial_order_id, kind, status, amount_minor, currency, completed_at, seq \
        FROM financial_transaction
            WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
}

#[derive(Clone, Debug)]
pub struct FinancialTransaction {
    pub id: FinancialTransactionId,
    pub financial_order_id: FinancialOrderId,
    pub kind: TransactionKind,
    /// Always `completed`: no others are stored.
    pub status: String,
    pub amount: Money,
    pub completed_at: Timestamp,
}

/// The credit of a financial order, if there is one.
pub(super) fn find_credit(
    view: &TenantView,
    id: FinancialOrderId,
) -> Result<Option<FinancialTransactionId>, StorageError> {
    view.find(&CREDIT_OF, params![id], |row| row.get(0))
}

/// Completes the credit of a paid financial order; returns the existing one if there is one.
pub(super) fn complete_credit(
    work: &mut TenantWork,
    of: &FinancialOrder,
    at: Timestamp,
) -> Result<FinancialTransactionId, StorageError> {
    if let Some(found) = find_credit(work, of.id)? {
        return Ok(found);
    }
    let id = work.new_id::<FinancialTransactionKind>();
    work.insert(
        &INSERT_CREDIT,
        params![id, of.id, of.total.minor(), of.total.currency(), at],
    )?;
    Ok(id)
}

/// Lists a page of transactions, the newest first.
pub fn list_transactions(
    view: &TenantView,
    page: PageRequest,
) -> Result<Page<FinancialTransaction>, StorageError> {
    let map = |row: &Row<'_>| {
        Ok(FinancialTransaction {
            id: row.get("id")?,
            financial_order_id: row.get("financial_order_id")?,
            kind: row.get("kind")?,
            status: row.get("status")?,
            amount: money(row, "amount_minor", row.get("currency")?)?,
            completed_at: row.get("completed_at")?,
        })
    };
    page.read(view, &PAGE, map)
}
