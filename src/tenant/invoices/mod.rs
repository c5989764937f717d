//! Invoices: numbered without a gap, locked when they are issued.
//!
//! Invariants: one invoice per paid order; its number is assigned in the transaction that issues
//! it; an issued invoice never changes.

mod issue_invoice;
mod store;

pub use issue_invoice::{InvoiceRefused, issue_invoice};
pub use store::{
    Invoice, InvoiceStatus, STATEMENTS, find_invoice, find_invoice_of_order, list_invoices,
};
