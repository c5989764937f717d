//! Queries of orders.

use super::model::{Order, OrderRefused, OrderStatus};
use super::store;
use crate::platform::page::{Page, PageRequest};
use crate::primitives::ClientHash;
use crate::primitives::id::OrderId;
use crate::primitives::limits::UNPAID_ORDERS_WINDOW_MS;
use crate::storage::{StorageError, TenantView};

/// Finds an order with its lines.
pub fn find_order(view: &TenantView, id: OrderId) -> Result<Option<Order>, StorageError> {
    store::find(view, id)
}

pub fn find_order_by_number(
    view: &TenantView,
    number: &str,
) -> Result<Option<Order>, StorageError> {
    match store::id_of_number(view, number)? {
        Some(id) => store::find(view, id),
        None => Ok(None),
    }
}

/// Finds an order that has to exist.
///
/// # Errors
/// `NotFound`.
pub fn require_order(view: &TenantView, id: OrderId) -> Result<Order, OrderRefused> {
    store::find(view, id)?.ok_or(OrderRefused::NotFound)
}

/// Lists a page of orders with their lines, the newest first; only those in `status` if given.
pub fn list_orders(
    view: &TenantView,
    page: PageRequest,
    status: Option<OrderStatus>,
) -> Result<Page<Order>, StorageError> {
    Ok(Page::cut(store::page(view, page, status)?, page))
}

/// Counts the unpaid orders of a client without an API key, of the last 24 hours.
pub fn count_unpaid(view: &TenantView, client: ClientHash) -> Result<i64, StorageError> {
    let since = view.now().plus_millis(-UNPAID_ORDERS_WINDOW_MS);
    store::count_unpaid(view, client, since)
}
