//! The kinds of bookings, one file each: which accounts they move, and when.

mod order_paid;

pub use order_paid::order_paid;
