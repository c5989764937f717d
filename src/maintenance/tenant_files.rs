//! L5: access to tenants' files for maintenance: one file at a time; a file that was closed is
//! closed again.

use std::time::Duration;

use crate::app::Stores;
use crate::landlord::ClockSuspicion;
use crate::primitives::limits::LOCAL_REQUEST_MS;
use crate::primitives::refusals;
use crate::storage::file::PAGE_BYTES;
use crate::storage::{Database, StorageError, StorageErrorKind, Tenant};
use crate::tenancy::{TenantAccess, TenantUnavailable, commands};
use crate::tenant::disk_usage::{self, Parts};

/// The deadline of a check and of a count.
pub(super) const READ_WITHIN: Duration = Duration::from_millis(LOCAL_REQUEST_MS);

/// The deadline of a measurement: enough for a file of some gigabytes.
const MEASURE_WITHIN: Duration = Duration::from_secs(5);

refusals! {
    /// Reasons why maintenance of a file is refused.
    pub enum MaintenanceRefused {
        ClockSuspect(ClockSuspicion): Conflict "clock_suspect",
            "the clock is not trusted since {0}; correct the clock if it is wrong, then \
             confirm it with --clock-is-right (`clock_is_right`)";
    }
    inherits { Unavailable(TenantUnavailable), Storage(StorageError) }
}

/// The disk usage of a tenant's file.
#[derive(Clone, Debug)]
pub struct DiskUsage {
    /// Bytes of free pages.
    pub free_bytes: u64,
    /// Bytes of the other pages by kind, or the reason why they could not be measured.
    pub parts: Result<Parts, StorageErrorKind>,
}

/// Measures a tenant's file, for as long as an operator waits. Blocks.
pub fn measure_tenant(
    stores: &Stores,
    access: &TenantAccess,
) -> Result<DiskUsage, MaintenanceRefused> {
    visit(stores, access, |db| {
        let free_pages = db.read(|view| view.free_pages()).wait()?;
        let parts = db.read_within(MEASURE_WITHIN, disk_usage::measure).wait();
        Ok(DiskUsage {
            free_bytes: u64::from(free_pages) * PAGE_BYTES,
            parts: parts.map_err(|error| error.kind()),
        })
    })
}

pub(super) fn list_tenants(stores: &Stores) -> Result<Vec<TenantAccess>, String> {
    let tenants = stores.directory.read(commands::list_with_file).wait();
    tenants.map_err(|error| format!("the tenants could not be listed: {error}"))
}

/// Runs `action` on a tenant's file; a file that was closed before is closed again.
pub(super) fn visit<R>(
    stores: &Stores,
    access: &TenantAccess,
    action: impl FnOnce(&Database<Tenant>) -> Result<R, MaintenanceRefused>,
) -> Result<R, MaintenanceRefused> {
    let was_open = stores.registry.peek(access.id()).is_some();
    let db = stores.registry.open(access)?;
    let result = action(&db);
    drop(db);
    if !was_open {
        stores.registry.close_unused(access.id());
    }
    result
}
