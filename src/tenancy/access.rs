//! The proof that a caller may enter a shop, and what they may do there.

use crate::primitives::Slug;
use crate::primitives::id::TenantId;
use crate::storage::text_enum;

text_enum! {
    /// Where a tenant is in its life.
    TenantStatus {
        /// Its file is being made; the next start undoes it.
        Creating = "creating",
        /// It sells.
        Active = "active",
        /// It is kept, and sells nothing.
        Suspended = "suspended",
        /// Its file is being removed; the next start goes on with it.
        Deleting = "deleting",
    }
}

text_enum! {
    /// What a key may be used for.
    Scope {
        /// Read products and categories.
        CatalogRead = "catalog:read",
        /// Change them, and the taxes on them.
        CatalogWrite = "catalog:write",
        /// Carts and checkout.
        Checkout = "checkout",
        /// Read and move orders.
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
        /// Everything about tenants, and nothing inside them.
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

    /// Whether `scope` is in it.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }

    /// Reads the stored form: words with blanks between them. Words that this version does not know
    /// grant nothing.
    pub fn parse_stored(text: &str) -> Self {
        text.split(' ').filter_map(Scope::parse).collect()
    }

    /// The scopes in it, in order.
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

/// A proof value: somebody was shown to belong to this tenant. Only the directory makes them, and
/// the registry opens a shop's file for nothing else.
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

    /// Which tenant.
    pub const fn id(&self) -> TenantId {
        self.id
    }

    /// Its short name.
    pub const fn slug(&self) -> &Slug {
        &self.slug
    }

    /// Where it was in its life when the proof was made.
    pub const fn status(&self) -> TenantStatus {
        self.status
    }
}
