//! Free disk space and its reserve. When sales have to stop, the reserve lets cancellations and the
//! jobs of earlier sales continue. SQLite survives a completely full disk, but an operator needs
//! some space to free more.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::primitives::sync;
use crate::primitives::{Clock, Timestamp};

/// The lifetime of a measurement, in milliseconds.
const MEASUREMENT_MS: i64 = 1_000;

/// The space of a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Free for this process's user.
    pub free: u64,
    pub size: u64,
}

/// The disk space of a directory's file system.
pub struct Space {
    dir: PathBuf,
    reserve: u64,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<(Timestamp, Option<DiskSpace>)>>,
}

impl Space {
    /// Monitors `dir` with a reserve of `reserve` bytes; 0 disables the reserve.
    pub fn new(dir: PathBuf, reserve: u64, clock: Arc<dyn Clock>) -> Self {
        Self {
            dir,
            reserve,
            clock,
            last: Mutex::default(),
        }
    }

    /// Whether less than the reserve is free. Measured at most once a second; a failed measurement
    /// counts as enough space.
    pub fn is_short(&self) -> bool {
        self.reserve > 0 && self.last().is_some_and(|disk| disk.free < self.reserve)
    }

    /// The free bytes above the reserve, at the last measurement; `None` when the system cannot
    /// tell.
    pub fn free_above_reserve(&self) -> Option<u64> {
        Some(self.last()?.free.saturating_sub(self.reserve))
    }

    /// The disk space, at most a second old.
    fn last(&self) -> Option<DiskSpace> {
        let now = self.clock.now();
        let mut last = sync::lock(&self.last);
        if let Some((at, disk)) = *last
            && (0..MEASUREMENT_MS).contains(&(now.as_millis() - at.as_millis()))
        {
            return disk;
        }
        let disk = self.measure();
        *last = Some((now, disk));
        disk
    }

    /// Measures the disk space; `None` when the system cannot tell.
    pub fn measure(&self) -> Option<DiskSpace> {
        let disk = rustix::fs::statvfs(&self.dir).ok()?;
        Some(DiskSpace {
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            size: disk.f_blocks.saturating_mul(disk.f_frsize),
        })
    }
}
