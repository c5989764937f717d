//! Carts. A cart promises nothing: it holds no stock, and its prices are the present ones of the
//! catalog.
//!
//! Invariants: a product is on one line of a cart; all lines are in the cart's currency; a cart is
//! changed only while it is open; a converted (ordered) or abandoned cart never opens again.

mod change_items;
mod close_cart;
mod create_cart;
mod model;
mod queries;
mod retention;
mod store;

pub use change_items::{AddItem, add_item, change_item, clear_cart, remove_item};
pub use close_cart::{abandon_cart, mark_converted};
pub use create_cart::create_cart;
pub use model::{Cart, CartForCheckout, CartItem, CartRefused, CartStatus};
pub use queries::{load_for_checkout, show_cart};
pub use retention::{
    CartCutOffs, STATEMENTS as RETENTION_STATEMENTS, count_anonymous_carts, count_due,
    delete_anonymous_carts, delete_anonymous_due, delete_due, has_anonymous_due,
};
pub use store::STATEMENTS;
