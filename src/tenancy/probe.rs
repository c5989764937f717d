//! One row that is written and read back: whether the landlord's file takes a change and keeps it.

use crate::primitives::Timestamp;
use crate::storage::{LandlordView, LandlordWork, Rows, StorageError, params, statements};

statements! {
    HEARTBEAT = "INSERT INTO health_probe (singleton, heartbeat_at) VALUES (1, ?1) ON CONFLICT \
        (singleton) DO UPDATE SET heartbeat_at = excluded.heartbeat_at";
    LAST_BEAT = "SELECT heartbeat_at FROM health_probe WHERE singleton = 1";
}

/// Writes the instant of the work down and gives it.
///
/// # Errors
/// [`StorageError`].
pub fn heartbeat(work: &mut LandlordWork) -> Result<Timestamp, StorageError> {
    let now = work.now();
    work.change(&HEARTBEAT, params![now], Rows::Exactly(1))?;
    Ok(now)
}

/// What was last written.
///
/// # Errors
/// [`StorageError`].
pub fn find_last_beat(view: &LandlordView) -> Result<Option<Timestamp>, StorageError> {
    view.find(&LAST_BEAT, [], |row| row.get(0))
}
