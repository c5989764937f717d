//! What is done to a shop's file as a whole: `/v1/admin/tenants/{slug}/migrate`, `/v1/admin/integrity`.

use std::time::Duration;

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::extract::{Body, FromBody, House, PathText, open_shop};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::primitives::Slug;
use crate::primitives::limits::LOCAL_REQUEST_MS;
use crate::storage::{Database, Tenant};
use crate::tenancy::TenantStatus;
use crate::tenancy::commands::DirectoryRefused;
use crate::tenant::integrity::{self, Report};

/// Opens a shop's file, by which it is checked and whatever its schema lacks is migrated.
pub async fn migrate(house: House, PathText(slug): PathText<String>) -> Result<Json<Value>, Problem> {
    open(&house, &slug).await?;
    Ok(Json(json!({"slug": slug, "status": "migrated"})))
}

/// Which shop is to be checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckBody {
    tenant: String,
}

/// A shop, named.
pub struct Check(Slug);

impl FromBody for Check {
    type Wire = CheckBody;

    fn from_wire(wire: CheckBody, faults: &mut Faults) -> Option<Self> {
        faults.take("/tenant", Slug::parse(&wire.tenant)).map(Self)
    }
}

/// Checks a shop's books, documents and stock against each other; changes nothing.
pub async fn check_integrity(house: House, Body(Check(slug)): Body<Check>) -> Result<Json<Report>, Problem> {
    let db = open(&house, slug.as_str()).await?;
    let report: Result<_, Problem> = db
        .read_within(Duration::from_millis(LOCAL_REQUEST_MS), |view| Ok(integrity::check(view)?))
        .await;
    Ok(Json(report?))
}

/// The file of an active or suspended tenant.
async fn open(house: &House, slug: &str) -> Result<Database<Tenant>, Problem> {
    let absent = || Problem::from(DirectoryRefused::TenantNotFound(slug.to_owned()));
    let named = Slug::parse(slug).map_err(|_| absent())?;
    let access = house.app.directory.tenant_of_slug(&named).await?.ok_or_else(absent)?;
    match access.status() {
        TenantStatus::Active | TenantStatus::Suspended => open_shop(&house.app, access).await,
        status => Err(DirectoryRefused::WrongStatus(status).into()),
    }
}
