//! L6: HTTP. Handlers turn requests into commands and results into JSON. No business rule is
//! decided here.
//!
//! - `wire/`: HTTP/1.1 below the router: accept loop, head guard, deadlines, connection limits.
//! - `layers.rs`: the middleware around every request.
//! - `limit.rs`, `client_address.rs`: rate limits and the address they count.
//! - `extract/`: axum extractors (caller, shop, body, page).
//! - `problem.rs`: the one form of every error.
//! - `api/`: the handlers, one file per resource.
//! - `admin/`: handlers on the admin socket, for the operator only.

mod admin;
pub mod api;
mod client_address;
mod description;
pub mod extract;
pub mod faults;
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
mod layers;
mod limit;
mod metrics;
pub mod problem;
mod request_id;
pub mod wire;

use std::sync::{Arc, LazyLock};

use axum::{Extension, Router, middleware};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// The head of the API description. The routes add the paths.
#[derive(OpenApi)]
#[openapi(info(
    title = "Tillbox",
    description = "A shop's back end: catalog, stock, carts, checkout, payments, orders, invoices \
        and the ledger. Every error is an application/problem+json document (RFC 9457) with a \
        stable `code`."
))]
struct Head;

/// The routes and their OpenAPI document, built once per process: building them takes longer than
/// the rest of a start.
static ROUTES: LazyLock<(Router<Arc<App>>, Bytes)> = LazyLock::new(|| {
    let (router, document) = routes();
    (router, serialize_document(&document))
});

/// Builds the routes and their description.
fn routes() -> (Router<Arc<App>>, Document) {
    OpenApiRouter::with_openapi(Head::openapi())
        .merge(health::routes())
        .merge(metrics::routes())
        .nest("/v1", api::routes())
        .split_for_parts()
}

/// Builds the public API.
pub fn router(app: &Arc<App>) -> Router {
    let (router, description) = LazyLock::force(&ROUTES);
    with_layers(app, router.clone(), description.clone())
}

/// Builds the API for the operator: the same routes with the operator as caller, and those under
/// `/v1/admin`. Served on the admin socket, and inside the process of a command.
pub fn admin_router(app: &Arc<App>) -> Router {
    let (router, description) = LazyLock::force(&ROUTES);
    with_layers(
        app,
        router.clone().nest("/v1/admin", admin::routes()),
        description.clone(),
    )
    .layer(Extension(extract::Local))
}

fn serialize_document(document: &Document) -> Bytes {
    Bytes::from(description::complete(document).to_string())
}

fn with_layers(app: &Arc<App>, router: Router<Arc<App>>, description: Bytes) -> Router {
    let serve_document =
        move || std::future::ready(([(CONTENT_TYPE, "application/json")], description.clone()));
    router
        .route("/openapi.json", axum::routing::get(serve_document))
        .fallback(layers::not_found)
        .method_not_allowed_fallback(layers::method_not_allowed)
        .layer(middleware::from_fn_with_state(
            app.clone(),
            layers::outer_layer,
        ))
        .with_state(app.clone())
}

/// Wraps other routes in the API's layers, to test the layers.
#[doc(hidden)]
pub fn routes_with_layers(app: &Arc<App>, router: Router<Arc<App>>) -> Router {
    with_layers(app, router, serialize_document(&Head::openapi()))
}

/// Returns the OpenAPI document of the API.
pub fn openapi() -> serde_json::Value {
    description::complete(&routes().1)
}
