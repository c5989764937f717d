//! Financial orders: synced from the order, locked, marked paid.

use super::snapshot;
use crate::platform::page::{Page, PageRequest};
use crate::primitives::id::{ExchangeRateId, FinancialOrderId, FinancialOrderKind, OrderId};
use crate::primitives::{Currency, Digest, Money, Timestamp};
use crate::storage::{
    Row, StorageError, TenantView, TenantWork, money, named_params, params, statements, text_enum,
};
use crate::tenant::currency;
use crate::tenant::orders::Order;

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

/// Columns that [`financial_order`] reads, in this order.
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
    let currency: Currency = row.get(3)?;
    Ok(FinancialOrder {
        id: row.get(0)?,
        order_id: row.get(1)?,
        status: row.get(2)?,
        subtotal: money(row, 4, currency)?,
        discount: money(row, 5, currency)?,
        tax: money(row, 6, currency)?,
        total: money(row, 7, currency)?,
        snapshot: row.get(8)?,
        snapshot_hash: row.get(9)?,
        locked_at: row.get(10)?,
        paid_at: row.get(11)?,
        created_at: row.get(12)?,
        in_own: in_own(row)?,
    })
}

fn in_own(row: &Row<'_>) -> rusqlite::Result<Option<InOwn>> {
    let Some(exchange_rate_id) = row.get(13)? else {
        return Ok(None);
    };
    let total = money(row, 15, row.get(14)?)?;
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
    Ok(Page::cut(
        view.all(&PAGE, params![page.before, page.fetch()], |row| {
            Ok((row.get(16)?, financial_order(row)?))
        })?,
        page,
    ))
}
