//! Walks through the tenants' files for landlord calls, a few tenants at a time.
//!
//! A tenant whose file cannot be used does not stop the others. When the call names one tenant, it
//! fails with that tenant's problem; otherwise the tenant's slug is reported beside the results of
//! the others. All of this blocks.

use http::StatusCode;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::app::Stores;
use crate::http::problem::Problem;
use crate::primitives::Slug;
use crate::primitives::id::JobId;
use crate::primitives::limits::WALK_TENANTS_MAX;
use crate::storage::{Database, Tenant};
use crate::tenancy::commands::{self, DirectoryRefused};
use crate::tenancy::{TenantAccess, TenantStatus};
use crate::tenant::jobs::{self, JobRefused};

/// The cursor of such a call, for the API description.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description; `WalkBeside` reads the query")]
pub struct CursorParams {
    /// The `next_cursor` of the previous call.
    cursor: Option<String>,
}

/// Returns the tenant that a query names, by slug or id.
pub async fn named(stores: &Stores, text: Option<&str>) -> Result<Option<TenantAccess>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let slug = super::tenants::slug_in_path(stores, text).await?;
    let found = stores.directory.tenant_of_slug(&slug).await?;
    let access = found.ok_or_else(|| DirectoryRefused::TenantNotFound(text.to_owned()))?;
    match access.status() {
        TenantStatus::Active | TenantStatus::Suspended => Ok(Some(access)),
        status => Err(DirectoryRefused::WrongStatus(status).into()),
    }
}

/// A batch of tenants, each with its position.
pub struct TenantBatch {
    /// The tenants.
    pub batch: Vec<(i64, TenantAccess)>,
    /// The position of the next tenant after them; `None` at the end.
    pub next: Option<i64>,
    /// Whether the caller named the tenant.
    is_named: bool,
}

impl TenantBatch {
    /// Returns the named tenant, or the next few from a position on.
    pub fn from(
        stores: &Stores,
        named: Option<TenantAccess>,
        position: i64,
    ) -> Result<Self, Problem> {
        if let Some(access) = named {
            return Ok(Self {
                batch: vec![(0, access)],
                next: None,
                is_named: true,
            });
        }
        let fetch = WALK_TENANTS_MAX + 1;
        let read = stores
            .directory
            .read(move |view| commands::list_with_file_from(view, position, fetch));
        let mut batch = read.wait()?;
        let next = if batch.len() == fetch as usize {
            batch.pop()
        } else {
            None
        };
        Ok(Self {
            batch,
            next: next.map(|(position, _)| position),
            is_named: false,
        })
    }

    /// Whether the caller named the tenant.
    pub const fn is_named(&self) -> bool {
        self.is_named
    }

    /// Reads a tenant's file. Adds its slug to `unavailable` when the file cannot be used and the
    /// caller did not name it.
    pub fn read_tenant<R>(
        &self,
        stores: &Stores,
        access: &TenantAccess,
        unavailable: &mut Vec<Slug>,
        read: impl FnOnce(&Database<Tenant>) -> Result<R, Problem>,
    ) -> Result<Option<R>, Problem> {
        let result = stores
            .registry
            .open(access)
            .map_err(Problem::from)
            .and_then(|db| read(&db));
        match result {
            Ok(found) => Ok(Some(found)),
            Err(problem) if self.is_named => Err(problem),
            Err(problem) => {
                // Failures to open a file are in the log already; others are not.
                if problem.code() != "tenant_unavailable" {
                    log_skipped("a list", access, &problem);
                }
                unavailable.push(access.slug().clone());
                Ok(None)
            }
        }
    }
}

/// A tenant for which the call failed, and the reason.
#[derive(Serialize, ToSchema)]
pub struct FailedView {
    tenant: Slug,
    /// The code that a call for this tenant alone would get.
    code: &'static str,
    /// The explanation, for people.
    detail: String,
}

impl FailedView {
    /// Logs the failure with its cause and returns its view. Nothing else logs it, because the call
    /// itself succeeds.
    pub fn logged(call: &'static str, access: &TenantAccess, problem: &Problem) -> Self {
        log_skipped(call, access, problem);
        let detail = if problem.status() == StatusCode::INTERNAL_SERVER_ERROR {
            "internal error; the log has the cause under the tenant's id"
        } else {
            problem.detail()
        };
        Self {
            tenant: access.slug().clone(),
            code: problem.code(),
            detail: detail.to_owned(),
        }
    }
}

fn log_skipped(call: &'static str, access: &TenantAccess, problem: &Problem) {
    let error = problem.cause().unwrap_or_else(|| problem.detail());
    tracing::warn!(tenant_id = %access.id(), call, code = problem.code(), error, "tenant skipped");
}

/// Finds the tenant in whose file a job is: the named one, or any. Open files are searched first.
pub fn tenant_of_job(
    stores: &Stores,
    named: Option<TenantAccess>,
    id: JobId,
) -> Result<(TenantAccess, Database<Tenant>), Problem> {
    let has = |db: &Database<Tenant>| db.read(move |view| jobs::has_job(view, id)).wait();
    if let Some(access) = named {
        let db = stores.registry.open(&access)?;
        return if has(&db)? {
            Ok((access, db))
        } else {
            Err(JobRefused::NotFound.into())
        };
    }
    let mut tenants = stores.directory.read(commands::list_with_file).wait()?;
    tenants.sort_by_key(|access| stores.registry.peek(access.id()).is_none());
    for access in tenants {
        let found = stores
            .registry
            .open(&access)
            .ok()
            .filter(|db| has(db).unwrap_or(false));
        if let Some(db) = found {
            return Ok((access, db));
        }
    }
    Err(JobRefused::NotFound.into())
}
