//! L3: from a name to an open file.
//!
//! [`Directory`] maps a key, a host or a slug to a [`TenantAccess`]; only with it does the
//! [`Registry`] open a tenant's file. There is no other way from a request to a tenant.

pub mod access;
pub mod checkpoints;
pub mod commands;
pub mod directory;
pub mod keys;
pub mod pauses;
pub mod probe;
pub mod provision;
pub mod registry;
pub mod shares;

pub use access::{Scope, Scopes, TenantAccess, TenantStatus};
pub use checkpoints::Checkpoints;
pub use directory::{Directory, Principal};
pub use pauses::Pauses;
pub use registry::{Registry, TenantUnavailable};
pub use shares::Shares;

/// All SQL statements on the landlord's file, for the test that prepares them.
pub const STATEMENTS: &[&[crate::storage::Statement]] = &[
    commands::STATEMENTS,
    checkpoints::STATEMENTS,
    pauses::STATEMENTS,
    probe::STATEMENTS,
    crate::platform::audit::STATEMENTS,
];
