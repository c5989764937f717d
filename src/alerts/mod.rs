//! L5: alerts to the operator: who receives them and by which channel.
//!
//! An alert itself is a job in the transaction of its cause (`platform/alerts.rs`).

pub mod notice;
pub mod recipients;
