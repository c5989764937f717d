//! The handlers: one file per resource, each with its JSON types, its parsing and its routes.

mod audit_logs;
mod carts;
mod catalog;
mod checkout;
mod currencies;
mod exchange_rates;
mod finance;
mod form;
mod inventory;
mod invoices;
mod landlord;
mod ledger;
mod orders;
mod party;
mod payments;
mod redact;
mod sales;
mod schema;
mod settings;
mod tax_rates;
mod view;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(audit_logs::routes())
        .merge(carts::routes())
        .merge(catalog::routes())
        .merge(checkout::routes())
        .merge(currencies::routes())
        .merge(exchange_rates::routes())
        .merge(finance::routes())
        .merge(inventory::routes())
        .merge(invoices::routes())
        .merge(landlord::tenants::routes())
        .merge(ledger::routes())
        .merge(orders::routes())
        .merge(payments::routes())
        .merge(sales::routes())
        .merge(settings::routes())
        .merge(tax_rates::routes())
}
