//! The rules of a shop, called as the program's modules call each other. They cover behaviour that
//! no route shows.

mod foreign_sales;
mod invoice_numbers;
mod past_sales;
mod reservations;
