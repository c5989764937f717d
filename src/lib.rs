//! Tillbox: a commerce and finance back end in one process, one SQLite file per shop.
//!
//! The layers, from the ground up; each uses only those above it in this list (`tests/it/tidy.rs` proves it).

pub mod app;
pub mod cli;
pub mod config;
pub mod http;
pub mod logging;
pub mod outbound;
pub mod platform;
pub mod primitives;
pub mod pulse;
pub mod storage;
pub mod tenancy;
pub mod tenant;
pub mod worker;
