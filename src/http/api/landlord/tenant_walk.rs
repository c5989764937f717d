//! For the landlord's calls that look into the stores' files: which ones, one after the other, so
//! many at a time.
//!
//! A store whose file cannot be used hinders nobody: where one store was named, the call is refused
//! with its trouble; where all were asked for, its slug is told beside what was found in the
//! others. All of this blocks.

use http::StatusCode;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::http::problem::Problem;
use crate::primitives::Slug;
use crate::primitives::id::JobId;
use crate::primitives::limits::WALK_TENANTS_MAX;
use crate::storage::{Database, Tenant};
use crate::tenancy::commands::{self, DirectoryRefused};
use crate::tenancy::{TenantAccess, TenantStatus};
use crate::tenant::jobs::{self, JobRefused};

/// Where such a call goes on, for its description.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description; `WalkBeside` reads the query")]
pub struct CursorParams {
    /// The `next_cursor` of the call before.
    cursor: Option<String>,
}

/// The tenant that a query names, by its slug or by its id.
pub async fn named(app: &App, text: Option<&str>) -> Result<Option<TenantAccess>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let slug = super::tenants::slug_in_path(app, text).await?;
    let found = app.directory.tenant_of_slug(&slug).await?;
    let access = found.ok_or_else(|| DirectoryRefused::TenantNotFound(text.to_owned()))?;
    match access.status() {
        TenantStatus::Active | TenantStatus::Suspended => Ok(Some(access)),
        status => Err(DirectoryRefused::WrongStatus(status).into()),
    }
}

/// Tenants to look into, each with its place.
pub struct Tenants {
    /// The stores.
    pub some: Vec<(i64, TenantAccess)>,
    /// The place of the next one after them; `None` when they are the last.
    pub next: Option<i64>,
    /// Whether it is one that the caller named.
    is_named: bool,
}

impl Tenants {
    /// The one that is named; or the next few, from a place on.
    pub fn from(app: &App, named: Option<TenantAccess>, place: i64) -> Result<Self, Problem> {
        if let Some(access) = named {
            return Ok(Self {
                some: vec![(0, access)],
                next: None,
                is_named: true,
            });
        }
        let fetch = WALK_TENANTS_MAX + 1;
        let read = app
            .directory
            .read(move |view| commands::list_with_file_from(view, place, fetch));
        let mut some = read.wait()?;
        let next = if some.len() == fetch as usize {
            some.pop()
        } else {
            None
        };
        Ok(Self {
            some,
            next: next.map(|(place, _)| place),
            is_named: false,
        })
    }

    /// Whether it is one that the caller named.
    pub const fn is_named(&self) -> bool {
        self.is_named
    }

    /// Looks into a store's file; notes its slug when it cannot be used and was not asked for by
    /// name.
    pub fn look<R>(
        &self,
        app: &App,
        access: &TenantAccess,
        unavailable: &mut Vec<Slug>,
        look: impl FnOnce(&Database<Tenant>) -> Result<R, Problem>,
    ) -> Result<Option<R>, Problem> {
        let looked = app
            .registry
            .open(access)
            .map_err(Problem::from)
            .and_then(|db| look(&db));
        match looked {
            Ok(found) => Ok(Some(found)),
            Err(problem) if self.is_named => Err(problem),
            Err(problem) => {
                // What keeps a file from being opened is in the log already; what else may go wrong
                // there is not.
                if problem.code() != "tenant_unavailable" {
                    note_passed_over("a list", access, &problem);
                }
                unavailable.push(access.slug().clone());
                Ok(None)
            }
        }
    }
}

/// A store in which what was asked of all failed, and why.
#[derive(Serialize, ToSchema)]
pub struct FailedView {
    tenant: Slug,
    /// The code that a call for this store alone would be refused with.
    code: &'static str,
    /// What is wrong, for a person.
    detail: String,
}

impl FailedView {
    /// The view of it, and a line in the log with the cause: nobody else says it, because the call
    /// itself succeeds.
    pub fn noted(what: &'static str, access: &TenantAccess, problem: &Problem) -> Self {
        note_passed_over(what, access, problem);
        let detail = if problem.status() == StatusCode::INTERNAL_SERVER_ERROR {
            "an internal fault; the log says which, with the store's id"
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

fn note_passed_over(what: &'static str, access: &TenantAccess, problem: &Problem) {
    let error = problem.cause().unwrap_or_else(|| problem.detail());
    tracing::warn!(tenant_id = %access.id(), what, code = problem.code(), error, "a store was \
        passed over");
}

/// The store in whose file a job is: the one that is named, or else whichever has it. Those that
/// are open are asked first.
pub fn tenant_of_job(
    app: &App,
    named: Option<TenantAccess>,
    id: JobId,
) -> Result<(TenantAccess, Database<Tenant>), Problem> {
    let has = |db: &Database<Tenant>| db.read(move |view| jobs::has_job(view, id)).wait();
    if let Some(access) = named {
        let db = app.registry.open(&access)?;
        return if has(&db)? {
            Ok((access, db))
        } else {
            Err(JobRefused::NotFound.into())
        };
    }
    let mut stores = app.directory.read(commands::list_with_file).wait()?;
    stores.sort_by_key(|access| app.registry.peek(access.id()).is_none());
    for access in stores {
        let found = app
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
