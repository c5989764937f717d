//! What a payment is, and why one is refused.

use serde_json::{Map, Value, json};

use crate::primitives::id::{OrderId, PaymentId};
use crate::primitives::{Class, Money, Note, Refusal, Timestamp};
use crate::storage::{StorageError, text_enum};
use crate::tenant::finance::SettleRefused;
use crate::tenant::orders::{OrderRefused, OrderStatus};

text_enum! {
    /// How money comes in.
    Method {
        /// Notes and coins in the till.
        Cash = "cash",
        /// By a way that the shop checks itself: a bank transfer, a card terminal of its own.
        Manual = "manual",
        /// Play money, under `--dev` only.
        Test = "test",
    }
}

text_enum! {
    /// Where a payment stands.
    PaymentStatus {
        /// Promised.
        Pending = "pending",
        /// Reserved with whoever holds the money.
        Authorized = "authorized",
        /// In.
        Succeeded = "succeeded",
        /// Declined.
        Failed = "failed",
        /// Called off.
        Cancelled = "cancelled",
        /// Given back.
        Refunded = "refunded",
        /// Asked for, and no answer came: it may be in or not.
        Unknown = "unknown",
    }
}

/// A payment.
#[derive(Clone, Debug)]
pub struct Payment {
    pub id: PaymentId,
    /// For which order.
    pub order_id: OrderId,
    /// How.
    pub method: Method,
    /// Where it stands.
    pub status: PaymentStatus,
    /// How much of the order it pays.
    pub amount: Money,
    /// What was handed over, when that was more (cash); the difference is the change.
    pub tendered: Option<Money>,
    /// The other side's word for it: a receipt number, a bank reference.
    pub provider_reference: Option<Note>,
    /// Why it failed.
    pub failure_code: Option<String>,
    /// Since when it is promised.
    pub created_at: Timestamp,
    /// Since when it is in.
    pub succeeded_at: Option<Timestamp>,
}

/// A payment that is to be.
#[derive(Clone, Debug)]
pub struct NewPayment {
    pub id: PaymentId,
    /// For which order.
    pub order_id: OrderId,
    /// How.
    pub method: Method,
    /// Since when it is in, for a sale that is paid already; the others are pending.
    pub succeeded_at: Option<Timestamp>,
    /// How much of the order it pays.
    pub amount: Money,
    /// What was handed over, when that was more.
    pub tendered: Option<Money>,
}

/// Why a payment is refused; the first that applies wins, in this order.
#[derive(Debug, thiserror::Error)]
pub enum PaymentRefused {
    #[error("there is no such payment in this store")]
    NotFound,
    /// It succeeded before.
    #[error("this payment was processed already; nothing was charged again")]
    AlreadyProcessed,
    /// It is over in another way.
    #[error("this payment is {0} and cannot be confirmed or cancelled any more; {advice}",
        advice = advice(*.1))]
    Over(PaymentStatus, OrderStatus),
    /// There is no such method here.
    #[error("the payment method `{0}` is not available in this store")]
    MethodUnavailable(Method),
    /// The order does not wait for a payment.
    #[error("the order is {0} and takes no payment")]
    OrderNotPayable(OrderStatus),
    /// The order waits for another payment already.
    #[error("the order waits for another payment already; confirm or cancel that one first")]
    OtherPending(PaymentId),
    /// Too many tries.
    #[error("the order has had too many payments; cancel it and place a new one")]
    TooMany,
    /// It pays nothing of an order that costs something.
    #[error(
        "a payment of the sale is over nothing, and the sale costs {0}; leave that payment out"
    )]
    Zero(Money),
    /// It pays less than the order costs.
    #[error("{paid} does not cover the total of {total}")]
    Insufficient {
        /// What it pays.
        paid: Money,
        /// What the order costs.
        total: Money,
    },
    /// It pays more than the order costs, by a method that gives no change.
    #[error("the payments exceed the total of {0}; only cash gives change")]
    Exceeds(Money),
    /// The order refused.
    #[error(transparent)]
    Order(#[from] OrderRefused),
    /// A step of the books refused.
    #[error(transparent)]
    Settle(#[from] SettleRefused),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What can be done about an order whose payment is over.
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
            | Self::Zero(_)
            | Self::Insufficient { .. }
            | Self::Exceeds(_) => Class::Invalid,
            Self::AlreadyProcessed
            | Self::Over(..)
            | Self::OrderNotPayable(_)
            | Self::OtherPending(_)
            | Self::TooMany => Class::Conflict,
            Self::Order(refused) => refused.class(),
            Self::Settle(refused) => refused.class(),
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "payment_not_found",
            Self::MethodUnavailable(_) => "payment_method_unavailable",
            Self::AlreadyProcessed => "payment_already_processed",
            Self::Over(..) => "payment_over",
            Self::OrderNotPayable(_) => "order_not_payable",
            Self::OtherPending(_) => "payment_pending",
            Self::TooMany => "too_many_payments",
            Self::Zero(_) => "payment_zero",
            Self::Insufficient { .. } => "payment_insufficient",
            Self::Exceeds(_) => "payment_exceeds_total",
            Self::Order(refused) => refused.code(),
            Self::Settle(refused) => refused.code(),
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
            Self::Settle(refused) => refused.facts(),
            _ => Map::new(),
        }
    }
}
