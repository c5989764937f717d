//! One row that is written and read back: whether the landlord's file takes a change and keeps it.

use crate::primitives::Timestamp;
use crate::storage::{LandlordView, LandlordWork, Rows, StorageError, params, statements};

statements! {
    BEAT = "INSERT INTO health_probe (singleton, beat_at) VALUES (1, ?1) ON CONFLICT (singleton) DO UPDATE SET beat_at = excluded.beat_at";
    LAST_BEAT = "SELECT beat_at FROM health_probe WHERE singleton = 1";
}

/// Writes the instant of the work down and gives it.
///
/// # Errors
/// [`StorageError`].
pub fn beat(work: &mut LandlordWork) -> Result<Timestamp, StorageError> {
    let now = work.now();
    work.change(&BEAT, params![now], Rows::Exactly(1))?;
    Ok(now)
}

/// What was last written.
///
/// # Errors
/// [`StorageError`].
pub fn find_last_beat(view: &LandlordView) -> Result<Option<Timestamp>, StorageError> {
    view.find(&LAST_BEAT, [], |row| row.get(0))
}
