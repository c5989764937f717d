//! Use case: Issue the invoice of a paid order.

use serde::Serialize;

use super::store::{self, Invoice, InvoiceStatus};
use crate::platform::series;
use crate::primitives::id::{FinancialOrderId, InvoiceKind};
use crate::primitives::{Currency, Money, Note, Timestamp, refusals};
use crate::storage::{StorageError, StorageErrorKind, TenantWork};
use crate::tenant::orders::Order;
use crate::tenant::party::Party;
use crate::tenant::pricing::TaxLine;
use crate::tenant::snapshot::{SnapshotLine, canonical};
use crate::tenant::{Policy, settings};

refusals! {
    /// Reasons to refuse an invoice.
    pub enum InvoiceRefused {
        /// Another series has assigned the number: a change of the format made two series overlap.
        NumberTaken(String): Conflict "invoice_number_taken",
            "the invoice number {0} is in use; the operator has to change invoicing.number_format \
             to one that overlaps with no earlier format";
    }
    inherits { Storage(StorageError) }
}

/// The content of an invoice as it is locked; members sorted by name, see [`canonical`].
#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    buyer: Option<&'a Party>,
    currency: Currency,
    discount_minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    discount_reason: Option<&'a Note>,
    issued_at: Timestamp,
    lines: Vec<SnapshotLine<'a>>,
    number: &'a str,
    order_number: &'a str,
    prices_include_tax: bool,
    seller: Party,
    subtotal_minor: i64,
    tax_lines: &'a [TaxLine],
    tax_minor: i64,
    total_minor: i64,
    version: u8,
}

/// Issues the invoice of a paid order, dated `at`, with a balance of zero; returns the existing
/// invoice if there is one.
pub fn issue_invoice(
    work: &mut TenantWork,
    policy: &Policy,
    order: &Order,
    financial_order_id: FinancialOrderId,
    at: Timestamp,
) -> Result<Invoice, InvoiceRefused> {
    if let Some(found) = store::find_invoice_of_order(work, order.id)? {
        return Ok(found);
    }
    let shop = settings::shop(work)?;
    let (format, year) = (&policy.invoice_number, shop.timezone.year_of(at));
    let series = format!("invoice/{}", format.series(year));
    let place = series::next(work, &series)?;
    let number = format.render(year, place);
    let mut seller = shop.seller;
    seller.name.get_or_insert(shop.name);
    let snapshot = canonical(&Document {
        buyer: order.buyer.as_ref(),
        currency: order.currency,
        discount_minor: order.discount.minor(),
        discount_reason: order.discount_reason.as_ref(),
        issued_at: at,
        lines: SnapshotLine::of(order),
        number: &number,
        order_number: &order.number,
        prices_include_tax: order.prices_include_tax,
        seller,
        subtotal_minor: order.subtotal.minor(),
        tax_lines: &order.tax_lines,
        tax_minor: order.tax.minor(),
        total_minor: order.total.minor(),
        version: 1,
    });
    let invoice = Invoice {
        id: work.new_id::<InvoiceKind>(),
        order_id: order.id,
        financial_order_id,
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
    if let Err(error) = store::insert(work, &invoice, &series, place) {
        // Checked after the number is assigned, because it happens only after an operator changed
        // the format.
        let is_taken = error.kind() == StorageErrorKind::Constraint
            && store::is_number_known(work, &invoice.number)?;
        return Err(if is_taken {
            InvoiceRefused::NumberTaken(invoice.number)
        } else {
            error.into()
        });
    }
    let (tenant_id, order_id, invoice_id) = (crate::tenant::id_of(work), order.id, invoice.id);
    let request_id = work.origin().request_id.clone();
    work.on_commit(move || {
        tracing::info!(request_id, %tenant_id, %order_id, %financial_order_id,
        %invoice_id, "invoice issued")
    });
    Ok(invoice)
}
