//! Use case: Hold stock for an unpaid order, and release it when the order is cancelled.

use super::jobs::{EXPIRE_RESERVATION, ExpireReservation};
use super::model::{StockRefused, StockRequest};
use super::store;
use crate::platform::queue::{self, NewJob, Queue};
use crate::primitives::Timestamp;
use crate::primitives::id::OrderId;
use crate::storage::{StorageError, TenantWork};

/// Holds stock until `expires_at` for an order whose row exists already. The job that ends the hold
/// is queued in the same transaction.
///
/// # Errors
/// `OutOfStock` for the first product with too little available.
///
/// # Panics
/// When a quantity is not above zero.
pub fn reserve(
    work: &mut TenantWork,
    order_id: OrderId,
    requests: &[StockRequest],
    expires_at: Timestamp,
) -> Result<(), StockRefused> {
    if requests.is_empty() {
        return Ok(());
    }
    for request in requests {
        assert!(
            request.quantity > 0,
            "an order requests a positive quantity"
        );
        if !store::hold(work, request.product_id, request.quantity)? {
            return Err(request.out_of_stock(store::available(work, request.product_id)?));
        }
        store::insert_reservation(
            work,
            order_id,
            request.product_id,
            request.quantity,
            expires_at,
        )?;
    }
    // Not in the mail queue: while a mail server hangs, holds must still expire.
    let job = NewJob {
        run_at: Some(expires_at),
        unique_key: Some(format!("reservation:{order_id}")),
        ..NewJob::new(
            Queue::Low,
            EXPIRE_RESERVATION,
            &ExpireReservation { order_id },
        )
    };
    queue::enqueue(work, &job)?;
    Ok(())
}

/// Releases the stock held for an order. The job that would have ended the hold then does nothing.
pub fn release(work: &mut TenantWork, order_id: OrderId) -> Result<(), StorageError> {
    store::release(work, order_id).map(drop)
}
