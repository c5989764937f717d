//! The financial records of orders: financial orders, locked with their snapshot, and their
//! transactions.
//!
//! Invariants: one financial order per order; a locked one never changes (a trigger refuses even
//! raw SQL); one completed credit transaction per paid financial order.

mod documents;
mod financial_order;
mod order_paid;
mod settle;
mod transaction;

pub use documents::verify_ledger;
pub use financial_order::{
    FinancialOrder, FinancialStatus, find_financial_order, list_financial_orders,
};
pub use settle::{SettleRefused, Settlement, settle};
pub use transaction::{FinancialTransaction, TransactionKind, list_transactions};

pub use financial_order::STATEMENTS as FINANCIAL_ORDER_STATEMENTS;
pub use transaction::STATEMENTS as TRANSACTION_STATEMENTS;
