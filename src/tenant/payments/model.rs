//! Payments, and the reasons to refuse one.

use super::methods::Method;
use crate::primitives::id::{OrderId, PaymentId};
use crate::primitives::{Money, Note, Timestamp, refusals};
use crate::storage::{StorageError, text_enum};
use crate::tenant::orders::{OrderRefused, OrderStatus};

text_enum! {
    /// The status of a payment.
    PaymentStatus {
        /// The payment is expected.
        Pending = "pending",
        /// The provider has reserved the money.
        Authorized = "authorized",
        /// The money has arrived.
        Succeeded = "succeeded",
        /// The payment was declined.
        Failed = "failed",
        /// The payment was cancelled.
        Cancelled = "cancelled",
        /// Requested without an answer: the money may have arrived or not.
        Unknown = "unknown",
    }
}

#[derive(Clone, Debug)]
pub struct Payment {
    pub id: PaymentId,
    pub order_id: OrderId,
    pub method: Method,
    pub status: PaymentStatus,
    /// The part of the order's total that it pays.
    pub amount: Money,
    /// The amount handed over, when that was more (cash); the difference is the change.
    pub tendered: Option<Money>,
    /// The provider's reference: a receipt number, a bank reference.
    pub provider_reference: Option<Note>,
    pub failure_code: Option<String>,
    pub created_at: Timestamp,
    /// The instant of the last change.
    pub updated_at: Timestamp,
    pub succeeded_at: Option<Timestamp>,
}

/// The data of a new payment.
#[derive(Clone, Debug)]
pub struct NewPayment {
    pub id: PaymentId,
    pub order_id: OrderId,
    pub method: Method,
    /// The time of the payment, for a sale that is paid already; any other payment is pending.
    pub succeeded_at: Option<Timestamp>,
    /// The part of the order's total that it pays.
    pub amount: Money,
    /// The amount handed over, when that was more.
    pub tendered: Option<Money>,
}

refusals! {
    /// Reasons to refuse a payment; the first that applies wins, in this order.
    pub enum PaymentRefused {
        NotFound: NotFound "payment_not_found",
            "no such payment in this shop; check the payment id";
        AlreadyProcessed: Conflict "payment_already_processed",
            "this payment was processed already; nothing was charged again";
        /// The payment ended otherwise.
        Over(PaymentStatus, String): Conflict "payment_over",
            "this payment is {0} and cannot be confirmed or cancelled any more; {1}";
        MethodUnavailable(Method): Invalid "payment_method_unavailable",
            "the payment method `{0}` is not available in this shop; choose another one";
        /// The method needs a reference, and none was given.
        ReferenceMissing(Method): Invalid "payment_reference_missing",
            "a payment by `{0}` needs a provider reference; confirm it with provider_reference";
        /// The order does not wait for a payment.
        OrderNotPayable(OrderStatus): Conflict "order_not_payable",
            "the order is {0} and accepts no payment";
        /// The order waits for another payment.
        OtherPending(PaymentId): Conflict "payment_pending",
            "the order waits for another payment; confirm or cancel that one first";
        /// Too many attempts.
        TooMany: Conflict "too_many_payments",
            "the order has had too many payments; cancel it and place a new one";
        /// A payment of zero for a sale with a total above zero.
        Zero(Money): Invalid "payment_zero",
            "a payment of the sale is over nothing, and the sale costs {0}; leave that payment \
             out";
        /// Less than the total.
        Insufficient { paid: Money, total: Money }: Invalid "payment_insufficient",
            "payments of {paid} do not cover the total of {total}; add the difference";
        /// More than the total, by a method that gives no change.
        Exceeds(Money): Invalid "payment_exceeds_total",
            "the payments exceed the total of {0}, and give no change for it; reduce them";
    }
    inherits { Order(OrderRefused), Storage(StorageError) }
    facts {
        Self::Over(status, _) => { payment_status: status },
        Self::OrderNotPayable(status) => { order_status: status },
        Self::OtherPending(id) => { payment_id: id },
        Self::Insufficient { paid, total } => {
            paid_minor: paid.minor(), total_minor: total.minor()
        },
        Self::Zero(total) | Self::Exceeds(total) => { total_minor: total.minor() },
    }
}

/// Advice for an order whose payment has ended.
pub(super) fn advice(order: OrderStatus) -> String {
    match order {
        OrderStatus::Pending => "make a new one for the order with POST /v1/payments".to_owned(),
        order => format!("the order is {order} and takes no other"),
    }
}
