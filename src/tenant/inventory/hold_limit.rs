//! The bound of what one client without an API key holds: all its unpaid orders together, so that
//! many orders cannot do what one cannot.

use super::model::{StockRefused, StockRequest};
use super::store;
use crate::primitives::ClientHash;
use crate::primitives::limits::UNPAID_ORDERS_WINDOW_MS;
use crate::storage::TenantView;
use crate::tenant::policy::StorefrontRules;

/// Refuses an order with which a client's unpaid orders would hold more of a product than the
/// larger of a number of pieces and a share of the stock on hand.
///
/// # Errors
/// `HoldLimit` for the first product beyond the bound, or the storage's.
pub fn require_within_hold_limit(
    view: &TenantView,
    rules: &StorefrontRules,
    client: ClientHash,
    wanted: &[StockRequest],
) -> Result<(), StockRefused> {
    let since = view.now().plus_millis(-UNPAID_ORDERS_WINDOW_MS);
    for wanted in wanted {
        let held = store::held_by_client(view, client, wanted.product_id, since)?;
        let on_hand = store::on_hand(view, wanted.product_id)?;
        let allowed = rules.hold_limit(on_hand);
        if held + wanted.quantity > allowed {
            return Err(StockRefused::HoldLimit {
                product_id: wanted.product_id,
                sku: wanted.sku.clone(),
                wanted: wanted.quantity,
                held,
                allowed,
            });
        }
    }
    Ok(())
}
