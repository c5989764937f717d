//! L6: what the house does by the clock on the wall, each thing once a day or whenever it comes
//! round. The one file that names tokio-cron-scheduler.
//!
//! That crate rings every few seconds, and nothing more: it works out instants in the offset that
//! was in force when a job was made, and one that it waits for is years away after the clock was
//! set back. What is due is decided by [`run_due`], a plain step over the injected clock: a task is
//! due when it has come round since the instant up to which it is done, which stands in the
//! landlord's file. So it comes once over restarts and over clocks that go back an hour, and what
//! was missed while the process was down is made up for once, at the start, however often it would
//! have come. When no ring comes for a while (a clock that was set back), the wakeup is made anew.
//!
//! What comes round is the list in `list of tasks.rs`. What deletes by age is held while the clock
//! is not trusted (`landlord/clock.rs`). A look at what is due writes nothing while nothing is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::app::App;
pub use crate::maintenance::tasks::{TASKS, Task, When};
use crate::primitives::limits::{TASK_AHEAD_MAX_MS, TASK_RETRY_MS};
use crate::primitives::{Recurrence, Timestamp};
use crate::storage::StorageError;

/// How often the wakeup rings, as that crate writes it: every ten seconds.
const RINGS: &str = "*/10 * * * * *";
/// When no ring came for so long, the wakeup is made anew: three of them.
const SILENCE: Duration = Duration::from_secs(30);

/// Does what is due now, one after the other; gives what was done, and how it ended. Blocks. For
/// tests and for the loop's own steps.
pub fn run_due(app: &Arc<App>, tasks: &'static [Task]) -> Vec<(&'static str, Result<(), String>)> {
    let due = match list_due(app, tasks) {
        Ok(due) => due,
        Err(error) => return vec![("", Err(error.to_string()))],
    };
    due.into_iter()
        .map(|task| (task.name, carry_out(app, task)))
        .collect()
}

/// The tasks that are due now. Blocks; writes when the clock is not trusted any more, once a day
/// that it is, and for a task that is new here.
///
/// # Errors
/// [`StorageError`], of the landlord's file; then nothing is done.
pub fn list_due(app: &App, tasks: &'static [Task]) -> Result<Vec<&'static Task>, StorageError> {
    let suspicion = app.clock_watch.observe()?;
    let now = app.clock.now();
    let mut due = Vec::new();
    for task in tasks {
        let next = match task.when {
            When::Recurs(recurrence) => next_run(app, task, &recurrence(&app.config), now)?,
            When::Says(next_at) => next_at(app, now)?,
        };
        let is_held = task.deletes && suspicion.is_some();
        if next.is_some_and(|next| next <= now) && !is_held {
            due.push(task);
        }
    }
    Ok(due)
}

/// When a task comes round next since it was last done.
fn next_run(
    app: &App,
    task: &Task,
    recurrence: &Recurrence,
    now: Timestamp,
) -> Result<Option<Timestamp>, StorageError> {
    // A new house begins in peace, and an older one in the night after its upgrade. What was done
    // further ahead than a day was done while the clock was ahead; until then it would never come
    // again.
    let is_good =
        |up_to: Timestamp| up_to.as_millis().saturating_sub(now.as_millis()) <= TASK_AHEAD_MAX_MS;
    if let Some(done) = app
        .tasks
        .find(task.name)?
        .filter(|done| is_good(done.up_to))
    {
        return Ok(recurrence.next_after(done.up_to));
    }
    app.tasks.record(task.name, now, None)?;
    Ok(None)
}

/// Does a task now, and writes down that it was done.
fn carry_out(app: &Arc<App>, task: &Task) -> Result<(), String> {
    let now = app.clock.now();
    tracing::info!(task = task.name, "task begins");
    let done = (task.run)(app, now).and_then(|()| {
        app.tasks
            .record(task.name, now, Some(now))
            .map_err(|error| error.to_string())
    });
    match &done {
        Ok(()) => tracing::info!(task = task.name, "task done"),
        Err(error) => tracing::error!(task = task.name, error, "task not done; it is tried again"),
    }
    done
}

/// The scheduler of the process.
#[derive(Debug)]
pub enum Scheduler {}

/// A scheduler that runs.
#[derive(Debug)]
#[must_use = "a scheduler whose handle is dropped stops"]
pub struct SchedulerHandle {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Scheduler {
    /// Starts it with the tasks of this program. Inside a tokio runtime.
    pub fn start(app: Arc<App>) -> SchedulerHandle {
        Self::start_with(app, TASKS)
    }

    /// As [`start`](Self::start), with other tasks.
    pub fn start_with(app: Arc<App>, tasks: &'static [Task]) -> SchedulerHandle {
        app.liveness.scheduler_heartbeat(app.clock.as_ref());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(app, tasks, stopped));
        SchedulerHandle { stop, task }
    }
}

impl SchedulerHandle {
    /// Begins nothing any more, and waits for what is under way to come to a good place, for so
    /// long.
    pub async fn stop(self, within: Duration) {
        // Fails only when the loop has ended already.
        let _ = self.stop.send(());
        match tokio::time::timeout(within, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %error, "the scheduler ended by a fault"),
            Err(_) => {
                tracing::warn!("a task did not end in time; it is done again after the next start")
            }
        }
    }
}

/// What is under way, and when what failed is tried again.
#[derive(Default)]
struct Under {
    way: HashMap<&'static str, JoinHandle<bool>>,
    again: HashMap<&'static str, Timestamp>,
}

impl Under {
    /// Whether a task is under way, or failed a moment ago.
    async fn rests(&mut self, task: &'static Task, now: Timestamp) -> bool {
        if self
            .way
            .get(task.name)
            .is_some_and(|way| !way.is_finished())
        {
            return true;
        }
        if let Some(ended) = self.way.remove(task.name)
            && !ended.await.unwrap_or(false)
        {
            self.again.insert(task.name, now.plus_millis(TASK_RETRY_MS));
        }
        let until = self
            .again
            .get(task.name)
            .map_or(0, |until| until.as_millis() - now.as_millis());
        (1..=TASK_RETRY_MS).contains(&until)
    }
}

async fn run(app: Arc<App>, tasks: &'static [Task], mut stop: oneshot::Receiver<()>) {
    let (ring, mut rings) = mpsc::channel(1);
    let mut wakeup = start_ticker(ring.clone()).await;
    let mut under = Under::default();
    loop {
        step(&app, tasks, &mut under).await;
        tokio::select! {
            _ = &mut stop => break,
            rung = tokio::time::timeout(SILENCE, rings.recv()) => if rung.is_err() {
                tracing::warn!("the scheduler's wakeup is silent; it is made anew");
                take_down(wakeup).await;
                wakeup = start_ticker(ring.clone()).await;
            }
        }
    }
    app.tasks.stop();
    take_down(wakeup).await;
    for (_, way) in under.way.drain() {
        // Its own words are in the log.
        let _ = way.await;
    }
    app.liveness.scheduler_stopped();
}

/// Begins what is due. Only a step that came to its end is a sign of life.
async fn step(app: &Arc<App>, tasks: &'static [Task], under: &mut Under) {
    let looking = app.clone();
    let due = match tokio::task::spawn_blocking(move || list_due(&looking, tasks)).await {
        Ok(Ok(due)) => due,
        Ok(Err(error)) => {
            return tracing::error!(error = %error, "what is due could not be looked up; nothing is \
                done");
        }
        Err(error) => {
            return tracing::error!(error = %error, "what is due could not be looked up; nothing is \
                done");
        }
    };
    let now = app.clock.now();
    for task in due {
        if !under.rests(task, now).await {
            let app = app.clone();
            under.way.insert(
                task.name,
                tokio::task::spawn_blocking(move || carry_out(&app, task).is_ok()),
            );
        }
    }
    app.liveness.scheduler_heartbeat(app.clock.as_ref());
}

/// Without that crate's wakeup the silence rings.
async fn start_ticker(ring: mpsc::Sender<()>) -> Option<JobScheduler> {
    let hung = async {
        let wakeup = JobScheduler::new().await?;
        let job = Job::new_async(RINGS, move |_, _| {
            let ring = ring.clone();
            Box::pin(async move {
                // Full when a ring waits already.
                let _ = ring.try_send(());
            })
        })?;
        wakeup.add(job).await?;
        wakeup.start().await?;
        Ok::<_, JobSchedulerError>(wakeup)
    };
    hung.await
        .inspect_err(|error| {
            tracing::warn!(error = %error, "the scheduler has no wakeup; it looks \
            less often")
        })
        .ok()
}

async fn take_down(wakeup: Option<JobScheduler>) {
    if let Some(mut wakeup) = wakeup
        && let Err(error) = wakeup.shutdown().await
    {
        tracing::warn!(error = %error, "the scheduler's wakeup could not be taken down");
    }
}
