//! (b): jobs through the library, with the worker as the daemon runs it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tillbox::app::{App, Ports};
use tillbox::config::Config;
use tillbox::platform::queue::{self, NewJob, Queue};
use tillbox::primitives::{Currency, Name, Origin, Slug};
use tillbox::storage::{Database, StorageError, Tenant, TenantView, TenantWork};
use tillbox::tenancy::provision::CreateTenant;
use tillbox::tenant::jobs;
use tillbox::tenant::new_shop::NewShop;
use tillbox::worker::handlers::{Handler, Handlers};
use tillbox::worker::{JobError, Worker};

use crate::metric::{Metric, now, since_us};

const KIND: &str = "bench.nothing";
const HANDLERS: Handlers = Handlers(&[(KIND, Handler::Local(nothing))]);

/// Runs of the handler. A batch that ran again counts twice.
static RUNS: AtomicU64 = AtomicU64::new(0);

fn nothing(_: &mut TenantWork<'_>, _: &str) -> Result<(), JobError> {
    RUNS.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Creates a tenant.
pub fn create(app: &App, slug: &str) -> Database<Tenant> {
    let command = CreateTenant {
        slug: Slug::parse(slug).expect("good"),
        name: Name::parse("Bench").expect("good"),
        currency: Currency::parse("EUR").expect("known"),
        domains: Vec::new(),
    };
    app.create_tenant(&Origin::system(), &command, NewShop::untaxed())
        .expect("creates");
    let access = app
        .stores
        .directory
        .tenant_of_slug(&command.slug)
        .wait()
        .expect("reads")
        .expect("is there");
    app.stores.registry.open(&access).expect("opens")
}

/// Starts a process over a directory.
pub fn start(dir: &Path) -> Arc<App> {
    let mut config = Config::default();
    config.storage.data_dir = dir.to_owned();
    App::start(config, true, Ports::default()).expect("starts")
}

fn is_done(view: &TenantView) -> Result<bool, StorageError> {
    Ok(jobs::find_oldest_ready(view, Queue::Default)?.is_none())
}

/// Measures `enqueuers` that each enqueue the next job when the last one is on disk. The round ends
/// when the last job is completed.
pub fn run(dir: &Path, enqueuers: usize, round: Duration) -> Metric {
    let app = start(dir);
    let db = create(&app, "bench");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let worker = {
        let _inside = runtime.enter();
        Worker::start_with(app.clone(), HANDLERS)
    };
    let (requests, commits, runs) = (
        db.stats().requests(),
        db.stats().commits(),
        RUNS.load(Ordering::Relaxed),
    );
    let start = now();
    let tasks: Vec<_> = (0..enqueuers)
        .map(|_| {
            let db = db.clone();
            runtime.spawn(async move {
                let mut latencies = Vec::new();
                while start.elapsed() < round {
                    let began = now();
                    let new = NewJob::new(Queue::Default, KIND, &serde_json::json!({}));
                    let written =
                        db.write(Origin::system(), move |work| queue::enqueue(work, &new));
                    assert!(written.await.expect("writes"));
                    latencies.push(since_us(began));
                }
                latencies
            })
        })
        .collect();
    let latencies: Vec<u64> = tasks
        .into_iter()
        .flat_map(|task| runtime.block_on(task).expect("runs"))
        .collect();
    let queued = start.elapsed();
    while !db.read(is_done).wait().expect("reads") {
        std::thread::yield_now();
    }
    let (jobs, elapsed) = (latencies.len(), start.elapsed());
    let runs = RUNS.load(Ordering::Relaxed) - runs;
    assert!(runs >= jobs as u64, "{runs} of {jobs} jobs ran");
    let (requests, commits) = (
        db.stats().requests() - requests,
        db.stats().commits() - commits,
    );
    println!(
        "    {enqueuers:>3}: {:.1} requests a commit, {:.2} commits a job; the last was completed \
         {:.0} ms after the last was queued",
        requests as f64 / commits.max(1) as f64,
        commits as f64 / jobs.max(1) as f64,
        (elapsed - queued).as_secs_f64() * 1000.0
    );
    runtime.block_on(worker.stop(Duration::from_secs(10)));
    drop(db);
    app.close();
    Metric::new(latencies, elapsed)
}
