//! The integration tests: one binary, structured by what is visible from outside. `api/` follows
//! the URLs.
//!
//! `support/` drives the real router over real files with a manual clock. Only time and randomness
//! are replaced.

#![forbid(unsafe_code)]

mod api;
mod books;
mod cli;
#[expect(dead_code, reason = "another program uses the rest of it")]
#[path = "../harness/mod.rs"]
mod harness;
mod log_flood;
mod maintenance;
mod packaging;
mod storage;
mod structured_logs;
mod support;
mod tenancy;
mod tenant;
mod tidy;
mod worker;
