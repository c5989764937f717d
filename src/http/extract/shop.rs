//! The caller's shop: resolved by key, host or header, checked for scope and status, with its file
//! open. Handlers read and write through it.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use http::header::HOST;
use http::request::Parts;

use super::caller::{Local, principal, request_id};
use crate::app::{App, Limits, Stores};
use crate::config::{ByteSize, Server};
use crate::http::client_address::{client_address, peer_address};
use crate::http::limit;
use crate::http::problem::Problem;
use crate::http::wire::peer::Peer;
use crate::primitives::id::TenantId;
use crate::primitives::{Actor, Class, ClientHash, HostName, Origin, Slug};
use crate::rate_limit::{Caller, LineKind};
use crate::storage::{Database, StorageError, StorageErrorKind, Tenant, TenantView, TenantWork};
use crate::tenancy::access::TenantStatus;
use crate::tenancy::shares::Growth;
use crate::tenancy::{Principal, Scope, TenantAccess};
use crate::tenant::Policy;

/// The permission that a route requires.
pub trait Permission: Send + Sync + 'static {
    /// The scopes; the key must have one of them.
    const SCOPES: &'static [Scope];
    /// Whether the storefront may call the route without a key.
    const PUBLIC: bool;
    /// The disk space that writes of the route may use.
    const SPACE: DiskUse;
}

/// The disk space that a write may use. Without a key, the tenant's share always bounds it, unless
/// it may use the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskUse {
    /// The tenant's share: for routes that only add data.
    Share,
    /// The disk without its reserve.
    Disk,
    /// The reserve too: for calls that must work when the disk is nearly full.
    Reserve,
}

/// The permissions of routes, as types.
pub mod permission {
    use super::{DiskUse, Permission, Scope};

    macro_rules! permissions {
        ($($(#[$doc:meta])* $name:ident = [$($scope:ident),+], $public:literal,
            $space:ident;)*) => {$(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}
            impl Permission for $name {
                const SCOPES: &'static [Scope] = &[$(Scope::$scope),+];
                const PUBLIC: bool = $public;
                const SPACE: DiskUse = DiskUse::$space;
            }
        )*};
    }

    permissions! {
        /// Reading the catalog; open to the storefront, and to keys that sell.
        CatalogRead = [CatalogRead, CatalogWrite, Checkout, Pos], true, Disk;
        /// Changing the catalog and its taxes.
        CatalogWrite = [CatalogWrite], false, Share;
        /// Carts; open to the storefront.
        Checkout = [Checkout], true, Share;
        /// Checkout of a cart, which is a sale; open to the storefront.
        PlaceOrder = [Checkout], true, Disk;
        Orders = [Orders], false, Disk;
        CancelOrder = [Orders], false, Reserve;
        Payments = [Payments], false, Disk;
        CancelPayment = [Payments], false, Reserve;
        /// Confirming a payment: for the shop's own systems, never the storefront.
        ConfirmPayment = [Payments, Checkout], false, Disk;
        Inventory = [Inventory], false, Disk;
        Finance = [Finance], false, Disk;
        Reports = [Reports], false, Disk;
        Pos = [Pos], false, Disk;
        Admin = [Admin], false, Disk;
    }
}

/// The caller's shop.
pub struct Shop<P> {
    app: Arc<App>,
    pub(super) db: Database<Tenant>,
    tenant_id: TenantId,
    origin: Origin,
    client: Option<ClientHash>,
    permission: PhantomData<fn() -> P>,
}

/// Refuses a write when the free disk space is below the reserve.
pub(in crate::http) fn require_room(limits: &Limits, reserve: ByteSize) -> Result<(), Problem> {
    if !limits.space.is_short() {
        return Ok(());
    }
    let detail = format!(
        "the free disk space is below the reserve of {reserve}; nothing was written; free some \
        space and try again with the same key; reading and cancelling still work"
    );
    Err(Problem::new(Class::StorageFull, "storage_full", detail))
}

impl<P: Permission> Shop<P> {
    /// Returns the configured selling policy.
    pub fn policy(&self) -> Arc<Policy> {
        self.app.policy.clone()
    }

    pub(super) const fn app(&self) -> &Arc<App> {
        &self.app
    }

    pub(super) const fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }

    /// Writes a line to the security log, within the limit of its kind.
    pub fn log_security_event(&self, kind: LineKind, message: &str, subject: &str) {
        let origin = &self.origin;
        let key = match origin.actor {
            Actor::ApiKey(key) => Some(key),
            _ => None,
        };
        if !self.app.limits.log_lines.admits_key(kind, key) {
            return;
        }
        tracing::warn!(target: "security", tenant_id = %self.tenant_id, actor = %origin.actor,
            request_id = origin.request_id, subject, "{message}");
    }

    /// Whether the caller is the storefront, without a key.
    pub fn is_storefront(&self) -> bool {
        self.origin.actor == Actor::Storefront
    }

    /// The client of a call without a key, whose carts and unpaid orders are bounded. `None` for
    /// calls with a key and for the operator.
    pub const fn client(&self) -> Option<ClientHash> {
        self.client
    }

    /// Returns the client at an address, as this tenant's file stores it.
    pub fn client_at(&self, address: IpAddr) -> ClientHash {
        client_of(self.tenant_id, address)
    }

    /// Runs a short read: a row, a page.
    ///
    /// # Errors
    /// The problem that `f` returns.
    pub async fn read<R, F>(&self, f: F) -> Result<R, Problem>
    where
        F: FnOnce(&TenantView) -> Result<R, Problem> + Send + 'static,
        R: Send + Unpin + 'static,
    {
        self.db.read(f).await
    }

    /// Runs a long read: a report.
    ///
    /// # Errors
    /// The problem that `f` returns.
    pub async fn read_long<R, F>(&self, f: F) -> Result<R, Problem>
    where
        F: FnOnce(&TenantView) -> Result<R, Problem> + Send + 'static,
        R: Send + Unpin + 'static,
    {
        self.db.read_long(f).await
    }

    /// Runs a write transaction; the result is returned when it is on disk.
    ///
    /// # Errors
    /// The problem that `f` returns; nothing was written then.
    pub async fn write<R, F>(&self, f: F) -> Result<R, Problem>
    where
        F: FnMut(&mut TenantWork) -> Result<R, Problem> + Send + 'static,
        R: Send + Unpin + 'static,
    {
        self.room_check()()?;
        self.write_unchecked(f).await
    }

    /// Returns a check that refuses when the disk has no room for this write.
    pub(super) fn room_check(&self) -> impl Fn() -> Result<(), Problem> + Send + use<P> {
        let (app, id) = (self.app.clone(), self.tenant_id);
        let growth = match (self.is_storefront(), P::SPACE) {
            (true, _) => Some(Growth::Storefront),
            (false, DiskUse::Share) => Some(Growth::Keyed),
            (false, DiskUse::Disk | DiskUse::Reserve) => None,
        };
        move || {
            if P::SPACE == DiskUse::Reserve {
                return Ok(());
            }
            require_room(&app.limits, app.config.storage.disk_reserve)?;
            growth.map_or(Ok(()), |growth| {
                Ok(app.limits.shares.require(id, growth)?)
            })
        }
    }

    /// As [`write`](Self::write), without the check for room.
    pub(super) async fn write_unchecked<R, F>(&self, f: F) -> Result<R, Problem>
    where
        F: FnMut(&mut TenantWork) -> Result<R, Problem> + Send + 'static,
        R: Send + Unpin + 'static,
    {
        self.db.write(self.origin.clone(), f).await
    }
}

impl<P: Permission> FromRequestParts<Arc<App>> for Shop<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let principal = principal(parts, &app.stores, &app.ports).await?;
        let access = resolve::<P>(parts, &app.stores, &app.limits, principal.as_ref()).await?;
        tracing::Span::current().record("tenant_id", tracing::field::display(access.id()));
        let is_local = parts.extensions.get::<Local>().is_some();
        if principal.is_none() && !is_local && !parts.method.is_safe() {
            limit::charge_tenant(&app.limits, access.id())?;
        }
        require_active(access.status())?;
        if let Some(principal) = &principal
            && !P::SCOPES
                .iter()
                .any(|scope| principal.scopes.contains(*scope))
        {
            let detail = format!(
                "this API key lacks the scope `{}`; use a key that has it",
                P::SCOPES[0]
            );
            return Err(Problem::new(Class::Forbidden, "insufficient_scope", detail));
        }
        let actor = match &principal {
            Some(principal) => Actor::ApiKey(principal.key_id),
            None if is_local => Actor::Operator,
            None => Actor::Storefront,
        };
        let tenant_id = access.id();
        let db = open(&app.stores, access)
            .await
            .map_err(|problem| match actor {
                Actor::Operator => problem,
                _ => problem.without_operator_details(),
            })?;
        let origin = Origin {
            actor,
            request_id: request_id(parts),
        };
        let client = (actor == Actor::Storefront)
            .then(|| client_of(tenant_id, address_of(parts, &app.config.server)));
        Ok(Self {
            app: app.clone(),
            db,
            tenant_id,
            origin,
            client,
            permission: PhantomData,
        })
    }
}

/// Returns the client's address, or the proxy's when it names no client.
fn address_of(parts: &Parts, server: &Server) -> IpAddr {
    let peer = parts.extensions.get::<Peer>().and_then(|peer| peer.0);
    client_address(
        peer_address(peer),
        &parts.headers,
        &server.trusted_proxies,
        server.forwarded_header,
    )
}

fn client_of(tenant: TenantId, address: IpAddr) -> ClientHash {
    // For IPv6 the /64 network, as in the rate limits.
    let network = match Caller::of_address(address) {
        Caller::Address(network) => network,
        Caller::Key(_) | Caller::Tenant(_) => address,
    };
    ClientHash::of(tenant.as_bytes(), network)
}

/// Refuses a tenant that is not active. One that is being created or deleted does not exist for
/// callers: its data would be lost with its file.
fn require_active(status: TenantStatus) -> Result<(), Problem> {
    match status {
        TenantStatus::Active => Ok(()),
        TenantStatus::Suspended => Err(Problem::new(
            Class::Forbidden,
            "tenant_suspended",
            "this shop is suspended; its operator can resume it",
        )),
        TenantStatus::Creating | TenantStatus::Deleting => Err(Problem::new(
            Class::NotFound,
            "tenant_not_found",
            "this shop is being created or deleted; try again later",
        )),
    }
}

/// Opens a tenant's file: immediately when it is open already, otherwise on a blocking thread, of
/// which each tenant uses one.
pub(in crate::http) async fn open(
    stores: &Stores,
    access: TenantAccess,
) -> Result<Database<Tenant>, Problem> {
    if let Some(db) = stores.registry.get(&access) {
        return Ok(db);
    }
    let gate = stores.registry.gate(access.id());
    let _waiting = gate
        .waiters
        .try_acquire()
        .map_err(|_| StorageError::new(StorageErrorKind::Overloaded))?;
    let _permit = gate
        .opener
        .acquire()
        .await
        .expect("the gate is never closed");
    if let Some(db) = stores.registry.get(&access) {
        return Ok(db);
    }
    let registry = stores.registry.clone();
    let opened = tokio::task::spawn_blocking(move || registry.open(&access)).await;
    Ok(opened.map_err(|_| {
        Problem::new(
            Class::Internal,
            "internal_error",
            "the shop could not be opened; the log has the cause under this request_id",
        )
    })??)
}

/// Resolves the tenant of a request. The key decides. A host or header that names another tenant is
/// a mismatch, which is logged as a security event.
async fn resolve<P: Permission>(
    parts: &Parts,
    stores: &Stores,
    limits: &Limits,
    principal: Option<&Principal>,
) -> Result<TenantAccess, Problem> {
    let of_host = of_host(parts, stores).await?;
    let of_header = of_header(parts, stores).await?;
    let named = [&of_host, &of_header];
    let of_key = match principal {
        Some(principal) => Some(principal.access.as_ref().ok_or_else(landlord_key_refused)?),
        None => None,
    };
    let chosen = of_key.or(of_host.as_ref()).or(of_header.as_ref()).cloned();
    if let Some(chosen) = &chosen
        && let Some(other) = named
            .into_iter()
            .flatten()
            .find(|other| other.id() != chosen.id())
    {
        let path = parts
            .extensions
            .get::<OriginalUri>()
            .map_or(parts.uri.path(), |uri| uri.path());
        let key = principal.map(|principal| principal.key_id);
        let kind = match key {
            Some(_) => LineKind::TenantMismatch,
            None => LineKind::KeylessMismatch,
        };
        if limits.log_lines.admits_key(kind, key) {
            tracing::warn!(target: "security", tenant_id = %chosen.id(),
                named_tenant_id = %other.id(), path, "tenant mismatch");
        }
        return Err(Problem::new(
            Class::Forbidden,
            "tenant_mismatch",
            if of_key.is_some() {
                "the API key and the host or the X-Tillbox-Tenant header name different shops; \
                send matching ones"
            } else {
                "the host and the X-Tillbox-Tenant header name different shops; send matching ones"
            },
        ));
    }
    if principal.is_none() && !P::PUBLIC && parts.extensions.get::<Local>().is_none() {
        return Err(Problem::new(
            Class::Unauthenticated,
            "unauthenticated",
            "this call needs an API key; send Authorization: Bearer KEY",
        ));
    }
    chosen.ok_or_else(|| {
        Problem::new(
            Class::NotFound,
            "tenant_not_found",
            "no shop belongs to this host; send an API key, or the slug in X-Tillbox-Tenant",
        )
    })
}

fn landlord_key_refused() -> Problem {
    Problem::new(
        Class::Forbidden,
        "insufficient_scope",
        "a landlord key cannot access a shop; use a key of the shop",
    )
}

async fn of_host(parts: &Parts, stores: &Stores) -> Result<Option<TenantAccess>, Problem> {
    // The host of an absolute target has precedence over the header (RFC 9112 §3.2.2).
    let target = parts
        .extensions
        .get::<OriginalUri>()
        .map_or(&parts.uri, |uri| &uri.0)
        .authority();
    let authority = target.map(http::uri::Authority::as_str);
    let host = authority
        .or_else(|| parts.headers.get(HOST)?.to_str().ok())
        .map(without_port);
    match host.map(HostName::parse) {
        Some(Ok(host)) => Ok(stores.directory.tenant_of_host(&host).await?),
        _ => Ok(None),
    }
}

fn without_port(host: &str) -> &str {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    // The trailing dot of a fully qualified name.
    name.strip_suffix('.').unwrap_or(name)
}

async fn of_header(parts: &Parts, stores: &Stores) -> Result<Option<TenantAccess>, Problem> {
    let Some(value) = parts.headers.get("x-tillbox-tenant") else {
        return Ok(None);
    };
    let found = match value.to_str().ok().map(Slug::parse) {
        Some(Ok(slug)) => stores.directory.tenant_of_slug(&slug).await?,
        _ => None,
    };
    let not_found = || {
        Problem::new(
            Class::NotFound,
            "tenant_not_found",
            "no shop has the slug in X-Tillbox-Tenant; check the slug",
        )
    };
    found.map(Some).ok_or_else(not_found)
}
