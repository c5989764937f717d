//! SQL and row mapping of the inventory.
//!
//! Stock leaves for an order by one guarded UPDATE, which does nothing when too little is
//! available. So no other write comes between check and change, and the common case costs one
//! statement.

use super::model::{Movement, MovementKind, ReservationStatus, Stock, StockRequest};
use crate::platform::page::{Page, PageRequest, with_seq};
use crate::primitives::id::{MovementId, OrderId, ProductId, ReservationKind};
use crate::primitives::limits::RESERVATION_AHEAD_MAX_MS;
use crate::primitives::{ClientHash, Note, OnHand, Timestamp};
use crate::storage::{
    Row, Rows, StorageError, TenantView, TenantWork, measure, named_params, params, statements,
};

/// Columns that [`movement`] reads, and their tables.
macro_rules! movement_columns {
    () => {
        "m.id, m.product_id, m.kind, m.quantity_delta, m.on_hand_after, m.order_id, m.reason, \
         m.at, product.unit, product.quantity_scale, m.seq FROM inventory_movement m JOIN product \
         ON product.id = m.product_id"
    };
}

statements! {
    STOCK = "SELECT product.id AS product_id, coalesce(stock.on_hand, 0) AS on_hand, \
             coalesce(stock.reserved, 0) AS reserved, stock.updated_at, product.unit, \
             product.quantity_scale FROM product
             LEFT JOIN stock ON stock.product_id = product.id WHERE product.id = ?1";
    COUNTED = "SELECT on_hand, reserved FROM stock WHERE product_id = ?1";
    SET_ON_HAND = "INSERT INTO stock (product_id, on_hand, reserved, updated_at) VALUES (?1, ?2, \
        0, ?3)
             ON CONFLICT (product_id) DO UPDATE SET on_hand = excluded.on_hand, updated_at = \
             excluded.updated_at";
    HOLD = "UPDATE stock SET reserved = reserved + ?2, updated_at = ?3 WHERE product_id = ?1 AND \
        on_hand - reserved >= ?2";
    UNHOLD = "UPDATE stock SET reserved = reserved - ?2, updated_at = ?3 WHERE product_id = ?1";
    TAKE_HELD = "UPDATE stock SET on_hand = on_hand - ?2, reserved = reserved - ?2, updated_at = \
        ?3 WHERE product_id = ?1 AND on_hand >= ?2";
    TAKE_AVAILABLE = "UPDATE stock SET on_hand = on_hand - ?2, updated_at = ?3 WHERE product_id = \
        ?1 AND on_hand - reserved >= ?2";
    INSERT_MOVEMENT = "INSERT INTO inventory_movement (id, product_id, kind, quantity_delta, \
        on_hand_after, order_id, reason, at)
             VALUES (:id, :product_id, :kind, :quantity_delta, :on_hand_after, :order_id, :reason, \
             :at)";
    MOVEMENTS = concat!("SELECT ", movement_columns!(), " WHERE m.seq < ?1 ORDER BY m.seq \
        DESC LIMIT ?2");
    MOVEMENTS_OF_PRODUCT = concat!("SELECT ", movement_columns!(), " WHERE m.product_id = ?3 AND \
        m.seq < ?1 ORDER BY m.seq DESC LIMIT ?2");
    INSERT_RESERVATION = "INSERT INTO reservation (id, order_id, product_id, quantity, status, \
        expires_at) VALUES (?1, ?2, ?3, ?4, 'held', ?5)";
    RESERVED_OF_ORDER = "SELECT product_id, quantity FROM reservation WHERE order_id = ?1 AND \
        status = ?2";
    // Products that count stock and have neither a hold nor a movement of this order.
    FROM_SHELF = "SELECT product.id AS product_id, product.sku, coalesce(r.quantity, \
                  line.quantity) AS quantity, product.unit, product.quantity_scale FROM (
                    SELECT product_id, sum(quantity) AS quantity, min(seq) AS seq FROM order_line \
                    WHERE order_id = ?1 GROUP BY product_id
                  ) line CROSS JOIN product ON product.id = line.product_id LEFT JOIN reservation \
                  r ON r.order_id = ?1 AND r.product_id = product.id
                  WHERE product.track_stock = 1 AND (r.status IS NULL OR r.status IN ('expired', \
                  'released'))
                    AND NOT EXISTS (SELECT 1 FROM inventory_movement m WHERE m.order_id = ?1 AND \
                    m.product_id = product.id AND m.kind = 'sale')
                  ORDER BY line.seq";
    HAS_LEFT = "SELECT 1 FROM inventory_movement WHERE order_id = ?1 AND kind = 'sale' LIMIT 1";
    CONSUME = "UPDATE reservation SET status = 'consumed' WHERE order_id = ?1 AND status <> \
        'consumed'";
    RELEASE = "UPDATE reservation SET status = 'released' WHERE order_id = ?1 AND status = 'held' \
        RETURNING product_id, quantity";
    EXPIRE = "UPDATE reservation SET status = 'expired' WHERE order_id = ?1 AND status = 'held' \
        AND expires_at <= ?2 RETURNING product_id, quantity";
    HELD_BY_CLIENT = "SELECT coalesce(sum(r.quantity), 0) FROM sales_order o CROSS JOIN \
        reservation r ON r.order_id = o.id AND r.product_id = ?2
             WHERE o.client_hash = ?1 AND o.placed_at > ?3 AND r.status = 'held'";
    OVERDUE = "SELECT 1 FROM reservation WHERE status = 'held' AND expires_at <= ?1
             UNION ALL SELECT 1 FROM reservation WHERE status = 'held' AND expires_at > ?2 LIMIT 1";
    EXPIRE_DUE = "UPDATE reservation SET status = 'expired' WHERE seq IN (
             SELECT seq FROM reservation WHERE status = 'held' AND expires_at <= ?1
             UNION ALL SELECT seq FROM reservation WHERE status = 'held' AND expires_at > ?3 LIMIT \
             ?2) RETURNING product_id, quantity";
}

/// The stock of a product; `None` when there is no such product.
pub(super) fn stock(
    view: &TenantView,
    product_id: ProductId,
) -> Result<Option<Stock>, StorageError> {
    view.find(&STOCK, params![product_id], |row| {
        Ok(Stock {
            product_id: row.get("product_id")?,
            on_hand: row.get("on_hand")?,
            reserved: row.get("reserved")?,
            measure: measure(row)?,
            updated_at: row.get("updated_at")?,
        })
    })
}

/// Quantity on hand and quantity reserved; zeros before the first movement.
fn counted(view: &TenantView, product_id: ProductId) -> Result<(i64, i64), StorageError> {
    let counted = view.find(&COUNTED, params![product_id], |row| {
        Ok((row.get("on_hand")?, row.get("reserved")?))
    })?;
    Ok(counted.unwrap_or((0, 0)))
}

pub(super) fn available(view: &TenantView, product_id: ProductId) -> Result<i64, StorageError> {
    let (on_hand, reserved) = counted(view, product_id)?;
    Ok(on_hand - reserved)
}

pub(super) fn on_hand(view: &TenantView, product_id: ProductId) -> Result<i64, StorageError> {
    Ok(counted(view, product_id)?.0)
}

/// Units of a product held by the client's unpaid orders placed after `since`.
pub(super) fn held_by_client(
    view: &TenantView,
    client: ClientHash,
    product_id: ProductId,
    since: Timestamp,
) -> Result<i64, StorageError> {
    view.one(&HELD_BY_CLIENT, params![client, product_id, since], |row| {
        row.get(0)
    })
}

pub(super) fn set_on_hand(
    work: &mut TenantWork,
    product_id: ProductId,
    on_hand: OnHand,
) -> Result<(), StorageError> {
    let now = work.now();
    work.change(
        &SET_ON_HAND,
        params![product_id, on_hand.get(), now],
        Rows::Exactly(1),
    )
    .map(drop)
}

/// Reserves stock; `false` when too little is available.
pub(super) fn hold(
    work: &mut TenantWork,
    product_id: ProductId,
    quantity: i64,
) -> Result<bool, StorageError> {
    let now = work.now();
    Ok(work.change(&HOLD, params![product_id, quantity, now], Rows::AtMostOne)? == 1)
}

fn unhold(work: &mut TenantWork, product_id: ProductId, quantity: i64) -> Result<(), StorageError> {
    let now = work.now();
    work.change(
        &UNHOLD,
        params![product_id, quantity, now],
        Rows::Exactly(1),
    )
    .map(drop)
}

/// Removes reserved stock; returns the quantity on hand after it.
///
/// # Errors
/// `UnexpectedRows` when less is on hand, which no rule allows while stock is held.
pub(super) fn take_held(
    work: &mut TenantWork,
    product_id: ProductId,
    quantity: i64,
) -> Result<i64, StorageError> {
    let now = work.now();
    work.change(
        &TAKE_HELD,
        params![product_id, quantity, now],
        Rows::Exactly(1),
    )?;
    Ok(counted(work, product_id)?.0)
}

/// Removes available stock; returns the quantity on hand after it, `None` when too little is
/// available.
pub(super) fn take_available(
    work: &mut TenantWork,
    product_id: ProductId,
    quantity: i64,
) -> Result<Option<i64>, StorageError> {
    let now = work.now();
    let taken = work.change(
        &TAKE_AVAILABLE,
        params![product_id, quantity, now],
        Rows::AtMostOne,
    )?;
    if taken == 0 {
        return Ok(None);
    }
    Ok(Some(counted(work, product_id)?.0))
}

pub(super) fn insert_movement(
    work: &mut TenantWork,
    movement: &Movement,
) -> Result<(), StorageError> {
    let row = named_params! {
        ":id": movement.id, ":product_id": movement.product_id, ":kind": movement.kind,
            ":quantity_delta": movement.quantity_delta,
        ":on_hand_after": movement.on_hand_after, ":order_id": movement.order_id,
            ":reason": movement.reason, ":at": movement.at,
    };
    work.insert(&INSERT_MOVEMENT, row)
}

/// Records that `quantity` left for an order.
pub(super) fn insert_sale(
    work: &mut TenantWork,
    order_id: OrderId,
    product_id: ProductId,
    quantity: i64,
    on_hand_after: i64,
    at: Timestamp,
) -> Result<(), StorageError> {
    let id: MovementId = work.new_id();
    let row = named_params! {
        ":id": id, ":product_id": product_id,
            ":kind": MovementKind::Sale, ":quantity_delta": -quantity,
        ":on_hand_after": on_hand_after, ":order_id": order_id, ":reason": None::<Note>, ":at": at,
    };
    work.insert(&INSERT_MOVEMENT, row)
}

fn movement(row: &Row<'_>) -> rusqlite::Result<Movement> {
    Ok(Movement {
        id: row.get("id")?,
        product_id: row.get("product_id")?,
        kind: row.get("kind")?,
        quantity_delta: row.get("quantity_delta")?,
        on_hand_after: row.get("on_hand_after")?,
        order_id: row.get("order_id")?,
        reason: row.get("reason")?,
        at: row.get("at")?,
        measure: measure(row)?,
    })
}

pub(super) fn movements(
    view: &TenantView,
    page: PageRequest,
    product_id: Option<ProductId>,
) -> Result<Page<Movement>, StorageError> {
    let rows = match product_id {
        None => view.all(
            &MOVEMENTS,
            params![page.before, page.fetch()],
            with_seq(movement),
        )?,
        Some(product_id) => view.all(
            &MOVEMENTS_OF_PRODUCT,
            params![page.before, page.fetch(), product_id],
            with_seq(movement),
        )?,
    };
    Ok(Page::cut(rows, page))
}

pub(super) fn insert_reservation(
    work: &mut TenantWork,
    order_id: OrderId,
    product_id: ProductId,
    quantity: i64,
    expires_at: Timestamp,
) -> Result<(), StorageError> {
    let id = work.new_id::<ReservationKind>();
    work.insert(
        &INSERT_RESERVATION,
        params![id, order_id, product_id, quantity, expires_at],
    )
}

/// The reservations of an order in one status: product and quantity.
pub(super) fn list_reserved(
    view: &TenantView,
    order_id: OrderId,
    status: ReservationStatus,
) -> Result<Vec<(ProductId, i64)>, StorageError> {
    view.all(
        &RESERVED_OF_ORDER,
        params![order_id, status],
        product_and_quantity,
    )
}

/// Stock that an order being paid needs from the shelf, because no reservation is held for it.
pub(super) fn stock_requests(
    view: &TenantView,
    order_id: OrderId,
) -> Result<Vec<StockRequest>, StorageError> {
    view.all(&FROM_SHELF, params![order_id], |row| {
        Ok(StockRequest {
            product_id: row.get("product_id")?,
            sku: row.get("sku")?,
            quantity: row.get("quantity")?,
            measure: measure(row)?,
        })
    })
}

/// Whether goods have left for an order.
pub(super) fn has_left(view: &TenantView, order_id: OrderId) -> Result<bool, StorageError> {
    Ok(view
        .find(&HAS_LEFT, params![order_id], |_| Ok(()))?
        .is_some())
}

/// Closes the reservations of an order whose goods have left.
pub(super) fn mark_consumed(work: &mut TenantWork, order_id: OrderId) -> Result<(), StorageError> {
    work.change(&CONSUME, params![order_id], Rows::Any)
        .map(drop)
}

/// Releases the held reservations of an order; returns their number.
pub(super) fn release(work: &mut TenantWork, order_id: OrderId) -> Result<usize, StorageError> {
    let freed = work.returning(&RELEASE, params![order_id], product_and_quantity)?;
    give_back(work, &freed)
}

/// Ends the expired reservations of an order; returns their number.
pub(super) fn expire(work: &mut TenantWork, order_id: OrderId) -> Result<usize, StorageError> {
    let now = work.now();
    let freed = work.returning(&EXPIRE, params![order_id, now], product_and_quantity)?;
    give_back(work, &freed)
}

/// Whether a held reservation has expired or lies too far ahead; see
/// [`RESERVATION_AHEAD_MAX_MS`].
pub(super) fn has_overdue(view: &TenantView, now: Timestamp) -> Result<bool, StorageError> {
    Ok(view
        .find(
            &OVERDUE,
            params![now, now.plus_millis(RESERVATION_AHEAD_MAX_MS)],
            |_| Ok(()),
        )?
        .is_some())
}

/// Ends held reservations that have expired or lie too far ahead, at most `limit`; returns their
/// number.
pub(super) fn expire_due(work: &mut TenantWork, limit: u32) -> Result<usize, StorageError> {
    let now = work.now();
    let ahead = now.plus_millis(RESERVATION_AHEAD_MAX_MS);
    let freed = work.returning(
        &EXPIRE_DUE,
        params![now, limit, ahead],
        product_and_quantity,
    )?;
    give_back(work, &freed)
}

fn product_and_quantity(row: &Row<'_>) -> rusqlite::Result<(ProductId, i64)> {
    Ok((row.get("product_id")?, row.get("quantity")?))
}

fn give_back(work: &mut TenantWork, freed: &[(ProductId, i64)]) -> Result<usize, StorageError> {
    for (product_id, quantity) in freed {
        unhold(work, *product_id, *quantity)?;
    }
    Ok(freed.len())
}
