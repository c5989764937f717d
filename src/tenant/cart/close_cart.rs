//! Use case: a cart ends: it is given up, or an order was made of it.

use super::model::{Cart, CartRefused, CartStatus};
use super::{queries, store};
use crate::primitives::id::CartId;
use crate::storage::{StorageError, TenantWork};

/// Gives an open cart up. Its lines stay, for whoever wants to know what was not bought.
pub fn abandon_cart(work: &mut TenantWork, cart: CartId) -> Result<Cart, CartRefused> {
    store::require_open(work, cart)?;
    store::close(work, cart, CartStatus::Abandoned)?;
    queries::show_cart(work, cart)
}

/// Notes that an order was made of a cart that [`load_for_checkout`](super::load_for_checkout)
/// gave, in the transaction of that order.
///
/// # Errors
/// [`StorageError`]; `UnexpectedRows` when the cart is not open.
pub fn mark_converted(work: &mut TenantWork, cart: CartId) -> Result<(), StorageError> {
    store::close(work, cart, CartStatus::Converted)
}
