//! SQL and row mapping of the carts.

use super::model::{CartHead, CartLine, CartRefused, CartStatus};
use crate::primitives::id::{CartId, CartItemId};
use crate::primitives::{ClientHash, Quantity};
use crate::storage::{
    Row, Rows, StorageError, TenantView, TenantWork, measure, money, params, statements,
};

statements! {
    INSERT = "INSERT INTO cart (id, currency, status, created_at, updated_at, client_hash) VALUES \
        (?1, ?2, ?3, ?4, ?4, ?5)";
    COUNT_OF_CLIENT = "SELECT count(*) FROM cart WHERE client_hash = ?1";
    HEAD = "SELECT id, currency, status FROM cart WHERE id = ?1";
    LINES = "SELECT cart_item.id, cart_item.product_id, product.sku, product.name, \
        cart_item.quantity, product.price_minor, product.currency, \
        product.unit, product.quantity_scale
             FROM cart_item JOIN product ON product.id = cart_item.product_id WHERE \
             cart_item.cart_id = ?1 ORDER BY cart_item.seq";
    TOUCH = "UPDATE cart SET updated_at = ?2 WHERE id = ?1 AND status = 'open'";
    // An ordered cart is kept with its order, without the client.
    CLOSE = "UPDATE cart SET status = ?2, updated_at = ?3, client_hash = CASE ?2 WHEN 'converted' \
        THEN NULL ELSE client_hash END WHERE id = ?1 AND status = 'open'";
    INSERT_ITEM = "INSERT INTO cart_item (id, cart_id, product_id, quantity) VALUES (?1, ?2, ?3, \
        ?4)";
    UPDATE_ITEM = "UPDATE cart_item SET quantity = ?3 WHERE id = ?1 AND cart_id = ?2";
    DELETE_ITEM = "DELETE FROM cart_item WHERE id = ?1 AND cart_id = ?2";
    DELETE_ITEMS = "DELETE FROM cart_item WHERE cart_id = ?1";
}

pub(super) fn insert(
    work: &mut TenantWork,
    head: &CartHead,
    client: Option<ClientHash>,
) -> Result<(), StorageError> {
    let now = work.now();
    work.insert(
        &INSERT,
        params![head.id, head.currency, head.status, now, client],
    )
}

/// Counts the carts of a client that were not ordered. Reads about as many as a client may have.
pub(super) fn count_of_client(view: &TenantView, client: ClientHash) -> Result<i64, StorageError> {
    view.one(&COUNT_OF_CLIENT, params![client], |row| row.get(0))
}

pub(super) fn require(view: &TenantView, id: CartId) -> Result<CartHead, CartRefused> {
    let head = view.find(&HEAD, params![id], |row| {
        Ok(CartHead {
            id: row.get("id")?,
            currency: row.get("currency")?,
            status: row.get("status")?,
        })
    });
    head?.ok_or(CartRefused::CartNotFound)
}

/// Loads a cart that may still be changed.
pub(super) fn require_open(view: &TenantView, id: CartId) -> Result<CartHead, CartRefused> {
    let head = require(view, id)?;
    match head.status {
        CartStatus::Open => Ok(head),
        status => Err(CartRefused::NotOpen(status)),
    }
}

fn line(row: &Row<'_>) -> rusqlite::Result<CartLine> {
    Ok(CartLine {
        id: row.get("id")?,
        product_id: row.get("product_id")?,
        sku: row.get("sku")?,
        name: row.get("name")?,
        quantity: row.get("quantity")?,
        unit_price: money(row, "price_minor", row.get("currency")?)?,
        measure: measure(row)?,
    })
}

/// The cart's lines with present prices, in the order in which they were added.
pub(super) fn lines(view: &TenantView, id: CartId) -> Result<Vec<CartLine>, StorageError> {
    view.all(&LINES, params![id], line)
}

/// Records that an open cart was changed now.
pub(super) fn touch(work: &mut TenantWork, id: CartId) -> Result<(), StorageError> {
    let now = work.now();
    work.change(&TOUCH, params![id, now], Rows::Exactly(1))
        .map(drop)
}

/// Closes an open cart.
pub(super) fn close(
    work: &mut TenantWork,
    id: CartId,
    status: CartStatus,
) -> Result<(), StorageError> {
    let now = work.now();
    work.change(&CLOSE, params![id, status, now], Rows::Exactly(1))
        .map(drop)
}

pub(super) fn insert_item(
    work: &mut TenantWork,
    cart: CartId,
    line: &CartLine,
) -> Result<(), StorageError> {
    work.insert(
        &INSERT_ITEM,
        params![line.id, cart, line.product_id, line.quantity],
    )
}

pub(super) fn update_item(
    work: &mut TenantWork,
    cart: CartId,
    item: CartItemId,
    quantity: Quantity,
) -> Result<(), StorageError> {
    work.change(
        &UPDATE_ITEM,
        params![item, cart, quantity],
        Rows::Exactly(1),
    )
    .map(drop)
}

pub(super) fn delete_item(
    work: &mut TenantWork,
    cart: CartId,
    item: CartItemId,
) -> Result<(), StorageError> {
    work.change(&DELETE_ITEM, params![item, cart], Rows::Exactly(1))
        .map(drop)
}

pub(super) fn delete_items(work: &mut TenantWork, cart: CartId) -> Result<(), StorageError> {
    work.change(&DELETE_ITEMS, params![cart], Rows::Any)
        .map(drop)
}
