//! Payments, and the reasons to refuse one.

use serde_json::{Map, Value, json};

use super::methods::Method;
use crate::primitives::id::{OrderId, PaymentId};
use crate::primitives::{Class, Money, Note, Refusal, Timestamp};
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

/// Reasons to refuse a payment; the first that applies wins, in this order.
#[derive(Debug, thiserror::Error)]
pub enum PaymentRefused {
    #[error("no such payment in this shop; check the payment id")]
    NotFound,
    #[error("this payment was processed already; nothing was charged again")]
    AlreadyProcessed,
    /// The payment ended otherwise.
    #[error("this payment is {0} and cannot be confirmed or cancelled any more; {advice}",
        advice = advice(*.1))]
    Over(PaymentStatus, OrderStatus),
    #[error("the payment method `{0}` is not available in this shop; choose another one")]
    MethodUnavailable(Method),
    /// The method needs a reference, and none was given.
    #[error("a payment by `{0}` needs a provider reference; confirm it with provider_reference")]
    ReferenceMissing(Method),
    /// The order does not wait for a payment.
    #[error("the order is {0} and accepts no payment")]
    OrderNotPayable(OrderStatus),
    /// The order waits for another payment.
    #[error("the order waits for another payment; confirm or cancel that one first")]
    OtherPending(PaymentId),
    /// Too many attempts.
    #[error("the order has had too many payments; cancel it and place a new one")]
    TooMany,
    /// A payment of zero for a sale with a total above zero.
    #[error(
        "a payment of the sale is over nothing, and the sale costs {0}; leave that payment out"
    )]
    Zero(Money),
    /// Less than the total.
    #[error("payments of {paid} do not cover the total of {total}; add the difference")]
    Insufficient { paid: Money, total: Money },
    /// More than the total, by a method that gives no change.
    #[error("the payments exceed the total of {0}, and give no change for it; reduce them")]
    Exceeds(Money),
    #[error(transparent)]
    Order(#[from] OrderRefused),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Advice for an order whose payment has ended.
fn advice(order: OrderStatus) -> String {
    match order {
        OrderStatus::Pending => "make a new one for the order with POST /v1/payments".to_owned(),
        order => format!("the order is {order} and takes no other"),
    }
}

impl Refusal for PaymentRefused {
    fn class(&self) -> Class {
        match self {
            Self::NotFound => Class::NotFound,
            Self::MethodUnavailable(_)
            | Self::ReferenceMissing(_)
            | Self::Zero(_)
            | Self::Insufficient { .. }
            | Self::Exceeds(_) => Class::Invalid,
            Self::AlreadyProcessed
            | Self::Over(..)
            | Self::OrderNotPayable(_)
            | Self::OtherPending(_)
            | Self::TooMany => Class::Conflict,
            Self::Order(refused) => refused.class(),
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "payment_not_found",
            Self::MethodUnavailable(_) => "payment_method_unavailable",
            Self::ReferenceMissing(_) => "payment_reference_missing",
            Self::AlreadyProcessed => "payment_already_processed",
            Self::Over(..) => "payment_over",
            Self::OrderNotPayable(_) => "order_not_payable",
            Self::OtherPending(_) => "payment_pending",
            Self::TooMany => "too_many_payments",
            Self::Zero(_) => "payment_zero",
            Self::Insufficient { .. } => "payment_insufficient",
            Self::Exceeds(_) => "payment_exceeds_total",
            Self::Order(refused) => refused.code(),
            Self::Storage(error) => error.code(),
        }
    }

    fn facts(&self) -> Map<String, Value> {
        match self {
            Self::Over(status, _) => Map::from_iter([("payment_status".to_owned(), json!(status))]),
            Self::OrderNotPayable(status) => {
                Map::from_iter([("order_status".to_owned(), json!(status))])
            }
            Self::OtherPending(id) => Map::from_iter([("payment_id".to_owned(), json!(id))]),
            Self::Insufficient { paid, total } => Map::from_iter([
                ("paid_minor".to_owned(), json!(paid.minor())),
                ("total_minor".to_owned(), json!(total.minor())),
            ]),
            Self::Zero(total) | Self::Exceeds(total) => {
                Map::from_iter([("total_minor".to_owned(), json!(total.minor()))])
            }
            Self::Order(refused) => refused.facts(),
            _ => Map::new(),
        }
    }
}
