//! L5: what the process shows of itself: logs, metrics, job statistics and signs of life.
//!
//! Parts that do the work record here; the HTTP layer and the command line read. Nothing is decided
//! by it.

pub mod job_stats;
pub mod liveness;
pub mod logging;
pub mod telemetry;
