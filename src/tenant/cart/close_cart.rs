//! Use cases: Abandon a cart, or convert it into an order.

use super::model::{Cart, CartRefused, CartStatus};
use super::{queries, store};
use crate::primitives::id::CartId;
use crate::storage::{StorageError, TenantWork};

/// Abandons an open cart. Its lines stay, for reports on what was not bought.
pub fn abandon_cart(work: &mut TenantWork, cart: CartId) -> Result<Cart, CartRefused> {
    store::require_open(work, cart)?;
    store::close(work, cart, CartStatus::Abandoned)?;
    queries::show_cart(work, cart)
}

/// Records that an order was made of a cart that
/// [`load_for_checkout`](super::load_for_checkout) returned, in the transaction of that order.
///
/// # Errors
/// `UnexpectedRows` when the cart is not open.
pub fn mark_converted(work: &mut TenantWork, cart: CartId) -> Result<(), StorageError> {
    store::close(work, cart, CartStatus::Converted)
}
