//! `/v1/admin`: calls for the operator. These routes exist only on the admin socket and are not in
//! the API description; the command line is their only client.

pub(super) mod catalog;
mod exchange_rates;
pub(super) mod import;
pub(super) mod sales;
mod tenants;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use crate::app::App;

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/catalog/import", post(catalog::import))
        .route("/exchange-rates/import", post(exchange_rates::import))
        .route("/sales/import", post(sales::import))
        .route("/integrity", post(tenants::check_integrity))
        .route("/tenants/{slug}/accept-loss", post(tenants::accept_loss))
        .route("/tenants/{slug}/migrate", post(tenants::migrate))
}
