//! The order confirmation by mail: the job's payload and the content of the mail.

use serde::{Deserialize, Serialize};

use super::orders::{self, Order};
use super::{invoices, settings};
use crate::platform::queue::{self, NewJob, Queue};
use crate::primitives::id::OrderId;
use crate::primitives::{Day, Email, Money, Name, Timestamp};
use crate::storage::{StorageError, TenantView, TenantWork};

/// The kind of the job that sends a confirmation.
pub const CONFIRMATION: &str = "orders.confirmation";

/// The payload of a [`CONFIRMATION`] job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmationJob {
    pub order_id: OrderId,
}

/// The content of a confirmation.
#[derive(Clone, Debug)]
pub struct Confirmation {
    pub to: Email,
    pub shop: Name,
    pub number: String,
    pub placed_at: Timestamp,
    /// The day of the order in the shop's time zone.
    pub day: Day,
    /// Name, quantity with its unit, and total of each line.
    pub lines: Vec<(String, String, Money)>,
    /// The tax included in the total.
    pub tax: Money,
    pub total: Money,
    pub invoice_number: Option<String>,
}

/// Queues the confirmation of an order that has an address.
pub fn enqueue_confirmation(work: &mut TenantWork, order: &Order) -> Result<(), StorageError> {
    if order.email.is_none() {
        return Ok(());
    }
    queue::enqueue(
        work,
        &NewJob::new(
            Queue::Default,
            CONFIRMATION,
            &ConfirmationJob { order_id: order.id },
        ),
    )
    .map(drop)
}

/// The confirmation of an order; `None` when the order has no address (any more).
pub fn confirmation(
    view: &TenantView,
    order_id: OrderId,
) -> Result<Option<Confirmation>, StorageError> {
    let Some(order) = orders::find_order(view, order_id)? else {
        return Ok(None);
    };
    let Some(to) = order.email else {
        return Ok(None);
    };
    let invoice_number =
        invoices::find_invoice_of_order(view, order_id)?.map(|invoice| invoice.number);
    let shop = settings::shop(view)?;
    Ok(Some(Confirmation {
        to,
        day: shop.timezone.day_of(order.placed_at),
        shop: shop.name,
        number: order.number,
        placed_at: order.placed_at,
        lines: order
            .lines
            .into_iter()
            .map(|line| {
                let quantity = line.measure.show(line.quantity);
                (line.name.to_string(), quantity, line.total)
            })
            .collect(),
        tax: order.tax,
        total: order.total,
        invoice_number,
    }))
}
