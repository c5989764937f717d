//! The financial records of orders: financial orders, locked with their snapshot, and their
//! transactions.
//!
//! Invariants: one financial order per order; a locked one never changes (a trigger refuses even
//! raw SQL); one completed credit transaction per paid financial order; the snapshot's hash is the
//! SHA-256 of its canonical JSON.

mod financial_order;
mod settle;
mod snapshot;
mod transaction;

pub use financial_order::{
    FinancialOrder, FinancialStatus, find_financial_order, list_financial_orders,
};
pub use settle::{SettleRefused, Settlement, settle};
pub use snapshot::{Snapshot, SnapshotLine, canonical};
pub use transaction::{FinancialTransaction, TransactionKind, find_credit, list_transactions};

pub use financial_order::STATEMENTS as FINANCIAL_ORDER_STATEMENTS;
pub use transaction::STATEMENTS as TRANSACTION_STATEMENTS;
