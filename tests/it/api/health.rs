//! `/health`, `/health/live`, `/health/ready`.

use std::time::Duration;

use serde_json::json;
use tillbox::worker::Worker;

use crate::support::{TestApp, answer::Answer, blocking};

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

    worker.stop(Duration::from_secs(30)).await;
    let stopped = health(&app, 503).await.json();
    assert_eq!(
        (&stopped["status"], &stopped["services"]["queue"]),
        (&json!("degraded"), &json!("fail"))
    );
    drop(shop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_store_shows_until_it_is_mended() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    app.stop();
    let whole = std::fs::read(shop.path()).unwrap();
    std::fs::write(shop.path(), b"no database at all").unwrap();
    app.resume();
    let worker = Worker::start(app.app());
    shop.get("/v1/catalog/products").send().await.refused(503, "tenant_unavailable");

    let answer = health(&app, 503).await;
    assert_eq!(answer.json()["services"], json!({"db": "fail", "cache": "ok", "queue": "ok"}));
    let id = shop.id.to_string();
    assert!(
        !answer.text().contains("corner") && !answer.text().contains(&id),
        "{}",
        answer.text()
    );
    let key = app.landlord_key();
    for call in [app.get("/health").bearer(&key), app.get("/health").local()] {
        let details = call.send().await.expect(503).json();
        assert_eq!(details["details"]["unavailable_tenants"][0]["slug"], "corner", "{details}");
        assert_eq!(details["details"]["unavailable_tenants"][0]["tenant_id"], id, "{details}");
    }
    assert_eq!(
        shop.get("/health").send().await.expect(503).json()["details"],
        json!(null),
        "a tenant's key tells nothing"
    );

    // Moved there whole, because the worker may look at any moment.
    let restored = app.scratch().join("restored.db");
    std::fs::write(&restored, whole).unwrap();
    std::fs::rename(&restored, shop.path()).unwrap();
    shop.get("/v1/catalog/products").send().await.expect(200);
    health(&app, 200).await;
    worker.stop(Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_removed_is_nobodys_trouble() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let process = app.app();
    blocking(|| process.registry.close(shop.id));
    std::fs::remove_file(shop.path()).unwrap();
    let worker = Worker::start(app.app());
    shop.get("/v1/catalog/products").send().await.refused(503, "tenant_unavailable");
    health(&app, 503).await;
    blocking(|| process.provisioner.delete(&tillbox::primitives::Origin::operator(), &shop.slug)).unwrap();
    drop(process);
    health(&app, 200).await;
    worker.stop(Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_questions_writes_once_a_second() {
    let app = TestApp::start();
    let writes = || app.app().directory.database().stats().requests();
    let before = writes();
    for _ in 0..50 {
        health(&app, 503).await;
    }
    assert_eq!(writes() - before, 1);
    app.advance(Duration::from_secs(1));
    health(&app, 503).await;
    assert_eq!(writes() - before, 2);
    let beat = app.landlord_rows("SELECT beat_at FROM health_probe");
    assert_eq!(beat, [app.now().as_millis().to_string()]);
}

#[tokio::test]
async fn ready_is_said_from_the_start_to_the_end() {
    let app = TestApp::start();
    app.get("/health/live").send().await.expect(200);
    app.get("/health/ready").send().await.refused(503, "not_ready");
    app.app().pulse.set_ready(true);
    app.get("/health/ready").send().await.expect(200);
    app.app().pulse.set_ready(false);
    app.get("/health/ready").send().await.refused(503, "not_ready");
}

#[test]
fn many_who_ask_at_once_do_not_break_each_others_probe_of_the_cache() {
    let app = crate::support::TestApp::start();
    let running = app.app();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let directory = &running.directory;
            scope.spawn(move || assert!((0..20_000).all(|_| directory.cache_works())));
        }
    });
}
