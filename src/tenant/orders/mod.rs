//! Orders: what was sold, to whom, and their status.
//!
//! Invariants: an order has a number of a gapless series from the moment it exists; its lines and
//! sums never change; its status moves by the one table in `model.rs`, and no other code compares
//! statuses to decide what may come next.

mod model;
mod move_order;
mod queries;
mod store;

pub use model::{
    Channel, NewOrder, Order, OrderEvent, OrderRefused, OrderStatus, Transition, next_status,
};
pub use move_order::{confirm_order, mark_cancelled, mark_paid, ship_order};
pub use queries::{count_unpaid, find_order, find_order_by_number, list_orders, require_order};
pub use store::{STATEMENTS, insert_order, is_line_known, request_hash};
pub(in crate::tenant) use store::{client_of, list_unpaid};
