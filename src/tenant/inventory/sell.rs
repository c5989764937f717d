//! Use case: stock leaves, for an order that was paid.

use super::model::{ReservationStatus, StockRefused, Wanted};
use super::store;
use crate::primitives::id::{OrderId, ProductId};
use crate::primitives::{Sku, Timestamp};
use crate::storage::TenantWork;

/// Turns the reservations of an order into movements, dated `at`. What is consumed already stays so: doing it twice is doing it once.
///
/// A reservation that has ended meanwhile is served from what is available now: the buyer came late, and either the goods are still
/// there or the payment must not be taken.
///
/// # Errors
/// [`StockRefused`]: `OutOfStock` when a reservation has ended and too little is left.
pub fn consume(work: &mut TenantWork, order_id: OrderId, at: Timestamp) -> Result<(), StockRefused> {
    for reserved in store::reservations(work, order_id)? {
        match reserved.status {
            ReservationStatus::Consumed => continue,
            ReservationStatus::Held => {
                let on_hand = store::take_held(work, reserved.product_id, reserved.quantity)?;
                store::insert_sale(work, order_id, reserved.product_id, reserved.quantity, on_hand, at)?;
            }
            ReservationStatus::Expired | ReservationStatus::Released => {
                take_available(work, order_id, reserved.product_id, &reserved.sku, reserved.quantity, at)?;
            }
        }
        store::mark_consumed(work, &reserved)?;
    }
    Ok(())
}

/// Takes stock for an order that is paid at once, whose row exists already, with movements dated `at`.
///
/// # Errors
/// [`StockRefused`]: `OutOfStock` for the first product of which too little is available.
///
/// # Panics
/// When a quantity is not above zero.
pub fn take(work: &mut TenantWork, order_id: OrderId, wanted: &[Wanted], at: Timestamp) -> Result<(), StockRefused> {
    for Wanted { product_id, sku, quantity } in wanted {
        assert!(*quantity > 0, "a sale takes more than nothing");
        take_available(work, order_id, *product_id, sku, *quantity, at)?;
    }
    Ok(())
}

fn take_available(
    work: &mut TenantWork,
    order_id: OrderId,
    product_id: ProductId,
    sku: &Sku,
    quantity: i64,
    at: Timestamp,
) -> Result<(), StockRefused> {
    match store::take_available(work, product_id, quantity)? {
        Some(on_hand) => Ok(store::insert_sale(work, order_id, product_id, quantity, on_hand, at)?),
        None => Err(StockRefused::OutOfStock {
            product_id,
            sku: sku.clone(),
            wanted: quantity,
            available: store::available(work, product_id)?,
        }),
    }
}
