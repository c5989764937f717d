//! Who exists: from an API key, a host or a slug to a tenant. Every request asks, so the answers
//! are kept in memory.
//!
//! The kept answers are exact, not merely fresh: every change of the landlord's file goes through
//! [`Directory::change`], which starts a new generation when the change is on disk and before it is
//! acknowledged. An answer that was read before that carries the old generation's number and is
//! never looked at again. A revoked key is refused by the next request.

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

/// Whom a key belongs to.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Which key.
    pub key_id: ApiKeyId,
    /// The tenant's, or the landlord's own.
    pub access: Option<TenantAccess>,
    /// What it may be used for.
    pub scopes: Scopes,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Question {
    Key(Digest),
    Host(HostName),
    Slug(Slug),
    Id(TenantId),
}

#[derive(Clone)]
enum Known {
    Principal(Principal),
    Tenant(Option<TenantAccess>),
}

type Answers = Cache<(u64, Question), Known>;

/// The landlord's file and what is known of it.
pub struct Directory {
    db: Database<Landlord>,
    answers: Answers,
    generation: Arc<AtomicU64>,
    used: Mutex<HashMap<ApiKeyId, Timestamp>>,
    probes: AtomicU64,
}

impl Directory {
    /// Over an open landlord's file; so many answers are kept at most, and a flood of made-up hosts
    /// pushes out old ones and grows nothing.
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

    /// The landlord's file, for what is no change of who exists: health, checks.
    pub const fn database(&self) -> &Database<Landlord> {
        &self.db
    }

    /// Whose key that is; `None` for a key that is none, unknown or revoked.
    pub fn principal(&self, presented: &str) -> Answer<Option<Principal>, StorageError> {
        let Some(prefix) = keys::prefix_of(presented).map(str::to_owned) else {
            return Answer::ready(Ok(None));
        };
        let hash = Digest::of(presented.as_bytes());
        let question = (self.generation.load(Ordering::Acquire), Question::Key(hash));
        if let Some(Known::Principal(principal)) = self.known(&question) {
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
                answers.insert(question, Known::Principal(principal.clone()));
            }
            Ok(principal)
        })
    }

    /// The tenant that a host name belongs to.
    pub fn tenant_of_host(&self, host: &HostName) -> Answer<Option<TenantAccess>, StorageError> {
        let host = host.clone();
        self.tenant(Question::Host(host.clone()), move |view| {
            commands::find_by_host(view, &host)
        })
    }

    /// The tenant with a slug.
    pub fn tenant_of_slug(&self, slug: &Slug) -> Answer<Option<TenantAccess>, StorageError> {
        let slug = slug.clone();
        self.tenant(Question::Slug(slug.clone()), move |view| {
            commands::find_by_slug(view, &slug)
        })
    }

    /// The tenant with an id, for those who met it in a hint and not in a request.
    pub fn tenant_of_id(&self, id: TenantId) -> Answer<Option<TenantAccess>, StorageError> {
        self.tenant(Question::Id(id), move |view| commands::find_by_id(view, id))
    }

    fn tenant(
        &self,
        question: Question,
        find: impl FnOnce(&LandlordView) -> Result<Option<TenantAccess>, StorageError> + Send + 'static,
    ) -> Answer<Option<TenantAccess>, StorageError> {
        let question = (self.generation.load(Ordering::Acquire), question);
        if let Some(Known::Tenant(access)) = self.known(&question) {
            return Answer::ready(Ok(access));
        }
        let answers = self.answers.clone();
        self.db.read(move |view| {
            let access = find(view)?;
            answers.insert(question, Known::Tenant(access.clone()));
            Ok(access)
        })
    }

    fn known(&self, question: &(u64, Question)) -> Option<Known> {
        let known = self.answers.get(question);
        match known {
            Some(_) => counter!("tillbox_cache_requests_total", "cache" => "directory",
                "outcome" => "hit")
            .increment(1),
            None => counter!("tillbox_cache_requests_total", "cache" => "directory",
                "outcome" => "miss")
            .increment(1),
        }
        known
    }

    /// Changes who exists. When the answer comes, nobody is judged by the old state any more.
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

    /// Reads who exists.
    pub fn read<R, E, F>(&self, f: F) -> Answer<R, E>
    where
        F: FnOnce(&LandlordView) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        self.db.read(f)
    }

    /// Notes that a key was used. Written down now and then, see [`flush_used`](Self::flush_used):
    /// a write per request would cost more than the fact is worth.
    pub fn note_used(&self, key: ApiKeyId, now: Timestamp) {
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, now);
    }

    /// Writes down which keys were used since the last time; writes nothing when none was. What
    /// fails is tried again the next time. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn flush_used(&self) -> Result<(), StorageError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        let noted = used.clone();
        let written = self.db.write(Origin::system(), move |work| {
            noted
                .iter()
                .try_for_each(|(key, at)| commands::set_last_used(work, *key, *at))
        });
        written.wait().inspect_err(|_| {
            let mut later = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, at) in used {
                later.entry(key).or_insert(at);
            }
        })
    }

    /// Puts an entry into the cache and takes it out again: whether the cache works, for `/health`.
    /// Each call has an entry of its own, so that calls at the same time don't take out each
    /// other's.
    pub fn cache_works(&self) -> bool {
        let probe = self.probes.fetch_add(1, Ordering::Relaxed);
        let question = (u64::MAX, Question::Key(Digest::of(&probe.to_be_bytes())));
        self.answers.insert(question.clone(), Known::Tenant(None));
        let works = matches!(self.answers.get(&question), Some(Known::Tenant(None)));
        self.answers.invalidate(&question);
        works
    }
}
