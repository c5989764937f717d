//! `[storage]`: where the files are and how many of them are open.

use super::error::Faults;
use super::units::ByteSize;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The data directory of an installed package.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/tillbox";

/// Where the files are and how many of them are open.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// The directory that holds everything that must not be lost.
    pub data_dir: PathBuf,
    /// Tenants whose files are open at a time; the longest idle one is closed first.
    pub open_tenants: u32,
    /// Room on the disk that is kept free: with less than that nothing is sold, while reads,
    /// cancellations and jobs go on. 0 keeps none.
    pub disk_reserve: ByteSize,
    /// Reading connections of each open tenant.
    pub readers_per_tenant: u32,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(DEFAULT_DATA_DIR),
            open_tenants: 512,
            disk_reserve: ByteSize::bytes(64 << 20),
            readers_per_tenant: 2,
        }
    }
}

impl Storage {
    pub(super) fn check(&self, faults: &mut Faults) {
        if self.data_dir.as_os_str().is_empty() {
            faults.add("storage.data_dir", "is empty");
        }
        faults.within("storage.open_tenants", self.open_tenants, 1..=5_000);
        faults.within("storage.readers_per_tenant", self.readers_per_tenant, 1..=8);
    }
}
