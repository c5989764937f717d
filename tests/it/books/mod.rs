//! The promises of the sale path, over all its routes: once, gapless, balanced, never changed,
//! never mixed.

mod chain_columns;
mod isolation;
mod keys;
mod once;
mod random_sales;
mod settle;
mod snapshots;
mod stress;
mod tampering;
