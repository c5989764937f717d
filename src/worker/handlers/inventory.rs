//! Expires reservations: the stock that an unpaid order held becomes available again.

use super::payload;
use crate::storage::TenantWork;
use crate::tenant::inventory::{self, ExpireReservation};
use crate::worker::JobError;

pub(super) fn expire(work: &mut TenantWork<'_>, text: &str) -> Result<(), JobError> {
    let ExpireReservation { order_id } = payload(text)?;
    inventory::expire(work, order_id)?;
    Ok(())
}
