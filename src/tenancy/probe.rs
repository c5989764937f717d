//! The health probe: writes one row and reads it back, to test that the landlord's file keeps
//! changes.

use crate::primitives::Timestamp;
use crate::storage::{LandlordView, LandlordWork, Rows, StorageError, params, statements};

statements! {
    HEARTBEAT = "INSERT INTO health_probe (singleton, heartbeat_at) VALUES (1, ?1) ON CONFLICT \
        (singleton) DO UPDATE SET heartbeat_at = excluded.heartbeat_at";
    LAST_BEAT = "SELECT heartbeat_at FROM health_probe WHERE singleton = 1";
}

/// Writes a heartbeat at the work's instant and returns it.
pub fn heartbeat(work: &mut LandlordWork) -> Result<Timestamp, StorageError> {
    let now = work.now();
    work.change(&HEARTBEAT, params![now], Rows::Exactly(1))?;
    Ok(now)
}

/// The last heartbeat.
pub fn find_last_heartbeat(view: &LandlordView) -> Result<Option<Timestamp>, StorageError> {
    view.find(&LAST_BEAT, [], |row| row.get(0))
}
