//! Access tokens of tenants, and the scopes of keys.

use crate::primitives::Slug;
use crate::primitives::id::TenantId;
use crate::storage::text_enum;

text_enum! {
    /// The state of a tenant.
    TenantStatus {
        /// Its file is being created; the next start undoes an interrupted creation.
        Creating = "creating",
        /// Open for business.
        Active = "active",
        /// Kept, but sells nothing.
        Suspended = "suspended",
        /// Its file is being removed; the next start finishes an interrupted removal.
        Deleting = "deleting",
    }
}

text_enum! {
    /// A permission of a key.
    Scope {
        /// Read products and categories.
        CatalogRead = "catalog:read",
        /// Change products, categories and their taxes.
        CatalogWrite = "catalog:write",
        /// Carts and checkout.
        Checkout = "checkout",
        /// Read orders and change their status.
        Orders = "orders",
        /// Read, confirm and cancel payments.
        Payments = "payments",
        /// Read and change stock.
        Inventory = "inventory",
        /// Read financial orders, invoices and the ledger.
        Finance = "finance",
        /// Read reports.
        Reports = "reports",
        /// Record sales at the till.
        Pos = "pos",
        /// Settings of the shop and its audit log.
        Admin = "admin",
        /// Everything about tenants, but nothing inside them.
        Landlord = "landlord",
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u32);

impl Scopes {
    /// Every scope of a tenant.
    pub fn all_of_a_tenant() -> Self {
        Scope::ALL
            .iter()
            .filter(|scope| **scope != Scope::Landlord)
            .copied()
            .collect()
    }

    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }

    /// Parses the stored form: scope names separated by spaces. Unknown names grant nothing.
    pub fn parse_stored(text: &str) -> Self {
        text.split(' ').filter_map(Scope::parse).collect()
    }

    /// The scopes in order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL
            .iter()
            .copied()
            .filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(
            scopes
                .into_iter()
                .fold(0, |bits, scope| bits | 1 << scope as u32),
        )
    }
}

impl std::fmt::Display for Scopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.iter().map(Scope::as_str).collect::<Vec<_>>().join(" "))
    }
}

/// Proof that a caller may access a tenant. Only the directory creates it, and the registry opens a
/// tenant's file only with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantAccess {
    id: TenantId,
    slug: Slug,
    status: TenantStatus,
}

impl TenantAccess {
    pub(super) const fn new(id: TenantId, slug: Slug, status: TenantStatus) -> Self {
        Self { id, slug, status }
    }

    pub const fn id(&self) -> TenantId {
        self.id
    }

    pub const fn slug(&self) -> &Slug {
        &self.slug
    }

    /// The status of the tenant when the proof was created.
    pub const fn status(&self) -> TenantStatus {
        self.status
    }
}
