//! The loop around the steps: it gives batches while workers are free, sleeps until a hint or the
//! next due job, and drains when told to stop.
//!
//! It decides who is next and nothing else. Transactions run on the shops' writer threads, calls on
//! threads that may block.

use std::cmp::Reverse;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, Sleep};

use super::batch::{Claimed, Rules, Started, claim};
use super::handlers::Handlers;
use super::outbound_job::{self, Slot};
use super::ready_queue::{Admission, Lease};
use super::shared::{OpenResult, Shared};
use super::sweep;
use crate::app::App;
use crate::platform::queue::{self, Job, Queue};
use crate::primitives::id::TenantId;
use crate::primitives::limits::{
    AUDIT_REST_MS, BATCH_RETRY_MS, CHECKPOINT_MS, CLOCK_SET_BACK_MS, HEARTBEAT_MS, LOOKS_ANEW,
    QUEUE_PASSED_MAX, SWEEP_MS,
};
use crate::primitives::{Origin, Timestamp};
use crate::storage::{Database, Tenant};

const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);
const AUDIT_REST: Duration = Duration::from_millis(AUDIT_REST_MS);
/// How long to wait, at the end, for batches and a sweep that are under way: each is a transaction
/// or a file to be opened.
const LAST_BATCHES: Duration = Duration::from_secs(5);

/// Outbound jobs that a batch marked as running, each with the slot it runs in.
struct StartedJobs {
    tenant: TenantId,
    db: Database<Tenant>,
    started: Vec<(Started, Slot)>,
}

/// A queue, as batches are given in it.
struct QueueState {
    queue: Queue,
    places: Arc<Semaphore>,
    tenant_limit: usize,
    priority: u32,
    /// How many batches others had while somebody waited here.
    passed: u32,
}

/// Which of the queues in which somebody waits is next: the one that was passed over most, once
/// that is too often; else the first by priority, and of equals the one that was passed over more.
fn choose(waiting: impl Iterator<Item = (usize, u32, u32)> + Clone) -> Option<usize> {
    let overlooked = waiting
        .clone()
        .filter(|(_, _, passed)| *passed >= QUEUE_PASSED_MAX)
        .max_by_key(|(_, _, passed)| *passed);
    let first = || waiting.min_by_key(|(_, priority, passed)| (*priority, Reverse(*passed)));
    overlooked.or_else(first).map(|(state, _, _)| state)
}

pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    states: Vec<QueueState>,
    /// The places of all queues together.
    places: Arc<Semaphore>,
    batches: JoinSet<Option<StartedJobs>>,
    calls: JoinSet<()>,
    sweep: Option<JoinHandle<bool>>,
    /// Writes down how far the shops' files are, and who has tried to log in how often.
    checkpointing: Option<JoinHandle<()>>,
    /// What the clock showed when it was last looked at.
    seen: Timestamp,
    /// In how many of the next beats all that waits is looked at anew, after the clock was set
    /// back.
    looks_anew: u32,
    /// While it lasts the audit queue rests, so that its entries gather.
    audit_rest: Option<Pin<Box<Sleep>>>,
}

impl Dispatcher {
    pub(super) fn new(app: Arc<App>, handlers: Handlers) -> Self {
        let rules = Rules {
            handlers,
            queues: Arc::new(app.config.queue.clone()),
            alerts: app.alert_recipients.means().clone(),
            clock_watch: app.clock_watch.clone(),
        };
        let state = |queue: &Queue| {
            let settings = rules.of_queue(*queue);
            QueueState {
                queue: *queue,
                places: Arc::new(Semaphore::new(settings.workers as usize)),
                tenant_limit: settings.tenant_limit as usize,
                priority: settings.priority,
                passed: 0,
            }
        };
        let states = Queue::ALL.iter().map(state).collect();
        let places = Arc::new(Semaphore::new(rules.queues.running_max as usize));
        let shared = Arc::new(Shared::new(app, rules));
        let ready_queue = shared.ready_queue.clone();
        shared
            .app
            .registry
            .set_on_wake(Arc::new(move |tenant, wakes| {
                ready_queue.note(tenant, wakes)
            }));
        let wakeup = shared.ready_queue.wakeup().clone();
        shared
            .app
            .pauses
            .set_on_resume(Arc::new(move || wakeup.notify_one()));
        let mut dispatcher = Self {
            seen: shared.app.clock.now(),
            looks_anew: 0,
            shared,
            states,
            places,
            batches: JoinSet::new(),
            calls: JoinSet::new(),
            sweep: None,
            checkpointing: None,
            audit_rest: None,
        };
        dispatcher.heartbeat();
        dispatcher
    }

    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<Duration>) {
        let wakeup = self.shared.ready_queue.wakeup().clone();
        let mut beats = tokio::time::interval(HEARTBEAT);
        let mut sweeps = tokio::time::interval(Duration::from_millis(SWEEP_MS));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checkpoints = tokio::time::interval(Duration::from_millis(CHECKPOINT_MS));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checkpoints.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut all_swept = false;
        let within = loop {
            self.start_batches();
            let nap = self.nap();
            tokio::select! {
                within = &mut stop => break within.unwrap_or_default(),
                () = wakeup.notified() => {}
                () = over(&mut self.audit_rest) => self.audit_rest = None,
                Some(batch) = self.batches.join_next() => self.begin(batch),
                Some(ended) = self.calls.join_next() => note_fault(ended),
                _ = beats.tick() => self.heartbeat(),
                _ = sweeps.tick() => all_swept = self.begin_sweep(all_swept).await,
                _ = checkpoints.tick() => self.begin_checkpoint(),
                () = tokio::time::sleep(nap) => {}
            }
        };
        self.drain(within).await;
        self.shared.app.liveness.stopped();
    }

    fn heartbeat(&mut self) {
        let app = &self.shared.app;
        if self.looks_anew > 0 {
            // What was under way when the clock was set has come back meanwhile, with an instant of
            // the clock before.
            self.looks_anew -= 1;
            self.shared.ready_queue.clock_was_set_back(app.clock.now());
        }
        // What waits because an operator said so is not late.
        let oldest = self
            .shared
            .ready_queue
            .oldest_due(|queue, tenant| !app.pauses.is_paused_for(queue, tenant));
        app.liveness
            .note_queues(|queue| self.shared.ready_queue.oldest_due_in(queue));
        app.liveness.heartbeat(app.clock.as_ref(), oldest);
    }

    /// How long there is nothing to do unless somebody rings. Not for long: the clock of the shop
    /// may be set.
    fn nap(&self) -> Duration {
        let now = self.shared.app.clock.now();
        let Some(due) = self.shared.ready_queue.next_due() else {
            return HEARTBEAT;
        };
        let ms = due.as_millis() - now.as_millis();
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
            .clamp(Duration::from_millis(1), HEARTBEAT)
    }

    /// Gives batches while there is somebody in a row and a place is free. One who is alone may use
    /// all the places of a queue that are free, up to what one tenant may have.
    fn start_batches(&mut self) {
        let now = self.shared.app.clock.now();
        if self.seen.as_millis() - now.as_millis() > CLOCK_SET_BACK_MS {
            tracing::warn!(from = %self.seen, to = %now, "the clock was set back; all that waits \
                is looked at anew");
            self.shared.ready_queue.clock_was_set_back(now);
            self.looks_anew = LOOKS_ANEW;
        }
        self.seen = now;
        let admission = |state: &QueueState| Admission {
            tenant_limit: state.tenant_limit,
            paused: self.shared.app.pauses.tenants(state.queue),
        };
        let admissions: Vec<Admission> = self.states.iter().map(admission).collect();
        while let Some(state) = self.next_queue(&admissions, now) {
            if !self.start_batch(state, &admissions[state], now) {
                break;
            }
        }
    }

    /// The queue in which the next batch is given, if there is one with somebody in its row and a
    /// free place.
    fn next_queue(&mut self, admissions: &[Admission], now: Timestamp) -> Option<usize> {
        let waits = |(state, admission): (&QueueState, &Admission)| {
            // Those whose time has come stand in the row in any case: one that waited in the past
            // would leave no time to sleep.
            let is_wanted = self
                .shared
                .ready_queue
                .count_ready(state.queue, now, admission)
                > 0;
            let rests = state.queue == Queue::Audit && self.audit_rest.is_some();
            is_wanted
                && !rests
                && state.places.available_permits() > 0
                && !self.shared.app.pauses.is_paused(state.queue)
        };
        let waiting: Vec<usize> = (0..self.states.len())
            .filter(|state| waits((&self.states[*state], &admissions[*state])))
            .collect();
        if self.places.available_permits() == 0 {
            return None;
        }
        let next = choose(waiting.iter().map(|state| {
            (
                *state,
                self.states[*state].priority,
                self.states[*state].passed,
            )
        }))?;
        for state in waiting {
            self.states[state].passed = if state == next {
                0
            } else {
                self.states[state].passed + 1
            };
        }
        Some(next)
    }

    /// Gives the next in the row of a queue a batch, with its places.
    fn start_batch(&mut self, state: usize, admission: &Admission, now: Timestamp) -> bool {
        let QueueState { queue, places, .. } = &self.states[state];
        let (queue, ready_queue) = (*queue, &self.shared.ready_queue);
        let free = places
            .available_permits()
            .min(self.places.available_permits());
        let in_row = ready_queue.count_ready(queue, now, admission);
        let Some((batch, taken)) = ready_queue.take(queue, now, admission, free) else {
            return false;
        };
        let tenant = batch.tenant();
        // Nobody else takes permits, so those that were counted are there.
        let permit = |of: &Arc<Semaphore>| of.clone().try_acquire_owned().ok();
        let slots = (0..taken).filter_map(|_| {
            let permits = permit(places).zip(permit(&self.places));
            if permits.is_none() {
                ready_queue.give_up_place(queue, tenant);
            }
            permits
                .map(|(own, shared)| Slot::new([own, shared], ready_queue.clone(), queue, tenant))
        });
        let slots: Vec<Slot> = slots.collect();
        self.batches
            .spawn(have_batch(self.shared.clone(), batch, slots));
        if queue == Queue::Audit && in_row == 1 {
            self.audit_rest = Some(Box::pin(tokio::time::sleep(AUDIT_REST)));
        }
        true
    }

    fn begin(&mut self, batch: Result<Option<StartedJobs>, tokio::task::JoinError>) {
        match batch {
            Ok(None) => {}
            Err(error) => note_fault(Err(error)),
            Ok(Some(batch)) => {
                for (started, slot) in batch.started {
                    self.calls.spawn(outbound_job::run(
                        self.shared.clone(),
                        batch.tenant,
                        batch.db.clone(),
                        started,
                        slot,
                    ));
                }
            }
        }
    }

    /// Begins a sweep unless one is under way; over all shops until that was done once. Says
    /// whether it was.
    async fn begin_sweep(&mut self, mut all_swept: bool) -> bool {
        if self
            .sweep
            .as_ref()
            .is_some_and(|sweep| !sweep.is_finished())
        {
            return all_swept;
        }
        if let Some(last) = self.sweep.take() {
            all_swept |= last.await.unwrap_or(false);
        }
        let shared = self.shared.clone();
        self.sweep = Some(tokio::task::spawn_blocking(move || {
            if all_swept {
                sweep::over_open(&shared);
                true
            } else {
                sweep::over_all(&shared)
            }
        }));
        all_swept
    }

    fn begin_checkpoint(&mut self) {
        if self
            .checkpointing
            .as_ref()
            .is_some_and(|checkpointing| !checkpointing.is_finished())
        {
            return;
        }
        let app = self.shared.app.clone();
        self.checkpointing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = app.registry.write_checkpoints() {
                tracing::warn!(error = %error, "how far the shops' files are was not written down; \
                    tried again");
            }
            if let Err(error) = app.rate_limiter.write(&app.directory) {
                tracing::warn!(error = %error, "who has tried to log in how often was not written \
                    down; tried again");
            }
        }));
    }

    /// Gives no more batches; lets calls run on for `within`; gives back what is not done by then.
    async fn drain(&mut self, within: Duration) {
        self.shared.stop();
        let mut back = Vec::new();
        let last_batches = async {
            while let Some(batch) = self.batches.join_next().await {
                if let Ok(Some(batch)) = batch {
                    back.extend(
                        batch
                            .started
                            .into_iter()
                            .map(|(started, _)| (batch.tenant, started.job)),
                    );
                }
            }
            if let Some(sweep) = self.sweep.take()
                && let Err(error) = sweep.await
            {
                tracing::error!(error = %error, "the sweep ended by a fault");
            }
        };
        let calls = async { while self.calls.join_next().await.is_some() {} };
        let (batches, calls) = tokio::join!(
            tokio::time::timeout(LAST_BATCHES, last_batches),
            tokio::time::timeout(within, calls)
        );
        if batches.is_err() {
            tracing::warn!(
                "a batch of the worker did not end in time; the next start rescues its jobs"
            );
        }
        if calls.is_err() {
            self.calls.shutdown().await;
        }
        back.extend(self.shared.take_running());
        for (tenant, job) in back {
            give_back(&self.shared, tenant, job).await;
        }
    }
}

/// The end of a rest; never, when there is none.
async fn over(rest: &mut Option<Pin<Box<Sleep>>>) {
    match rest {
        Some(rest) => rest.await,
        None => std::future::pending().await,
    }
}

fn note_fault(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = %error, "a task of the worker ended by a fault");
    }
}

/// One batch: what can be done in the shop's file is done, and what has to be done outside is
/// marked as running and returned.
async fn have_batch(shared: Arc<Shared>, batch: Lease, slots: Vec<Slot>) -> Option<StartedJobs> {
    let (tenant, queue) = (batch.tenant(), batch.queue());
    let later = shared.app.clock.now().plus_millis(BATCH_RETRY_MS);
    let db = match shared.open(tenant).await {
        OpenResult::Open(db) => db,
        OpenResult::Retry => {
            batch.defer(later);
            return None;
        }
        OpenResult::Unavailable | OpenResult::Deleted => {
            batch.done(None);
            return None;
        }
    };
    let (app, rules, outbound_max) = (shared.app.clone(), shared.rules.clone(), slots.len());
    // The batch is this shop's only one in this queue: what is marked as running and not in hand
    // was marked by a batch that failed, whose commit was kept all the same.
    let in_hand = shared
        .was_doubtful(tenant, queue)
        .then(|| shared.list_running(tenant));
    let claimed = db.write(Origin::system(), move |work| {
        if let Some(in_hand) = &in_hand {
            queue::take_back(work, queue, in_hand)?;
        }
        // A batch that was on its way when its queue was paused begins nothing.
        if app.pauses.is_paused_for(queue, tenant) {
            return Ok(Claimed::nothing(queue::next_due(work, queue)?));
        }
        claim(work, &rules, queue, outbound_max)
    });
    match claimed.await {
        Ok(claimed) => {
            shared
                .app
                .job_stats
                .note(shared.app.clock.now(), &claimed.ran);
            claimed
                .started
                .iter()
                .for_each(|started| shared.has_begun(tenant, &started.job));
            batch.done(claimed.next);
            let started = claimed.started.into_iter().zip(slots).collect();
            Some(StartedJobs {
                tenant,
                db,
                started,
            })
        }
        Err(error) => {
            tracing::warn!(tenant_id = %tenant, queue = %queue, error = %error, "jobs could not be \
                run; they wait");
            shared.doubt(tenant, queue);
            batch.defer(later);
            None
        }
    }
}

async fn give_back(shared: &Shared, tenant: TenantId, job: Job) {
    let OpenResult::Open(db) = shared.open(tenant).await else {
        return;
    };
    let (job_id, kind) = (job.id, job.kind.clone());
    let given_back = db.write(Origin::system(), move |work| queue::give_back(work, &job));
    match given_back.await {
        Ok(false) => {}
        Ok(true) => {
            tracing::info!(tenant_id = %tenant, job = kind, job_id = %job_id, "job given back")
        }
        Err(error) => {
            tracing::warn!(tenant_id = %tenant, job = kind, job_id = %job_id, error = %error, "job \
                not given back; the next start rescues it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_by_priority_is_next_and_none_is_passed_over_for_ever() {
        let mut passed = [0_u32; 3];
        let mut order = Vec::new();
        for _ in 0..30 {
            let next = choose((0..3).map(|state| (state, [10, 40, 40][state], passed[state])))
                .expect("all wait");
            (0..3).for_each(|state| {
                passed[state] = if state == next { 0 } else { passed[state] + 1 }
            });
            order.push(next);
        }
        let batches = |state| order.iter().filter(|next| **next == state).count();
        assert_eq!(order[..8], [0; 8]);
        assert!(
            batches(0) > 20 && batches(1) >= 3 && batches(2) >= 3,
            "{order:?}"
        );
        assert_eq!(choose(std::iter::empty()), None);
        assert_eq!(
            choose([(4, 20, 0), (7, 20, 1)].into_iter()),
            Some(7),
            "of equals the one that waits longer"
        );
    }
}
