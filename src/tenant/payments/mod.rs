//! Payments: pending, succeeded or failed.
//!
//! Invariants: a payment succeeds at most once, in any interleaving (its status is read and
//! written in one transaction of the one writer, and a trigger keeps a succeeded one unchanged); a
//! declined one is kept as `failed`, and the next attempt is a new payment.

mod methods;
mod model;
mod open_payment;
mod store;

pub use methods::{Method, MethodRules, RefundBy};
pub use model::{NewPayment, Payment, PaymentRefused, PaymentStatus};
pub use open_payment::{OpenPayment, cancel_open, cancel_payment, open_payment};
pub(in crate::tenant) use open_payment::{require_method, require_reference, require_unprocessed};
pub use store::{
    STATEMENTS, find_payment, insert_payment, is_payment_known, list_payments,
    list_payments_of_order,
};
pub(in crate::tenant) use store::{fail, succeed};
