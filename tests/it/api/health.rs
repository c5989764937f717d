//! Tests of `/health`, `/health/live` and `/health/ready`.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tillbox::app::App;
use tillbox::config::ByteSize;
use tillbox::platform::queue::{self, NewJob, Queue};
use tillbox::primitives::limits::{HEARTBEAT_STALE_MS, JOB_LATE_MS, PROBE_MS};
use tillbox::tenancy::Directory;
use tillbox::worker::handlers::{Handler, Handlers, OutboundJob};
use tillbox::worker::{JobError, Worker};

use crate::support::{TestApp, TestShop, answer::Answer, blocking};

/// The longest wait for an event that is expected at once.
const PATIENCE: Duration = Duration::from_secs(180);

async fn health(app: &TestApp, status: u16) -> Answer {
    let answer = app.get("/health").send().await.expect(status);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn health_endpoint() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let degraded = health(&app, 503).await.json();
    assert_eq!(
        degraded["services"],
        json!({"db": "ok", "cache": "ok", "queue": "fail"}),
        "nobody works on the queue"
    );

    let worker = Worker::start(app.app());
    app.advance(Duration::from_secs(5));
    let well = health(&app, 200).await.json();
    let expected = json!({
        "status": "ok",
        "services": {"db": "ok", "cache": "ok", "queue": "ok"},
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": 5,
    });
    assert_eq!(well, expected);
    // Uptime and heartbeat do not depend on the clock setting.
    for ms in [-3_600_000, 3_840_000] {
        app.clock().set(app.now().plus_millis(ms));
        assert_eq!(health(&app, 200).await.json(), expected);
    }

    worker.stop(Duration::from_secs(30)).await;
    let stopped = health(&app, 503).await.json();
    assert_eq!(
        (&stopped["status"], &stopped["services"]["queue"]),
        (&json!("degraded"), &json!("fail"))
    );
    drop(shop);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_broken_tenant_until_it_is_repaired() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    app.stop();
    let whole = std::fs::read(shop.path()).unwrap();
    std::fs::write(shop.path(), b"no database at all").unwrap();
    app.resume();
    let worker = Worker::start(app.app());
    shop.get("/v1/catalog/products")
        .send()
        .await
        .refused(503, "tenant_unavailable");

    let answer = health(&app, 503).await;
    assert_eq!(
        answer.json()["services"],
        json!({"db": "fail", "cache": "ok", "queue": "ok"})
    );
    let id = shop.id.to_string();
    assert!(
        !answer.text().contains("corner") && !answer.text().contains(&id),
        "{}",
        answer.text()
    );
    let key = app.landlord_key();
    for call in [app.get("/health").bearer(&key), app.get("/health").local()] {
        let details = call.send().await.expect(503).json();
        assert_eq!(
            details["details"]["unavailable_tenants"][0]["slug"], "corner",
            "{details}"
        );
        assert_eq!(
            details["details"]["unavailable_tenants"][0]["tenant_id"], id,
            "{details}"
        );
    }
    assert_eq!(
        shop.get("/health").send().await.expect(503).json()["details"],
        json!(null),
        "a tenant's key tells nothing"
    );

    // Replaced atomically, because the worker may read it at any moment.
    let restored = app.scratch().join("restored.db");
    std::fs::write(&restored, whole).unwrap();
    std::fs::rename(&restored, shop.path()).unwrap();
    shop.get("/v1/catalog/products").send().await.expect(200);
    health(&app, 200).await;
    worker.stop(Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ignores_deleted_tenant() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let process = app.app();
    blocking(|| process.stores.registry.close(shop.id));
    std::fs::remove_file(shop.path()).unwrap();
    let worker = Worker::start(app.app());
    shop.get("/v1/catalog/products")
        .send()
        .await
        .refused(503, "tenant_unavailable");
    health(&app, 503).await;
    blocking(|| {
        process
            .stores
            .provisioner
            .delete(&tillbox::primitives::Origin::operator(), &shop.slug)
    })
    .unwrap();
    drop(process);
    health(&app, 200).await;
    worker.stop(Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_once_a_second_under_a_flood_of_requests() {
    let app = TestApp::start();
    let writes = || app.app().stores.directory.database().stats().requests();
    let before = writes();
    for _ in 0..50 {
        health(&app, 503).await;
    }
    assert_eq!(writes() - before, 1);
    app.advance(Duration::from_secs(1));
    health(&app, 503).await;
    assert_eq!(writes() - before, 2);
    let beat = app.landlord_rows("SELECT heartbeat_at FROM health_probe");
    assert_eq!(beat, [app.now().as_millis().to_string()]);
}

#[tokio::test]
async fn reports_ready_from_start_to_shutdown() {
    let app = TestApp::start();
    app.get("/health/live").send().await.expect(200);
    app.get("/health/ready")
        .send()
        .await
        .refused(503, "not_ready");
    app.app().observation.liveness.set_ready(true);
    app.get("/health/ready").send().await.expect(200);
    app.app().observation.liveness.set_ready(false);
    app.get("/health/ready")
        .send()
        .await
        .refused(503, "not_ready");
}

#[test]
fn probes_cache_independently_for_concurrent_requests() {
    let app = crate::support::TestApp::start();
    let running = app.app();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let directory = &running.stores.directory;
            scope.spawn(move || assert!((0..20_000).all(|_| directory.cache_works())));
        }
    });
}

/// Waits for the expected state of the services; returns the whole answer with the landlord's key.
async fn wait_for_services(app: &TestApp, key: &str, services: Value) -> Value {
    let seen = async {
        loop {
            let answer = app.get("/health").bearer(key).send().await;
            let report = answer.json();
            // A busy machine may answer the probe too late. The result is cached until the clock
            // advances, which only this test does.
            if report["details"]["landlord_file"] == "no answer in time" {
                app.advance(Duration::from_millis(PROBE_MS.unsigned_abs()));
            }
            let all_ok = services
                .as_object()
                .is_some_and(|all| all.values().all(|one| one == "ok"));
            if report["services"] == services {
                assert_eq!(answer.status, if all_ok { 200 } else { 503 }, "{report}");
                assert_eq!(
                    report["status"],
                    if all_ok { "ok" } else { "degraded" },
                    "{report}"
                );
                return report;
            }
            tokio::task::yield_now().await;
        }
    };
    let seen = tokio::time::timeout(PATIENCE, seen).await;
    seen.unwrap_or_else(|_| panic!("the services are never {services}"))
}

fn all_ok() -> Value {
    json!({"db": "ok", "cache": "ok", "queue": "ok"})
}

fn failing(service: &str) -> Value {
    let mut services = all_ok();
    services[service] = json!("fail");
    services
}

/// A job handler that waits until a test releases it.
static HELD: (Mutex<bool>, Condvar) = (Mutex::new(true), Condvar::new());
static HAS_COME: AtomicBool = AtomicBool::new(false);
const HOLD: Handlers = {
    fn hold(_: &OutboundJob<'_>) -> Result<(), JobError> {
        HAS_COME.store(true, Ordering::Release);
        let held = HELD.0.lock().expect("nobody panics while holding it");
        drop(HELD.1.wait_while(held, |held| *held));
        Ok(())
    }
    Handlers(&[("test.hold", Handler::Outbound(hold))])
};

fn enqueue(shop: &TestShop) {
    let new = NewJob::new(Queue::Low, "test.hold", &json!({}));
    shop.write(move |work| queue::enqueue(work, &new))
        .expect("written");
}

/// Fills the disk until less space than the reserve is free.
async fn break_the_disk(app: &TestApp, key: &str, dir: &Path) {
    let free = app.app().limits.space.measure().expect("a disk").free;
    // Enough that concurrent writes of others do not matter.
    let ballast = (free / 4).min(256 << 20);
    app.restart_with(|config| config.storage.disk_reserve = ByteSize::bytes(free - ballast / 2));
    let worker = Worker::start(app.app());
    wait_for_services(app, key, all_ok()).await;
    let path = dir.join("ballast");
    let file = File::create(&path).expect("room for a name");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, ballast).expect("room");
    app.advance(Duration::from_secs(1));
    let report = wait_for_services(app, key, failing("db")).await;
    assert!(report["details"]["disk"].is_string(), "{report}");
    drop(file);
    fs::remove_file(&path).expect("it is there");
    app.advance(Duration::from_secs(1));
    wait_for_services(app, key, all_ok()).await;
    worker.stop(PATIENCE).await;
}

/// Replaces a tenant's file with garbage, so that it is quarantined.
async fn break_a_tenant(app: &TestApp, key: &str, shop: &TestShop) {
    app.stop();
    let whole = fs::read(shop.path()).expect("a file");
    fs::write(shop.path(), b"no database at all").expect("written");
    app.resume();
    let worker = Worker::start(app.app());
    let report = wait_for_services(app, key, failing("db")).await;
    assert_eq!(
        report["details"]["unavailable_tenants"][0]["slug"], "corner",
        "{report}"
    );
    let restored = app.scratch().join("restored.db");
    fs::write(&restored, whole).expect("written");
    fs::copy(&restored, shop.path().with_extension("new")).expect("copied");
    fs::rename(shop.path().with_extension("new"), shop.path()).expect("in its place");
    shop.get("/v1/catalog/products").send().await.expect(200);
    wait_for_services(app, key, all_ok()).await;
    worker.stop(PATIENCE).await;
}

/// Enqueues a job that is due but does not run.
async fn break_the_queue(app: &TestApp, key: &str, shop: &TestShop) {
    let worker = Worker::start_with(app.app(), HOLD);
    enqueue(shop);
    enqueue(shop);
    let come = async {
        while !HAS_COME.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, come)
        .await
        .expect("the first begins");
    wait_for_services(app, key, all_ok()).await;
    app.advance(Duration::from_millis(JOB_LATE_MS.unsigned_abs() + 1));
    loop {
        let report = wait_for_services(app, key, failing("queue")).await;
        // Until the next heartbeat, the missing heartbeat is the fault.
        if report["details"]["queue"]
            .as_str()
            .is_some_and(|fault| fault.starts_with("a job has been waiting since"))
        {
            break;
        }
    }
    *HELD.0.lock().expect("nobody panics while holding it") = false;
    HELD.1.notify_all();
    wait_for_services(app, key, all_ok()).await;
    worker.stop(PATIENCE).await;
}

/// Stops the threads of the dispatcher, which hangs without having ended.
async fn break_the_dispatcher(app: &TestApp, key: &str) {
    let process = app.app();
    let (threads, lost) = blocking(|| {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let threads = threads.expect("threads");
        let lost = threads.block_on(async { Worker::start(process) });
        (threads, lost)
    });
    wait_for_services(app, key, all_ok()).await;
    // Waits first: a heartbeat in progress would have the new time.
    blocking(|| threads.shutdown_timeout(PATIENCE));
    app.advance(Duration::from_millis(HEARTBEAT_STALE_MS.unsigned_abs() + 1));
    let report = wait_for_services(app, key, failing("queue")).await;
    let fault = report["details"]["queue"].as_str().unwrap_or_default();
    assert!(
        fault.starts_with("the worker has sent no heartbeat since"),
        "{report}"
    );
    drop(lost);
    let worker = Worker::start(app.app());
    wait_for_services(app, key, all_ok()).await;
    worker.stop(PATIENCE).await;
    let report = wait_for_services(app, key, failing("queue")).await;
    assert_eq!(report["details"]["queue"], "the worker is not running");
}

/// Makes the cache drop all entries.
async fn break_the_cache(app: &TestApp, key: &str) {
    let with = |kept: u64| {
        move |mut app: App| {
            let landlord = app.stores.directory.database().clone();
            app.stores.directory = Arc::new(Directory::new(landlord, kept));
            app
        }
    };
    for (kept, services) in [(0, failing("cache")), (100, all_ok())] {
        app.refit(with(kept));
        let worker = Worker::start(app.app());
        wait_for_services(app, key, services).await;
        worker.stop(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_degrades_and_heals() {
    // Uses a disk with few other writers, if possible: its free space must not change by itself.
    let dir = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a directory");
    let app = TestApp::with(false, |config| {
        config.storage.data_dir = dir.path().join("data");
        config.queue.low.workers = 1;
    });
    let shop = app.tenant("corner");
    let key = app.landlord_key();
    break_the_disk(&app, &key, dir.path()).await;
    break_a_tenant(&app, &key, &shop).await;
    break_the_queue(&app, &key, &shop).await;
    break_the_dispatcher(&app, &key).await;
    break_the_cache(&app, &key).await;
    shop.get("/health").send().await.expect(503);
    drop(shop);
    drop(app);
}
