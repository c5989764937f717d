//! L5 and L6: what the daemon does by itself on a schedule, for all files: retention, the nightly
//! check, exchange rates, old logs.
//!
//! `tasks.rs` is the list of tasks, `scheduler.rs` decides which are due and runs them.

pub mod all_files;
pub mod clock_notice;
pub mod rate_fetch;
pub mod scheduler;
pub mod tasks;
