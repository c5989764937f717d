//! L3: from a name to an open file.
//!
//! [`Directory`] knows who exists and turns a key, a host or a slug into a [`TenantAccess`]; only with one of those does the
//! [`Registry`] open a shop's file. There is no other way from a request to a shop.

pub mod access;
pub mod commands;
pub mod directory;
pub mod keys;
pub mod marks;
pub mod pauses;
pub mod probe;
pub mod provision;
pub mod published;
pub mod registry;

pub use access::{Scope, Scopes, TenantAccess, TenantStatus};
pub use directory::{Directory, Principal};
pub use marks::Marks;
pub use pauses::Pauses;
pub use published::PublishedRates;
pub use registry::{Registry, TenantUnavailable};

/// Every SQL text that runs on the landlord's file, for the test that prepares them all.
pub const STATEMENTS: &[&[crate::storage::Statement]] = &[
    commands::STATEMENTS,
    marks::STATEMENTS,
    pauses::STATEMENTS,
    probe::STATEMENTS,
    published::STATEMENTS,
    crate::platform::audit::STATEMENTS,
];
