//! Use case: The goods of a paid order leave the stock.
//!
//! Callers use [`require_available`] or [`require_held_or_available`] before they write anything. A
//! refusal after the first write is expensive, because the whole batch of the request is run again.

use super::model::{ReservationStatus, StockRefused, StockRequest};
use super::store;
use crate::primitives::Timestamp;
use crate::primitives::id::OrderId;
use crate::storage::{StorageError, TenantView, TenantWork};

/// The location of the goods of a paid order.
#[derive(Clone, Copy, Debug)]
pub enum Goods<'a> {
    /// Held for the order since its checkout.
    Held,
    /// On the shelf and not reserved: a sale at the till.
    OnShelf(&'a [StockRequest]),
    /// Sold in the past: no present stock count includes them.
    Gone,
}

/// Refuses stock that is not available; writes nothing.
///
/// # Errors
/// `OutOfStock` for the first product with too little available.
pub fn require_available(view: &TenantView, requests: &[StockRequest]) -> Result<(), StockRefused> {
    requests.iter().try_for_each(|request| {
        let available = store::available(view, request.product_id)?;
        if available < request.quantity {
            return Err(request.out_of_stock(available));
        }
        Ok(())
    })
}

/// Refuses an order whose hold has expired and whose goods are not available any more; writes
/// nothing.
///
/// # Errors
/// `OutOfStock` for the first product with too little available.
pub fn require_held_or_available(view: &TenantView, order_id: OrderId) -> Result<(), StockRefused> {
    require_available(view, &store::stock_requests(view, order_id)?)
}

/// Removes the goods of a paid order from stock, each with a movement dated `at`. Idempotent: goods
/// that have left do not leave again.
///
/// A reservation that has expired is served from the stock available now, and so is a product whose
/// stock began to be counted after the checkout. If too little is available, the payment must not
/// be accepted.
///
/// # Errors
/// `OutOfStock` when too little is available.
pub fn hand_over(
    work: &mut TenantWork,
    order_id: OrderId,
    goods: Goods<'_>,
    at: Timestamp,
) -> Result<(), StockRefused> {
    match goods {
        Goods::Gone => Ok(()),
        Goods::OnShelf(_) if store::has_left(work, order_id)? => Ok(()),
        Goods::OnShelf(requests) => remove_available(work, order_id, requests, at),
        Goods::Held => {
            let requests = store::stock_requests(work, order_id)?;
            take_held(work, order_id, at)?;
            remove_available(work, order_id, &requests, at)?;
            Ok(store::mark_consumed(work, order_id)?)
        }
    }
}

fn take_held(work: &mut TenantWork, order_id: OrderId, at: Timestamp) -> Result<(), StorageError> {
    for (product_id, quantity) in store::list_reserved(work, order_id, ReservationStatus::Held)? {
        let on_hand = store::take_held(work, product_id, quantity)?;
        store::insert_sale(work, order_id, product_id, quantity, on_hand, at)?;
    }
    Ok(())
}

fn remove_available(
    work: &mut TenantWork,
    order_id: OrderId,
    requests: &[StockRequest],
    at: Timestamp,
) -> Result<(), StockRefused> {
    for request in requests {
        assert!(request.quantity > 0, "a sale has a positive quantity");
        match store::take_available(work, request.product_id, request.quantity)? {
            Some(on_hand) => store::insert_sale(
                work,
                order_id,
                request.product_id,
                request.quantity,
                on_hand,
                at,
            )?,
            None => return Err(request.out_of_stock(store::available(work, request.product_id)?)),
        }
    }
    Ok(())
}
