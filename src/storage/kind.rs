//! The kinds of file as types: a function for a tenant's file does not accept the landlord's file,
//! and vice versa.

/// A kind of file: its identity on disk and its migrations.
pub trait FileKind: Send + Sync + 'static {
    /// The name in messages.
    const NAME: &'static str;
    /// `PRAGMA application_id`: four ASCII letters, big-endian, as `file(1)` shows them.
    const APPLICATION_ID: i32;
    /// The migrations in order; the file's `user_version` counts those that were applied.
    const MIGRATIONS: &'static [&'static str];
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
    const MIGRATIONS: &'static [&'static str] = &[
        include_str!("../../schema/tenant/0001_initial.sql"),
        include_str!("../../schema/tenant/0002_ledger_chain.sql"),
        include_str!("../../schema/tenant/0003_job_given_up.sql"),
        include_str!("../../schema/tenant/0004_job_epoch.sql"),
        include_str!("../../schema/tenant/0005_alert_window.sql"),
        include_str!("../../schema/tenant/0006_retention.sql"),
        include_str!("../../schema/tenant/0007_currency.sql"),
        include_str!("../../schema/tenant/0008_orders_final.sql"),
        include_str!("../../schema/tenant/0009_storefront_bounds.sql"),
    ];
}

impl FileKind for Landlord {
    const NAME: &'static str = "landlord";
    const APPLICATION_ID: i32 = i32::from_be_bytes(*b"TilL");
    const MIGRATIONS: &'static [&'static str] = &[
        include_str!("../../schema/landlord/0001_initial.sql"),
        include_str!("../../schema/landlord/0002_tenant_checkpoint.sql"),
        include_str!("../../schema/landlord/0003_queue_pause.sql"),
        include_str!("../../schema/landlord/0004_tenant_pause.sql"),
        include_str!("../../schema/landlord/0005_rate_bucket.sql"),
        include_str!("../../schema/landlord/0006_maintenance.sql"),
        include_str!("../../schema/landlord/0007_published_rate.sql"),
        include_str!("../../schema/landlord/0008_clock_and_checks.sql"),
    ];
}
