//! The limit of the stock that one client without an API key holds. It covers all unpaid orders of
//! the client together, so that many orders cannot hold more than one.

use super::model::{StockRefused, StockRequest};
use super::store;
use crate::primitives::ClientHash;
use crate::primitives::limits::UNPAID_ORDERS_WINDOW_MS;
use crate::storage::TenantView;
use crate::tenant::policy::StorefrontRules;

/// Refuses an order with which the client's unpaid orders would hold too much of a product: more
/// than a number of whole units or a share of the stock on hand, whichever is larger.
///
/// # Errors
/// `HoldLimit` for the first product above the limit.
pub fn require_within_hold_limit(
    view: &TenantView,
    rules: &StorefrontRules,
    client: ClientHash,
    requests: &[StockRequest],
) -> Result<(), StockRefused> {
    let since = view.now().plus_millis(-UNPAID_ORDERS_WINDOW_MS);
    for request in requests {
        let held = store::held_by_client(view, client, request.product_id, since)?;
        let on_hand = store::on_hand(view, request.product_id)?;
        let allowed = rules.hold_limit(on_hand, request.measure.scale);
        if held + request.quantity > allowed {
            return Err(StockRefused::HoldLimit {
                product_id: request.product_id,
                sku: request.sku.clone(),
                requested: request.quantity,
                held,
                allowed,
                measure: request.measure,
            });
        }
    }
    Ok(())
}
