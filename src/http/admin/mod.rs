//! `/v1/admin`: what only whoever runs the machine may ask. These routes are on the admin socket
//! and nowhere else, so they are in no description of the API; the command line is their one
//! client.

pub(super) mod catalog;
mod exchange_rates;
pub(super) mod import;
pub(super) mod sales;
mod tenants;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use crate::app::App;

/// Everything under `/v1/admin`.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/catalog/import", post(catalog::import))
        .route("/exchange-rates/import", post(exchange_rates::import))
        .route("/sales/import", post(sales::import))
        .route("/integrity", post(tenants::check_integrity))
        .route("/tenants/{slug}/accept-loss", post(tenants::accept_loss))
        .route("/tenants/{slug}/migrate", post(tenants::migrate))
}
