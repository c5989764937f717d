//! Rate-limit buckets that survive a restart: when each address may send requests again. There are
//! so few that all are rewritten each time.

use std::net::IpAddr;

use crate::primitives::{Origin, Timestamp};
use crate::storage::{LandlordView, Row, Rows, StorageError, params, statements};
use crate::tenancy::Directory;

statements! {
    LIST = "SELECT policy, address, full_at FROM rate_bucket";
    CLEAR = "DELETE FROM rate_bucket";
    INSERT = "INSERT INTO rate_bucket (policy, address, full_at) VALUES (?1, ?2, ?3)";
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBucket {
    pub policy: String,
    pub address: IpAddr,
    /// When the bucket is full again.
    pub full_at: Timestamp,
}

/// Lists the stored buckets. Skips a row with an invalid address: the caller then has a full
/// bucket, which does no harm.
pub fn list(view: &LandlordView) -> Result<Vec<KeptBucket>, StorageError> {
    let rows = view.all(&LIST, [], |row: &Row<'_>| {
        let (policy, address): (String, String) = (row.get("policy")?, row.get("address")?);
        let full_at = row.get("full_at")?;
        Ok(address.parse().ok().map(|address| KeptBucket {
            policy,
            address,
            full_at,
        }))
    })?;
    Ok(rows.into_iter().flatten().collect())
}

/// Replaces all stored buckets. Blocks.
pub fn replace(directory: &Directory, buckets: Vec<KeptBucket>) -> Result<(), StorageError> {
    // This write does not change keys or hosts, so it does not go through the directory, which
    // would empty its cache.
    let written = directory.database().write(Origin::system(), move |work| {
        work.change(&CLEAR, [], Rows::Any)?;
        buckets.iter().try_for_each(|bucket| {
            let row = params![bucket.policy, bucket.address.to_string(), bucket.full_at];
            work.change(&INSERT, row, Rows::Exactly(1)).map(drop)
        })
    });
    written.wait()
}
