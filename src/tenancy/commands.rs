//! Commands and queries on the landlord's file: plain functions over its work and view.

use serde_json::json;

use super::access::{Scopes, TenantAccess, TenantStatus};
use super::keys::NewKey;
use crate::platform::audit;
use crate::platform::page::{Page, PageRequest, with_seq};
use crate::primitives::id::{ApiKeyId, TenantId};
use crate::primitives::{Currency, Digest, HostName, Name, Slug, Timestamp, refusals};
use crate::storage::{LandlordView, LandlordWork, Row, Rows, StorageError, params, statements};

statements! {
    FIND_BY_SLUG = "SELECT id, slug, status FROM tenant WHERE slug = ?1";
    FIND_BY_ID = "SELECT id, slug, status FROM tenant WHERE id = ?1";
    FIND_BY_HOST = "SELECT t.id, t.slug, t.status FROM tenant_domain d JOIN tenant t ON t.id = \
        d.tenant_id WHERE d.host = ?1";
    FIND_LIVE_KEY = "SELECT k.id AS key_id, k.hash, k.scopes, t.id, t.slug, t.status FROM api_key \
        k LEFT JOIN tenant t ON t.id = k.tenant_id
                     WHERE k.prefix = ?1 AND k.revoked_at IS NULL";
    LIST_STATUS = "SELECT id, slug, status FROM tenant WHERE status = ?1 ORDER BY seq";
    LIST_ACCESS = "SELECT id, slug, status FROM tenant WHERE status IN ('active', 'suspended') \
        ORDER BY seq";
    PAGE_ACCESS = "SELECT seq, id, slug, status FROM tenant WHERE seq >= ?1 AND status IN \
        ('active', 'suspended') ORDER BY seq LIMIT ?2";
    TENANT = "SELECT id, slug, name, currency, status, created_at,
              (SELECT json_group_array(host ORDER BY host) FROM tenant_domain WHERE tenant_id = \
              tenant.id) AS domains FROM tenant WHERE slug = ?1";
    TENANTS = "SELECT seq, id, slug, name, currency, status, created_at,
              (SELECT json_group_array(host ORDER BY host) FROM tenant_domain WHERE tenant_id = \
              tenant.id) AS domains FROM tenant WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
    INSERT_TENANT = "INSERT INTO tenant (id, slug, name, currency, status, created_at, updated_at) \
        VALUES (?1, ?2, ?3, ?4, 'creating', ?5, ?5)";
    SET_STATUS = "UPDATE tenant SET status = ?2, updated_at = ?3 WHERE id = ?1";
    DELETE_TENANT = "DELETE FROM tenant WHERE id = ?1 AND status IN ('creating', 'deleting')";
    HOST_OWNER = "SELECT tenant_id FROM tenant_domain WHERE host = ?1";
    INSERT_DOMAIN = "INSERT INTO tenant_domain (host, tenant_id) VALUES (?1, ?2)";
    INSERT_KEY = "INSERT INTO api_key (id, tenant_id, name, prefix, hash, scopes, created_at) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    KEYS_OF_TENANT = "SELECT id, name, prefix, scopes, created_at, last_used_at, revoked_at, seq \
        FROM api_key WHERE tenant_id = ?3 AND seq < ?1 ORDER BY seq DESC LIMIT ?2";
    KEYS_OF_LANDLORD = "SELECT id, name, prefix, scopes, created_at, last_used_at, revoked_at, seq \
        FROM api_key WHERE tenant_id IS NULL AND seq < ?1 ORDER BY seq DESC LIMIT ?2";
    REVOKE_KEY = "UPDATE api_key SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
    SET_LAST_USED = "UPDATE api_key SET last_used_at = ?2 WHERE id = ?1";
}

/// A tenant as listed.
#[derive(Clone, Debug)]
pub struct TenantRow {
    pub id: TenantId,
    pub slug: Slug,
    pub name: Name,
    /// The base currency.
    pub currency: Currency,
    pub status: TenantStatus,
    pub created_at: Timestamp,
    /// The host names of its storefront.
    pub domains: Vec<String>,
}

/// A key as listed.
#[derive(Clone, Debug)]
pub struct KeyRow {
    pub id: ApiKeyId,
    /// The purpose of the key.
    pub name: Name,
    /// The public part of the key.
    pub prefix: String,
    pub scopes: Scopes,
    pub created_at: Timestamp,
    /// The time of its last use, to about a minute.
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A key that is not revoked.
pub(super) struct LiveKey {
    pub(super) id: ApiKeyId,
    pub(super) hash: Digest,
    pub(super) scopes: Scopes,
    pub(super) access: Option<TenantAccess>,
}

refusals! {
    /// The reason why a change of the directory is refused; the first that applies wins, in this
    /// order.
    pub enum DirectoryRefused {
        TenantNotFound(String): NotFound "tenant_not_found",
            "there is no tenant `{0}`; `tillbox tenant list` shows those there are";
        SlugTaken(Slug): Conflict "slug_taken", "the slug `{0}` is in use; choose another one";
        /// The host name belongs to another tenant.
        DomainTaken(HostName): Conflict "domain_taken",
            "the domain `{0}` belongs to another tenant; choose another one";
        /// The tenant is in a status that does not allow the change.
        WrongStatus(TenantStatus): Conflict "tenant_status",
            "the tenant is {0}; only an active or suspended tenant can be changed";
        /// The tenant's file is open, so it contains all acknowledged changes.
        NothingLost: Conflict "nothing_lost",
            "the tenant is open: its file contains all acknowledged changes, and there is no loss \
             to accept";
        /// The key does not exist or is revoked.
        KeyNotFound: NotFound "api_key_not_found",
            "there is no such active key; list the keys to find its id";
    }
    inherits { Storage(StorageError) }
}

fn access(row: &Row<'_>) -> rusqlite::Result<TenantAccess> {
    Ok(TenantAccess::new(
        row.get("id")?,
        row.get("slug")?,
        row.get("status")?,
    ))
}

fn tenant_row(row: &Row<'_>) -> rusqlite::Result<TenantRow> {
    let domains: String = row.get("domains")?;
    Ok(TenantRow {
        id: row.get("id")?,
        slug: row.get("slug")?,
        name: row.get("name")?,
        currency: row.get("currency")?,
        status: row.get("status")?,
        created_at: row.get("created_at")?,
        domains: serde_json::from_str(&domains).unwrap_or_default(),
    })
}

pub(super) fn find_by_slug(
    view: &LandlordView,
    slug: &Slug,
) -> Result<Option<TenantAccess>, StorageError> {
    view.find(&FIND_BY_SLUG, params![slug], access)
}

pub(super) fn find_by_id(
    view: &LandlordView,
    id: TenantId,
) -> Result<Option<TenantAccess>, StorageError> {
    view.find(&FIND_BY_ID, params![id], access)
}

pub(super) fn find_by_host(
    view: &LandlordView,
    host: &HostName,
) -> Result<Option<TenantAccess>, StorageError> {
    view.find(&FIND_BY_HOST, params![host], access)
}

pub(super) fn find_live_key(
    view: &LandlordView,
    prefix: &str,
) -> Result<Option<LiveKey>, StorageError> {
    view.find(&FIND_LIVE_KEY, params![prefix], |row| {
        let has_tenant = row.get::<_, Option<TenantId>>("id")?.is_some();
        let access = if has_tenant { Some(access(row)?) } else { None };
        Ok(LiveKey {
            id: row.get("key_id")?,
            hash: row.get("hash")?,
            scopes: Scopes::parse_stored(&row.get::<_, String>("scopes")?),
            access,
        })
    })
}

/// Lists the tenants in one status, the oldest first.
pub fn list_in_status(
    view: &LandlordView,
    status: TenantStatus,
) -> Result<Vec<TenantAccess>, StorageError> {
    view.all(&LIST_STATUS, params![status], access)
}

/// Lists the tenants that have a file, active and suspended ones, the oldest first.
pub fn list_with_file(view: &LandlordView) -> Result<Vec<TenantAccess>, StorageError> {
    view.all(&LIST_ACCESS, [], access)
}

/// Lists tenants that have a file with their `seq`, from a `seq` on, the oldest first.
pub fn list_with_file_from(
    view: &LandlordView,
    from_seq: i64,
    limit: u32,
) -> Result<Vec<(i64, TenantAccess)>, StorageError> {
    view.all(&PAGE_ACCESS, params![from_seq, limit], with_seq(access))
}

pub fn list_tenants(
    view: &LandlordView,
    page: PageRequest,
) -> Result<Page<TenantRow>, StorageError> {
    page.read(view, &TENANTS, tenant_row)
}

/// Finds a tenant by its slug; `TenantNotFound` when there is none.
pub fn show_tenant(view: &LandlordView, slug: &str) -> Result<TenantRow, DirectoryRefused> {
    let found = view.find(&TENANT, params![slug], tenant_row)?;
    found.ok_or_else(|| DirectoryRefused::TenantNotFound(slug.to_owned()))
}

/// Records a tenant that is about to be created. `SlugTaken`, `DomainTaken`, or the storage's
/// error.
pub(super) fn begin_tenant(
    work: &mut LandlordWork,
    id: TenantId,
    slug: &Slug,
    name: &Name,
    currency: Currency,
    domains: &[HostName],
) -> Result<(), DirectoryRefused> {
    if find_by_slug(work, slug)?.is_some() {
        return Err(DirectoryRefused::SlugTaken(slug.clone()));
    }
    let now = work.now();
    work.insert(&INSERT_TENANT, params![id, slug, name, currency, now])?;
    domains
        .iter()
        .try_for_each(|host| insert_domain(work, id, host))
}

fn insert_domain(
    work: &mut LandlordWork,
    id: TenantId,
    host: &HostName,
) -> Result<(), DirectoryRefused> {
    match work.find(&HOST_OWNER, params![host], |row| row.get::<_, TenantId>(0))? {
        Some(owner) if owner == id => Ok(()),
        Some(_) => Err(DirectoryRefused::DomainTaken(host.clone())),
        None => Ok(work.insert(&INSERT_DOMAIN, params![host, id])?),
    }
}

/// Adds a host name to a tenant; repeating it changes nothing. `TenantNotFound`, `DomainTaken`, or
/// the storage's error.
pub fn add_domain(
    work: &mut LandlordWork,
    slug: &Slug,
    host: &HostName,
) -> Result<TenantRow, DirectoryRefused> {
    let tenant = show_tenant(work, slug.as_str())?;
    insert_domain(work, tenant.id, host)?;
    audit::record(
        work,
        "tenant.domain_added",
        &format!("tenant:{}", tenant.id),
        json!({"host": host}),
    )?;
    show_tenant(work, slug.as_str())
}

pub(super) fn set_status(
    work: &mut LandlordWork,
    id: TenantId,
    status: TenantStatus,
    action: &str,
) -> Result<(), StorageError> {
    let now = work.now();
    work.change(&SET_STATUS, params![id, status, now], Rows::Exactly(1))?;
    audit::record(work, action, &format!("tenant:{id}"), json!({}))
}

/// Suspends or resumes a tenant; repeating it changes nothing. `TenantNotFound`, `WrongStatus` for
/// a tenant that is being created or removed, or the storage's error.
pub fn set_suspended(
    work: &mut LandlordWork,
    slug: &Slug,
    suspended: bool,
) -> Result<TenantRow, DirectoryRefused> {
    let tenant = show_tenant(work, slug.as_str())?;
    let (to, action) = if suspended {
        (TenantStatus::Suspended, "tenant.suspended")
    } else {
        (TenantStatus::Active, "tenant.resumed")
    };
    match tenant.status {
        status if status == to => {}
        TenantStatus::Active | TenantStatus::Suspended => set_status(work, tenant.id, to, action)?,
        status => return Err(DirectoryRefused::WrongStatus(status)),
    }
    show_tenant(work, slug.as_str())
}

/// Deletes the row of a tenant whose file is removed.
pub(super) fn remove_tenant(
    work: &mut LandlordWork,
    id: TenantId,
    action: &str,
) -> Result<(), StorageError> {
    work.change(&DELETE_TENANT, params![id], Rows::AtMostOne)?;
    audit::record(work, action, &format!("tenant:{id}"), json!({}))
}

/// Stores a key's hash. Without a tenant it is a landlord key.
pub fn insert_key(
    work: &mut LandlordWork,
    tenant: Option<TenantId>,
    name: &Name,
    scopes: Scopes,
    key: &NewKey,
) -> Result<ApiKeyId, StorageError> {
    let (id, now) = (
        work.new_id::<crate::primitives::id::ApiKeyKind>(),
        work.now(),
    );
    work.insert(
        &INSERT_KEY,
        params![
            id,
            tenant,
            name,
            key.prefix,
            key.hash,
            scopes.to_string(),
            now
        ],
    )?;
    audit::record(
        work,
        "api_key.created",
        &format!("api_key:{id}"),
        json!({"prefix": key.prefix, "scopes": scopes.to_string()}),
    )?;
    Ok(id)
}

/// Lists a page of the keys of a tenant, or of the landlord.
pub fn list_keys(
    view: &LandlordView,
    page: PageRequest,
    tenant: Option<TenantId>,
) -> Result<Page<KeyRow>, StorageError> {
    let map = with_seq(|row| {
        Ok(KeyRow {
            id: row.get("id")?,
            name: row.get("name")?,
            prefix: row.get("prefix")?,
            scopes: Scopes::parse_stored(&row.get::<_, String>("scopes")?),
            created_at: row.get("created_at")?,
            last_used_at: row.get("last_used_at")?,
            revoked_at: row.get("revoked_at")?,
        })
    });
    let rows = match tenant {
        Some(id) => view.all(&KEYS_OF_TENANT, params![page.before, page.fetch(), id], map)?,
        None => view.all(&KEYS_OF_LANDLORD, params![page.before, page.fetch()], map)?,
    };
    Ok(Page::cut(rows, page))
}

/// Revokes a key, effective before the answer. `KeyNotFound`, or the storage's error.
pub fn revoke_key(work: &mut LandlordWork, id: ApiKeyId) -> Result<(), DirectoryRefused> {
    let now = work.now();
    if work.change(&REVOKE_KEY, params![id, now], Rows::AtMostOne)? == 0 {
        return Err(DirectoryRefused::KeyNotFound);
    }
    Ok(audit::record(
        work,
        "api_key.revoked",
        &format!("api_key:{id}"),
        json!({}),
    )?)
}

pub(super) fn set_last_used(
    work: &mut LandlordWork,
    id: ApiKeyId,
    at: Timestamp,
) -> Result<(), StorageError> {
    work.change(&SET_LAST_USED, params![id, at], Rows::AtMostOne)
        .map(drop)
}

/// Records an operation on jobs in a tenant's file; that file's own log has it from the transaction
/// of the operation.
pub fn record_jobs_audit(
    work: &mut LandlordWork,
    action: &str,
    subject: &str,
    tenant: TenantId,
    mut details: serde_json::Value,
) -> Result<(), StorageError> {
    details["tenant_id"] = json!(tenant);
    audit::record(work, action, subject, details)
}
