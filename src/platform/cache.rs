//! A bounded cache whose entries expire by explicit invalidation, and by the injected clock if they
//! have a time to live.
//!
//! On a miss, a reader gets a [`Ticket`] *before* it reads the file; its value is valid only if
//! nothing was invalidated since. So a reader that read the old value cannot store it after the
//! change was committed: everybody sees an acknowledged change. Entries are never money; a list in
//! `tests/it/tidy` names the allowed uses.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use crate::primitives::{Clock, Timestamp};
use crate::storage::{Answer, Database, FileKind, StorageError, View};

/// The number of invalidation counters that keys share: an invalidation of one key may expire a few
/// others, which are read again.
const COUNTERS: usize = 64;

#[derive(Clone)]
struct Entry<V> {
    value: V,
    generation: u64,
    kept_at: Option<Timestamp>,
}

/// The result of [`TimedCache::get`].
#[derive(Debug)]
pub enum CacheLookup<V> {
    /// A valid entry.
    Hit(V),
    /// No valid entry; the ticket allows to insert one.
    Miss(Ticket),
}

/// Proof that a read began after the last invalidation.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u64);

/// The cache. Clones share their entries.
pub struct TimedCache<K, V> {
    inner: Arc<Inner<K, V>>,
}

impl<K, V> Clone for TimedCache<K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

struct Inner<K, V> {
    name: &'static str,
    entries: Cache<K, Entry<V>>,
    generations: [AtomicU64; COUNTERS],
    /// The clock and the time to live in milliseconds.
    expiry: Option<(Arc<dyn Clock>, i64)>,
}

impl<K, V> TimedCache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// An empty cache of at most `entries_max` entries. `name` is its label in the metrics.
    pub fn new(name: &'static str, entries_max: u64, ttl: Duration, clock: Arc<dyn Clock>) -> Self {
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        Self::with_expiry(name, entries_max, Some((clock, ttl_ms)))
    }

    /// As [`new`](Self::new), without a time to live.
    pub fn until_invalidated(name: &'static str, entries_max: u64) -> Self {
        Self::with_expiry(name, entries_max, None)
    }

    fn with_expiry(
        name: &'static str,
        entries_max: u64,
        expiry: Option<(Arc<dyn Clock>, i64)>,
    ) -> Self {
        let inner = Inner {
            name,
            entries: Cache::builder().max_capacity(entries_max).build(),
            generations: std::array::from_fn(|_| AtomicU64::new(0)),
            expiry,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    fn generation(&self, key: &K) -> &AtomicU64 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        let index = hash % self.inner.generations.len() as u64;
        &self.inner.generations[usize::try_from(index).expect("less than a hundred")]
    }

    /// Gets an entry. An entry from the future shows that the clock was set back, and counts as
    /// expired.
    pub fn get(&self, key: &K) -> CacheLookup<V> {
        let generation = self.generation(key).load(Ordering::Acquire);
        let is_valid = |entry: &Entry<V>| {
            let is_fresh = match (&self.inner.expiry, entry.kept_at) {
                (Some((clock, ttl_ms)), Some(kept_at)) => {
                    (0..*ttl_ms).contains(&(clock.now().as_millis() - kept_at.as_millis()))
                }
                _ => true,
            };
            entry.generation == generation && is_fresh
        };
        let entry = self.inner.entries.get(key).filter(is_valid);
        let outcome = if entry.is_some() { "hit" } else { "miss" };
        metrics::counter!("tillbox_cache_requests_total", "cache" => self.inner.name,
            "outcome" => outcome)
        .increment(1);
        entry.map_or(CacheLookup::Miss(Ticket(generation)), |entry| {
            CacheLookup::Hit(entry.value)
        })
    }

    /// Inserts a value that was read after the ticket was issued.
    pub fn insert(&self, key: K, Ticket(generation): Ticket, value: V) {
        let kept_at = self.inner.expiry.as_ref().map(|(clock, _)| clock.now());
        self.inner.entries.insert(
            key,
            Entry {
                value,
                generation,
                kept_at,
            },
        );
    }

    /// The valid entry, or else what `load` reads, which becomes the entry.
    pub fn read<F, L, E>(&self, db: &Database<F>, key: K, load: L) -> Answer<V, E>
    where
        F: FileKind,
        L: FnOnce(&View<'_, F>) -> Result<V, E> + Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let ticket = match self.get(&key) {
            CacheLookup::Hit(value) => return Answer::ready(Ok(value)),
            CacheLookup::Miss(ticket) => ticket,
        };
        let cache = self.clone();
        db.read(move |view| {
            let value = load(view)?;
            cache.insert(key, ticket, value.clone());
            Ok(value)
        })
    }

    /// Inserts an entry that is never valid, and removes it: whether the cache works.
    pub fn works(&self, key: K, value: V) -> bool
    where
        K: Clone,
    {
        let entry = Entry {
            value,
            generation: u64::MAX,
            kept_at: None,
        };
        self.inner.entries.insert(key.clone(), entry);
        let works = self.inner.entries.get(&key).is_some();
        self.inner.entries.invalidate(&key);
        works
    }

    /// Expires all entries and any read in progress.
    pub fn invalidate_all(&self) {
        for generation in &self.inner.generations {
            generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Expires an entry and any read of it in progress. Call it when the change is on disk and
    /// before it is acknowledged.
    pub fn invalidate(&self, key: &K) {
        self.generation(key).fetch_add(1, Ordering::AcqRel);
        self.inner.entries.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::ManualClock;

    const TTL: Duration = Duration::from_secs(300);

    fn cache(entries_max: u64) -> (TimedCache<u32, &'static str>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(
            Timestamp::parse("2026-01-15T10:00:00Z").expect("an instant"),
        ));
        (
            TimedCache::new("test", entries_max, TTL, clock.clone()),
            clock,
        )
    }

    fn found(cache: &TimedCache<u32, &'static str>, key: u32) -> Option<&'static str> {
        match cache.get(&key) {
            CacheLookup::Hit(value) => Some(value),
            CacheLookup::Miss(_) => None,
        }
    }

    fn ticket(cache: &TimedCache<u32, &'static str>, key: u32) -> Ticket {
        match cache.get(&key) {
            CacheLookup::Hit(value) => panic!("{value} is cached"),
            CacheLookup::Miss(ticket) => ticket,
        }
    }

    #[test]
    fn entry_expires_after_ttl() {
        let (cache, clock) = cache(10);
        let asked = ticket(&cache, 1);
        cache.insert(1, asked, "one");
        clock.advance(TTL - Duration::from_millis(1));
        assert_eq!(found(&cache, 1), Some("one"));
        clock.advance(Duration::from_millis(1));
        assert_eq!(found(&cache, 1), None);
    }

    #[test]
    fn ignores_entry_from_the_future() {
        let (cache, clock) = cache(10);
        let asked = ticket(&cache, 1);
        cache.insert(1, asked, "one");
        clock.set(clock.now().plus_millis(-1));
        assert_eq!(found(&cache, 1), None);
    }

    #[test]
    fn reads_again_after_invalidation() {
        let (cache, _) = cache(10);
        let asked = ticket(&cache, 1);
        cache.insert(1, asked, "old");
        cache.invalidate(&1);
        let asked = ticket(&cache, 1);
        cache.insert(1, asked, "new");
        assert_eq!(found(&cache, 1), Some("new"));
    }

    /// A reader reads the old value; the change is committed and announced; then the reader
    /// inserts.
    #[test]
    fn stale_reader_inserts_nothing() {
        let (cache, _) = cache(10);
        let asked = ticket(&cache, 1);
        cache.invalidate(&1);
        cache.insert(1, asked, "old");
        assert_eq!(found(&cache, 1), None);
        // It does not replace the entry of a later reader either, nor is valid after another
        // change.
        let (slow, quick) = (ticket(&cache, 1), ticket(&cache, 1));
        cache.insert(1, quick, "new");
        cache.invalidate(&1);
        cache.insert(1, slow, "old");
        assert_eq!(found(&cache, 1), None);
    }

    #[test]
    fn stays_within_capacity() {
        let (cache, _) = cache(10);
        for key in 0..10_000 {
            let asked = ticket(&cache, key);
            cache.insert(key, asked, "x");
        }
        cache.inner.entries.run_pending_tasks();
        assert!(cache.inner.entries.entry_count() <= 10);
    }
}
