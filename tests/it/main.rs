//! The integration tests: one binary, in the shape of what is seen from outside. `api/` has the
//! shape of the URLs.
//!
//! `support/` drives the real router over real files with a clock that stands still; nothing of
//! ours is faked but time and randomness.

#![forbid(unsafe_code)]

mod api;
mod books;
mod cli;
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
