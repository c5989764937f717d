//! Use case: the goods of an order that is paid leave the shelf.
//!
//! Callers ask [`require_available`] or [`require_held_or_available`] before they write anything: a
//! refusal that comes after its request has written is dear, because the whole batch it was in is
//! run again.

use super::model::{ReservationStatus, StockRefused, StockRequest};
use super::store;
use crate::primitives::Timestamp;
use crate::primitives::id::OrderId;
use crate::storage::{StorageError, TenantView, TenantWork};

/// Where the goods of a paid order are.
#[derive(Clone, Copy, Debug)]
pub enum Goods<'a> {
    /// Held for the order since its checkout.
    Held,
    /// On the shelf, held for nobody: a sale at the till.
    OnShelf(&'a [StockRequest]),
    /// Gone long ago: a sale of the past, of which no count of today knows.
    Gone,
}

/// Refuses what is not there, and writes nothing.
///
/// # Errors
/// [`StockRefused`]: `OutOfStock` for the first product of which too little is available.
pub fn require_available(view: &TenantView, wanted: &[StockRequest]) -> Result<(), StockRefused> {
    wanted.iter().try_for_each(|wanted| {
        let available = store::available(view, wanted.product_id)?;
        if available < wanted.quantity {
            return Err(wanted.out_of_stock(available));
        }
        Ok(())
    })
}

/// Refuses an order whose hold has ended and whose goods are not there any more, and writes
/// nothing.
///
/// # Errors
/// [`StockRefused`]: `OutOfStock` for the first product of which too little is left.
pub fn require_held_or_available(view: &TenantView, order_id: OrderId) -> Result<(), StockRefused> {
    require_available(view, &store::stock_requests(view, order_id)?)
}

/// Has the goods of a paid order leave, each with its movement dated `at`. What has left stays so:
/// doing it twice is doing it once.
///
/// A reservation that has ended meanwhile is served from what is available now, as is a product
/// whose stock began to be counted after the checkout: either the goods are still there, or the
/// payment must not be taken.
///
/// # Errors
/// [`StockRefused`]: `OutOfStock` when too little is left.
pub fn hand_over(
    work: &mut TenantWork,
    order_id: OrderId,
    goods: Goods<'_>,
    at: Timestamp,
) -> Result<(), StockRefused> {
    match goods {
        Goods::Gone => Ok(()),
        Goods::OnShelf(_) if store::has_left(work, order_id)? => Ok(()),
        Goods::OnShelf(wanted) => take(work, order_id, wanted, at),
        Goods::Held => {
            let wanted = store::stock_requests(work, order_id)?;
            take_held(work, order_id, at)?;
            take(work, order_id, &wanted, at)?;
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

fn take(
    work: &mut TenantWork,
    order_id: OrderId,
    wanted: &[StockRequest],
    at: Timestamp,
) -> Result<(), StockRefused> {
    for wanted in wanted {
        assert!(wanted.quantity > 0, "a sale takes more than nothing");
        match store::take_available(work, wanted.product_id, wanted.quantity)? {
            Some(on_hand) => store::insert_sale(
                work,
                order_id,
                wanted.product_id,
                wanted.quantity,
                on_hand,
                at,
            )?,
            None => return Err(wanted.out_of_stock(store::available(work, wanted.product_id)?)),
        }
    }
    Ok(())
}
