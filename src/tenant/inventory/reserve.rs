//! Use case: an order waits for its payment; its stock is held for it, and given back when the
//! order is cancelled.

use super::jobs::{EXPIRE_RESERVATION, ExpireReservation};
use super::model::{StockRefused, StockRequest};
use super::store;
use crate::platform::queue::{self, NewJob, Queue};
use crate::primitives::Timestamp;
use crate::primitives::id::OrderId;
use crate::storage::{StorageError, TenantWork};

/// Holds stock for an order, whose row exists already, until `expires_at`; the job that ends the
/// hold is put into the same transaction.
///
/// # Errors
/// [`StockRefused`]: `OutOfStock` for the first product of which too little is available.
///
/// # Panics
/// When a quantity is not above zero.
pub fn reserve(
    work: &mut TenantWork,
    order_id: OrderId,
    wanted: &[StockRequest],
    expires_at: Timestamp,
) -> Result<(), StockRefused> {
    if wanted.is_empty() {
        return Ok(());
    }
    for wanted in wanted {
        assert!(wanted.quantity > 0, "an order wants more than nothing");
        if !store::hold(work, wanted.product_id, wanted.quantity)? {
            return Err(wanted.out_of_stock(store::available(work, wanted.product_id)?));
        }
        store::insert_reservation(
            work,
            order_id,
            wanted.product_id,
            wanted.quantity,
            expires_at,
        )?;
    }
    // Not among the mails: while a mail server hangs, what is held must still come free.
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

/// Gives back what is held for an order. The job that would have ended the hold finds nothing to do
/// when its time comes.
pub fn release(work: &mut TenantWork, order_id: OrderId) -> Result<(), StorageError> {
    store::release(work, order_id).map(drop)
}
