//! The worker's steps in sequence, at the current instant of the clock. For tests, and for commands
//! that finish all due work before they end.

use std::sync::Arc;

use super::batch::{BatchError, Claimed, JobCounts, Rules, claim, finish};
use super::handlers::{self, Handlers};
use super::outbound_job;
use crate::app::App;
use crate::observe::job_stats::Ran;
use crate::platform::queue::Queue;
use crate::primitives::{Origin, Stopwatch};
use crate::storage::{Database, Tenant};
use crate::tenancy::commands;

/// Runs all due jobs of all tenants until none is left. Returns the number of jobs by outcome.
/// Skips a tenant that cannot be opened. Blocks. Must not run beside a started worker.
pub fn run_until_idle(app: &Arc<App>) -> JobCounts {
    run_until_idle_with(app, handlers::ALL)
}

/// Runs [`run_until_idle`] with other handlers.
pub fn run_until_idle_with(app: &Arc<App>, handlers: Handlers) -> JobCounts {
    let rules = Rules {
        handlers,
        queues: Arc::new(app.config.queue.clone()),
        alerts: app.alert_recipients.channels().clone(),
        clock_watch: app.stores.clock_watch.clone(),
    };
    let mut counts = JobCounts::default();
    let tenants = match app.stores.directory.read(commands::list_with_file).wait() {
        Ok(tenants) => tenants,
        Err(error) => {
            tracing::error!(error = %error, "the tenants could not be listed; no job was run");
            return counts;
        }
    };
    loop {
        let mut pass = JobCounts::default();
        for access in &tenants {
            let Ok(db) = app.stores.registry.open(access) else {
                continue;
            };
            for queue in Queue::ALL
                .iter()
                .filter(|queue| !app.stores.pauses.is_paused_for(**queue, access.id()))
            {
                match batch(app, &rules, &db, *queue) {
                    Ok(done) => pass.add(done),
                    Err(error) => {
                        tracing::warn!(tenant_id = %access.id(), queue = %queue, error = %error,
                            "jobs could not be run")
                    }
                }
            }
        }
        if pass.total() == 0 {
            return counts;
        }
        counts.add(pass);
    }
}

fn batch(
    app: &Arc<App>,
    rules: &Rules,
    db: &Database<Tenant>,
    queue: Queue,
) -> Result<JobCounts, BatchError> {
    let workers = rules.queue_settings(queue).workers as usize;
    let claiming = rules.clone();
    let claimed = db.write(Origin::system(), move |work| {
        claim(work, &claiming, queue, workers)
    });
    let Claimed {
        mut ran, started, ..
    } = claimed.wait()?;
    for started in started {
        let watch = Stopwatch::start();
        let outcome = outbound_job::execute(
            app,
            db,
            &started,
            rules.queue_settings(queue).timeout.into(),
            watch,
        );
        let (rules, job, wait, run) = (rules.clone(), started.job, started.wait, watch.read());
        let (queue, kind) = (job.queue, job.kind.clone());
        let finished = db.write(Origin::system(), move |work| {
            finish(work, &rules, &job, &outcome)
        });
        let outcome = finished.wait()?;
        ran.push(Ran {
            queue,
            kind,
            outcome,
            wait,
            run,
        });
    }
    let mut counts = JobCounts::default();
    ran.iter().for_each(|ran| counts.count(ran.outcome));
    app.observation
        .job_stats
        .record(app.ports.clock.now(), &ran);
    Ok(counts)
}
