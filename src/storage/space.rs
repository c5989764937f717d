//! Room on the disk, and the reserve that is kept of it: for what has to go on when selling has to
//! stop, such as cancellations and the jobs of what was sold. SQLite survives a disk that is full
//! to the last byte; an operator who has to free some of it needs room to work in.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::primitives::{Clock, Timestamp};

/// How long a look at the disk is good for, in milliseconds.
const LOOK_MS: i64 = 1_000;

/// A disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What is free for this process's user.
    pub free: u64,
    /// All of it.
    pub size: u64,
}

/// The room of the file system that a directory is on.
pub struct Space {
    dir: PathBuf,
    reserve: u64,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<(Timestamp, Option<Room>)>>,
}

impl Space {
    /// Of `dir`, of which `reserve` bytes are kept; 0 keeps none.
    pub fn new(dir: PathBuf, reserve: u64, clock: Arc<dyn Clock>) -> Self {
        Self {
            dir,
            reserve,
            clock,
            last: Mutex::default(),
        }
    }

    /// Whether less than the reserve is left. Looked up once a second at most; where it cannot be
    /// looked up, there is room.
    pub fn is_short(&self) -> bool {
        self.reserve > 0 && self.look().is_some_and(|room| room.free < self.reserve)
    }

    /// The free bytes above the reserve, as of the last look; `None` where the disk cannot be
    /// looked at.
    pub fn free_above_reserve(&self) -> Option<u64> {
        Some(self.look()?.free.saturating_sub(self.reserve))
    }

    /// The room that there was a second ago at most.
    fn look(&self) -> Option<Room> {
        let now = self.clock.now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, room)) = *last
            && (0..LOOK_MS).contains(&(now.as_millis() - at.as_millis()))
        {
            return room;
        }
        let room = self.room();
        *last = Some((now, room));
        room
    }

    /// The room there is at this moment, where it can be looked up.
    pub fn room(&self) -> Option<Room> {
        let disk = rustix::fs::statvfs(&self.dir).ok()?;
        Some(Room {
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            size: disk.f_blocks.saturating_mul(disk.f_frsize),
        })
    }
}
