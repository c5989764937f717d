//! The kinds of bookings, one file each, with the accounts that they move.

mod order_paid;

pub use order_paid::order_paid;
