//! The kinds of file as types: a function for a tenant's file does not accept the landlord's file,
//! and vice versa.

use super::migration::Migration;

/// A kind of file: its identity on disk and its migrations.
pub trait FileKind: Send + Sync + 'static {
    /// The name in messages.
    const NAME: &'static str;
    /// `PRAGMA application_id`: four ASCII letters, big-endian, as `file(1)` shows them.
    const APPLICATION_ID: i32;
    /// The migrations in order; the file's `user_version` counts those that were applied.
    const MIGRATIONS: &'static [Migration];
}

/// All data of one tenant.
#[derive(Debug)]
pub enum Tenant {}

/// The instance-wide file.
#[derive(Debug)]
pub enum Landlord {}

impl FileKind for Tenant {
    const NAME: &'static str = "tenant";
    const APPLICATION_ID: i32 = i32::from_be_bytes(*b"Till");
    const MIGRATIONS: &'static [Migration] = &[Migration::Sql(include_str!(
        "../../schema/tenant/0001_initial.sql"
    ))];
}

impl FileKind for Landlord {
    const NAME: &'static str = "landlord";
    const APPLICATION_ID: i32 = i32::from_be_bytes(*b"TilL");
    const MIGRATIONS: &'static [Migration] = &[Migration::Sql(include_str!(
        "../../schema/landlord/0001_initial.sql"
    ))];
}
