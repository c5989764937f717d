//! Financial orders: synced from the order, locked, marked paid.

use crate::platform::page::{Page, PageRequest};
use crate::primitives::id::{ExchangeRateId, FinancialOrderId, FinancialOrderKind, OrderId};
use crate::primitives::{Currency, Digest, Money, Timestamp};
use crate::storage::{
    Row, StorageError, TenantView, TenantWork, money, named_params, params, statements, text_enum,
};
use crate::tenant::orders::Order;
use crate::tenant::{currency, snapshot};

text_enum! {
    /// The status of a financial order.
    FinancialStatus {
        /// In preparation.
        Draft = "draft",
        /// Complete, and waiting for the payment.
        Pending = "pending",
        /// The payment has arrived.
        Paid = "paid",
    }
}

/// Columns that [`financial_order`] reads.
macro_rules! columns {
    () => {
        "id, order_id, status, currency, subtotal_minor, discount_minor, tax_minor, total_minor, \
         snapshot, snapshot_hash, locked_at, paid_at, created_at, exchange_rate_id, base_currency, \
         base_total_minor"
    };
}

statements! {
    INSERT_PAID = "INSERT INTO financial_order (id, order_id, status, currency, subtotal_minor, \
        discount_minor, tax_minor, total_minor, snapshot, snapshot_hash, locked_at, paid_at, \
        created_at,
                   exchange_rate_id, base_currency, base_total_minor)
                   VALUES (:id, :order_id, 'paid', :currency, :subtotal, :discount, :tax, :total, \
                   :snapshot, :snapshot_hash, :now, :at, :now, :exchange_rate_id, :base_currency, \
                   :base_total)";
    FIND = concat!("SELECT ", columns!(), " FROM financial_order WHERE id = ?1");
    OF_ORDER = concat!("SELECT ", columns!(), " FROM financial_order WHERE order_id = ?1");
    PAGE = concat!("SELECT ", columns!(), ", seq FROM financial_order WHERE seq < ?1 ORDER BY seq \
        DESC LIMIT ?2");
}

/// The locked financial record of an order.
#[derive(Clone, Debug)]
pub struct FinancialOrder {
    pub id: FinancialOrderId,
    pub order_id: OrderId,
    pub status: FinancialStatus,
    /// Sum of the lines before discounts, without tax, also when the prices include it.
    pub subtotal: Money,
    /// All discounts, without tax.
    pub discount: Money,
    /// Sum of the taxes, on the lines after discounts.
    pub tax: Money,
    /// The amount paid: subtotal - discount + tax.
    pub total: Money,
    /// The locked content as canonical JSON.
    pub snapshot: Option<String>,
    pub snapshot_hash: Option<Digest>,
    /// The instant of recording; for a past sale it is later than the payment.
    pub locked_at: Option<Timestamp>,
    pub paid_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// The amount paid in the shop's own currency; `None` for an order in that currency.
    pub in_own: Option<InOwn>,
}

/// An order's total in the shop's own currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InOwn {
    pub exchange_rate_id: ExchangeRateId,
    pub total: Money,
}

fn financial_order(row: &Row<'_>) -> rusqlite::Result<FinancialOrder> {
    let currency: Currency = row.get("currency")?;
    Ok(FinancialOrder {
        id: row.get("id")?,
        order_id: row.get("order_id")?,
        status: row.get("status")?,
        subtotal: money(row, "subtotal_minor", currency)?,
        discount: money(row, "discount_minor", currency)?,
        tax: money(row, "tax_minor", currency)?,
        total: money(row, "total_minor", currency)?,
        snapshot: row.get("snapshot")?,
        snapshot_hash: row.get("snapshot_hash")?,
        locked_at: row.get("locked_at")?,
        paid_at: row.get("paid_at")?,
        created_at: row.get("created_at")?,
        in_own: in_own(row)?,
    })
}

fn in_own(row: &Row<'_>) -> rusqlite::Result<Option<InOwn>> {
    let Some(exchange_rate_id) = row.get("exchange_rate_id")? else {
        return Ok(None);
    };
    let total = money(row, "base_total_minor", row.get("base_currency")?)?;
    Ok(Some(InOwn {
        exchange_rate_id,
        total,
    }))
}

/// Syncs the financial order from its order, locks it and marks it paid; returns the existing one
/// if there is one.
pub(super) fn lock_and_mark_paid(
    work: &mut TenantWork,
    order: &Order,
    at: Timestamp,
) -> Result<FinancialOrder, StorageError> {
    if let Some(found) = work.find(&OF_ORDER, params![order.id], financial_order)? {
        return Ok(found);
    }
    let converted = match order.exchange_rate_id {
        Some(id) => Some((id, currency::convert_by(work, id, order.total)?)),
        None => None,
    };
    let (id, now, snapshot) = (
        work.new_id::<FinancialOrderKind>(),
        work.now(),
        snapshot::of_order(order, converted.as_ref()),
    );
    let in_own = converted.map(|(exchange_rate_id, (_, total))| InOwn {
        exchange_rate_id,
        total,
    });
    let row = named_params! {
        ":id": id, ":order_id": order.id, ":currency": order.currency,
            ":subtotal": order.subtotal.minor(), ":discount": order.discount.minor(),
        ":tax": order.tax.minor(), ":total": order.total.minor(), ":snapshot": snapshot.text,
            ":snapshot_hash": snapshot.hash, ":at": at, ":now": now,
        ":exchange_rate_id": in_own.map(|own| own.exchange_rate_id),
            ":base_currency": in_own.map(|own| own.total.currency()),
        ":base_total": in_own.map(|own| own.total.minor()),
    };
    work.insert(&INSERT_PAID, row)?;
    let (tenant_id, order_id) = (crate::tenant::id_of(work), order.id);
    let request_id = work.origin().request_id.clone();
    work.on_commit(move || {
        tracing::info!(request_id, %tenant_id, %order_id, financial_order_id = %id, "financial \
            order locked");
        tracing::info!(request_id, %tenant_id, %order_id, financial_order_id = %id, "financial \
            order marked paid");
    });
    Ok(FinancialOrder {
        id,
        order_id,
        status: FinancialStatus::Paid,
        subtotal: order.subtotal,
        discount: order.discount,
        tax: order.tax,
        total: order.total,
        snapshot: Some(snapshot.text),
        snapshot_hash: Some(snapshot.hash),
        locked_at: Some(now),
        paid_at: Some(at),
        created_at: now,
        in_own,
    })
}

pub fn find_financial_order(
    view: &TenantView,
    id: FinancialOrderId,
) -> Result<Option<FinancialOrder>, StorageError> {
    view.find(&FIND, params![id], financial_order)
}

/// Lists a page of financial orders, the newest first; only that of `order` if given.
pub fn list_financial_orders(
    view: &TenantView,
    page: PageRequest,
    order: Option<OrderId>,
) -> Result<Page<FinancialOrder>, StorageError> {
    if let Some(order) = order {
        let found = view.find(&OF_ORDER, params![order], financial_order)?;
        return Ok(Page::whole(found.into_iter().collect()));
    }
    page.read(view, &PAGE, financial_order)
}
