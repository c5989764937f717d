//! A file that lacks acknowledged data is not opened: an older copy, or a disk that lost writes.
//! The operator decides how to go on.

use std::fs;
use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};
use tillbox::storage::data_dir::beside;

use crate::support::{Answer, TestApp, TestShop, logs};

/// A shop that sold `then` times, its file of that time, and that sold `since` times since.
struct Past {
    app: TestApp,
    shop: TestShop,
    product: String,
    copy: PathBuf,
}

impl Past {
    async fn of(then: usize, since: usize) -> Self {
        let app = TestApp::start();
        let shop = app.tenant("corner");
        let product = shop.stocked("TEA", 450, 100).await;
        let past = Self {
            copy: app.scratch().join("copy.db"),
            app,
            shop,
            product,
        };
        past.sell(then).await;
        past.app.stop();
        fs::copy(past.shop.path(), &past.copy).expect("a copy");
        past.app.resume();
        past.sell(since).await;
        past.app.work_off();
        past.app.stop();
        past
    }

    async fn sell(&self, times: usize) {
        for _ in 0..times {
            self.shop.sell(&[(&self.product, 1)]).await;
        }
    }

    fn put_copy_in_place(&self) {
        fs::copy(&self.copy, self.shop.path()).expect("a copy");
    }

    async fn accept_loss(&self) -> Answer {
        let path = format!("/v1/admin/tenants/{}/accept-loss", self.shop.slug);
        self.app.admin(&path).send().await
    }

    async fn is_refused(&self) -> Value {
        self.shop
            .get("/v1/catalog/products")
            .send()
            .await
            .refused(503, "tenant_unavailable")
    }
}

fn quarantined(path: &Path) -> PathBuf {
    beside(path, ".quarantined")
}

#[tokio::test]
async fn sets_older_copy_aside_and_opens_it_when_operator_accepts() {
    let past = Past::of(2, 3).await;
    past.put_copy_in_place();
    past.app.resume();
    // Only the operator is shown what to do.
    let names_remedy = |problem: &Value| {
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("accept-loss"))
    };
    let problem = past.is_refused().await;
    assert!(
        !names_remedy(&problem) && !problem.to_string().contains("copy"),
        "{problem}"
    );
    let customer = past
        .app
        .get("/v1/catalog/products")
        .header("x-tillbox-tenant", "corner");
    let problem = customer.send().await.refused(503, "tenant_unavailable");
    assert!(
        !names_remedy(&problem) && !problem.to_string().contains("quarantined"),
        "{problem}"
    );
    let migrate = past
        .app
        .admin("/v1/admin/tenants/corner/migrate")
        .json(json!({}));
    let problem = migrate.send().await.refused(503, "tenant_unavailable");
    assert!(names_remedy(&problem), "{problem}");
    assert!(!past.shop.path().exists());
    assert_eq!(
        fs::read(quarantined(&past.shop.path())).expect("it is kept"),
        fs::read(&past.copy).expect("the copy"),
        "the file was touched"
    );
    let lines = logs()
        .of_tenant(&past.shop.id.to_string())
        .saying("tenant file quarantined");
    assert_eq!(lines.lines().len(), 1, "{lines:?}");
    let accepted = past.accept_loss().await.expect(200).json();
    assert_eq!(accepted["known"]["ledger_seq"], 5, "{accepted}");
    assert_eq!(accepted["found"]["ledger_seq"], 2, "{accepted}");
    assert!(
        !quarantined(&past.shop.path()).exists(),
        "it was copied back"
    );
    past.sell(1).await;
    past.shop.assert_integrity();
    assert_eq!(past.shop.count("SELECT count(*) FROM invoice"), 3);
    let noted = past
        .app
        .landlord_rows("SELECT details FROM audit_log WHERE action = 'tenant.loss_accepted'");
    assert_eq!(noted.len(), 1);
    past.accept_loss().await.refused(409, "nothing_lost");
    past.app.restart();
    past.sell(1).await;
}

/// The original file may have run the copy's jobs since: they wait for the operator.
#[tokio::test]
async fn holds_jobs_of_accepted_copy_until_released() {
    let past = Past::of(2, 3).await;
    past.put_copy_in_place();
    past.app.resume();
    past.is_refused().await;
    past.accept_loss().await.expect(200);
    assert_eq!(
        past.shop.rows("SELECT number, reason FROM epoch"),
        ["2|loss accepted"]
    );
    let before = past.shop.count("SELECT count(*) FROM audit_log");
    past.app.work_off();
    assert_eq!(past.shop.count("SELECT count(*) FROM audit_log"), before);
    past.sell(1).await;
    past.app.work_off();
    assert!(
        past.shop.count("SELECT count(*) FROM audit_log") > before,
        "new jobs run"
    );
    let key = past.app.landlord_key();
    let landlord = |method, path: &str| {
        past.app
            .call(method, &format!("/v1/landlord/queue/{path}"))
            .bearer(&key)
    };
    let held = landlord(Method::GET, "jobs?held=true&limit=200")
        .send()
        .await
        .expect(200)
        .json();
    let held = held["data"].as_array().expect("a list").len();
    assert!(held >= 2, "{held}");
    let stats = landlord(Method::GET, "stats?tenant=corner")
        .send()
        .await
        .expect(200)
        .json();
    let figure = |name: &str| -> i64 {
        let queues = stats["queues"].as_array().expect("a list");
        queues.iter().filter_map(|queue| queue[name].as_i64()).sum()
    };
    assert_eq!((figure("held"), figure("available")), (held as i64, 0));
    let released = landlord(Method::POST, "release?tenant=corner")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        released,
        json!({"tenant": "corner", "released": held, "superseded": 0})
    );
    past.app.work_off();
    let left = past
        .shop
        .count("SELECT count(*) FROM job WHERE state = 'available'");
    assert_eq!(left, 0);
    past.shop.assert_integrity();
    let noted = past
        .app
        .landlord_rows("SELECT details ->> '$.jobs' FROM audit_log WHERE action = 'jobs.released'");
    assert_eq!(noted, [held.to_string()]);
}

#[tokio::test]
async fn opens_newest_copy_without_operator() {
    let past = Past::of(1, 2).await;
    let newest = past.app.scratch().join("newest.db");
    fs::copy(past.shop.path(), &newest).expect("a copy");
    past.put_copy_in_place();
    past.app.resume();
    past.is_refused().await;
    // A copy that is put back under the running process is left in place, even an older one.
    past.put_copy_in_place();
    past.is_refused().await;
    assert!(past.shop.path().exists());
    fs::copy(&newest, past.shop.path()).expect("a copy");
    past.sell(1).await;
    assert_eq!(past.shop.count("SELECT count(*) FROM invoice"), 4);
    past.shop.assert_integrity();
}

#[tokio::test]
async fn rejects_copy_with_diverged_history() {
    let past = Past::of(1, 1).await;
    let first = past.app.scratch().join("first.db");
    fs::copy(past.shop.path(), &first).expect("a copy");
    // The copy is accepted and sells as much as the original: the same sequence numbers with other
    // hashes.
    past.put_copy_in_place();
    past.app.resume();
    past.is_refused().await;
    past.accept_loss().await.expect(200);
    past.sell(2).await;
    past.app.stop();
    fs::copy(&first, past.shop.path()).expect("a copy");
    past.app.resume();
    past.is_refused().await;
}

#[tokio::test]
async fn rejects_acceptance_of_damaged_file() {
    let past = Past::of(1, 1).await;
    let mut bytes = fs::read(&past.copy).expect("the copy");
    let whole = bytes.len();
    bytes.truncate(whole / 2);
    fs::write(past.shop.path(), &bytes).expect("writes");
    past.app.resume();
    past.is_refused().await;
    past.accept_loss().await.refused(503, "tenant_unavailable");
    assert_eq!(
        fs::read(quarantined(&past.shop.path())).expect("it is kept"),
        bytes
    );
    let unknown = past
        .app
        .admin("/v1/admin/tenants/nobody/accept-loss")
        .send()
        .await;
    unknown.refused(404, "tenant_not_found");
}

#[tokio::test]
async fn detects_removed_end_of_books_while_open() {
    let past = Past::of(1, 1).await;
    past.app.resume();
    past.shop
        .get("/v1/catalog/products")
        .send()
        .await
        .expect(200);
    past.shop
        .raw(
            "DROP TRIGGER audit_log_no_delete; DELETE FROM audit_log WHERE seq = (SELECT max(seq) \
            FROM audit_log)",
        )
        .expect("deleted");
    let check = past
        .app
        .admin("/v1/admin/integrity")
        .json(json!({"tenant": "corner"}));
    let report = check.send().await.expect(200).json();
    assert_eq!(report["checks"]["checkpoint"], 1, "{report}");
}

#[tokio::test]
async fn writes_checkpoints_only_after_writes() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    shop.sell(&[(&tea, 1)]).await;
    let checkpoints = || app.landlord_rows("SELECT ledger_seq FROM tenant_checkpoint");
    let commits = || app.app().stores.directory.database().stats().commits();
    let write = || {
        crate::support::blocking(|| app.app().stores.registry.write_checkpoints()).expect("written")
    };
    write();
    assert_eq!(checkpoints(), ["1"]);
    let before = commits();
    write();
    assert_eq!(commits(), before, "nothing was sold since");
    shop.sell(&[(&tea, 1)]).await;
    write();
    assert_eq!(checkpoints(), ["2"]);
}

#[tokio::test]
async fn warns_at_start_about_clock_behind_and_serves() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    app.advance(std::time::Duration::from_secs(86_400));
    shop.sell(&[(&tea, 1)]).await;
    app.stop();
    assert_eq!(
        app.landlord_rows("SELECT seen_at FROM clock_latest"),
        [app.now().as_millis().to_string()]
    );
    app.clock()
        .set(tillbox::primitives::Timestamp::parse("2020-01-01T00:00:00Z").expect("an instant"));
    app.resume();
    shop.sell(&[(&tea, 1)]).await;
    app.stop();
    assert_eq!(
        app.landlord_rows("SELECT seen_at > 1700000000000 FROM clock_latest"),
        ["1"],
        "the latest instant stays the latest"
    );
    app.resume();
    shop.assert_integrity();
}

#[tokio::test]
async fn blames_no_tenant_for_landlord_file_fault() {
    let past = Past::of(1, 1).await;
    past.app
        .landlord_raw("ALTER TABLE tenant_checkpoint RENAME TO gone")
        .expect("renamed");
    past.app.resume();
    past.is_refused().await;
    past.app.stop();
    assert!(
        past.shop.path().exists() && !quarantined(&past.shop.path()).exists(),
        "the file stays where it is"
    );
    past.app
        .landlord_raw("ALTER TABLE gone RENAME TO tenant_checkpoint")
        .expect("renamed");
    past.app.resume();
    past.sell(1).await;
}
