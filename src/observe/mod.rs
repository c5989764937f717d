//! L5: observability: logs, metrics, job statistics and liveness.
//!
//! The parts that do the work record here; the HTTP layer and the command line read. Nothing is
//! decided by these data.

pub mod job_stats;
pub mod liveness;
pub mod logging;
pub mod telemetry;
