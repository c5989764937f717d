//! Queries of carts.

use super::model::{Cart, CartForCheckout, CartRefused};
use super::store;
use crate::primitives::id::CartId;
use crate::storage::TenantView;

/// A cart with its present prices.
///
/// # Errors
/// `CartNotFound`.
pub fn show_cart(view: &TenantView, cart: CartId) -> Result<Cart, CartRefused> {
    let head = store::require(view, cart)?;
    Ok(Cart::of(head, store::lines(view, cart)?))
}

/// Loads a cart for an order. The order decides whether the products are still sold and at which
/// price.
///
/// # Errors
/// `CartNotFound`, `NotOpen`, `Empty`.
pub fn load_for_checkout(view: &TenantView, cart: CartId) -> Result<CartForCheckout, CartRefused> {
    let head = store::require_open(view, cart)?;
    let lines = store::lines(view, cart)?;
    if lines.is_empty() {
        return Err(CartRefused::Empty);
    }
    Ok(CartForCheckout {
        id: head.id,
        currency: head.currency,
        items: lines
            .into_iter()
            .map(|line| (line.product_id, line.quantity))
            .collect(),
    })
}
