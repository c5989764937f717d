//! The rules of a shop, called as the program's modules call each other. They cover behaviour that
//! no route shows.

mod foreign_sales;
mod hold_ends;
mod invoice_numbers;
mod past_sales;
mod rates_in_documents;
mod reservations;
mod rounding;
mod tax_lines;
mod unsellable;
