//! Use case: Correct stock, by a difference or by a count.

use serde_json::json;

use super::model::{AdjustRefused, Movement, MovementKind, Stock};
use super::store;
use crate::platform::audit;
use crate::primitives::id::ProductId;
use crate::primitives::{Note, OnHand, QuantityDelta};
use crate::storage::TenantWork;
use crate::tenant::catalog;

/// A change by a difference, such as a delivery or a breakage.
#[derive(Clone, Debug)]
pub struct AdjustStock {
    pub product_id: ProductId,
    /// Added (positive) or removed (negative).
    pub quantity_delta: QuantityDelta,
    pub reason: Note,
}

/// The result of a stock count.
#[derive(Clone, Debug)]
pub struct CountStock {
    /// Units counted, reserved ones included.
    pub on_hand: OnHand,
    pub reason: Option<Note>,
}

/// Changes the quantity on hand by a difference.
pub fn adjust_stock(
    work: &mut TenantWork,
    command: &AdjustStock,
) -> Result<Movement, AdjustRefused> {
    let before = store::stock(work, command.product_id)?.ok_or(AdjustRefused::ProductNotFound)?;
    let on_hand = before.adjusted(command.quantity_delta)?;
    correct(
        work,
        before,
        on_hand,
        MovementKind::Adjustment,
        Some(command.reason.clone()),
    )
}

/// Sets the quantity on hand to the counted one. Without a difference nothing is recorded.
pub fn count_stock(
    work: &mut TenantWork,
    product_id: ProductId,
    command: &CountStock,
) -> Result<Stock, AdjustRefused> {
    let before = store::stock(work, product_id)?.ok_or(AdjustRefused::ProductNotFound)?;
    let on_hand = before.counted(command.on_hand)?;
    let mut updated_at = before.updated_at;
    if on_hand.get() != before.on_hand {
        correct(
            work,
            before,
            on_hand,
            MovementKind::Count,
            command.reason.clone(),
        )?;
        updated_at = Some(work.now());
    }
    Ok(Stock {
        on_hand: on_hand.get(),
        updated_at,
        ..before
    })
}

fn correct(
    work: &mut TenantWork,
    before: Stock,
    on_hand: OnHand,
    kind: MovementKind,
    reason: Option<Note>,
) -> Result<Movement, AdjustRefused> {
    let movement = Movement {
        id: work.new_id(),
        product_id: before.product_id,
        kind,
        quantity_delta: on_hand.get() - before.on_hand,
        on_hand_after: on_hand.get(),
        measure: before.measure,
        order_id: None,
        reason,
        at: work.now(),
    };
    store::set_on_hand(work, before.product_id, on_hand)?;
    store::insert_movement(work, &movement)?;
    catalog::mark_in_use(work, before.product_id)?;
    let action = if kind == MovementKind::Count {
        "stock.counted"
    } else {
        "stock.adjusted"
    };
    audit::record(
        work,
        action,
        &format!("product:{}", before.product_id),
        json!({"movement_id": movement.id, "quantity_delta": movement.quantity_delta,
            "on_hand": on_hand}),
    )?;
    Ok(movement)
}
