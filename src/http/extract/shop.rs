//! The caller's shop: found by key, host or header, checked for scope and status, its file open.
//! With it a handler reads and writes.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use http::header::HOST;
use http::request::Parts;

use super::caller::{Local, principal, request_id};
use crate::app::App;
use crate::config::Server;
use crate::http::client_address::{client_address, peer_address};
use crate::http::limit;
use crate::http::problem::Problem;
use crate::http::wire::server::Peer;
use crate::primitives::id::TenantId;
use crate::primitives::{Actor, Class, ClientHash, HostName, Origin, Slug};
use crate::rate_limit::{Caller, LineKind};
use crate::storage::{Database, StorageError, StorageErrorKind, Tenant, TenantView, TenantWork};
use crate::tenancy::access::TenantStatus;
use crate::tenancy::shares::Growth;
use crate::tenancy::{Principal, Scope, TenantAccess};
use crate::tenant::Policy;

/// What a route asks of its caller.
pub trait Permission: Send + Sync + 'static {
    /// The scopes of which the key must have one.
    const SCOPES: &'static [Scope];
    /// Whether the storefront may call it without a key.
    const PUBLIC: bool;
    /// Whether it only makes the tenant larger, so that the tenant's share of the disk bounds it.
    const GROWS: bool;
}

/// The permissions that routes ask for, as types.
pub mod permission {
    use super::{Permission, Scope};

    macro_rules! permissions {
        ($($(#[$doc:meta])* $name:ident = [$($scope:ident),+], $public:literal,
            $grows:literal;)*) => {$(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}
            impl Permission for $name {
                const SCOPES: &'static [Scope] = &[$(Scope::$scope),+];
                const PUBLIC: bool = $public;
                const GROWS: bool = $grows;
            }
        )*};
    }

    permissions! {
        /// Reads of the catalog; open to the storefront, and so to whoever sells.
        CatalogRead = [CatalogRead, CatalogWrite, Checkout, Pos], true, false;
        /// Changes of the catalog and its taxes.
        CatalogWrite = [CatalogWrite], false, true;
        /// Carts and checkout; open to the storefront.
        Checkout = [Checkout], true, true;
        /// Orders.
        Orders = [Orders], false, false;
        /// Payments.
        Payments = [Payments], false, false;
        /// The confirmation of a payment: the shop's own systems, never the storefront.
        ConfirmPayment = [Payments, Checkout], false, false;
        /// Stock.
        Inventory = [Inventory], false, false;
        /// The books.
        Finance = [Finance], false, false;
        /// Reports.
        Reports = [Reports], false, false;
        /// The till.
        Pos = [Pos], false, false;
        /// Settings and the audit log.
        Admin = [Admin], false, false;
    }
}

/// The caller's shop.
pub struct Shop<P> {
    app: Arc<App>,
    db: Database<Tenant>,
    tenant_id: TenantId,
    origin: Origin,
    client: Option<ClientHash>,
    from_reserve: bool,
    is_bounded_by_share: bool,
    permission: PhantomData<fn() -> P>,
}

/// Refuses to write when the disk has no more room than its reserve.
pub(in crate::http) fn require_room(app: &App) -> Result<(), Problem> {
    if !app.space.is_short() {
        return Ok(());
    }
    let detail = format!(
        "less than {} of the disk are free, which are kept in reserve; this request wrote nothing; \
         free some space and try again with the same key; \
         reading and cancelling go on",
        app.config.storage.disk_reserve
    );
    Err(Problem::new(Class::StorageFull, "storage_full", detail))
}

impl<P: Permission> Shop<P> {
    /// What the configuration decides about selling, without what an order of a foreign currency
    /// needs: see `selling_policy`.
    pub fn policy(&self) -> Arc<Policy> {
        self.app.policy.clone()
    }

    pub(super) const fn app(&self) -> &Arc<App> {
        &self.app
    }

    pub(super) const fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }

    /// Writes a line to the security log, unless there were too many of its kind.
    pub fn note_security(&self, kind: LineKind, what: &str, subject: &str) {
        let origin = &self.origin;
        let key = match origin.actor {
            Actor::ApiKey(key) => Some(key),
            _ => None,
        };
        if !self.app.log_lines.admits_key(kind, key) {
            return;
        }
        tracing::warn!(target: "security", tenant_id = %self.tenant_id, actor = %origin.actor,
            request_id = origin.request_id, subject, "{what}");
    }

    /// Whether somebody at the storefront asks, without a key.
    pub fn is_storefront(&self) -> bool {
        self.origin.actor == Actor::Storefront
    }

    /// The client of a call without a key, whose carts and unpaid orders are bounded; none of a
    /// call with a key or of the operator.
    pub const fn client(&self) -> Option<ClientHash> {
        self.client
    }

    /// The client at an address, as this shop's file remembers it.
    pub fn client_at(&self, address: IpAddr) -> ClientHash {
        client_of(self.tenant_id, address)
    }

    /// For what has to go on when the disk is nearly full: it may use what is kept in reserve.
    #[must_use]
    pub fn from_reserve(mut self) -> Self {
        self.from_reserve = true;
        self
    }

    /// Lifts the bound by the tenant's share of the disk, for a sale. Calls without a key stay
    /// bounded.
    #[must_use]
    pub fn as_sale(mut self) -> Self {
        self.is_bounded_by_share = false;
        self
    }

    /// Reads: a row, a page.
    ///
    /// # Errors
    /// What `f` refuses, as a problem.
    pub async fn read<R, F>(&self, f: F) -> Result<R, Problem>
    where
        F: FnOnce(&TenantView) -> Result<R, Problem> + Send + 'static,
        R: Send + Unpin + 'static,
    {
        self.db.read(f).await
    }

    /// Reads what takes long: a report.
    ///
    /// # Errors
    /// What `f` refuses, as a problem.
    pub async fn read_long<R, F>(&self, f: F) -> Result<R, Problem>
    where
        F: FnOnce(&TenantView) -> Result<R, Problem> + Send + 'static,
        R: Send + Unpin + 'static,
    {
        self.db.read_long(f).await
    }

    /// Writes; the answer comes when it is on disk.
    ///
    /// # Errors
    /// What `f` refuses, as a problem; nothing was written then.
    pub async fn write<R, F>(&self, f: F) -> Result<R, Problem>
    where
        F: FnMut(&mut TenantWork) -> Result<R, Problem> + Send + 'static,
        R: Send + Unpin + 'static,
    {
        self.room()()?;
        self.write_without_room(f).await
    }

    /// Refuses when there is no room for what this call writes.
    pub(super) fn room(&self) -> impl Fn() -> Result<(), Problem> + Send + use<P> {
        let (app, id, from_reserve) = (self.app.clone(), self.tenant_id, self.from_reserve);
        let growth = match self.is_storefront() {
            true => Some(Growth::Storefront),
            false => self.is_bounded_by_share.then_some(Growth::Keyed),
        };
        move || {
            if from_reserve {
                return Ok(());
            }
            require_room(&app)?;
            growth.map_or(Ok(()), |growth| Ok(app.shares.require(id, growth)?))
        }
    }

    /// As [`write`](Self::write), whatever room there is.
    pub(super) async fn write_without_room<R, F>(&self, f: F) -> Result<R, Problem>
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
        let principal = principal(parts, app).await?;
        let access = resolve::<P>(parts, app, principal.as_ref()).await?;
        tracing::Span::current().record("tenant_id", tracing::field::display(access.id()));
        let is_local = parts.extensions.get::<Local>().is_some();
        if principal.is_none() && !is_local && !parts.method.is_safe() {
            limit::charge_tenant(app, access.id())?;
        }
        require_selling(access.status())?;
        if let Some(principal) = &principal
            && !P::SCOPES
                .iter()
                .any(|scope| principal.scopes.contains(*scope))
        {
            let detail = format!("this API key lacks the scope `{}`", P::SCOPES[0]);
            return Err(Problem::new(Class::Forbidden, "insufficient_scope", detail));
        }
        let actor = match &principal {
            Some(principal) => Actor::ApiKey(principal.key_id),
            None if is_local => Actor::Operator,
            None => Actor::Storefront,
        };
        let tenant_id = access.id();
        let db = open(app, access).await.map_err(|problem| match actor {
            Actor::Operator => problem,
            _ => problem.for_customers(),
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
            from_reserve: false,
            is_bounded_by_share: P::GROWS,
            permission: PhantomData,
        })
    }
}

/// The address of the client, or of the proxy that does not say it.
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
    // Of an IPv6 address its network, as the rate limits count.
    let network = match Caller::of_address(address) {
        Caller::Address(network) => network,
        Caller::Key(_) | Caller::Tenant(_) => address,
    };
    ClientHash::of(tenant.as_bytes(), network)
}

/// Refuses a shop that sells nothing. One that is being made or removed is not there: what it would
/// acknowledge goes with its file.
fn require_selling(status: TenantStatus) -> Result<(), Problem> {
    match status {
        TenantStatus::Active => Ok(()),
        TenantStatus::Suspended => Err(Problem::new(
            Class::Forbidden,
            "tenant_suspended",
            "this store is suspended; its operator can resume it",
        )),
        TenantStatus::Creating | TenantStatus::Deleting => Err(Problem::new(
            Class::NotFound,
            "tenant_not_found",
            "this store is being made or removed; there is nothing in it to call",
        )),
    }
}

/// Opens a shop's file: at once when it is open already, else on a thread that may block, of which
/// a shop takes one.
pub(in crate::http) async fn open(
    app: &Arc<App>,
    access: TenantAccess,
) -> Result<Database<Tenant>, Problem> {
    if let Some(db) = app.registry.get(&access) {
        return Ok(db);
    }
    let gate = app.registry.gate(access.id());
    let _waiter = gate
        .waiters
        .try_acquire()
        .map_err(|_| StorageError::new(StorageErrorKind::Overloaded))?;
    let _opener = gate
        .opener
        .acquire()
        .await
        .expect("the gate is never closed");
    if let Some(db) = app.registry.get(&access) {
        return Ok(db);
    }
    let registry = app.registry.clone();
    let opened = tokio::task::spawn_blocking(move || registry.open(&access)).await;
    Ok(opened.map_err(|_| {
        Problem::new(
            Class::Internal,
            "internal_error",
            "the store could not be opened",
        )
    })??)
}

/// The tenant of a request. The key decides; a host or header that names another tenant is a
/// mismatch, and somebody should know of it.
async fn resolve<P: Permission>(
    parts: &Parts,
    app: &App,
    principal: Option<&Principal>,
) -> Result<TenantAccess, Problem> {
    let of_host = of_host(parts, app).await?;
    let of_header = of_header(parts, app).await?;
    let named = [&of_host, &of_header];
    let of_key = match principal {
        Some(principal) => Some(principal.access.as_ref().ok_or_else(no_tenant)?),
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
        if app.log_lines.admits_key(kind, key) {
            tracing::warn!(target: "security", tenant_id = %chosen.id(),
                named_tenant_id = %other.id(), path, "tenant mismatch");
        }
        return Err(Problem::new(
            Class::Forbidden,
            "tenant_mismatch",
            if of_key.is_some() {
                "the API key and the host or X-Tillbox-Tenant header name different stores"
            } else {
                "the host and the X-Tillbox-Tenant header name different stores"
            },
        ));
    }
    if principal.is_none() && !P::PUBLIC && parts.extensions.get::<Local>().is_none() {
        return Err(Problem::new(
            Class::Unauthenticated,
            "unauthenticated",
            "this call needs an API key: Authorization: Bearer KEY",
        ));
    }
    chosen.ok_or_else(|| {
        Problem::new(
            Class::NotFound,
            "tenant_not_found",
            "no store belongs to this host; send an API key, or the slug in X-Tillbox-Tenant",
        )
    })
}

fn no_tenant() -> Problem {
    Problem::new(
        Class::Forbidden,
        "insufficient_scope",
        "a landlord key opens no store; use a key of the store",
    )
}

async fn of_host(parts: &Parts, app: &App) -> Result<Option<TenantAccess>, Problem> {
    // A target that names its host outweighs the header (RFC 9112 §3.2.2).
    let target = parts
        .extensions
        .get::<OriginalUri>()
        .map_or(&parts.uri, |uri| &uri.0)
        .authority();
    let named = target.map(http::uri::Authority::as_str);
    let host = named
        .or_else(|| parts.headers.get(HOST)?.to_str().ok())
        .map(without_port);
    match host.map(HostName::parse) {
        Some(Ok(host)) => Ok(app.directory.tenant_of_host(&host).await?),
        _ => Ok(None),
    }
}

fn without_port(host: &str) -> &str {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    // The root's dot of a name that is fully qualified.
    name.strip_suffix('.').unwrap_or(name)
}

async fn of_header(parts: &Parts, app: &App) -> Result<Option<TenantAccess>, Problem> {
    let Some(value) = parts.headers.get("x-tillbox-tenant") else {
        return Ok(None);
    };
    let found = match value.to_str().ok().map(Slug::parse) {
        Some(Ok(slug)) => app.directory.tenant_of_slug(&slug).await?,
        _ => None,
    };
    let absent = || {
        Problem::new(
            Class::NotFound,
            "tenant_not_found",
            "no store has the slug in X-Tillbox-Tenant",
        )
    };
    found.map(Some).ok_or_else(absent)
}
