//! Tillbox: a commerce and finance back end in one process, one SQLite file per tenant.
//!
//! Layers, from the ground up: a layer uses only the ones above it in this list (enforced by
//! `tests/it/tidy.rs`).

#![forbid(unsafe_code)]

// L0: values, and the ports Clock and Entropy.
pub mod primitives;

// L1: SQLite mechanics: one writer per file with group commit, shared readers, migrations.
pub mod storage;

// L2: tables of every kind of file: jobs, idempotency keys, the audit chain, number series.
pub mod platform;

// L3: name → open file: the directory of tenants, access keys, open files.
pub mod tenancy;

// L4: business rules of tenants and of the landlord, and outbound connections.
pub mod landlord;
pub mod outbound;
pub mod tenant;

// L5: the parts of the process.
pub mod alerts;
pub mod app;
pub mod body_memory;
pub mod config;
pub mod observe;
pub mod rate_limit;
pub mod reload;

// L5: scheduled tasks: retention and checks of all files, exchange rates, old logs.
pub mod maintenance;

// L6: request handling and job execution.
pub mod http;
pub mod worker;

// L7: the command line.
pub mod cli;
