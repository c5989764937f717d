//! L6: HTTP. Requests become commands here and results become JSON; no rule is decided here.
//!
//! `wire/server.rs` is the accept loop, `wire/head_guard.rs` what looks through each head before
//! hyper does, `chunks.rs` the sizes of chunks, `layers.rs` what surrounds every request,
//! `limit.rs` how often a caller may ask and `client_address.rs` who that is, `extract/` what
//! handlers begin with, `problem.rs` the one form of every error, `api/` the handlers, one file per
//! resource; `admin/` those that only whoever runs the machine can reach.

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
pub mod wire;

use std::sync::{Arc, LazyLock};

use axum::{Extension, Router, middleware};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// The head of the API's description; the paths come from the routes themselves.
#[derive(OpenApi)]
#[openapi(info(
    title = "Tillbox",
    description = "A shop's back end: catalog, stock, carts, checkout, payments, orders, invoices \
        and the ledger. Every error is an application/problem+json document (RFC 9457) with a \
        stable `code`."
))]
struct Head;

/// The routes and what clients read about them. Made once in a process: it takes longer than all
/// the rest of a start.
static ROUTES: LazyLock<(Router<Arc<App>>, Bytes)> = LazyLock::new(|| {
    let (router, document) = routes();
    (router, described(&document))
});

/// The routes and their description.
fn routes() -> (Router<Arc<App>>, Document) {
    OpenApiRouter::with_openapi(Head::openapi())
        .merge(health::routes())
        .merge(metrics::routes())
        .nest("/v1", api::routes())
        .split_for_parts()
}

/// The whole API as a service.
pub fn router(app: &Arc<App>) -> Router {
    let (router, description) = LazyLock::force(&ROUTES);
    surrounded(app, router.clone(), description.clone())
}

/// The API for whoever runs the machine: the same routes, whose callers count as the operator, and
/// those under `/v1/admin`. Served on the admin socket, and inside the process of a command.
pub fn admin_router(app: &Arc<App>) -> Router {
    let (router, description) = LazyLock::force(&ROUTES);
    surrounded(
        app,
        router.clone().nest("/v1/admin", admin::routes()),
        description.clone(),
    )
    .layer(Extension(extract::Local))
}

fn described(document: &Document) -> Bytes {
    Bytes::from(description::complete(document).to_string())
}

fn surrounded(app: &Arc<App>, router: Router<Arc<App>>, description: Bytes) -> Router {
    let described =
        move || std::future::ready(([(CONTENT_TYPE, "application/json")], description.clone()));
    router
        .route("/openapi.json", axum::routing::get(described))
        .fallback(layers::not_found)
        .method_not_allowed_fallback(layers::method_not_allowed)
        .layer(middleware::from_fn_with_state(
            app.clone(),
            layers::surround,
        ))
        .with_state(app.clone())
}

/// Routes of the caller's own, surrounded as those of the API are: for tests of what surrounds
/// them.
#[doc(hidden)]
pub fn surrounded_routes(app: &Arc<App>, router: Router<Arc<App>>) -> Router {
    surrounded(app, router, described(&Head::openapi()))
}

/// The description of the API, made from the routes.
pub fn openapi() -> serde_json::Value {
    description::complete(&routes().1)
}
