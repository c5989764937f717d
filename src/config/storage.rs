//! `[storage]`: the data directory and its limits.

use super::error::Faults;
use super::units::ByteSize;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// The data directory of an installed package.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/tillbox";

/// The bounds of `tenant_max`: an empty tenant has half a megabyte, and a SQLite file is at most
/// 256 TiB.
const TENANT_MAX: RangeInclusive<ByteSize> = ByteSize::bytes(1 << 20)..=ByteSize::bytes(256 << 40);

/// The value for a share that is derived from the free space.
const AUTO: &str = "auto";

/// The data directory and its limits.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// The directory that holds everything that must not be lost.
    pub data_dir: PathBuf,
    /// Tenants whose files are open at a time; the longest idle one is closed first.
    pub open_tenants: u32,
    /// Free disk space below which sales are refused, while reads, cancellations and jobs go on. 0
    /// disables the check.
    pub disk_reserve: ByteSize,
    /// The disk space that one tenant may use before its growth is refused; `auto` is four times
    /// the free space above the reserve.
    #[serde(serialize_with = "write_max", deserialize_with = "read_max")]
    pub tenant_max: Option<ByteSize>,
    /// Read connections per open tenant.
    pub readers_per_tenant: u32,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(DEFAULT_DATA_DIR),
            open_tenants: 512,
            disk_reserve: ByteSize::bytes(64 << 20),
            tenant_max: None,
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
        if let Some(max) = self.tenant_max {
            faults.within("storage.tenant_max", max, TENANT_MAX);
        }
        faults.within("storage.readers_per_tenant", self.readers_per_tenant, 1..=8);
    }
}

// TOML has no null; a `None` left out would also be missing from the list of known keys.
fn write_max<S: Serializer>(max: &Option<ByteSize>, serializer: S) -> Result<S::Ok, S::Error> {
    match max {
        Some(max) => max.serialize(serializer),
        None => serializer.serialize_str(AUTO),
    }
}

fn read_max<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    if value.as_str() == Some(AUTO) {
        return Ok(None);
    }
    let max = ByteSize::deserialize(value);
    max.map(Some)
        .map_err(|error| D::Error::custom(format!("{error}, or \"{AUTO}\"")))
}
