//! The buckets of callers that outlast a restart: which address may ask again when. So few that
//! they are written whole.

use std::net::IpAddr;

use crate::primitives::{Origin, Timestamp};
use crate::storage::{LandlordView, Row, Rows, StorageError, params, statements};
use crate::tenancy::Directory;

statements! {
    LIST = "SELECT policy, address, full_at FROM rate_bucket";
    CLEAR = "DELETE FROM rate_bucket";
    INSERT = "INSERT INTO rate_bucket (policy, address, full_at) VALUES (?1, ?2, ?3)";
}

/// A bucket that is not full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBucket {
    /// The group of routes.
    pub policy: String,
    /// Whose it is.
    pub address: IpAddr,
    /// When it is full again.
    pub full_at: Timestamp,
}

/// Those that are kept. A row whose address is none is passed over: without it somebody has a full
/// bucket, and that is all.
///
/// # Errors
/// [`StorageError`].
pub fn list(view: &LandlordView) -> Result<Vec<KeptBucket>, StorageError> {
    let rows = view.all(&LIST, [], |row: &Row<'_>| {
        let (policy, address): (String, String) = (row.get(0)?, row.get(1)?);
        let full_at = row.get(2)?;
        Ok(address.parse().ok().map(|address| KeptBucket {
            policy,
            address,
            full_at,
        }))
    })?;
    Ok(rows.into_iter().flatten().collect())
}

/// Keeps these and no others. Blocks.
///
/// # Errors
/// [`StorageError`].
pub fn replace(directory: &Directory, buckets: Vec<KeptBucket>) -> Result<(), StorageError> {
    // No change of who exists: what is known of keys and hosts stays known.
    let written = directory.database().write(Origin::system(), move |work| {
        work.change(&CLEAR, [], Rows::Any)?;
        buckets.iter().try_for_each(|bucket| {
            let row = params![bucket.policy, bucket.address.to_string(), bucket.full_at];
            work.change(&INSERT, row, Rows::Exactly(1)).map(drop)
        })
    });
    written.wait()
}
