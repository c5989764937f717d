//! Calls about a tenant's file as a whole: `/v1/admin/tenants/{slug}/migrate`, `…/accept-loss`,
//! `/v1/admin/integrity`.

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::extract::{Body, FromBody, Landlord, PathText, open_shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::maintenance::integrity;
use crate::primitives::Slug;
use crate::storage::{Database, Tenant};
use crate::tenancy::checkpoints::ChainEnds;
use crate::tenancy::commands::DirectoryRefused;
use crate::tenancy::{TenantAccess, TenantStatus};
use crate::tenant::integrity::Report;

/// Options of opening a tenant's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrateBody {
    #[serde(default)]
    release: bool,
}

/// Options of opening a tenant's file. `release`: also open a file that is held because the disk
/// failed twice under it.
pub struct Migrate {
    release: bool,
}

impl FromBody for Migrate {
    type Wire = MigrateBody;

    fn from_wire(wire: MigrateBody, _: &mut RequestFaults) -> Option<Self> {
        Some(Self {
            release: wire.release,
        })
    }
}

/// Opens a tenant's file, which checks it and migrates its schema.
pub async fn migrate(
    landlord: Landlord,
    PathText(slug): PathText<String>,
    Body(migrate): Body<Migrate>,
) -> Result<Json<Value>, Problem> {
    let id = access(&landlord, &slug).await?.id();
    let released = migrate.release && landlord.app.stores.registry.release(id);
    if released {
        tracing::info!(tenant_id = %id, "tenant file released after two disk failures");
    }
    open(&landlord, &slug).await?;
    Ok(Json(
        json!({"slug": slug, "status": "migrated", "released": released}),
    ))
}

/// Accepts a tenant's file although it lacks acknowledged data. A file that was quarantined for
/// this reason is put back.
pub async fn accept_loss(
    landlord: Landlord,
    PathText(slug): PathText<String>,
) -> Result<Json<Value>, Problem> {
    let parsed = Slug::parse(&slug).map_err(|_| DirectoryRefused::TenantNotFound(slug.clone()))?;
    let accept = move |landlord: &Landlord| {
        Ok(landlord
            .app
            .stores
            .provisioner
            .accept_loss(&landlord.origin, &parsed)?)
    };
    let (known, found) = landlord.blocking(accept).await?;
    let view =
        |ends: ChainEnds| json!({"ledger_seq": ends.ledger.seq, "audit_seq": ends.audit.seq});
    Ok(Json(
        json!({"slug": slug, "status": "accepted", "known": view(known), "found": view(found)}),
    ))
}

/// The file to check.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckBody {
    tenant: Option<String>,
}

/// The slug of a tenant; `None` for the landlord's file.
pub struct Check(Option<Slug>);

impl FromBody for Check {
    type Wire = CheckBody;

    fn from_wire(wire: CheckBody, faults: &mut RequestFaults) -> Option<Self> {
        faults
            .optional("/tenant", wire.tenant.as_deref().map(Slug::parse))
            .map(Self)
    }
}

/// Checks a tenant's books, documents and stock against each other, or the landlord's file. Changes
/// nothing.
pub async fn check_integrity(
    landlord: Landlord,
    Body(Check(slug)): Body<Check>,
) -> Result<Json<Report>, Problem> {
    let Some(slug) = slug else {
        let check = |landlord: &Landlord| Ok(integrity::check_landlord(&landlord.app.stores)?);
        return landlord.blocking(check).await.map(Json);
    };
    let access = access(&landlord, slug.as_str()).await?;
    let check = move |landlord: &Landlord| {
        Ok(integrity::check_tenant(
            &landlord.app.stores,
            &landlord.app.ports,
            &access,
        )?)
    };
    landlord.blocking(check).await.map(Json)
}

/// Opens the file of an active or suspended tenant.
pub(super) async fn open(landlord: &Landlord, slug: &str) -> Result<Database<Tenant>, Problem> {
    open_shop(&landlord.app.stores, access(landlord, slug).await?).await
}

async fn access(landlord: &Landlord, slug: &str) -> Result<TenantAccess, Problem> {
    let not_found = || Problem::from(DirectoryRefused::TenantNotFound(slug.to_owned()));
    let named = Slug::parse(slug).map_err(|_| not_found())?;
    let access = landlord
        .app
        .stores
        .directory
        .tenant_of_slug(&named)
        .await?
        .ok_or_else(not_found)?;
    match access.status() {
        TenantStatus::Active | TenantStatus::Suspended => Ok(access),
        status => Err(DirectoryRefused::WrongStatus(status).into()),
    }
}
