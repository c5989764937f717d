//! Which queue of which shop has something to do, and when: in memory, so that looking costs no
//! file anything.
//!
//! The table in the tenant's file is the truth; this is a memory of hints about it. A hint that is
//! lost costs latency: the sweep finds what is due. A shop stands in the row of a queue once,
//! however much it has to do, and the row is in the order of the last batches: who had none for
//! longest is next. So one shop with a hundred thousand jobs does not keep another one with a
//! single job waiting for longer than the one job that runs, and a shop that has a job now and
//! again does not keep the first from its work. A shop that has as many places as its queue allows
//! to one stands aside.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::platform::queue::Queue;
use crate::primitives::Timestamp;
use crate::primitives::id::TenantId;
use crate::primitives::limits::SERVED_MAX;
use crate::storage::Wake;

/// What is to do, over all shops.
#[derive(Debug, Default)]
pub struct ReadyQueue {
    states: Mutex<HashMap<Queue, QueueState>>,
    wakeup: Arc<Notify>,
}

/// One queue's part of it. A tenant is in exactly one place or in none.
#[derive(Debug, Default)]
struct QueueState {
    places: HashMap<TenantId, Place>,
    waiting: BTreeSet<(Timestamp, TenantId)>,
    /// By the number of the last batch, then by that of the arrival.
    row: BTreeSet<(u64, u64, TenantId)>,
    /// The number of each tenant's last batch.
    served: HashMap<TenantId, u64>,
    /// How many places of the queue each tenant has.
    held: HashMap<TenantId, usize>,
    batches: u64,
    arrivals: u64,
}

/// Who may have a batch in a queue.
#[derive(Debug)]
pub struct Admission {
    /// How many places of the queue one tenant may have.
    pub tenant_limit: usize,
    /// Tenants for which the queue is paused.
    pub paused: BTreeSet<TenantId>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Not before `at`; `due` is when the work itself is or was due.
    Waiting { due: Timestamp, at: Timestamp },
    /// Due, and in the row.
    Ready { due: Timestamp },
    /// Having its batch; `again` is what hints said meanwhile.
    Taken {
        due: Timestamp,
        again: Option<Timestamp>,
    },
}

impl QueueState {
    /// Whether the hint changed anything.
    fn note(&mut self, tenant: TenantId, at: Timestamp) -> bool {
        match self.places.get_mut(&tenant) {
            None => self.wait(tenant, at, at),
            // After a batch that failed it has its rest, whatever comes meanwhile; how long the
            // work has been due stays known.
            Some(Place::Waiting { due, at: until }) if *due < *until => {
                *due = (*due).min(at);
                return false;
            }
            Some(Place::Waiting { at: until, .. }) if at < *until => {
                let until = *until;
                self.waiting.remove(&(until, tenant));
                self.wait(tenant, at, at);
            }
            Some(Place::Taken { again, .. }) => {
                *again = Some(again.map_or(at, |again| again.min(at)));
                return false;
            }
            Some(Place::Waiting { .. } | Place::Ready { .. }) => return false,
        }
        true
    }

    fn wait(&mut self, tenant: TenantId, due: Timestamp, at: Timestamp) {
        self.waiting.insert((at, tenant));
        self.places.insert(tenant, Place::Waiting { due, at });
    }

    /// Moves to the row whoever has waited long enough, the longest waiting first.
    fn promote(&mut self, now: Timestamp) {
        while let Some((at, tenant)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.pop_first();
            self.arrivals += 1;
            let last_batch = self.served.get(&tenant).copied().unwrap_or(0);
            self.row.insert((last_batch, self.arrivals, tenant));
            let due = self.places.get(&tenant).map_or(at, Place::due);
            self.places.insert(tenant, Place::Ready { due });
        }
    }

    /// Nobody waits for longer than until `now`.
    fn wait_no_longer(&mut self, now: Timestamp) {
        for (_, tenant) in self
            .waiting
            .split_off(&(now.plus_millis(1), TenantId::from_bytes([0; 16])))
        {
            let due = self.places.get(&tenant).map_or(now, Place::due).min(now);
            self.wait(tenant, due, now);
        }
    }

    fn is_admitted(&self, tenant: TenantId, admission: &Admission) -> bool {
        let held = self.held.get(&tenant).copied().unwrap_or(0);
        held < admission.tenant_limit && !admission.paused.contains(&tenant)
    }

    /// How many in the row may have a batch. Those that may not are few: they have places, or an
    /// operator named them.
    fn count_admitted(&self, admission: &Admission) -> usize {
        let stands_aside = |tenant: &&TenantId| {
            matches!(self.places.get(tenant), Some(Place::Ready { .. }))
                && !self.is_admitted(**tenant, admission)
        };
        let with_places = self.held.keys().filter(stands_aside).count();
        let paused = admission
            .paused
            .iter()
            .filter(|tenant| !self.held.contains_key(tenant));
        self.row.len() - with_places - paused.filter(stands_aside).count()
    }

    /// Gives a batch, and as many of the free places as are this tenant's share.
    fn take(&mut self, admission: &Admission, free: usize) -> Option<(TenantId, usize)> {
        let share = (free / self.count_admitted(admission).max(1)).max(1);
        let next = self
            .row
            .iter()
            .find(|(_, _, tenant)| self.is_admitted(*tenant, admission))
            .copied()?;
        self.row.remove(&next);
        let tenant = next.2;
        let due = self.places.get(&tenant).map(Place::due)?;
        self.places
            .insert(tenant, Place::Taken { due, again: None });
        self.batches += 1;
        if self.served.len() >= SERVED_MAX {
            let oldest_kept = self.batches.saturating_sub(SERVED_MAX as u64 / 2);
            self.served.retain(|_, batch| *batch >= oldest_kept);
        }
        self.served.insert(tenant, self.batches);
        let held = self.held.entry(tenant).or_default();
        let places = share.min(admission.tenant_limit - *held).min(free);
        *held += places;
        Some((tenant, places))
    }

    fn give_up_place(&mut self, tenant: TenantId) {
        if let Some(held) = self.held.get_mut(&tenant) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&tenant);
            }
        }
    }

    fn done(&mut self, tenant: TenantId, next: Option<Timestamp>) {
        if let Some(Place::Taken { again, .. }) = self.places.remove(&tenant)
            && let Some(at) = again.into_iter().chain(next).min()
        {
            self.wait(tenant, at, at);
        }
    }

    fn defer(&mut self, tenant: TenantId, until: Timestamp) {
        if let Some(Place::Taken { due, again }) = self.places.remove(&tenant) {
            self.wait(tenant, again.map_or(due, |again| again.min(due)), until);
        }
    }
}

impl Place {
    const fn due(&self) -> Timestamp {
        match self {
            Self::Waiting { due, .. } | Self::Ready { due } | Self::Taken { due, .. } => *due,
        }
    }
}

impl ReadyQueue {
    /// Notes hints about a tenant's queues. Cheap: it is called on the thread that writes the
    /// tenant's file.
    pub fn note(&self, tenant: TenantId, wakes: &[Wake]) {
        let mut states = self.states();
        let mut changed = false;
        for wake in wakes {
            if let Some(queue) = Queue::parse(wake.queue) {
                changed |= states.entry(queue).or_default().note(tenant, wake.at);
            }
        }
        drop(states);
        if changed {
            self.wakeup.notify_one();
        }
    }

    /// The next tenant in the row of a queue, if there is one that may have a batch. It is nobody
    /// else's until the batch is over. With the batch come some of the `free` places of the queue,
    /// at least one: each is to be [given up](Self::give_up_place).
    pub fn take(
        self: &Arc<Self>,
        queue: Queue,
        now: Timestamp,
        admission: &Admission,
        free: usize,
    ) -> Option<(Lease, usize)> {
        let mut states = self.states();
        let state = states.get_mut(&queue)?;
        state.promote(now);
        let (tenant, places) = state.take(admission, free)?;
        let batch = Lease {
            ready_queue: self.clone(),
            tenant,
            queue,
            over: false,
        };
        Some((batch, places))
    }

    /// A tenant has one place less in a queue.
    pub fn give_up_place(&self, queue: Queue, tenant: TenantId) {
        if let Some(state) = self.states().get_mut(&queue) {
            state.give_up_place(tenant);
        }
    }

    /// How many tenants have something to do in a queue now, and may.
    pub fn count_ready(&self, queue: Queue, now: Timestamp, admission: &Admission) -> usize {
        self.states().get_mut(&queue).map_or(0, |state| {
            state.promote(now);
            state.count_admitted(admission)
        })
    }

    /// The clock was set back to `now`: an instant that was to come soon may lie years ahead by
    /// now. All who wait have a batch, which says when their next one is due.
    pub fn clock_was_set_back(&self, now: Timestamp) {
        self.states()
            .values_mut()
            .for_each(|state| state.wait_no_longer(now));
    }

    /// When the next tenant enters a row.
    pub fn next_due(&self) -> Option<Timestamp> {
        let states = self.states();
        states
            .values()
            .filter_map(|state| state.waiting.first().map(|(at, _)| *at))
            .min()
    }

    /// The earliest instant at which something that still waits is or was due, in the queues and
    /// shops that count.
    pub fn oldest_due(&self, counts: impl Fn(Queue, TenantId) -> bool) -> Option<Timestamp> {
        let states = self.states();
        let places = states.iter().flat_map(|(queue, state)| {
            state
                .places
                .iter()
                .map(|(tenant, place)| (*queue, *tenant, place))
        });
        places
            .filter(|(queue, tenant, _)| counts(*queue, *tenant))
            .map(|(_, _, place)| place.due())
            .min()
    }

    /// The earliest instant at which something that still waits in a queue is or was due.
    pub fn oldest_due_in(&self, queue: Queue) -> Option<Timestamp> {
        self.states()
            .get(&queue)?
            .places
            .values()
            .map(Place::due)
            .min()
    }

    /// Rings when there may be something to do.
    pub const fn wakeup(&self) -> &Arc<Notify> {
        &self.wakeup
    }

    fn states(&self) -> MutexGuard<'_, HashMap<Queue, QueueState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tenant's batch in one queue. A batch that is dropped undecided is over, and the sweep finds
/// what it left.
#[derive(Debug)]
pub struct Lease {
    ready_queue: Arc<ReadyQueue>,
    tenant: TenantId,
    queue: Queue,
    over: bool,
}

impl Lease {
    /// Whose batch.
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// In which queue.
    pub const fn queue(&self) -> Queue {
        self.queue
    }

    /// It went well; `next` is when the queue has something to do again.
    pub fn done(mut self, next: Option<Timestamp>) {
        self.end(|state, tenant| state.done(tenant, next));
    }

    /// It came to nothing; the same is tried again at `until`.
    pub fn defer(mut self, until: Timestamp) {
        self.end(|state, tenant| state.defer(tenant, until));
    }

    fn end(&mut self, f: impl FnOnce(&mut QueueState, TenantId)) {
        self.over = true;
        if let Some(state) = self.ready_queue.states().get_mut(&self.queue) {
            f(state, self.tenant);
        }
        self.ready_queue.wakeup.notify_one();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.over {
            self.end(|state, tenant| state.done(tenant, None));
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

    fn anybody() -> Admission {
        Admission {
            tenant_limit: 64,
            paused: BTreeSet::new(),
        }
    }

    /// A batch whose places are given up at once.
    fn run_batch(ready_queue: &Arc<ReadyQueue>, queue: Queue, now: i64) -> Option<Lease> {
        let (batch, places) = ready_queue.take(queue, at(now), &anybody(), 1)?;
        (0..places).for_each(|_| ready_queue.give_up_place(queue, batch.tenant()));
        Some(batch)
    }

    #[test]
    fn a_busy_shop_does_not_keep_another_waiting() {
        let ready_queue = ready_queue();
        ready_queue.note(tenant(1), &hint(0));
        let mut order = Vec::new();
        for round in 0..6 {
            let batch = run_batch(&ready_queue, Queue::Audit, 10).expect("somebody is in the row");
            order.push(batch.tenant());
            if round == 0 {
                ready_queue.note(tenant(2), &hint(1));
                ready_queue.note(tenant(3), &hint(2));
            }
            // The first has always more to do; the others once more.
            let more = batch.tenant() == tenant(1) || round < 3;
            batch.done(more.then_some(at(0)));
        }
        // The newcomers come before the busy one, whose last batch was later than theirs, and from
        // then on all take batches.
        assert_eq!(order, [1, 2, 3, 1, 2, 3].map(tenant));
    }

    #[test]
    fn a_shop_with_a_job_now_and_again_does_not_starve_a_busy_one() {
        let ready_queue = ready_queue();
        ready_queue.note(tenant(1), &hint(0));
        let mut order = Vec::new();
        for _ in 0..6 {
            ready_queue.note(tenant(2), &hint(0));
            let batch = run_batch(&ready_queue, Queue::Audit, 10).expect("somebody is in the row");
            order.push(batch.tenant());
            let more = batch.tenant() == tenant(1);
            batch.done(more.then_some(at(0)));
        }
        assert_eq!(order, [1, 2, 1, 2, 1, 2].map(tenant));
    }

    #[test]
    fn a_shop_has_so_many_places_at_a_time_and_no_more() {
        let ready_queue = ready_queue();
        let admission = Admission {
            tenant_limit: 2,
            paused: BTreeSet::new(),
        };
        ready_queue.note(tenant(1), &hint(0));
        let (batch, places) = ready_queue
            .take(Queue::Audit, at(0), &admission, 4)
            .expect("it is due");
        assert_eq!(
            places, 2,
            "it is alone, and has no more than its limit all the same"
        );
        batch.done(Some(at(0)));
        assert_eq!(ready_queue.count_ready(Queue::Audit, at(0), &admission), 0);
        assert!(
            ready_queue
                .take(Queue::Audit, at(0), &admission, 2)
                .is_none()
        );
        ready_queue.note(tenant(2), &hint(0));
        let (batch, places) = ready_queue
            .take(Queue::Audit, at(0), &admission, 2)
            .expect("the other has none");
        assert_eq!((batch.tenant(), places), (tenant(2), 2));
        ready_queue.give_up_place(Queue::Audit, tenant(1));
        let (batch, places) = ready_queue
            .take(Queue::Audit, at(0), &admission, 1)
            .expect("it has one again");
        assert_eq!((batch.tenant(), places), (tenant(1), 1));
    }

    #[test]
    fn a_shop_whose_queue_is_paused_stands_aside_and_keeps_its_place() {
        let ready_queue = ready_queue();
        let admission = Admission {
            tenant_limit: 2,
            paused: BTreeSet::from([tenant(1)]),
        };
        ready_queue.note(tenant(1), &hint(0));
        ready_queue.note(tenant(2), &hint(1));
        assert_eq!(ready_queue.count_ready(Queue::Audit, at(1), &admission), 1);
        let (batch, _) = ready_queue
            .take(Queue::Audit, at(1), &admission, 1)
            .expect("the other");
        assert_eq!(batch.tenant(), tenant(2));
        assert!(
            ready_queue
                .take(Queue::Audit, at(1), &admission, 1)
                .is_none()
        );
        let (batch, _) = ready_queue
            .take(Queue::Audit, at(1), &anybody(), 1)
            .expect("it was resumed");
        assert_eq!(batch.tenant(), tenant(1));
    }

    #[test]
    fn a_tenant_has_one_turn_at_a_time_and_a_hint_meanwhile_is_kept() {
        let ready_queue = ready_queue();
        ready_queue.note(tenant(1), &hint(0));
        let batch = run_batch(&ready_queue, Queue::Audit, 0).expect("it is due");
        ready_queue.note(tenant(1), &hint(5));
        assert!(run_batch(&ready_queue, Queue::Audit, 9).is_none());
        batch.done(None);
        assert!(run_batch(&ready_queue, Queue::Audit, 4).is_none());
        assert_eq!(
            run_batch(&ready_queue, Queue::Audit, 5).map(|batch| batch.tenant()),
            Some(tenant(1))
        );
    }

    #[test]
    fn an_earlier_hint_moves_the_tenant_and_a_later_one_does_not() {
        let ready_queue = ready_queue();
        for ms in [50, 20, 80] {
            ready_queue.note(tenant(1), &hint(ms));
        }
        assert_eq!(ready_queue.next_due(), Some(at(20)));
        assert!(run_batch(&ready_queue, Queue::Audit, 19).is_none());
        assert!(run_batch(&ready_queue, Queue::Default, 20).is_none());
        assert!(run_batch(&ready_queue, Queue::Audit, 20).is_some());
        assert_eq!(ready_queue.next_due(), None);
    }

    #[test]
    fn a_turn_that_came_to_nothing_rests_and_stays_overdue() {
        let ready_queue = ready_queue();
        ready_queue.note(tenant(1), &hint(0));
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
            .done(None);
        assert_eq!(ready_queue.oldest_due(|_, _| true), None);
    }

    #[test]
    fn a_clock_that_was_set_back_strands_nobody() {
        let ready_queue = ready_queue();
        ready_queue.note(tenant(1), &hint(5_000));
        ready_queue.note(tenant(2), &hint(4_000));
        run_batch(&ready_queue, Queue::Audit, 4_000)
            .expect("it is due")
            .defer(at(6_000));
        ready_queue.note(tenant(3), &hint(10));
        ready_queue.clock_was_set_back(at(20));
        assert_eq!(ready_queue.oldest_due(|_, _| true), Some(at(10)));
        let taken: Vec<_> = (0..3)
            .filter_map(|_| run_batch(&ready_queue, Queue::Audit, 20))
            .map(|batch| batch.tenant())
            .collect();
        assert_eq!(taken, [3, 1, 2].map(tenant));
    }

    #[test]
    fn the_row_is_counted_and_a_turn_that_was_forgotten_is_over() {
        let ready_queue = ready_queue();
        for number in 1..=3 {
            ready_queue.note(tenant(number), &hint(i64::from(number)));
        }
        assert_eq!(ready_queue.count_ready(Queue::Audit, at(2), &anybody()), 2);
        drop(run_batch(&ready_queue, Queue::Audit, 2));
        assert_eq!(ready_queue.count_ready(Queue::Audit, at(3), &anybody()), 2);
        assert!(ready_queue.count_ready(Queue::Low, at(3), &anybody()) == 0);
    }
}
