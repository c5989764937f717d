//! L5 and L6: maintenance, which the daemon runs on a schedule for all files: retention, integrity
//! checks, exchange rates, old logs, notices about the clock.
//!
//! `tasks.rs` is the list of tasks; `scheduler.rs` decides which are due and runs them.

pub mod clock_notice;
pub mod integrity;
pub mod log_files;
pub mod rate_fetch;
pub mod retention;
pub mod scheduler;
pub mod tasks;
pub mod tenant_files;
