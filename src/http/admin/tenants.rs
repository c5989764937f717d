//! What is done to a shop's file as a whole: `/v1/admin/tenants/{slug}/migrate`, `…/accept-loss`,
//! `/v1/admin/integrity`.

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::extract::{Body, FromBody, Landlord, PathText, open_shop};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::maintenance::all_files;
use crate::primitives::Slug;
use crate::storage::{Database, Tenant};
use crate::tenancy::checkpoints::ChainEnds;
use crate::tenancy::commands::DirectoryRefused;
use crate::tenancy::{TenantAccess, TenantStatus};
use crate::tenant::integrity::Report;

/// How a shop's file is opened.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrateBody {
    #[serde(default)]
    release: bool,
}

/// Whether a file that is held because the disk failed twice is let go: only where the operator has
/// named it.
pub struct Migrate {
    release: bool,
}

impl FromBody for Migrate {
    type Wire = MigrateBody;

    fn from_wire(wire: MigrateBody, _: &mut Faults) -> Option<Self> {
        Some(Self {
            release: wire.release,
        })
    }
}

/// Opens a shop's file, by which it is checked and whatever its schema lacks is migrated.
pub async fn migrate(
    house: Landlord,
    PathText(slug): PathText<String>,
    Body(how): Body<Migrate>,
) -> Result<Json<Value>, Problem> {
    let id = access(&house, &slug).await?.id();
    let released = how.release && house.app.registry.release(id);
    if released {
        tracing::info!(tenant_id = %id, "tenant file released: it is opened again although the \
            disk failed twice under it");
    }
    open(&house, &slug).await?;
    Ok(Json(
        json!({"slug": slug, "status": "migrated", "released": released}),
    ))
}

/// Takes a shop's file for what it is although it lacks what was acknowledged; the file that was
/// set aside for that is taken back to its place.
pub async fn accept_loss(
    house: Landlord,
    PathText(slug): PathText<String>,
) -> Result<Json<Value>, Problem> {
    let named = Slug::parse(&slug).map_err(|_| DirectoryRefused::TenantNotFound(slug.clone()))?;
    let accept =
        move |house: &Landlord| Ok(house.app.provisioner.accept_loss(&house.origin, &named)?);
    let (known, found) = house.blocking(accept).await?;
    let of = |ends: ChainEnds| json!({"ledger_seq": ends.ledger.seq, "audit_seq": ends.audit.seq});
    Ok(Json(
        json!({"slug": slug, "status": "accepted", "known": of(known), "found": of(found)}),
    ))
}

/// Which shop is to be checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckBody {
    tenant: Option<String>,
}

/// A shop, named; or the house.
pub struct Check(Option<Slug>);

impl FromBody for Check {
    type Wire = CheckBody;

    fn from_wire(wire: CheckBody, faults: &mut Faults) -> Option<Self> {
        faults
            .optional("/tenant", wire.tenant.as_deref().map(Slug::parse))
            .map(Self)
    }
}

/// Checks a shop's books, documents and stock against each other, or the house's own file; changes
/// nothing.
pub async fn check_integrity(
    house: Landlord,
    Body(Check(slug)): Body<Check>,
) -> Result<Json<Report>, Problem> {
    let Some(slug) = slug else {
        let check = |house: &Landlord| Ok(all_files::check_landlord(&house.app)?);
        return house.blocking(check).await.map(Json);
    };
    let access = access(&house, slug.as_str()).await?;
    let check = move |house: &Landlord| Ok(all_files::check_tenant(&house.app, &access)?);
    house.blocking(check).await.map(Json)
}

/// The file of an active or suspended tenant.
pub(super) async fn open(house: &Landlord, slug: &str) -> Result<Database<Tenant>, Problem> {
    open_shop(&house.app, access(house, slug).await?).await
}

async fn access(house: &Landlord, slug: &str) -> Result<TenantAccess, Problem> {
    let absent = || Problem::from(DirectoryRefused::TenantNotFound(slug.to_owned()));
    let named = Slug::parse(slug).map_err(|_| absent())?;
    let access = house
        .app
        .directory
        .tenant_of_slug(&named)
        .await?
        .ok_or_else(absent)?;
    match access.status() {
        TenantStatus::Active | TenantStatus::Suspended => Ok(access),
        status => Err(DirectoryRefused::WrongStatus(status).into()),
    }
}
