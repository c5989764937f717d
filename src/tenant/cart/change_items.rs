//! Use cases: A buyer adds, changes and removes items of an open cart. Each change returns the
//! whole cart. The cart is added up before anything is written, so a refused change writes nothing.

use super::model::{Cart, CartLine, CartRefused};
use super::store;
use crate::primitives::id::{CartId, CartItemId, ProductId};
use crate::primitives::{Currency, Quantity};
use crate::storage::{TenantView, TenantWork};
use crate::tenant::catalog::{self, Product};
use crate::tenant::policy::StorefrontRules;

/// The command to add a product to a cart.
#[derive(Clone, Copy, Debug)]
pub struct AddItem {
    pub product_id: ProductId,
    pub quantity: Quantity,
}

/// Adds a product to a cart, or to the line that has it already. A cart above the limit of items
/// accepts no more.
pub fn add_item(
    work: &mut TenantWork,
    rules: &StorefrontRules,
    cart: CartId,
    command: &AddItem,
) -> Result<Cart, CartRefused> {
    let head = store::require_open(work, cart)?;
    let product = require_sold_in(work, command.product_id, head.currency)?;
    let mut lines = store::lines(work, cart)?;
    let (items, limit) = (lines.len(), rules.cart_items_max);
    if items > limit {
        return Err(CartRefused::Full { items, limit });
    }
    if let Some(line) = lines
        .iter_mut()
        .find(|line| line.product_id == command.product_id)
    {
        line.quantity = line.measure.add(line.quantity, command.quantity)?;
        let (item, quantity) = (line.id, line.quantity);
        let changed = Cart::of(head, lines).require_sum()?;
        store::update_item(work, cart, item, quantity)?;
        store::touch(work, cart)?;
        return Ok(changed);
    }
    if items >= limit {
        return Err(CartRefused::Full { items, limit });
    }
    let line = CartLine {
        id: work.new_id(),
        product_id: product.id,
        sku: product.sku,
        name: product.name,
        quantity: command.quantity,
        measure: product.measure,
        unit_price: product.price,
    };
    product.measure.require_quantity(command.quantity)?;
    lines.push(line.clone());
    let changed = Cart::of(head, lines).require_sum()?;
    store::insert_item(work, cart, &line)?;
    if !product.in_use {
        catalog::mark_in_use(work, product.id)?;
    }
    store::touch(work, cart)?;
    Ok(changed)
}

fn require_sold_in(
    view: &TenantView,
    id: ProductId,
    currency: Currency,
) -> Result<Product, CartRefused> {
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
    Ok(product)
}

pub fn change_item(
    work: &mut TenantWork,
    cart: CartId,
    item: CartItemId,
    quantity: Quantity,
) -> Result<Cart, CartRefused> {
    let head = store::require_open(work, cart)?;
    let mut lines = store::lines(work, cart)?;
    let line = lines
        .iter_mut()
        .find(|line| line.id == item)
        .ok_or(CartRefused::ItemNotFound)?;
    line.measure.require_quantity(quantity)?;
    line.quantity = quantity;
    let changed = Cart::of(head, lines).require_sum()?;
    store::update_item(work, cart, item, quantity)?;
    store::touch(work, cart)?;
    Ok(changed)
}

/// Removes a line.
pub fn remove_item(
    work: &mut TenantWork,
    cart: CartId,
    item: CartItemId,
) -> Result<Cart, CartRefused> {
    let head = store::require_open(work, cart)?;
    let mut lines = store::lines(work, cart)?;
    let index = lines
        .iter()
        .position(|line| line.id == item)
        .ok_or(CartRefused::ItemNotFound)?;
    lines.remove(index);
    let changed = Cart::of(head, lines);
    store::delete_item(work, cart, item)?;
    store::touch(work, cart)?;
    Ok(changed)
}

/// Removes all lines.
pub fn clear_cart(work: &mut TenantWork, cart: CartId) -> Result<Cart, CartRefused> {
    let head = store::require_open(work, cart)?;
    store::delete_items(work, cart)?;
    store::touch(work, cart)?;
    Ok(Cart::of(head, Vec::new()))
}
