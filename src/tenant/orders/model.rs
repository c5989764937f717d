//! What an order is, and the published table of how its status moves.

use serde_json::{Map, Value, json};

use crate::primitives::id::{CartId, ExchangeRateId, OrderId};
use crate::primitives::{Class, ClientHash, Currency, Digest, Email, Money, Refusal, Timestamp};
use crate::storage::{StorageError, text_enum};
use crate::tenant::pricing::{Priced, PricedLine, TaxLine};

text_enum! {
    /// Where an order stands.
    OrderStatus {
        /// Placed, and waiting for its payment.
        Pending = "pending",
        /// Paid in full.
        Paid = "paid",
        /// Accepted by the shop: it will be delivered.
        Confirmed = "confirmed",
        /// Handed over or sent.
        Shipped = "shipped",
        /// Called off before it was paid.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// What can happen to an order.
    OrderEvent {
        /// Its payment succeeded.
        Pay = "pay",
        /// The shop accepts it.
        Confirm = "confirm",
        /// It is handed over or sent.
        Ship = "ship",
        /// It is called off.
        Cancel = "cancel",
    }
}

text_enum! {
    /// How an order came about.
    Channel {
        /// Cart and checkout.
        Checkout = "checkout",
        /// A whole sale at once, as a till records it.
        Sale = "sale",
    }
}

/// One arrow of the table: in this status, on this event, to that status.
pub type Transition = (OrderStatus, OrderEvent, OrderStatus);

/// The whole table. What is not in it is refused with `illegal_transition`.
pub const TRANSITIONS: &[Transition] = &[
    (OrderStatus::Pending, OrderEvent::Pay, OrderStatus::Paid),
    (
        OrderStatus::Pending,
        OrderEvent::Cancel,
        OrderStatus::Cancelled,
    ),
    (
        OrderStatus::Paid,
        OrderEvent::Confirm,
        OrderStatus::Confirmed,
    ),
    (
        OrderStatus::Confirmed,
        OrderEvent::Ship,
        OrderStatus::Shipped,
    ),
];

/// Where an event leads from a status, if anywhere.
pub fn next_status(status: OrderStatus, event: OrderEvent) -> Option<OrderStatus> {
    TRANSITIONS
        .iter()
        .find(|(from, on, _)| *from == status && *on == event)
        .map(|(_, _, to)| *to)
}

/// An order.
#[derive(Clone, Debug)]
pub struct Order {
    pub id: OrderId,
    /// Its number, of a gapless series.
    pub number: String,
    /// How it came about.
    pub channel: Channel,
    /// Where it stands.
    pub status: OrderStatus,
    /// The currency of all its amounts.
    pub currency: Currency,
    /// Whether its unit prices include tax.
    pub prices_include_tax: bool,
    /// Sum of the lines without tax.
    pub subtotal: Money,
    /// What was taken off.
    pub discount: Money,
    /// Sum of the taxes.
    pub tax: Money,
    /// What is to be paid.
    pub total: Money,
    /// One per tax rate.
    pub tax_lines: Vec<TaxLine>,
    /// Where the confirmation goes.
    pub email: Option<Email>,
    /// When it was placed; for a sale of a till, when it was sold there.
    pub placed_at: Timestamp,
    /// The rate to the shop's own currency on the day it was placed; none for an order in that.
    pub exchange_rate_id: Option<ExchangeRateId>,
    /// What was sold.
    pub lines: Vec<PricedLine>,
}

/// An order that is to be.
#[derive(Debug)]
pub struct NewOrder<'a> {
    pub id: OrderId,
    /// How it comes about.
    pub channel: Channel,
    /// Where it stands at once.
    pub status: OrderStatus,
    /// Whether its unit prices include tax.
    pub prices_include_tax: bool,
    /// Its lines and sums.
    pub priced: Priced,
    /// Where the confirmation goes.
    pub email: Option<Email>,
    /// The cart it is made from.
    pub cart_id: Option<CartId>,
    /// What the client sent, when it brought the id: so that the same id with another body is found
    /// out.
    pub request_hash: Option<&'a Digest>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// The rate to the shop's own currency, for an order in another one.
    pub exchange_rate_id: Option<ExchangeRateId>,
    /// The client, of an order that is placed without an API key; erased when the order is paid or
    /// cancelled.
    pub client: Option<ClientHash>,
}

/// Why an order cannot be moved.
#[derive(Debug, thiserror::Error)]
pub enum OrderRefused {
    #[error("there is no such order in this store")]
    NotFound,
    /// The table has no such arrow.
    #[error("an order that is {status} cannot {event}")]
    IllegalTransition {
        /// Where it stands.
        status: OrderStatus,
        /// What was asked.
        event: OrderEvent,
    },
    /// The order names no client whose orders could be found by it.
    #[error(
        "this order was placed with an API key, or is not unpaid any more; name one that was \
         placed \
         without a key and waits for its payment"
    )]
    NoClient,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal for OrderRefused {
    fn class(&self) -> Class {
        match self {
            Self::NotFound => Class::NotFound,
            Self::IllegalTransition { .. } | Self::NoClient => Class::Conflict,
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "order_not_found",
            Self::IllegalTransition { .. } => "illegal_transition",
            Self::NoClient => "order_without_client",
            Self::Storage(error) => error.code(),
        }
    }

    fn facts(&self) -> Map<String, Value> {
        match self {
            Self::IllegalTransition { status, event } => Map::from_iter([
                ("order_status".to_owned(), json!(status)),
                ("event".to_owned(), json!(event)),
            ]),
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_is_published() {
        let mut table = String::new();
        for status in OrderStatus::ALL {
            for event in OrderEvent::ALL {
                let to = next_status(*status, *event).map_or("refused", OrderStatus::as_str);
                table.push_str(&format!("{status} + {event} = {to}\n"));
            }
        }
        insta::assert_snapshot!(table, @r"
        pending + pay = paid
        pending + confirm = refused
        pending + ship = refused
        pending + cancel = cancelled
        paid + pay = refused
        paid + confirm = confirmed
        paid + ship = refused
        paid + cancel = refused
        confirmed + pay = refused
        confirmed + confirm = refused
        confirmed + ship = shipped
        confirmed + cancel = refused
        shipped + pay = refused
        shipped + confirm = refused
        shipped + ship = refused
        shipped + cancel = refused
        cancelled + pay = refused
        cancelled + confirm = refused
        cancelled + ship = refused
        cancelled + cancel = refused
        ");
    }
}
