//! Stock: quantities on hand, quantities reserved for unpaid orders, and every movement.
//!
//! Invariants:
//! - Available is `on hand − reserved`; no more is promised or sold, and no correction makes it
//!   negative. So `0 ≤ reserved ≤ on hand`: the rules here hold it, the schema does not.
//! - On hand changes only together with a row in `inventory_movement`.
//! - `reserved` is the sum of the held reservations.
//! - A product without a row has no units on hand.
//!
//! The catalog decides which products count stock: callers pass only those that do.

mod adjust_stock;
mod hand_over;
mod hold_limit;
mod jobs;
mod model;
mod queries;
mod reserve;
mod retention;
mod store;

pub use adjust_stock::{AdjustStock, CountStock, adjust_stock, count_stock};
pub use hand_over::{Goods, hand_over, require_available, require_held_or_available};
pub use hold_limit::require_within_hold_limit;
pub use jobs::{EXPIRE_RESERVATION, ExpireReservation, expire, expire_reservations, has_overdue};
pub use model::{
    AdjustRefused, Movement, MovementKind, ReservationStatus, Stock, StockRefused, StockRequest,
};
pub use queries::{find_stock, list_movements};
pub use reserve::{release, reserve};
pub use retention::{
    STATEMENTS as RETENTION_STATEMENTS, count_over, delete_over, find_prunable, prune_movements,
};
pub use store::STATEMENTS;
