//! Orders, and the published table of their status transitions.

use crate::primitives::id::{CartId, ExchangeRateId, OrderId};
use crate::primitives::{ClientHash, Currency, Digest, Email, Money, Note, Timestamp, refusals};
use crate::storage::{StorageError, text_enum};
use crate::tenant::party::Party;
use crate::tenant::pricing::{Priced, PricedLine, TaxLine};

text_enum! {
    /// The status of an order.
    OrderStatus {
        /// Placed, and waiting for its payment.
        Pending = "pending",
        Paid = "paid",
        /// Accepted by the shop: it will be delivered.
        Confirmed = "confirmed",
        /// Handed over or sent.
        Shipped = "shipped",
        /// Cancelled before it was paid.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// An event of an order.
    OrderEvent {
        /// The payment succeeded.
        Pay = "pay",
        /// The shop accepts the order.
        Confirm = "confirm",
        /// The goods are handed over or sent.
        Ship = "ship",
        /// The order is cancelled.
        Cancel = "cancel",
    }
}

text_enum! {
    /// The way in which an order was created.
    Channel {
        /// Cart and checkout.
        Checkout = "checkout",
        /// A complete sale in one call, as a till records it.
        Sale = "sale",
    }
}

/// A transition: in this status, on this event, to that status.
pub type Transition = (OrderStatus, OrderEvent, OrderStatus);

/// All transitions. Any other is refused with `illegal_transition`.
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

/// The status after an event, if the table has the transition.
pub fn next_status(status: OrderStatus, event: OrderEvent) -> Option<OrderStatus> {
    TRANSITIONS
        .iter()
        .find(|(from, on, _)| *from == status && *on == event)
        .map(|(_, _, to)| *to)
}

#[derive(Clone, Debug)]
pub struct Order {
    pub id: OrderId,
    /// Of a gapless series.
    pub number: String,
    pub channel: Channel,
    pub status: OrderStatus,
    /// The currency of all amounts of the order.
    pub currency: Currency,
    /// Whether the unit prices include tax.
    pub prices_include_tax: bool,
    /// Sum of the lines before discounts, without tax, also when the prices include it.
    pub subtotal: Money,
    /// All discounts of the lines and of the whole order, without tax.
    pub discount: Money,
    /// Sum of the taxes, on the lines after discounts.
    pub tax: Money,
    /// The amount to pay: subtotal - discount + tax.
    pub total: Money,
    /// The reason that the user gave for the discount of the whole order.
    pub discount_reason: Option<Note>,
    /// One per tax rate.
    pub tax_lines: Vec<TaxLine>,
    /// The address for the confirmation.
    pub email: Option<Email>,
    /// The buyer as documents name it.
    pub buyer: Option<Party>,
    /// For a sale of a till, the time of the sale.
    pub placed_at: Timestamp,
    /// The instant of the last change.
    pub updated_at: Timestamp,
    /// The rate to the shop's currency when the order was placed; `None` for an order in that
    /// currency.
    pub exchange_rate_id: Option<ExchangeRateId>,
    pub lines: Vec<PricedLine>,
}

/// The data of a new order.
#[derive(Debug)]
pub struct NewOrder<'a> {
    pub id: OrderId,
    pub channel: Channel,
    /// The initial status.
    pub status: OrderStatus,
    /// Whether the unit prices include tax.
    pub prices_include_tax: bool,
    /// Lines and sums.
    pub priced: Priced,
    /// The reason for the discount of the whole order.
    pub discount_reason: Option<Note>,
    /// The address for the confirmation.
    pub email: Option<Email>,
    /// The buyer as documents name it.
    pub buyer: Option<Party>,
    /// The cart that the order is made from.
    pub cart_id: Option<CartId>,
    /// Hash of the request, when the client chose the id: detects the same id with another body.
    pub request_hash: Option<&'a Digest>,
    pub placed_at: Timestamp,
    /// The rate to the shop's currency, for an order in another one.
    pub exchange_rate_id: Option<ExchangeRateId>,
    /// The client, for an order placed without an API key; erased when the order is paid or
    /// cancelled.
    pub client: Option<ClientHash>,
}

refusals! {
    /// Reasons to refuse a change of an order.
    pub enum OrderRefused {
        NotFound: NotFound "order_not_found", "no such order in this shop; check the order id";
        /// The table has no such transition.
        IllegalTransition { status: OrderStatus, event: OrderEvent }: Conflict "illegal_transition",
            "an order that is {status} cannot {event}";
        /// The order has no client by which other orders could be found.
        NoClient: Conflict "order_without_client",
            "this order was placed with an API key, or is not unpaid any more; name one that was \
             placed without a key and waits for its payment";
    }
    inherits { Storage(StorageError) }
    facts {
        Self::IllegalTransition { status, event } => { order_status: status, event: event },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_published_transition_table() {
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
