//! L6: runs maintenance tasks by the wall clock. The only file that uses tokio-cron-scheduler.
//!
//! That crate only wakes the loop every few seconds. It computes instants in the UTC offset that
//! was in force when a job was made, and after the clock is set back it may wait for years.
//! [`run_due`] decides which tasks are due, as a plain step over the injected clock: a task is due
//! when a recurrence has passed since the instant of its last run, which is stored in the
//! landlord's file. So a task runs once over restarts and over clocks that go back an hour; runs
//! missed while the process was down are made up for by one run at the start. When there is no
//! wakeup for a while (after the clock was set back), the ticker is created anew.
//!
//! The tasks are listed in `tasks.rs`. A task that deletes by age is held while the clock is not
//! trusted (`landlord/clock.rs`). Nothing is written while no task is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::app::{App, Stores};
pub use crate::maintenance::tasks::{TASKS, Task, When};
use crate::primitives::limits::{TASK_AHEAD_MAX_MS, TASK_RETRY_MS};
use crate::primitives::{Recurrence, Timestamp};
use crate::storage::StorageError;

/// The interval of the ticker in that crate's notation: every ten seconds.
const TICKS: &str = "*/10 * * * * *";
/// Without a tick for this time (three intervals) the ticker is created anew.
const TICK_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the due tasks one after the other; returns their names and results. Blocks. For tests.
pub fn run_due(app: &Arc<App>, tasks: &'static [Task]) -> Vec<(&'static str, Result<(), String>)> {
    let due = match list_due(app, tasks) {
        Ok(due) => due,
        Err(error) => return vec![("", Err(error.to_string()))],
    };
    due.into_iter()
        .map(|task| (task.name, run_task(app, task)))
        .collect()
}

/// The tasks that are due now. Blocks; writes only when the clock becomes suspect, once a day while
/// it is trusted, and for a task without a stored run. After an error no task is run.
pub fn list_due(app: &App, tasks: &'static [Task]) -> Result<Vec<&'static Task>, StorageError> {
    let suspicion = app.stores.clock_watch.observe()?;
    let now = app.ports.clock.now();
    let mut due = Vec::new();
    for task in tasks {
        let next = match task.when {
            When::Recurs(recurrence) => next_run(&app.stores, task, &recurrence(&app.config), now)?,
            When::At(next_at) => next_at(app, now)?,
        };
        let is_held = task.deletes && suspicion.is_some();
        if next.is_some_and(|next| next <= now) && !is_held {
            due.push(task);
        }
    }
    Ok(due)
}

/// The next recurrence of a task after its last run.
fn next_run(
    stores: &Stores,
    task: &Task,
    recurrence: &Recurrence,
    now: Timestamp,
) -> Result<Option<Timestamp>, StorageError> {
    // A task without a stored run (on a new instance, or after an upgrade) is first due at its next
    // recurrence. A run stored further ahead than a day happened while the clock was ahead: it is
    // ignored, because the task would not be due again until then.
    let is_plausible =
        |up_to: Timestamp| up_to.as_millis().saturating_sub(now.as_millis()) <= TASK_AHEAD_MAX_MS;
    if let Some(done) = stores
        .tasks
        .find(task.name)?
        .filter(|done| is_plausible(done.up_to))
    {
        return Ok(recurrence.next_after(done.up_to));
    }
    stores.tasks.record(task.name, now, None)?;
    Ok(None)
}

/// Runs a task now, and stores that it ran.
fn run_task(app: &Arc<App>, task: &Task) -> Result<(), String> {
    let now = app.ports.clock.now();
    tracing::info!(task = task.name, "task started");
    let done = (task.run)(app, now).and_then(|()| {
        app.stores
            .tasks
            .record(task.name, now, Some(now))
            .map_err(|error| error.to_string())
    });
    match &done {
        Ok(()) => tracing::info!(task = task.name, "task completed"),
        Err(error) => tracing::error!(task = task.name, error, "task failed; it will be retried"),
    }
    done
}

/// The scheduler of the process.
#[derive(Debug)]
pub enum Scheduler {}

/// A running scheduler.
#[derive(Debug)]
#[must_use = "a scheduler whose handle is dropped stops"]
pub struct SchedulerHandle {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Scheduler {
    /// Starts the scheduler with the tasks of this program, inside a tokio runtime.
    pub fn start(app: Arc<App>) -> SchedulerHandle {
        Self::start_with(app, TASKS)
    }

    /// As [`start`](Self::start), with other tasks.
    pub fn start_with(app: Arc<App>, tasks: &'static [Task]) -> SchedulerHandle {
        app.observation
            .liveness
            .scheduler_heartbeat(app.ports.clock.as_ref());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(app, tasks, stopped));
        SchedulerHandle { stop, task }
    }
}

impl SchedulerHandle {
    /// Starts no more tasks, and waits up to `within` for running ones to reach a point at which
    /// they can stop.
    pub async fn stop(self, within: Duration) {
        // Fails only when the loop has ended already.
        let _ = self.stop.send(());
        match tokio::time::timeout(within, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %error, "scheduler panicked"),
            Err(_) => {
                tracing::warn!("task did not stop in time; it runs again after the next start")
            }
        }
    }
}

/// Running tasks, and the instants at which failed ones are retried.
#[derive(Default)]
struct Running {
    tasks: HashMap<&'static str, JoinHandle<bool>>,
    retry_at: HashMap<&'static str, Timestamp>,
}

impl Running {
    /// Whether a task is running, or waits for its retry.
    async fn is_busy(&mut self, task: &'static Task, now: Timestamp) -> bool {
        if self
            .tasks
            .get(task.name)
            .is_some_and(|handle| !handle.is_finished())
        {
            return true;
        }
        if let Some(ended) = self.tasks.remove(task.name)
            && !ended.await.unwrap_or(false)
        {
            self.retry_at
                .insert(task.name, now.plus_millis(TASK_RETRY_MS));
        }
        let until = self
            .retry_at
            .get(task.name)
            .map_or(0, |until| until.as_millis() - now.as_millis());
        (1..=TASK_RETRY_MS).contains(&until)
    }
}

async fn run(app: Arc<App>, tasks: &'static [Task], mut stop: oneshot::Receiver<()>) {
    let (tick, mut ticks) = mpsc::channel(1);
    let mut ticker = start_ticker(tick.clone()).await;
    let mut running = Running::default();
    loop {
        step(&app, tasks, &mut running).await;
        tokio::select! {
            _ = &mut stop => break,
            ticked = tokio::time::timeout(TICK_TIMEOUT, ticks.recv()) => if ticked.is_err() {
                tracing::warn!("scheduler ticker is silent; it is restarted");
                stop_ticker(ticker).await;
                ticker = start_ticker(tick.clone()).await;
            }
        }
    }
    app.stores.tasks.stop();
    stop_ticker(ticker).await;
    for (_, handle) in running.tasks.drain() {
        // The task has logged its result.
        let _ = handle.await;
    }
    app.observation.liveness.scheduler_stopped();
}

/// Starts the due tasks. Only a completed step counts as a heartbeat.
async fn step(app: &Arc<App>, tasks: &'static [Task], running: &mut Running) {
    let app_of_list = app.clone();
    let due = match tokio::task::spawn_blocking(move || list_due(&app_of_list, tasks)).await {
        Ok(Ok(due)) => due,
        Ok(Err(error)) => {
            return tracing::error!(error = %error, "due tasks could not be listed; none is run");
        }
        Err(error) => {
            return tracing::error!(error = %error, "due tasks could not be listed; none is run");
        }
    };
    let now = app.ports.clock.now();
    for task in due {
        if !running.is_busy(task, now).await {
            let app = app.clone();
            running.tasks.insert(
                task.name,
                tokio::task::spawn_blocking(move || run_task(&app, task).is_ok()),
            );
        }
    }
    app.observation
        .liveness
        .scheduler_heartbeat(app.ports.clock.as_ref());
}

/// Starts the ticker. Without it the loop runs at each `TICK_TIMEOUT`.
async fn start_ticker(tick: mpsc::Sender<()>) -> Option<JobScheduler> {
    let started = async {
        let ticker = JobScheduler::new().await?;
        let job = Job::new_async(TICKS, move |_, _| {
            let tick = tick.clone();
            Box::pin(async move {
                // Full when a tick waits already.
                let _ = tick.try_send(());
            })
        })?;
        ticker.add(job).await?;
        ticker.start().await?;
        Ok::<_, JobSchedulerError>(ticker)
    };
    started
        .await
        .inspect_err(|error| {
            tracing::warn!(error = %error, "scheduler ticker could not be started; due tasks are \
                checked less often")
        })
        .ok()
}

async fn stop_ticker(ticker: Option<JobScheduler>) {
    if let Some(mut ticker) = ticker
        && let Err(error) = ticker.shutdown().await
    {
        tracing::warn!(error = %error, "scheduler ticker could not be stopped");
    }
}
