//! What is done to a shop's file as a whole: `/v1/admin/tenants/{slug}/migrate`, `…/accept-loss`, `/v1/admin/integrity`.

use std::time::Duration;

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::extract::{Body, FromBody, House, PathText, open_shop};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::primitives::id::TenantId;
use crate::primitives::limits::LOCAL_REQUEST_MS;
use crate::primitives::{Origin, Slug};
use crate::storage::{Database, Tenant};
use crate::tenancy::commands::DirectoryRefused;
use crate::tenancy::marks::Ends;
use crate::tenancy::{TenantAccess, TenantStatus};
use crate::tenant::integrity::{self, Report};

/// Opens a shop's file, by which it is checked and whatever its schema lacks is migrated; also one that is held because the disk failed twice.
pub async fn migrate(house: House, PathText(slug): PathText<String>) -> Result<Json<Value>, Problem> {
    let id = access(&house, &slug).await?.id();
    house.app.registry.release(id);
    open(&house, &slug).await?;
    Ok(Json(json!({"slug": slug, "status": "migrated"})))
}

/// Takes a shop's file for what it is although it lacks what was acknowledged; the file that was set aside for that is taken back to its place.
pub async fn accept_loss(house: House, PathText(slug): PathText<String>) -> Result<Json<Value>, Problem> {
    let named = Slug::parse(&slug).map_err(|_| DirectoryRefused::TenantNotFound(slug.clone()))?;
    let accept = move |house: &House| Ok(house.app.provisioner.accept_loss(&house.origin, &named)?);
    let (known, found) = house.blocking(accept).await?;
    let of = |ends: Ends| json!({"ledger_seq": ends.ledger.seq, "audit_seq": ends.audit.seq});
    Ok(Json(
        json!({"slug": slug, "status": "accepted", "known": of(known), "found": of(found)}),
    ))
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
    let (id, origin) = (TenantId::from_bytes(db.file_id()), house.origin.clone());
    let mark = house.blocking(move |house: &House| Ok(house.app.registry.find_mark(id)?)).await?;
    let report: Result<_, Problem> = db
        .read_within(Duration::from_millis(LOCAL_REQUEST_MS), move |view| {
            let mut report = integrity::check(view)?;
            integrity::check_mark(view, mark.as_ref(), &mut report)?;
            Ok(report)
        })
        .await;
    let report = report?;
    note_security(&origin, id, &report);
    Ok(Json(report))
}

/// What was found is for whoever watches the security log as well: a line for each check that found something.
fn note_security(origin: &Origin, tenant_id: TenantId, report: &Report) {
    let request_id = &origin.request_id;
    for (check, found) in report.checks.iter().filter(|(_, found)| **found > 0) {
        let first = report.mismatches.iter().find(|mismatch| mismatch.check == *check);
        let first = first.map(|mismatch| mismatch.detail.as_str());
        let what = if *check == "snapshots" {
            "snapshot mismatch"
        } else {
            "integrity mismatch"
        };
        tracing::warn!(target: "security", request_id, %tenant_id, check, found, first, "{what}");
    }
}

/// The file of an active or suspended tenant.
pub(super) async fn open(house: &House, slug: &str) -> Result<Database<Tenant>, Problem> {
    open_shop(&house.app, access(house, slug).await?).await
}

async fn access(house: &House, slug: &str) -> Result<TenantAccess, Problem> {
    let absent = || Problem::from(DirectoryRefused::TenantNotFound(slug.to_owned()));
    let named = Slug::parse(slug).map_err(|_| absent())?;
    let access = house.app.directory.tenant_of_slug(&named).await?.ok_or_else(absent)?;
    match access.status() {
        TenantStatus::Active | TenantStatus::Suspended => Ok(access),
        status => Err(DirectoryRefused::WrongStatus(status).into()),
    }
}
