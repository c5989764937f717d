//! The rules of a shop, called as the program's own parts call each other: what no route shows by
//! itself.

mod foreign_sales;
mod invoice_numbers;
mod past_sales;
mod reservations;
