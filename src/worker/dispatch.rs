//! The worker's loop: it starts batches while slots are free, sleeps until a hint or the next due
//! job, and drains when it is stopped.
//!
//! It only decides which tenant is next. Transactions run on the tenants' writer threads, calls on
//! blocking threads.

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
    AUDIT_REST_MS, BATCH_RETRY_MS, CHECKPOINT_MS, CLOCK_SET_BACK_MS, HEARTBEAT_MS,
    QUEUE_PASSED_MAX, REFRESH_BEATS, SWEEP_MS,
};
use crate::primitives::{Origin, Timestamp};
use crate::storage::{Database, Tenant};

const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);
const AUDIT_PAUSE: Duration = Duration::from_millis(AUDIT_REST_MS);
/// Time to wait, at the end, for batches and a sweep in progress: each is a transaction, or a file
/// to be opened.
const LAST_BATCHES: Duration = Duration::from_secs(5);

/// Outbound jobs that a batch marked as running, each with the slot it runs in.
struct StartedJobs {
    tenant: TenantId,
    db: Database<Tenant>,
    started: Vec<(Started, Slot)>,
}

/// The capacity of a queue.
struct QueueCapacity {
    queue: Queue,
    slots: Arc<Semaphore>,
    tenant_limit: usize,
    priority: u32,
    /// Batches that other queues got while tenants were ready in this one.
    passed: u32,
}

/// Selects the next of the queues with ready tenants, given as (index, priority, passed). A queue
/// passed over [`QUEUE_PASSED_MAX`] times is next, the most often first. Otherwise the first by
/// priority; between equals, the one passed over more often.
fn choose(waiting: impl Iterator<Item = (usize, u32, u32)> + Clone) -> Option<usize> {
    let starved = waiting
        .clone()
        .filter(|(_, _, passed)| *passed >= QUEUE_PASSED_MAX)
        .max_by_key(|(_, _, passed)| *passed);
    let first = || waiting.min_by_key(|(_, priority, passed)| (*priority, Reverse(*passed)));
    starved.or_else(first).map(|(index, _, _)| index)
}

pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    queues: Vec<QueueCapacity>,
    /// Slots of all queues together.
    slots: Arc<Semaphore>,
    batches: JoinSet<Option<StartedJobs>>,
    calls: JoinSet<()>,
    sweep: Option<JoinHandle<bool>>,
    /// Stores the checkpoints of the tenants' files and the rate limits of login attempts.
    checkpointing: Option<JoinHandle<()>>,
    /// The last reading of the clock.
    last_now: Timestamp,
    /// Heartbeats that are still to re-check all waiting tenants after the clock was set back.
    rechecks_left: u32,
    /// The pause of the audit queue, in which its entries gather.
    audit_pause: Option<Pin<Box<Sleep>>>,
}

impl Dispatcher {
    pub(super) fn new(app: Arc<App>, handlers: Handlers) -> Self {
        let rules = Rules {
            handlers,
            queues: Arc::new(app.config.queue.clone()),
            alerts: app.alert_recipients.channels().clone(),
            clock_watch: app.stores.clock_watch.clone(),
        };
        let capacity = |queue: &Queue| {
            let settings = rules.queue_settings(*queue);
            QueueCapacity {
                queue: *queue,
                slots: Arc::new(Semaphore::new(settings.workers as usize)),
                tenant_limit: settings.tenant_limit as usize,
                priority: settings.priority,
                passed: 0,
            }
        };
        let queues = Queue::ALL.iter().map(capacity).collect();
        let slots = Arc::new(Semaphore::new(rules.queues.running_max as usize));
        let shared = Arc::new(Shared::new(app, rules));
        let ready_queue = shared.ready_queue.clone();
        shared
            .app
            .stores
            .registry
            .set_on_wake(Arc::new(move |tenant, wakes| {
                ready_queue.add_hints(tenant, wakes)
            }));
        let wakeup = shared.ready_queue.wakeup().clone();
        shared
            .app
            .stores
            .pauses
            .set_on_resume(Arc::new(move || wakeup.notify_one()));
        let mut dispatcher = Self {
            last_now: shared.app.ports.clock.now(),
            rechecks_left: 0,
            shared,
            queues,
            slots,
            batches: JoinSet::new(),
            calls: JoinSet::new(),
            sweep: None,
            checkpointing: None,
            audit_pause: None,
        };
        dispatcher.heartbeat();
        dispatcher
    }

    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<Duration>) {
        let wakeup = self.shared.ready_queue.wakeup().clone();
        let mut heartbeats = tokio::time::interval(HEARTBEAT);
        let mut sweeps = tokio::time::interval(Duration::from_millis(SWEEP_MS));
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checkpoints = tokio::time::interval(Duration::from_millis(CHECKPOINT_MS));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checkpoints.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut all_swept = false;
        let within = loop {
            self.start_batches();
            let sleep_time = self.sleep_time();
            tokio::select! {
                within = &mut stop => break within.unwrap_or_default(),
                () = wakeup.notified() => {}
                () = pause_end(&mut self.audit_pause) => self.audit_pause = None,
                Some(batch) = self.batches.join_next() => self.start_calls(batch),
                Some(ended) = self.calls.join_next() => log_panic(ended),
                _ = heartbeats.tick() => self.heartbeat(),
                _ = sweeps.tick() => all_swept = self.start_sweep(all_swept).await,
                _ = checkpoints.tick() => self.start_checkpoint(),
                () = tokio::time::sleep(sleep_time) => {}
            }
        };
        self.drain(within).await;
        self.shared.app.observation.liveness.worker_stopped();
    }

    fn heartbeat(&mut self) {
        let app = &self.shared.app;
        if self.rechecks_left > 0 {
            // Batches in progress when the clock was set have ended since, with an instant of the
            // old clock.
            self.rechecks_left -= 1;
            self.shared.ready_queue.make_all_due(app.ports.clock.now());
        }
        // Jobs of a queue that an operator paused are not late.
        let oldest = self
            .shared
            .ready_queue
            .oldest_due(|queue, tenant| !app.stores.pauses.is_paused_for(queue, tenant));
        app.observation
            .liveness
            .record_oldest_due(|queue| self.shared.ready_queue.oldest_due_in(queue));
        app.observation
            .liveness
            .heartbeat(app.ports.clock.as_ref(), oldest);
    }

    /// The time to sleep without a wakeup. At most one heartbeat, because the clock may be set.
    fn sleep_time(&self) -> Duration {
        let now = self.shared.app.ports.clock.now();
        let Some(due) = self.shared.ready_queue.next_due() else {
            return HEARTBEAT;
        };
        let ms = due.as_millis() - now.as_millis();
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
            .clamp(Duration::from_millis(1), HEARTBEAT)
    }

    /// Starts batches while a tenant is ready and a slot is free. A single tenant may use all free
    /// slots of a queue, up to the limit per tenant.
    fn start_batches(&mut self) {
        let now = self.shared.app.ports.clock.now();
        if self.last_now.as_millis() - now.as_millis() > CLOCK_SET_BACK_MS {
            tracing::warn!(from = %self.last_now, to = %now, "the clock was set back; due times \
                are checked again");
            self.shared.ready_queue.make_all_due(now);
            self.rechecks_left = REFRESH_BEATS;
        }
        self.last_now = now;
        let admission = |capacity: &QueueCapacity| Admission {
            tenant_limit: capacity.tenant_limit,
            paused: self.shared.app.stores.pauses.tenants(capacity.queue),
        };
        let admissions: Vec<Admission> = self.queues.iter().map(admission).collect();
        while let Some(index) = self.next_queue(&admissions, now) {
            if !self.start_batch(index, &admissions[index], now) {
                break;
            }
        }
    }

    /// Selects the queue of the next batch: it has a ready tenant and a free slot.
    fn next_queue(&mut self, admissions: &[Admission], now: Timestamp) -> Option<usize> {
        let can_start = |(capacity, admission): (&QueueCapacity, &Admission)| {
            // This call moves due tenants to the ready set, so that a due time in the past does not
            // make the sleep time zero.
            let has_ready = self
                .shared
                .ready_queue
                .count_ready(capacity.queue, now, admission)
                > 0;
            let is_resting = capacity.queue == Queue::Audit && self.audit_pause.is_some();
            has_ready
                && !is_resting
                && capacity.slots.available_permits() > 0
                && !self.shared.app.stores.pauses.is_paused(capacity.queue)
        };
        let waiting: Vec<usize> = (0..self.queues.len())
            .filter(|index| can_start((&self.queues[*index], &admissions[*index])))
            .collect();
        if self.slots.available_permits() == 0 {
            return None;
        }
        let next = choose(waiting.iter().map(|index| {
            let queue = &self.queues[*index];
            (*index, queue.priority, queue.passed)
        }))?;
        for index in waiting {
            let passed = &mut self.queues[index].passed;
            *passed = if index == next { 0 } else { *passed + 1 };
        }
        Some(next)
    }

    /// Starts a batch of the next tenant of a queue, with its slots.
    fn start_batch(&mut self, index: usize, admission: &Admission, now: Timestamp) -> bool {
        let QueueCapacity { queue, slots, .. } = &self.queues[index];
        let (queue, ready_queue) = (*queue, &self.shared.ready_queue);
        let free = slots
            .available_permits()
            .min(self.slots.available_permits());
        let ready_tenants = ready_queue.count_ready(queue, now, admission);
        let Some((lease, leased)) = ready_queue.lease(queue, now, admission, free) else {
            return false;
        };
        let tenant = lease.tenant();
        // No other code acquires permits, so the counted ones are available.
        let permit = |of: &Arc<Semaphore>| of.clone().try_acquire_owned().ok();
        let slots = (0..leased).filter_map(|_| {
            let permits = permit(slots).zip(permit(&self.slots));
            if permits.is_none() {
                ready_queue.release_slot(queue, tenant);
            }
            permits
                .map(|(own, shared)| Slot::new([own, shared], ready_queue.clone(), queue, tenant))
        });
        let slots: Vec<Slot> = slots.collect();
        self.batches
            .spawn(run_batch(self.shared.clone(), lease, slots));
        if queue == Queue::Audit && ready_tenants == 1 {
            self.audit_pause = Some(Box::pin(tokio::time::sleep(AUDIT_PAUSE)));
        }
        true
    }

    fn start_calls(&mut self, batch: Result<Option<StartedJobs>, tokio::task::JoinError>) {
        match batch {
            Ok(None) => {}
            Err(error) => log_panic(Err(error)),
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

    /// Starts a sweep unless one is in progress: over all tenants until that has succeeded once,
    /// then over the open ones. Returns whether it has succeeded.
    async fn start_sweep(&mut self, mut all_swept: bool) -> bool {
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

    fn start_checkpoint(&mut self) {
        if self
            .checkpointing
            .as_ref()
            .is_some_and(|checkpointing| !checkpointing.is_finished())
        {
            return;
        }
        let app = self.shared.app.clone();
        self.checkpointing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = app.stores.registry.write_checkpoints() {
                tracing::warn!(error = %error, "checkpoints of tenants could not be stored; \
                    retrying");
            }
            if let Err(error) = app.limits.rate_limiter.write(&app.stores.directory) {
                tracing::warn!(error = %error, "rate limits of login attempts could not be \
                    stored; retrying");
            }
        }));
    }

    /// Starts no more batches, lets calls run for `within`, and returns the unfinished jobs to
    /// their queues.
    async fn drain(&mut self, within: Duration) {
        self.shared.stop();
        let mut unfinished = Vec::new();
        let last_batches = async {
            while let Some(batch) = self.batches.join_next().await {
                if let Ok(Some(batch)) = batch {
                    unfinished.extend(
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
                tracing::error!(error = %error, "the sweep failed");
            }
        };
        let calls = async { while self.calls.join_next().await.is_some() {} };
        let (batches, calls) = tokio::join!(
            tokio::time::timeout(LAST_BATCHES, last_batches),
            tokio::time::timeout(within, calls)
        );
        if batches.is_err() {
            tracing::warn!("a batch did not end in time; the next start rescues its jobs");
        }
        if calls.is_err() {
            self.calls.shutdown().await;
        }
        unfinished.extend(self.shared.take_running());
        for (tenant, job) in unfinished {
            return_job(&self.shared, tenant, job).await;
        }
    }
}

/// Waits for the end of a pause; forever when there is none.
async fn pause_end(pause: &mut Option<Pin<Box<Sleep>>>) {
    match pause {
        Some(pause) => pause.await,
        None => std::future::pending().await,
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = %error, "a task of the worker failed");
    }
}

/// Runs one batch: runs the local jobs in the tenant's file, marks the outbound jobs as running,
/// and returns these.
async fn run_batch(shared: Arc<Shared>, lease: Lease, slots: Vec<Slot>) -> Option<StartedJobs> {
    let (tenant, queue) = (lease.tenant(), lease.queue());
    let later = shared.app.ports.clock.now().plus_millis(BATCH_RETRY_MS);
    let db = match shared.open(tenant).await {
        OpenResult::Open(db) => db,
        OpenResult::Retry => {
            lease.defer(later);
            return None;
        }
        OpenResult::Unavailable | OpenResult::Deleted => {
            lease.complete(None);
            return None;
        }
    };
    let (app, rules, outbound_max) = (shared.app.clone(), shared.rules.clone(), slots.len());
    // This is the only batch of this tenant in this queue. A job that is marked as running but not
    // executing was marked by a batch that failed although its commit was kept.
    let executing = shared
        .take_uncertain(tenant, queue)
        .then(|| shared.list_running(tenant));
    let claimed = db.write(Origin::system(), move |work| {
        if let Some(executing) = &executing {
            queue::reclaim(work, queue, executing)?;
        }
        // A batch that was in progress when its queue was paused starts nothing.
        if app.stores.pauses.is_paused_for(queue, tenant) {
            return Ok(Claimed::empty(queue::next_due(work, queue)?));
        }
        claim(work, &rules, queue, outbound_max)
    });
    match claimed.await {
        Ok(claimed) => {
            shared
                .app
                .observation
                .job_stats
                .record(shared.app.ports.clock.now(), &claimed.ran);
            claimed
                .started
                .iter()
                .for_each(|started| shared.add_running(tenant, &started.job));
            lease.complete(claimed.next);
            let started = claimed.started.into_iter().zip(slots).collect();
            Some(StartedJobs {
                tenant,
                db,
                started,
            })
        }
        Err(error) => {
            tracing::warn!(tenant_id = %tenant, queue = %queue, error = %error, "jobs could not \
                be run; retrying");
            shared.set_uncertain(tenant, queue);
            lease.defer(later);
            None
        }
    }
}

async fn return_job(shared: &Shared, tenant: TenantId, job: Job) {
    let OpenResult::Open(db) = shared.open(tenant).await else {
        return;
    };
    let (job_id, kind) = (job.id, job.kind.clone());
    let returned = db.write(Origin::system(), move |work| queue::give_back(work, &job));
    match returned.await {
        Ok(false) => {}
        Ok(true) => {
            tracing::info!(tenant_id = %tenant, job = kind, job_id = %job_id, "job returned to \
                its queue")
        }
        Err(error) => {
            tracing::warn!(tenant_id = %tenant, job = kind, job_id = %job_id, error = %error, "job \
                not returned to its queue; the next start rescues it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_by_priority_and_starves_no_queue() {
        let mut passed = [0_u32; 3];
        let mut order = Vec::new();
        for _ in 0..30 {
            let next = choose((0..3).map(|index| (index, [10, 40, 40][index], passed[index])))
                .expect("all queues have ready tenants");
            (0..3).for_each(|index| {
                passed[index] = if index == next { 0 } else { passed[index] + 1 }
            });
            order.push(next);
        }
        let batches = |index| order.iter().filter(|next| **next == index).count();
        assert_eq!(order[..8], [0; 8]);
        assert!(
            batches(0) > 20 && batches(1) >= 3 && batches(2) >= 3,
            "{order:?}"
        );
        assert_eq!(choose(std::iter::empty()), None);
        assert_eq!(
            choose([(4, 20, 0), (7, 20, 1)].into_iter()),
            Some(7),
            "between equals, the one that was passed over"
        );
    }
}
