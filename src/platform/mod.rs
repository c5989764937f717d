//! L2: common tables of a file beside its business rows: number series, idempotency, the audit
//! chain, the queue, alerts.

pub mod alerts;
pub mod audit;
pub mod cache;
pub mod epoch;
pub mod idempotency;
pub mod keyless_answers;
pub mod page;
pub mod queue;
pub mod retention;
pub mod series;
pub mod trim;
