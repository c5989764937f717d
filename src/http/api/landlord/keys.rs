//! `/v1/landlord/api-keys` and `/v1/landlord/tenants/{slug}/api-keys`: a key is shown once, when it
//! is made; only its hash is kept.

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
use crate::http::extract::{Body, FromBody, Landlord, PageQuery, PathId, PathText};
use crate::http::faults::Faults;
use crate::http::problem::{Fault, Problem};
use crate::platform::page::PageRequest;
use crate::primitives::id::{ApiKeyId, ApiKeyKind};
use crate::primitives::{Name, Slug, Timestamp};
use crate::tenancy::commands::{self, KeyRow};
use crate::tenancy::{Scope, Scopes, keys};

/// The routes of the keys.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create_tenant_key, list_tenant_keys))
        .routes(routes!(create_landlord_key, list_landlord_keys))
        .routes(routes!(revoke_key))
}

#[derive(Serialize, ToSchema)]
struct KeyView {
    id: ApiKeyId,
    name: Name,
    prefix: String,
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    created_at: Timestamp,
    /// To the minute or so.
    last_used_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl From<KeyRow> for KeyView {
    fn from(key: KeyRow) -> Self {
        Self {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes.iter().collect(),
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct CreatedKeyView {
    id: ApiKeyId,
    prefix: String,
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// The key. Shown here and never again.
    api_key: String,
}

/// A key that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyBody {
    /// What it is for.
    #[schema(value_type = Name)]
    name: String,
    /// What it may be used for; a landlord key has the one scope `landlord` and need not say so.
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

    fn from_wire(wire: CreateKeyBody, faults: &mut Faults) -> Option<Self> {
        let name = faults.take("/name", Name::parse(&wire.name));
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

fn scope(faults: &mut Faults, at: usize, text: &str) -> Option<Scope> {
    let found = Scope::parse(text);
    if found.is_none() {
        let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        let detail = format!(
            "there is no scope `{text}`; the scopes are {}",
            known.join(", ")
        );
        faults.note(format!("/scopes/{at}"), "unknown_scope", detail);
    }
    found
}

/// Only a tenant's scopes for a tenant's key, and at least one.
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
            "a tenant's key cannot have the scope `landlord`; make a landlord key for that"
                .to_owned(),
        )),
        None => Ok(scopes.iter().copied().collect()),
    }
}

/// The one scope that means something for the landlord.
fn scopes_of_landlord(scopes: &[Scope]) -> Result<Scopes, Problem> {
    match scopes
        .iter()
        .enumerate()
        .find(|(_, scope)| **scope != Scope::Landlord)
    {
        Some((at, scope)) => Err(scope_fault(
            &format!("/scopes/{at}"),
            format!("a landlord key opens no shop: `{scope}` is for a tenant's key"),
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
    house: Landlord,
    tenant: Option<Slug>,
    name: Name,
    scopes: Scopes,
) -> Result<(StatusCode, Json<CreatedKeyView>), Problem> {
    let key = keys::generate(house.app.entropy.as_ref());
    let stored = key.clone();
    let change = house.app.directory.change(house.origin, move |work| {
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
    house: Landlord,
    page: PageRequest,
    tenant: Option<Slug>,
) -> Result<Json<PageView<KeyView>>, Problem> {
    let list = move |house: &Landlord| {
        let directory = &house.app.directory;
        // The uses that are only noted so far are written down first. Where nothing can be written,
        // keys can be looked at all the same.
        if let Err(error) = directory.flush_used() {
            tracing::warn!(error = %error, "when keys were last used was not written down");
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
    let keys = house.blocking(list).await?;
    Ok(Json(PageView::of(keys, KeyView::from)))
}

/// Makes a key of a tenant.
#[utoipa::path(post, path = "/landlord/tenants/{slug}/api-keys", tag = "landlord",
    params(("slug" = String, Path)), request_body = CreateKeyBody,
    responses((status = 201, body = CreatedKeyView), (status = 404,
        description = "`tenant_not_found`"), (status = 422, description = "`validation_failed`")))]
async fn create_tenant_key(
    house: Landlord,
    PathText(slug): PathText<String>,
    Body(command): Body<CreateKey>,
) -> Result<(StatusCode, Json<CreatedKeyView>), Problem> {
    let scopes = scopes_of_tenant(&command.scopes)?;
    let slug = slug_in_path(&house.app, &slug).await?;
    create_key(house, Some(slug), command.name, scopes).await
}

/// Lists the keys of a tenant, the newest first, the revoked ones included.
#[utoipa::path(get, path = "/landlord/tenants/{slug}/api-keys", tag = "landlord",
    params(("slug" = String, Path), PageParams),
    responses((status = 200, body = PageView<KeyView>), (status = 404,
        description = "`tenant_not_found`")))]
async fn list_tenant_keys(
    house: Landlord,
    PathText(slug): PathText<String>,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<KeyView>>, Problem> {
    let slug = slug_in_path(&house.app, &slug).await?;
    list_keys(house, page, Some(slug)).await
}

/// Makes a landlord key.
#[utoipa::path(post, path = "/landlord/api-keys", tag = "landlord", request_body = CreateKeyBody,
    responses((status = 201, body = CreatedKeyView), (status = 422,
        description = "`validation_failed`")))]
async fn create_landlord_key(
    house: Landlord,
    Body(command): Body<CreateKey>,
) -> Result<(StatusCode, Json<CreatedKeyView>), Problem> {
    let scopes = scopes_of_landlord(&command.scopes)?;
    create_key(house, None, command.name, scopes).await
}

/// Lists the landlord keys, the newest first, the revoked ones included.
#[utoipa::path(get, path = "/landlord/api-keys", tag = "landlord", params(PageParams),
    responses((status = 200, body = PageView<KeyView>)))]
async fn list_landlord_keys(
    house: Landlord,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<KeyView>>, Problem> {
    list_keys(house, page, None).await
}

/// Revokes a key, a tenant's or the landlord's: it opens nothing from the moment this is answered.
#[utoipa::path(delete, path = "/landlord/api-keys/{id}", tag = "landlord", params(("id" = String,
    Path)), responses((status = 204), (status = 404, description = "`api_key_not_found`")))]
async fn revoke_key(
    house: Landlord,
    PathId(id): PathId<ApiKeyKind>,
) -> Result<StatusCode, Problem> {
    let change = house.app.directory.change(house.origin, move |work| {
        Ok::<_, Problem>(commands::revoke_key(work, id)?)
    });
    change.await?;
    Ok(StatusCode::NO_CONTENT)
}
