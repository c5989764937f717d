//! In-memory index of which queue of which tenant has work, and when. Checking it reads no file.
//!
//! The table in the tenant's file is authoritative; this index holds hints about it. A lost hint
//! costs latency only: the sweep finds due work. A tenant has one entry per queue, however much
//! work it has. Ready tenants are ordered by their last batch: the tenant that has waited longest
//! is next. A tenant with a hundred thousand jobs therefore delays another tenant by at most the
//! one job that is running, and a tenant with an occasional job does not starve a busy one. A
//! tenant that holds as many slots as its queue allows per tenant is skipped.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::platform::queue::Queue;
use crate::primitives::Timestamp;
use crate::primitives::id::TenantId;
use crate::primitives::limits::SERVED_MAX;
use crate::primitives::sync;
use crate::storage::Wake;

/// Tenants with work, for all queues.
#[derive(Debug, Default)]
pub struct ReadyQueue {
    states: Mutex<HashMap<Queue, QueueState>>,
    wakeup: Arc<Notify>,
}

/// Tenants with work in one queue. A tenant has at most one entry.
#[derive(Debug, Default)]
struct QueueState {
    tenants: HashMap<TenantId, TenantState>,
    waiting: BTreeSet<(Timestamp, TenantId)>,
    /// Ordered by the number of the last batch, then by the number of the arrival.
    ready: BTreeSet<(u64, u64, TenantId)>,
    /// The number of each tenant's last batch.
    last_batches: HashMap<TenantId, u64>,
    /// Slots of the queue that each tenant holds.
    slots_held: HashMap<TenantId, usize>,
    batches: u64,
    arrivals: u64,
}

/// Rules for the tenants that may receive a batch of a queue.
#[derive(Debug)]
pub struct Admission {
    /// Slots of the queue that one tenant may hold.
    pub tenant_limit: usize,
    /// Tenants for which the queue is paused.
    pub paused: BTreeSet<TenantId>,
}

#[derive(Clone, Copy, Debug)]
enum TenantState {
    /// Not before `at`; `due` is the instant at which the work is or was due.
    Waiting { due: Timestamp, at: Timestamp },
    /// Due, and in `ready`.
    Ready { due: Timestamp },
    /// A batch is in progress; `again` is the earliest hint since it began.
    Leased {
        due: Timestamp,
        again: Option<Timestamp>,
    },
}

impl QueueState {
    /// Records a hint. Returns whether it changed anything.
    fn add_hint(&mut self, tenant: TenantId, at: Timestamp) -> bool {
        match self.tenants.get_mut(&tenant) {
            None => self.wait(tenant, at, at),
            // After a failed batch the tenant waits for its retry time, whatever hints arrive. The
            // instant since which the work is due is kept.
            Some(TenantState::Waiting { due, at: until }) if *due < *until => {
                *due = (*due).min(at);
                return false;
            }
            Some(TenantState::Waiting { at: until, .. }) if at < *until => {
                let until = *until;
                self.waiting.remove(&(until, tenant));
                self.wait(tenant, at, at);
            }
            Some(TenantState::Leased { again, .. }) => {
                *again = Some(again.map_or(at, |again| again.min(at)));
                return false;
            }
            Some(TenantState::Waiting { .. } | TenantState::Ready { .. }) => return false,
        }
        true
    }

    fn wait(&mut self, tenant: TenantId, due: Timestamp, at: Timestamp) {
        self.waiting.insert((at, tenant));
        self.tenants
            .insert(tenant, TenantState::Waiting { due, at });
    }

    /// Moves tenants whose wait is over to `ready`, the longest waiting first.
    fn promote(&mut self, now: Timestamp) {
        while let Some((at, tenant)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.pop_first();
            self.arrivals += 1;
            let last_batch = self.last_batches.get(&tenant).copied().unwrap_or(0);
            self.ready.insert((last_batch, self.arrivals, tenant));
            let due = self.tenants.get(&tenant).map_or(at, TenantState::due);
            self.tenants.insert(tenant, TenantState::Ready { due });
        }
    }

    /// Ends all waits that go beyond `now`.
    fn end_waits(&mut self, now: Timestamp) {
        for (_, tenant) in self
            .waiting
            .split_off(&(now.plus_millis(1), TenantId::from_bytes([0; 16])))
        {
            let due = self
                .tenants
                .get(&tenant)
                .map_or(now, TenantState::due)
                .min(now);
            self.wait(tenant, due, now);
        }
    }

    fn is_admitted(&self, tenant: TenantId, admission: &Admission) -> bool {
        let slots_held = self.slots_held.get(&tenant).copied().unwrap_or(0);
        slots_held < admission.tenant_limit && !admission.paused.contains(&tenant)
    }

    /// Counts the ready tenants that may receive a batch. The others are few: they hold slots, or
    /// an operator paused them.
    fn count_admitted(&self, admission: &Admission) -> usize {
        let is_blocked = |tenant: &&TenantId| {
            matches!(self.tenants.get(tenant), Some(TenantState::Ready { .. }))
                && !self.is_admitted(**tenant, admission)
        };
        let with_slots = self.slots_held.keys().filter(is_blocked).count();
        let paused = admission
            .paused
            .iter()
            .filter(|tenant| !self.slots_held.contains_key(tenant));
        self.ready.len() - with_slots - paused.filter(is_blocked).count()
    }

    /// Leases the next admitted tenant, with its share of the free slots.
    fn lease_next(&mut self, admission: &Admission, free: usize) -> Option<(TenantId, usize)> {
        let share = (free / self.count_admitted(admission).max(1)).max(1);
        let next = self
            .ready
            .iter()
            .find(|(_, _, tenant)| self.is_admitted(*tenant, admission))
            .copied()?;
        self.ready.remove(&next);
        let tenant = next.2;
        let due = self.tenants.get(&tenant).map(TenantState::due)?;
        self.tenants
            .insert(tenant, TenantState::Leased { due, again: None });
        self.batches += 1;
        if self.last_batches.len() >= SERVED_MAX {
            let oldest_kept = self.batches.saturating_sub(SERVED_MAX as u64 / 2);
            self.last_batches.retain(|_, batch| *batch >= oldest_kept);
        }
        self.last_batches.insert(tenant, self.batches);
        let slots_held = self.slots_held.entry(tenant).or_default();
        let slots = share.min(admission.tenant_limit - *slots_held).min(free);
        *slots_held += slots;
        Some((tenant, slots))
    }

    fn release_slot(&mut self, tenant: TenantId) {
        if let Some(slots_held) = self.slots_held.get_mut(&tenant) {
            *slots_held -= 1;
            if *slots_held == 0 {
                self.slots_held.remove(&tenant);
            }
        }
    }

    fn complete(&mut self, tenant: TenantId, next: Option<Timestamp>) {
        if let Some(TenantState::Leased { again, .. }) = self.tenants.remove(&tenant)
            && let Some(at) = again.into_iter().chain(next).min()
        {
            self.wait(tenant, at, at);
        }
    }

    fn defer(&mut self, tenant: TenantId, until: Timestamp) {
        if let Some(TenantState::Leased { due, again }) = self.tenants.remove(&tenant) {
            self.wait(tenant, again.map_or(due, |again| again.min(due)), until);
        }
    }
}

impl TenantState {
    const fn due(&self) -> Timestamp {
        match self {
            Self::Waiting { due, .. } | Self::Ready { due } | Self::Leased { due, .. } => *due,
        }
    }
}

impl ReadyQueue {
    /// Records hints about a tenant's queues. Runs on the thread that writes the tenant's file, so
    /// it must be cheap.
    pub fn add_hints(&self, tenant: TenantId, wakes: &[Wake]) {
        let mut states = self.states();
        let mut changed = false;
        for wake in wakes {
            if let Some(queue) = Queue::parse(wake.queue) {
                changed |= states.entry(queue).or_default().add_hint(tenant, wake.at);
            }
        }
        drop(states);
        if changed {
            self.wakeup.notify_one();
        }
    }

    /// Leases the next tenant of a queue that may receive a batch. No other caller gets this tenant
    /// until the lease ends. The lease comes with at least one of the `free` slots of the queue;
    /// each slot must be [released](Self::release_slot).
    pub fn lease(
        self: &Arc<Self>,
        queue: Queue,
        now: Timestamp,
        admission: &Admission,
        free: usize,
    ) -> Option<(Lease, usize)> {
        let mut states = self.states();
        let state = states.get_mut(&queue)?;
        state.promote(now);
        let (tenant, slots) = state.lease_next(admission, free)?;
        let lease = Lease {
            ready_queue: self.clone(),
            tenant,
            queue,
            is_ended: false,
        };
        Some((lease, slots))
    }

    /// Releases one slot that a tenant holds in a queue.
    pub fn release_slot(&self, queue: Queue, tenant: TenantId) {
        if let Some(state) = self.states().get_mut(&queue) {
            state.release_slot(tenant);
        }
    }

    /// Counts the tenants that have due work in a queue and may receive a batch.
    pub fn count_ready(&self, queue: Queue, now: Timestamp, admission: &Admission) -> usize {
        self.states().get_mut(&queue).map_or(0, |state| {
            state.promote(now);
            state.count_admitted(admission)
        })
    }

    /// Makes all waiting tenants due after the clock was set back to `now`: an instant that was
    /// near may now lie years ahead. Their next batch returns the correct due time.
    pub fn make_all_due(&self, now: Timestamp) {
        self.states()
            .values_mut()
            .for_each(|state| state.end_waits(now));
    }

    /// The instant at which the next tenant becomes ready.
    pub fn next_due(&self) -> Option<Timestamp> {
        let states = self.states();
        states
            .values()
            .filter_map(|state| state.waiting.first().map(|(at, _)| *at))
            .min()
    }

    /// The earliest instant at which waiting work is or was due, over the queues and tenants that
    /// `counts` accepts.
    pub fn oldest_due(&self, counts: impl Fn(Queue, TenantId) -> bool) -> Option<Timestamp> {
        let states = self.states();
        let tenants = states.iter().flat_map(|(queue, state)| {
            state
                .tenants
                .iter()
                .map(|(tenant, entry)| (*queue, *tenant, entry))
        });
        tenants
            .filter(|(queue, tenant, _)| counts(*queue, *tenant))
            .map(|(_, _, entry)| entry.due())
            .min()
    }

    /// The earliest instant at which waiting work of a queue is or was due.
    pub fn oldest_due_in(&self, queue: Queue) -> Option<Timestamp> {
        self.states()
            .get(&queue)?
            .tenants
            .values()
            .map(TenantState::due)
            .min()
    }

    /// Notified when there may be work.
    pub const fn wakeup(&self) -> &Arc<Notify> {
        &self.wakeup
    }

    fn states(&self) -> MutexGuard<'_, HashMap<Queue, QueueState>> {
        sync::lock(&self.states)
    }
}

/// A tenant's right to run a batch in one queue. Dropping an unfinished lease ends it; the sweep
/// finds the remaining work.
#[derive(Debug)]
pub struct Lease {
    ready_queue: Arc<ReadyQueue>,
    tenant: TenantId,
    queue: Queue,
    is_ended: bool,
}

impl Lease {
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    pub const fn queue(&self) -> Queue {
        self.queue
    }

    /// Ends the lease after a successful batch; `next` is when the queue has work again.
    pub fn complete(mut self, next: Option<Timestamp>) {
        self.end(|state, tenant| state.complete(tenant, next));
    }

    /// Ends the lease after a failed batch; the same work is tried again at `until`.
    pub fn defer(mut self, until: Timestamp) {
        self.end(|state, tenant| state.defer(tenant, until));
    }

    fn end(&mut self, f: impl FnOnce(&mut QueueState, TenantId)) {
        self.is_ended = true;
        if let Some(state) = self.ready_queue.states().get_mut(&self.queue) {
            f(state, self.tenant);
        }
        self.ready_queue.wakeup.notify_one();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_ended {
            self.end(|state, tenant| state.complete(tenant, None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis_clamped(ms)
    }

    fn tenant(number: u8) -> TenantId {
        TenantId::from_bytes([number; 16])
    }

    fn hint(ms: i64) -> [Wake; 1] {
        [Wake {
            queue: "audit",
            at: at(ms),
        }]
    }

    fn ready_queue() -> Arc<ReadyQueue> {
        Arc::default()
    }

    fn admit_all() -> Admission {
        Admission {
            tenant_limit: 64,
            paused: BTreeSet::new(),
        }
    }

    /// Leases a tenant and releases its slots at once.
    fn run_batch(ready_queue: &Arc<ReadyQueue>, queue: Queue, now: i64) -> Option<Lease> {
        let (batch, slots) = ready_queue.lease(queue, at(now), &admit_all(), 1)?;
        (0..slots).for_each(|_| ready_queue.release_slot(queue, batch.tenant()));
        Some(batch)
    }

    #[test]
    fn serves_others_when_one_tenant_is_busy() {
        let ready_queue = ready_queue();
        ready_queue.add_hints(tenant(1), &hint(0));
        let mut order = Vec::new();
        for pass in 0..6 {
            let batch = run_batch(&ready_queue, Queue::Audit, 10).expect("a tenant is ready");
            order.push(batch.tenant());
            if pass == 0 {
                ready_queue.add_hints(tenant(2), &hint(1));
                ready_queue.add_hints(tenant(3), &hint(2));
            }
            // The first tenant always has more work; the others have it once more.
            let more = batch.tenant() == tenant(1) || pass < 3;
            batch.complete(more.then_some(at(0)));
        }
        // The newcomers come before the busy tenant, whose last batch was later than theirs. From
        // then on all tenants alternate.
        assert_eq!(order, [1, 2, 3, 1, 2, 3].map(tenant));
    }

    #[test]
    fn serves_busy_tenant_when_another_has_occasional_jobs() {
        let ready_queue = ready_queue();
        ready_queue.add_hints(tenant(1), &hint(0));
        let mut order = Vec::new();
        for _ in 0..6 {
            ready_queue.add_hints(tenant(2), &hint(0));
            let batch = run_batch(&ready_queue, Queue::Audit, 10).expect("a tenant is ready");
            order.push(batch.tenant());
            let more = batch.tenant() == tenant(1);
            batch.complete(more.then_some(at(0)));
        }
        assert_eq!(order, [1, 2, 1, 2, 1, 2].map(tenant));
    }

    #[test]
    fn limits_slots_per_tenant() {
        let ready_queue = ready_queue();
        let admission = Admission {
            tenant_limit: 2,
            paused: BTreeSet::new(),
        };
        ready_queue.add_hints(tenant(1), &hint(0));
        let (batch, slots) = ready_queue
            .lease(Queue::Audit, at(0), &admission, 4)
            .expect("it is due");
        assert_eq!(slots, 2, "the limit applies even to a single tenant");
        batch.complete(Some(at(0)));
        assert_eq!(ready_queue.count_ready(Queue::Audit, at(0), &admission), 0);
        assert!(
            ready_queue
                .lease(Queue::Audit, at(0), &admission, 2)
                .is_none()
        );
        ready_queue.add_hints(tenant(2), &hint(0));
        let (batch, slots) = ready_queue
            .lease(Queue::Audit, at(0), &admission, 2)
            .expect("the other tenant holds no slot");
        assert_eq!((batch.tenant(), slots), (tenant(2), 2));
        ready_queue.release_slot(Queue::Audit, tenant(1));
        let (batch, slots) = ready_queue
            .lease(Queue::Audit, at(0), &admission, 1)
            .expect("a slot was released");
        assert_eq!((batch.tenant(), slots), (tenant(1), 1));
    }

    #[test]
    fn skips_paused_tenant_and_keeps_its_position() {
        let ready_queue = ready_queue();
        let admission = Admission {
            tenant_limit: 2,
            paused: BTreeSet::from([tenant(1)]),
        };
        ready_queue.add_hints(tenant(1), &hint(0));
        ready_queue.add_hints(tenant(2), &hint(1));
        assert_eq!(ready_queue.count_ready(Queue::Audit, at(1), &admission), 1);
        let (batch, _) = ready_queue
            .lease(Queue::Audit, at(1), &admission, 1)
            .expect("the other tenant");
        assert_eq!(batch.tenant(), tenant(2));
        assert!(
            ready_queue
                .lease(Queue::Audit, at(1), &admission, 1)
                .is_none()
        );
        let (batch, _) = ready_queue
            .lease(Queue::Audit, at(1), &admit_all(), 1)
            .expect("it was resumed");
        assert_eq!(batch.tenant(), tenant(1));
    }

    #[test]
    fn leases_tenant_once_and_keeps_hints_during_lease() {
        let ready_queue = ready_queue();
        ready_queue.add_hints(tenant(1), &hint(0));
        let batch = run_batch(&ready_queue, Queue::Audit, 0).expect("it is due");
        ready_queue.add_hints(tenant(1), &hint(5));
        assert!(run_batch(&ready_queue, Queue::Audit, 9).is_none());
        batch.complete(None);
        assert!(run_batch(&ready_queue, Queue::Audit, 4).is_none());
        assert_eq!(
            run_batch(&ready_queue, Queue::Audit, 5).map(|batch| batch.tenant()),
            Some(tenant(1))
        );
    }

    #[test]
    fn moves_tenant_when_hint_is_earlier() {
        let ready_queue = ready_queue();
        for ms in [50, 20, 80] {
            ready_queue.add_hints(tenant(1), &hint(ms));
        }
        assert_eq!(ready_queue.next_due(), Some(at(20)));
        assert!(run_batch(&ready_queue, Queue::Audit, 19).is_none());
        assert!(run_batch(&ready_queue, Queue::Default, 20).is_none());
        assert!(run_batch(&ready_queue, Queue::Audit, 20).is_some());
        assert_eq!(ready_queue.next_due(), None);
    }

    #[test]
    fn waits_and_stays_overdue_after_deferred_batch() {
        let ready_queue = ready_queue();
        ready_queue.add_hints(tenant(1), &hint(0));
        run_batch(&ready_queue, Queue::Audit, 5)
            .expect("it is due")
            .defer(at(100));
        assert!(run_batch(&ready_queue, Queue::Audit, 99).is_none());
        assert_eq!(ready_queue.oldest_due(|_, _| true), Some(at(0)));
        assert_eq!(
            ready_queue.oldest_due(|queue, _| queue != Queue::Audit),
            None
        );
        assert_eq!(
            (
                ready_queue.oldest_due_in(Queue::Audit),
                ready_queue.oldest_due_in(Queue::Low)
            ),
            (Some(at(0)), None)
        );
        assert_eq!(ready_queue.next_due(), Some(at(100)));
        run_batch(&ready_queue, Queue::Audit, 100)
            .expect("it is due")
            .complete(None);
        assert_eq!(ready_queue.oldest_due(|_, _| true), None);
    }

    #[test]
    fn makes_all_tenants_due_when_clock_is_set_back() {
        let ready_queue = ready_queue();
        ready_queue.add_hints(tenant(1), &hint(5_000));
        ready_queue.add_hints(tenant(2), &hint(4_000));
        run_batch(&ready_queue, Queue::Audit, 4_000)
            .expect("it is due")
            .defer(at(6_000));
        ready_queue.add_hints(tenant(3), &hint(10));
        ready_queue.make_all_due(at(20));
        assert_eq!(ready_queue.oldest_due(|_, _| true), Some(at(10)));
        let leased: Vec<_> = (0..3)
            .filter_map(|_| run_batch(&ready_queue, Queue::Audit, 20))
            .map(|batch| batch.tenant())
            .collect();
        assert_eq!(leased, [3, 1, 2].map(tenant));
    }

    #[test]
    fn counts_ready_tenants_and_ends_dropped_leases() {
        let ready_queue = ready_queue();
        for number in 1..=3 {
            ready_queue.add_hints(tenant(number), &hint(i64::from(number)));
        }
        assert_eq!(
            ready_queue.count_ready(Queue::Audit, at(2), &admit_all()),
            2
        );
        drop(run_batch(&ready_queue, Queue::Audit, 2));
        assert_eq!(
            ready_queue.count_ready(Queue::Audit, at(3), &admit_all()),
            2
        );
        assert!(ready_queue.count_ready(Queue::Low, at(3), &admit_all()) == 0);
    }
}
