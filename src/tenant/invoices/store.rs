//! SQL and row mapping of the invoices.

use crate::platform::page::{Page, PageRequest};
use crate::primitives::id::{FinancialOrderId, InvoiceId, OrderId};
use crate::primitives::{Currency, Digest, Money, Timestamp};
use crate::storage::{
    Row, StorageError, TenantView, TenantWork, money, named_params, params, statements, text_enum,
};

text_enum! {
    /// The status of an invoice.
    InvoiceStatus {
        /// The number is not final yet.
        Draft = "draft",
        /// Issued; it never changes.
        Issued = "issued",
    }
}

/// Columns that [`invoice`] reads.
macro_rules! columns {
    () => {
        "id, order_id, financial_order_id, status, number, currency, tax_minor, total_minor, \
         balance_minor, snapshot, snapshot_hash, issued_at"
    };
}

statements! {
    INSERT_ISSUED = "INSERT INTO invoice (id, order_id, financial_order_id, status, series, \
        series_number, number, currency, tax_minor, total_minor, balance_minor, snapshot, \
        snapshot_hash, issued_at)
                     VALUES (:id, :order_id, :financial_order_id, 'issued', :series, \
                     :series_number, :number, :currency, :tax, :total, :balance, :snapshot, \
                     :snapshot_hash, :issued_at)";
    FIND = concat!("SELECT ", columns!(), " FROM invoice WHERE id = ?1");
    OF_ORDER = concat!("SELECT ", columns!(), " FROM invoice WHERE order_id = ?1 AND status = \
        'issued'");
    NUMBER_EXISTS = "SELECT 1 FROM invoice WHERE number = ?1";
    PAGE = concat!("SELECT ", columns!(), ", seq FROM invoice WHERE seq < ?1 ORDER BY seq DESC \
        LIMIT ?2");
}

#[derive(Clone, Debug)]
pub struct Invoice {
    pub id: InvoiceId,
    pub order_id: OrderId,
    pub financial_order_id: FinancialOrderId,
    pub status: InvoiceStatus,
    pub number: String,
    /// Sum of the taxes.
    pub tax: Money,
    /// Including tax.
    pub total: Money,
    /// The amount still to be paid.
    pub balance: Money,
    /// Canonical JSON of the content, with lines and tax lines.
    pub snapshot: String,
    pub snapshot_hash: Digest,
    pub issued_at: Timestamp,
}

fn invoice(row: &Row<'_>) -> rusqlite::Result<Invoice> {
    let currency: Currency = row.get("currency")?;
    Ok(Invoice {
        id: row.get("id")?,
        order_id: row.get("order_id")?,
        financial_order_id: row.get("financial_order_id")?,
        status: row.get("status")?,
        number: row.get("number")?,
        tax: money(row, "tax_minor", currency)?,
        total: money(row, "total_minor", currency)?,
        balance: money(row, "balance_minor", currency)?,
        snapshot: row.get("snapshot")?,
        snapshot_hash: row.get("snapshot_hash")?,
        issued_at: row.get("issued_at")?,
    })
}

pub(super) fn insert(
    work: &mut TenantWork,
    invoice: &Invoice,
    series: &str,
    series_number: i64,
) -> Result<(), StorageError> {
    let row = named_params! {
        ":id": invoice.id, ":order_id": invoice.order_id,
            ":financial_order_id": invoice.financial_order_id, ":series": series,
        ":series_number": series_number, ":number": invoice.number,
            ":currency": invoice.total.currency(), ":tax": invoice.tax.minor(),
        ":total": invoice.total.minor(), ":balance": invoice.balance.minor(),
            ":snapshot": invoice.snapshot,
        ":snapshot_hash": invoice.snapshot_hash, ":issued_at": invoice.issued_at,
    };
    work.insert(&INSERT_ISSUED, row)
}

pub(super) fn is_number_known(view: &TenantView, number: &str) -> Result<bool, StorageError> {
    Ok(view
        .find(&NUMBER_EXISTS, params![number], |_| Ok(()))?
        .is_some())
}

pub fn find_invoice(view: &TenantView, id: InvoiceId) -> Result<Option<Invoice>, StorageError> {
    view.find(&FIND, params![id], invoice)
}

/// The invoice of an order, if it has one.
pub fn find_invoice_of_order(
    view: &TenantView,
    order_id: OrderId,
) -> Result<Option<Invoice>, StorageError> {
    view.find(&OF_ORDER, params![order_id], invoice)
}

/// Lists a page of invoices, the newest first; only that of `order` if given.
pub fn list_invoices(
    view: &TenantView,
    page: PageRequest,
    order: Option<OrderId>,
) -> Result<Page<Invoice>, StorageError> {
    if let Some(order) = order {
        return Ok(Page::whole(
            find_invoice_of_order(view, order)?.into_iter().collect(),
        ));
    }
    page.read(view, &PAGE, invoice)
}
