//! A bounded cache whose entries end by the injected clock and by word of whoever changed what they
//! are made of.
//!
//! A reader who found nothing takes a [`Ticket`] *before* it reads the file; what it read is kept
//! only if nothing was invalidated since. So one that read the old value, and comes with it after
//! the change was committed and announced, is not trusted: a change that was acknowledged is seen
//! by everybody from then on. Entries are never money: what may use this is in a list of
//! `tests/it/tidy`.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use crate::primitives::{Clock, Timestamp};

/// Keys are told apart by so many counters: an invalidation of one may end a few others, which are
/// read again.
const COUNTERS: usize = 64;

#[derive(Clone)]
struct Entry<V> {
    value: V,
    generation: u64,
    kept_at: Timestamp,
}

/// What was there.
#[derive(Debug)]
pub enum Found<V> {
    /// An entry that holds.
    Hit(V),
    /// None; with this, what is read now may be kept.
    Miss(Ticket),
}

/// That nothing had been invalidated when the reading began.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u64);

/// The cache. Clones are the same one.
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
    clock: Arc<dyn Clock>,
    ttl_ms: i64,
}

impl<K, V> TimedCache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// An empty one, of so many entries at the most. `name` is its label in the metrics.
    pub fn new(name: &'static str, entries_max: u64, ttl: Duration, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            name,
            entries: Cache::builder().max_capacity(entries_max).build(),
            generations: std::array::from_fn(|_| AtomicU64::new(0)),
            clock,
            ttl_ms: i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX),
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

    /// Looks for an entry. One that was kept at a later instant than now shows that the clock was
    /// set back, and counts as ended.
    pub fn look(&self, key: &K) -> Found<V> {
        let generation = self.generation(key).load(Ordering::Acquire);
        let now = self.inner.clock.now();
        let holds = |entry: &Entry<V>| {
            let age = now.as_millis() - entry.kept_at.as_millis();
            entry.generation == generation && (0..self.inner.ttl_ms).contains(&age)
        };
        let entry = self.inner.entries.get(key).filter(holds);
        let outcome = if entry.is_some() { "hit" } else { "miss" };
        metrics::counter!("tillbox_cache_requests_total", "cache" => self.inner.name,
            "outcome" => outcome)
        .increment(1);
        entry.map_or(Found::Miss(Ticket(generation)), |entry| {
            Found::Hit(entry.value)
        })
    }

    /// Keeps what was read after the ticket was given.
    pub fn keep(&self, key: K, Ticket(generation): Ticket, value: V) {
        let kept_at = self.inner.clock.now();
        self.inner.entries.insert(
            key,
            Entry {
                value,
                generation,
                kept_at,
            },
        );
    }

    /// Ends an entry, and what is being read for it at this moment: to be called when the change is
    /// on disk and before it is acknowledged.
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
        match cache.look(&key) {
            Found::Hit(value) => Some(value),
            Found::Miss(_) => None,
        }
    }

    fn ticket(cache: &TimedCache<u32, &'static str>, key: u32) -> Ticket {
        match cache.look(&key) {
            Found::Hit(value) => panic!("{value} is there"),
            Found::Miss(ticket) => ticket,
        }
    }

    #[test]
    fn an_entry_holds_for_its_time_and_no_longer() {
        let (cache, clock) = cache(10);
        let asked = ticket(&cache, 1);
        cache.keep(1, asked, "one");
        clock.advance(TTL - Duration::from_millis(1));
        assert_eq!(found(&cache, 1), Some("one"));
        clock.advance(Duration::from_millis(1));
        assert_eq!(found(&cache, 1), None);
    }

    #[test]
    fn an_entry_from_a_clock_that_was_ahead_is_not_believed() {
        let (cache, clock) = cache(10);
        let asked = ticket(&cache, 1);
        cache.keep(1, asked, "one");
        clock.set(clock.now().plus_millis(-1));
        assert_eq!(found(&cache, 1), None);
    }

    #[test]
    fn what_was_changed_is_read_again() {
        let (cache, _) = cache(10);
        let asked = ticket(&cache, 1);
        cache.keep(1, asked, "old");
        cache.invalidate(&1);
        let asked = ticket(&cache, 1);
        cache.keep(1, asked, "new");
        assert_eq!(found(&cache, 1), Some("new"));
    }

    /// A reader has read the old value; the change is committed and announced; only then the reader
    /// comes to keep it.
    #[test]
    fn a_reader_that_was_overtaken_keeps_nothing() {
        let (cache, _) = cache(10);
        let asked = ticket(&cache, 1);
        cache.invalidate(&1);
        cache.keep(1, asked, "old");
        assert_eq!(found(&cache, 1), None);
        // Nor does it push out what a later reader kept and then come back after another change.
        let (slow, quick) = (ticket(&cache, 1), ticket(&cache, 1));
        cache.keep(1, quick, "new");
        cache.invalidate(&1);
        cache.keep(1, slow, "old");
        assert_eq!(found(&cache, 1), None);
    }

    #[test]
    fn it_does_not_grow() {
        let (cache, _) = cache(10);
        for key in 0..10_000 {
            let asked = ticket(&cache, key);
            cache.keep(key, asked, "x");
        }
        cache.inner.entries.run_pending_tasks();
        assert!(cache.inner.entries.entry_count() <= 10);
    }
}
