//! The directory: maps an API key, a host or a slug to a tenant. Every request uses it, so the
//! answers are cached.
//!
//! The cache is exact, not merely fresh: every change of the landlord's file goes through
//! [`Directory::change`], which starts a new generation when the change is on disk and before it is
//! acknowledged. Answers that were read earlier belong to the old generation and are never used
//! again. The next request with a revoked key is refused.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::counter;
use moka::sync::Cache;

use super::access::{Scopes, TenantAccess};
use super::{commands, keys};
use crate::primitives::id::{ApiKeyId, TenantId};
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
enum CacheKey {
    Key(Digest),
    Host(HostName),
    Slug(Slug),
    Id(TenantId),
}

#[derive(Clone)]
enum CachedAnswer {
    Principal(Principal),
    Tenant(Option<TenantAccess>),
}

type Answers = Cache<(u64, CacheKey), CachedAnswer>;

/// The landlord's file with a cache of its answers.
pub struct Directory {
    db: Database<Landlord>,
    answers: Answers,
    generation: Arc<AtomicU64>,
    used: Mutex<HashMap<ApiKeyId, Timestamp>>,
    probes: AtomicU64,
}

impl Directory {
    /// A directory over an open landlord's file. The cache is bounded, so a flood of made-up hosts
    /// evicts old answers but does not grow it.
    pub fn new(db: Database<Landlord>, answers_kept: u64) -> Self {
        let answers = Cache::builder().max_capacity(answers_kept).build();
        Self {
            db,
            answers,
            generation: Arc::new(AtomicU64::new(0)),
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
        let cache_key = (self.generation.load(Ordering::Acquire), CacheKey::Key(hash));
        if let Some(CachedAnswer::Principal(principal)) = self.cached(&cache_key) {
            return Answer::ready(Ok(Some(principal)));
        }
        let answers = self.answers.clone();
        self.db.read(move |view| {
            let found = commands::find_live_key(view, &prefix)?
                .filter(|key| keys::matches(&hash, &key.hash));
            let principal = found.map(|key| Principal {
                key_id: key.id,
                access: key.access,
                scopes: key.scopes,
            });
            if let Some(principal) = &principal {
                answers.insert(cache_key, CachedAnswer::Principal(principal.clone()));
            }
            Ok(principal)
        })
    }

    /// The tenant that a host name belongs to.
    pub fn tenant_of_host(&self, host: &HostName) -> Answer<Option<TenantAccess>, StorageError> {
        let host = host.clone();
        self.tenant(CacheKey::Host(host.clone()), move |view| {
            commands::find_by_host(view, &host)
        })
    }

    /// The tenant with a slug.
    pub fn tenant_of_slug(&self, slug: &Slug) -> Answer<Option<TenantAccess>, StorageError> {
        let slug = slug.clone();
        self.tenant(CacheKey::Slug(slug.clone()), move |view| {
            commands::find_by_slug(view, &slug)
        })
    }

    /// The tenant with an id, for callers without a request.
    pub fn tenant_of_id(&self, id: TenantId) -> Answer<Option<TenantAccess>, StorageError> {
        self.tenant(CacheKey::Id(id), move |view| commands::find_by_id(view, id))
    }

    fn tenant<F>(&self, cache_key: CacheKey, find: F) -> Answer<Option<TenantAccess>, StorageError>
    where
        F: FnOnce(&LandlordView) -> Result<Option<TenantAccess>, StorageError> + Send + 'static,
    {
        let cache_key = (self.generation.load(Ordering::Acquire), cache_key);
        if let Some(CachedAnswer::Tenant(access)) = self.cached(&cache_key) {
            return Answer::ready(Ok(access));
        }
        let answers = self.answers.clone();
        self.db.read(move |view| {
            let access = find(view)?;
            answers.insert(cache_key, CachedAnswer::Tenant(access.clone()));
            Ok(access)
        })
    }

    fn cached(&self, cache_key: &(u64, CacheKey)) -> Option<CachedAnswer> {
        let cached = self.answers.get(cache_key);
        match cached {
            Some(_) => counter!("tillbox_cache_requests_total", "cache" => "directory",
                "outcome" => "hit")
            .increment(1),
            None => counter!("tillbox_cache_requests_total", "cache" => "directory",
                "outcome" => "miss")
            .increment(1),
        }
        cached
    }

    /// Changes the directory. When the answer is ready, no request uses the old state.
    pub fn change<R, E, F>(&self, origin: Origin, mut f: F) -> Answer<R, E>
    where
        F: FnMut(&mut LandlordWork) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let generation = self.generation.clone();
        self.db.write(origin, move |work| {
            let result = f(work)?;
            let generation = generation.clone();
            work.on_commit(move || {
                generation.fetch_add(1, Ordering::AcqRel);
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
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, now);
    }

    /// Stores the recorded uses of keys, if there are any; a failure is retried the next time.
    /// Blocks.
    pub fn flush_used(&self) -> Result<(), StorageError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        let uses = used.clone();
        let written = self.db.write(Origin::system(), move |work| {
            uses.iter()
                .try_for_each(|(key, at)| commands::set_last_used(work, *key, *at))
        });
        written.wait().inspect_err(|_| {
            let mut later = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, at) in used {
                later.entry(key).or_insert(at);
            }
        })
    }

    /// Inserts an entry into the cache and removes it, for `/health`. Each call has its own entry,
    /// so that concurrent calls do not remove each other's.
    pub fn cache_works(&self) -> bool {
        let probe = self.probes.fetch_add(1, Ordering::Relaxed);
        let cache_key = (u64::MAX, CacheKey::Key(Digest::of(&probe.to_be_bytes())));
        self.answers
            .insert(cache_key.clone(), CachedAnswer::Tenant(None));
        let works = matches!(
            self.answers.get(&cache_key),
            Some(CachedAnswer::Tenant(None))
        );
        self.answers.invalidate(&cache_key);
        works
    }
}
