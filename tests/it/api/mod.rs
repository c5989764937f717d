//! The API, in the shape of its URLs.

mod audit_logs;
mod bodies;
mod carts;
mod catalog;
mod checkout;
mod connections;
mod currencies;
mod exchange_rates;
mod finance;
mod health;
mod inventory;
mod invoices;
mod landlord;
mod landlord_queue;
mod ledger;
mod lists;
mod metrics;
mod orders;
mod payments;
mod rate_limiter;
mod reports;
mod room;
pub mod routes;
mod sales;
mod settings;
pub mod storefront_bounds;
mod tax_rates;
