//! Tillbox: a commerce and finance back end in one process, one SQLite file per shop.
//!
//! The map, from the ground up: a layer uses only those above it in this list (`tests/it/tidy.rs`
//! proves it).

#![forbid(unsafe_code)]

// L0: values, and the ports Clock and Entropy.
pub mod primitives;

// L1: the mechanics of SQLite: one writer per file with group commit, shared readers, migrations.
pub mod storage;

// L2: tables that every kind of file may have: jobs, idempotency keys, the audit chain, number
// series.
pub mod platform;

// L3: from a name to an open file: who exists, whose key that is, which files are open.
pub mod tenancy;

// L4: the shop and its rules; the house; and the outside world.
pub mod landlord;
pub mod outbound;
pub mod tenant;

// L5: what the process is made of.
pub mod alerts;
pub mod app;
pub mod body_memory;
pub mod config;
pub mod observe;
pub mod rate_limit;
pub mod reload;

// L5: tasks on a schedule: retention and checks of all files, exchange rates, old logs.
pub mod maintenance;

// L6: what moves it: requests, jobs and the clock on the wall.
pub mod http;
pub mod worker;

// L7: the command line.
pub mod cli;
