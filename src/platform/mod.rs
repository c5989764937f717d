//! L2: what a store needs beside its rows: number series, idempotency, the audit chain, the queue.

pub mod audit;
pub mod cache;
pub mod idempotency;
pub mod page;
pub mod queue;
pub mod series;
