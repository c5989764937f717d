//! The directory: maps an API key, a host or a slug to a tenant. Every request uses it, so the
//! answers are cached.
//!
//! The cache is exact, not merely fresh: every change of the landlord's file goes through
//! [`Directory::change`], which expires all answers when the change is on disk and before it is
//! acknowledged. Answers that were read earlier are never used again. The next request with a
//! revoked key is refused.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::access::{Scopes, TenantAccess};
use super::{commands, keys};
use crate::platform::cache::{CacheLookup, TimedCache};
use crate::primitives::id::{ApiKeyId, TenantId};
use crate::primitives::sync;
use crate::primitives::{Digest, HostName, Origin, Slug, Timestamp};
use crate::storage::{Answer, Database, Landlord, LandlordView, LandlordWork, StorageError};

/// The owner of a valid key.
#[derive(Clone, Debug)]
pub struct Principal {
    pub key_id: ApiKeyId,
    /// The tenant; `None` for a landlord key.
    pub access: Option<TenantAccess>,
    pub scopes: Scopes,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum TenantKey {
    Host(HostName),
    Slug(Slug),
    Id(TenantId),
}

/// The landlord's file with a cache of its answers.
pub struct Directory {
    db: Database<Landlord>,
    /// By the digest of the key; only valid keys.
    principals: TimedCache<Digest, Principal>,
    tenants: TimedCache<TenantKey, Option<TenantAccess>>,
    used: Mutex<HashMap<ApiKeyId, Timestamp>>,
    probes: AtomicU64,
}

impl Directory {
    /// A directory over an open landlord's file. The caches are bounded, so a flood of made-up
    /// hosts evicts old answers but does not grow them.
    pub fn new(db: Database<Landlord>, answers_kept: u64) -> Self {
        Self {
            db,
            principals: TimedCache::until_invalidated("directory", answers_kept),
            tenants: TimedCache::until_invalidated("directory", answers_kept),
            used: Mutex::default(),
            probes: AtomicU64::new(0),
        }
    }

    /// The landlord's file, for access that does not change the directory: health, checks.
    pub const fn database(&self) -> &Database<Landlord> {
        &self.db
    }

    /// The owner of a presented key; `None` for a malformed, unknown or revoked key.
    pub fn principal(&self, presented: &str) -> Answer<Option<Principal>, StorageError> {
        let Some(prefix) = keys::prefix_of(presented).map(str::to_owned) else {
            return Answer::ready(Ok(None));
        };
        let hash = Digest::of(presented.as_bytes());
        let ticket = match self.principals.get(&hash) {
            CacheLookup::Hit(principal) => return Answer::ready(Ok(Some(principal))),
            CacheLookup::Miss(ticket) => ticket,
        };
        let principals = self.principals.clone();
        self.db.read(move |view| {
            let found = commands::find_live_key(view, &prefix)?
                .filter(|key| keys::matches(&hash, &key.hash));
            let principal = found.map(|key| Principal {
                key_id: key.id,
                access: key.access,
                scopes: key.scopes,
            });
            if let Some(principal) = &principal {
                principals.insert(hash, ticket, principal.clone());
            }
            Ok(principal)
        })
    }

    /// The tenant that a host name belongs to.
    pub fn tenant_of_host(&self, host: &HostName) -> Answer<Option<TenantAccess>, StorageError> {
        let host = host.clone();
        self.tenants
            .read(&self.db, TenantKey::Host(host.clone()), move |view| {
                commands::find_by_host(view, &host)
            })
    }

    /// The tenant with a slug.
    pub fn tenant_of_slug(&self, slug: &Slug) -> Answer<Option<TenantAccess>, StorageError> {
        let slug = slug.clone();
        self.tenants
            .read(&self.db, TenantKey::Slug(slug.clone()), move |view| {
                commands::find_by_slug(view, &slug)
            })
    }

    /// The tenant with an id, for callers without a request.
    pub fn tenant_of_id(&self, id: TenantId) -> Answer<Option<TenantAccess>, StorageError> {
        self.tenants.read(&self.db, TenantKey::Id(id), move |view| {
            commands::find_by_id(view, id)
        })
    }

    /// Changes the directory. When the answer is ready, no request uses the old state.
    pub fn change<R, E, F>(&self, origin: Origin, mut f: F) -> Answer<R, E>
    where
        F: FnMut(&mut LandlordWork) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let (principals, tenants) = (self.principals.clone(), self.tenants.clone());
        self.db.write(origin, move |work| {
            let result = f(work)?;
            let (principals, tenants) = (principals.clone(), tenants.clone());
            work.on_commit(move || {
                principals.invalidate_all();
                tenants.invalidate_all();
            });
            Ok(result)
        })
    }

    /// Reads the landlord's file.
    pub fn read<R, E, F>(&self, f: F) -> Answer<R, E>
    where
        F: FnOnce(&LandlordView) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        self.db.read(f)
    }

    /// Records that a key was used. [`flush_used`](Self::flush_used) stores it at an interval: a
    /// write per request would cost more than the fact is worth.
    pub fn record_use(&self, key: ApiKeyId, now: Timestamp) {
        sync::lock(&self.used).insert(key, now);
    }

    /// Stores the recorded uses of keys, if there are any; a failure is retried the next time.
    /// Blocks.
    pub fn flush_used(&self) -> Result<(), StorageError> {
        let used = std::mem::take(&mut *sync::lock(&self.used));
        if used.is_empty() {
            return Ok(());
        }
        let uses = used.clone();
        let written = self.db.write(Origin::system(), move |work| {
            uses.iter()
                .try_for_each(|(key, at)| commands::set_last_used(work, *key, *at))
        });
        written.wait().inspect_err(|_| {
            let mut later = sync::lock(&self.used);
            for (key, at) in used {
                later.entry(key).or_insert(at);
            }
        })
    }

    /// Inserts an entry into the cache and removes it, for `/health`. Each call has its own entry,
    /// so that concurrent calls do not remove each other's.
    pub fn cache_works(&self) -> bool {
        let probe = self.probes.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&probe.to_be_bytes());
        self.tenants
            .works(TenantKey::Id(TenantId::from_bytes(id)), None)
    }
}
