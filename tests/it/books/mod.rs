//! The guarantees of the sale path over all its routes: once, gapless, balanced, immutable,
//! isolated.

mod chain_columns;
mod idempotent_financial_job;
mod keys;
mod once;
mod random_sales;
mod snapshots;
mod stress_checkout;
mod tampering;
mod tenant_isolation;
