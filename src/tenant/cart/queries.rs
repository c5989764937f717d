//! Reading carts.

use super::model::{Cart, CartForCheckout, CartRefused};
use super::store;
use crate::primitives::id::CartId;
use crate::storage::TenantView;

/// A cart with its present prices.
///
/// # Errors
/// `CartNotFound`, or the storage's.
pub fn show_cart(view: &TenantView, cart: CartId) -> Result<Cart, CartRefused> {
    let head = store::require(view, cart)?;
    Ok(Cart::of(head, store::lines(view, cart)?))
}

/// What an order is to be made of. Whether the products are still sold, and at what price, the
/// order decides.
///
/// # Errors
/// `CartNotFound`, `NotOpen`, `Empty`, or the storage's.
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
