//! Use case: a buyer fills an open cart and thinks again. Each change gives the whole cart, as it is then.

use super::model::{Cart, CartLine, CartRefused};
use super::{queries, store};
use crate::primitives::id::{CartId, CartItemId, ProductId};
use crate::primitives::limits::LINES_MAX;
use crate::primitives::{Currency, Quantity};
use crate::storage::{TenantView, TenantWork};
use crate::tenant::catalog;

/// A product that goes into a cart.
#[derive(Clone, Copy, Debug)]
pub struct AddItem {
    /// Which product.
    pub product_id: ProductId,
    /// How many.
    pub quantity: Quantity,
}

/// Puts a product into a cart; on the line where it stands already, if it does.
///
/// # Errors
/// [`CartRefused`].
pub fn add_item(work: &mut TenantWork, cart: CartId, command: &AddItem) -> Result<Cart, CartRefused> {
    let head = store::require_open(work, cart)?;
    require_sold_in(work, command.product_id, head.currency)?;
    let lines = store::lines(work, cart)?;
    match lines.iter().find(|line| line.product_id == command.product_id) {
        Some(line) => store::update_item(work, cart, line.id, together(line, command.quantity)?)?,
        None if lines.len() >= LINES_MAX => return Err(CartRefused::Full),
        None => store::insert_item(work, cart, command.product_id, command.quantity)?,
    }
    changed(work, cart)
}

fn require_sold_in(view: &TenantView, id: ProductId, currency: Currency) -> Result<(), CartRefused> {
    let product = catalog::find_product(view, id)?.ok_or(CartRefused::ProductNotFound(id))?;
    if !product.active {
        return Err(CartRefused::ProductInactive {
            product_id: id,
            sku: product.sku,
        });
    }
    if product.price.currency() != currency {
        return Err(CartRefused::CurrencyMismatch {
            cart: currency,
            product: product.price.currency(),
        });
    }
    Ok(())
}

fn together(line: &CartLine, more: Quantity) -> Result<Quantity, CartRefused> {
    let units = line.quantity.get() + more.get();
    Quantity::new(units).map_err(|_| CartRefused::QuantityTooLarge(units))
}

/// Sets how many are on a line.
///
/// # Errors
/// [`CartRefused`].
pub fn change_item(work: &mut TenantWork, cart: CartId, item: CartItemId, quantity: Quantity) -> Result<Cart, CartRefused> {
    store::require_open(work, cart)?;
    store::update_item(work, cart, item, quantity)?;
    changed(work, cart)
}

/// Takes a line out.
///
/// # Errors
/// [`CartRefused`].
pub fn remove_item(work: &mut TenantWork, cart: CartId, item: CartItemId) -> Result<Cart, CartRefused> {
    store::require_open(work, cart)?;
    store::delete_item(work, cart, item)?;
    changed(work, cart)
}

/// Takes all lines out.
///
/// # Errors
/// [`CartRefused`].
pub fn clear_cart(work: &mut TenantWork, cart: CartId) -> Result<Cart, CartRefused> {
    store::require_open(work, cart)?;
    store::delete_items(work, cart)?;
    changed(work, cart)
}

fn changed(work: &mut TenantWork, cart: CartId) -> Result<Cart, CartRefused> {
    store::touch(work, cart)?;
    queries::show_cart(work, cart)
}
