//! `/v1/landlord/api-keys` and `/v1/landlord/tenants/{slug}/api-keys`: API keys. A key is shown
//! once, when it is created; only its hash is stored.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::tenants::slug_in_path;
use crate::app::App;
use crate::http::api::form::{PageParams, PageView};
use crate::http::api::view::views;
use crate::http::extract::{Body, FromBody, Landlord, PageQuery, PathId, PathText};
use crate::http::faults::RequestFaults;
use crate::http::problem::{Fault, Problem};
use crate::platform::page::PageRequest;
use crate::primitives::id::{ApiKeyId, ApiKeyKind};
use crate::primitives::{Name, Slug, Timestamp};
use crate::tenancy::commands::{self, KeyRow};
use crate::tenancy::{Scope, Scopes, keys};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create_tenant_key, list_tenant_keys))
        .routes(routes!(create_landlord_key, list_landlord_keys))
        .routes(routes!(revoke_key))
}

views! {
    struct KeyView from KeyRow as key {
        id: ApiKeyId,
        name: Name,
        prefix: String,
        #[schema(value_type = Vec<String>)]
        scopes: Vec<Scope> = key.scopes.iter().collect(),
        created_at: Timestamp,
        /// The time of the last use, to about a minute.
        last_used_at: Option<Timestamp>,
        revoked_at: Option<Timestamp>,
    }
}

#[derive(Serialize, ToSchema)]
struct CreatedKeyView {
    id: ApiKeyId,
    prefix: String,
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// The key. Shown only here.
    api_key: String,
}

/// A new key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyBody {
    /// The purpose of the key.
    #[schema(value_type = Name)]
    name: String,
    /// The scopes of the key. A landlord key has the one scope `landlord`, which may be left out.
    #[serde(default)]
    #[schema(value_type = Vec<Scope>)]
    scopes: Vec<String>,
}

struct CreateKey {
    name: Name,
    scopes: Vec<Scope>,
}

impl FromBody for CreateKey {
    type Wire = CreateKeyBody;

    fn from_wire(wire: CreateKeyBody, faults: &mut RequestFaults) -> Option<Self> {
        let name = faults.check("/name", Name::parse(&wire.name));
        let scopes: Vec<Option<Scope>> = wire
            .scopes
            .iter()
            .enumerate()
            .map(|(at, text)| scope(faults, at, text))
            .collect();
        Some(Self {
            name: name?,
            scopes: scopes.into_iter().collect::<Option<_>>()?,
        })
    }
}

fn scope(faults: &mut RequestFaults, at: usize, text: &str) -> Option<Scope> {
    let found = Scope::parse(text);
    if found.is_none() {
        let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        let detail = format!(
            "unknown scope `{text}`; the scopes are {}",
            known.join(", ")
        );
        faults.add(format!("/scopes/{at}"), "unknown_scope", detail);
    }
    found
}

/// Checks the scopes of a tenant's key: at least one, and not `landlord`.
fn scopes_of_tenant(scopes: &[Scope]) -> Result<Scopes, Problem> {
    if scopes.is_empty() {
        return Err(scope_fault(
            "/scopes",
            "name at least one scope, such as catalog:read".to_owned(),
        ));
    }
    match scopes.iter().position(|scope| *scope == Scope::Landlord) {
        Some(at) => Err(scope_fault(
            &format!("/scopes/{at}"),
            "a tenant's key cannot have the scope `landlord`; create a landlord key for that"
                .to_owned(),
        )),
        None => Ok(scopes.iter().copied().collect()),
    }
}

/// Checks the scopes of a landlord key: only `landlord`.
fn scopes_of_landlord(scopes: &[Scope]) -> Result<Scopes, Problem> {
    match scopes
        .iter()
        .enumerate()
        .find(|(_, scope)| **scope != Scope::Landlord)
    {
        Some((at, scope)) => Err(scope_fault(
            &format!("/scopes/{at}"),
            format!(
                "a landlord key cannot have the scope `{scope}`; create a tenant's key for \
                that"
            ),
        )),
        None => Ok(std::iter::once(Scope::Landlord).collect()),
    }
}

fn scope_fault(pointer: &str, detail: String) -> Problem {
    Problem::invalid(vec![Fault {
        pointer: pointer.to_owned(),
        code: "invalid",
        detail,
    }])
}

async fn create_key(
    landlord: Landlord,
    tenant: Option<Slug>,
    name: Name,
    scopes: Scopes,
) -> Result<(StatusCode, Json<CreatedKeyView>), Problem> {
    let key = keys::generate(landlord.app.ports.entropy.as_ref());
    let stored = key.clone();
    let change = landlord
        .app
        .stores
        .directory
        .change(landlord.origin, move |work| {
            let tenant = tenant
                .as_ref()
                .map(|slug| commands::show_tenant(work, slug.as_str()))
                .transpose()?;
            Ok::<_, Problem>(commands::insert_key(
                work,
                tenant.map(|tenant| tenant.id),
                &name,
                scopes,
                &stored,
            )?)
        });
    let view = CreatedKeyView {
        id: change.await?,
        prefix: key.prefix,
        scopes: scopes.iter().collect(),
        api_key: key.secret,
    };
    Ok((StatusCode::CREATED, Json(view)))
}

async fn list_keys(
    landlord: Landlord,
    page: PageRequest,
    tenant: Option<Slug>,
) -> Result<Json<PageView<KeyView>>, Problem> {
    let list = move |landlord: &Landlord| {
        let directory = &landlord.app.stores.directory;
        // Writes pending times of use first. When nothing can be written, keys can still be listed.
        if let Err(error) = directory.flush_used() {
            tracing::warn!(error = %error, "storing the last use of keys failed");
        }
        let read = directory.read(move |view| {
            let tenant = tenant
                .as_ref()
                .map(|slug| commands::show_tenant(view, slug.as_str()))
                .transpose()?;
            Ok::<_, Problem>(commands::list_keys(
                view,
                page,
                tenant.map(|tenant| tenant.id),
            )?)
        });
        read.wait()
    };
    let keys = landlord.blocking(list).await?;
    Ok(Json(PageView::of(keys, KeyView::from)))
}

/// Creates a key of a tenant.
#[utoipa::path(post, path = "/landlord/tenants/{slug}/api-keys", tag = "landlord",
    params(("slug" = String, Path)), request_body = CreateKeyBody,
    responses((status = 201, body = CreatedKeyView), (status = 404,
        description = "`tenant_not_found`"), (status = 422, description = "`validation_failed`")))]
async fn create_tenant_key(
    landlord: Landlord,
    PathText(slug): PathText<String>,
    Body(command): Body<CreateKey>,
) -> Result<(StatusCode, Json<CreatedKeyView>), Problem> {
    let scopes = scopes_of_tenant(&command.scopes)?;
    let slug = slug_in_path(&landlord.app.stores, &slug).await?;
    create_key(landlord, Some(slug), command.name, scopes).await
}

/// Lists the keys of a tenant, newest first, including revoked keys.
#[utoipa::path(get, path = "/landlord/tenants/{slug}/api-keys", tag = "landlord",
    params(("slug" = String, Path), PageParams),
    responses((status = 200, body = PageView<KeyView>), (status = 404,
        description = "`tenant_not_found`")))]
async fn list_tenant_keys(
    landlord: Landlord,
    PathText(slug): PathText<String>,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<KeyView>>, Problem> {
    let slug = slug_in_path(&landlord.app.stores, &slug).await?;
    list_keys(landlord, page, Some(slug)).await
}

/// Creates a landlord key.
#[utoipa::path(post, path = "/landlord/api-keys", tag = "landlord", request_body = CreateKeyBody,
    responses((status = 201, body = CreatedKeyView), (status = 422,
        description = "`validation_failed`")))]
async fn create_landlord_key(
    landlord: Landlord,
    Body(command): Body<CreateKey>,
) -> Result<(StatusCode, Json<CreatedKeyView>), Problem> {
    let scopes = scopes_of_landlord(&command.scopes)?;
    create_key(landlord, None, command.name, scopes).await
}

/// Lists the landlord keys, newest first, including revoked keys.
#[utoipa::path(get, path = "/landlord/api-keys", tag = "landlord", params(PageParams),
    responses((status = 200, body = PageView<KeyView>)))]
async fn list_landlord_keys(
    landlord: Landlord,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<KeyView>>, Problem> {
    list_keys(landlord, page, None).await
}

/// Revokes a key of a tenant or of the landlord. It is invalid when this call returns.
#[utoipa::path(delete, path = "/landlord/api-keys/{id}", tag = "landlord", params(("id" = String,
    Path)), responses((status = 204), (status = 404, description = "`api_key_not_found`")))]
async fn revoke_key(
    landlord: Landlord,
    PathId(id): PathId<ApiKeyKind>,
) -> Result<StatusCode, Problem> {
    let change = landlord
        .app
        .stores
        .directory
        .change(landlord.origin, move |work| {
            Ok::<_, Problem>(commands::revoke_key(work, id)?)
        });
    change.await?;
    Ok(StatusCode::NO_CONTENT)
}
