//! The nightly check: finds mismatches, reports them, repairs nothing, and skips unchanged files.

use std::time::Duration;

use serde_json::json;
use tillbox::maintenance::scheduler::{TASKS, run_due};

use super::DAY;
use crate::support::logs::logs;
use crate::support::{TestApp, TestShop, blocking};

fn night(app: &TestApp) {
    app.advance(DAY);
    let running = app.app();
    for (task, done) in blocking(|| run_due(&running, TASKS)) {
        done.expect(task);
    }
    drop(running);
    app.work_off();
}

/// The clean file is skipped until it changes or a week has passed. The other is checked each
/// night.
async fn assert_checked_when_changed(app: &TestApp, good: &TestShop, bad: &TestShop) {
    let checked = || {
        app.landlord_rows(
            "SELECT t.slug, c.checked_at FROM tenant_check c JOIN tenant t ON t.id = \
            c.tenant_id ORDER BY t.slug",
        )
    };
    let at = |days: u32| (app.now().as_millis() - (days * DAY).as_millis() as i64).to_string();
    night(app);
    assert_eq!(
        checked(),
        [format!("bad|{}", at(0)), format!("good|{}", at(2))]
    );
    bad.raw("UPDATE stock SET on_hand = on_hand - 1")
        .expect("repaired");
    night(app);
    assert_eq!(
        checked(),
        [format!("bad|{}", at(0)), format!("good|{}", at(3))]
    );
    let body = json!({"sku": "MUG", "name": "Mug", "price_minor": 100});
    good.post("/v1/catalog/products")
        .json(body)
        .send()
        .await
        .expect(201);
    app.work_off();
    night(app);
    assert_eq!(
        checked(),
        [format!("bad|{}", at(1)), format!("good|{}", at(0))]
    );
    // The jobs of the change were deleted in the following night, which is a change as well.
    for _ in 0..6 {
        night(app);
    }
    assert_eq!(
        checked(),
        [format!("bad|{}", at(0)), format!("good|{}", at(5))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_mismatch_and_repairs_nothing() {
    let app = TestApp::start();
    let (good, bad) = (app.tenant("good"), app.tenant("bad"));
    for shop in [&good, &bad] {
        let tea = shop.stocked("TEA", 450, 10).await;
        shop.sell(&[(&tea, 1)]).await;
    }
    app.work_off();
    let running = app.app();
    blocking(|| run_due(&running, TASKS));
    drop(running);
    // Nights in which retention prunes and writes audit entries, and the queue deletes ended jobs.
    night(&app);
    night(&app);
    night(&app);
    bad.raw("UPDATE stock SET on_hand = on_hand + 1")
        .expect("damaged");
    night(&app);
    let found = app
        .get("/v1/landlord/retention")
        .local()
        .send()
        .await
        .expect(200)
        .json();
    let wrong = found["mismatches"].as_array().expect("a list");
    assert_eq!(wrong.len(), 1, "{found}");
    assert_eq!(
        (
            &wrong[0]["tenant"],
            &wrong[0]["mismatches"],
            &wrong[0]["findings"][0]["check"],
            &wrong[0]["checked_at"]
        ),
        (&json!("bad"), &json!(1), &json!("stock"), &json!(app.now()))
    );
    let id = bad.id.to_string();
    let said = logs()
        .security()
        .of_tenant(&id)
        .saying("integrity mismatch");
    assert_eq!(said.lines().len(), 1);
    assert_eq!(said.lines()[0]["check"], "stock");
    assert_eq!(
        bad.rows("SELECT on_hand FROM stock"),
        ["10"],
        "it was found, and not repaired"
    );

    assert_checked_when_changed(&app, &good, &bad).await;
    let found = app
        .get("/v1/landlord/retention")
        .local()
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(found["mismatches"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_other_tenants_when_one_cannot_be_opened() {
    let app = TestApp::start();
    let (broken, good) = (app.tenant("broken"), app.tenant("good"));
    let running = app.app();
    blocking(|| run_due(&running, TASKS));
    drop(running);
    app.stop();
    std::fs::write(broken.path(), b"no database at all").expect("broken");
    app.resume();
    app.advance(Duration::from_secs(1));
    night(&app);
    let checked =
        app.landlord_rows("SELECT t.slug FROM tenant_check c JOIN tenant t ON t.id = c.tenant_id");
    assert_eq!(checked, [good.slug.to_string()]);
}

/// The result of an earlier night says nothing about a file that this night could not read.
#[tokio::test(flavor = "multi_thread")]
async fn reports_file_as_unchecked_when_check_fails() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let running = app.app();
    blocking(|| run_due(&running, TASKS));
    drop(running);
    night(&app);
    let checked_at = app.now();
    let status = async || {
        app.get("/v1/landlord/retention")
            .local()
            .send()
            .await
            .expect(200)
            .json()
    };
    assert_eq!(status().await["unchecked"], json!([]));
    app.stop();
    let sound = std::fs::read(shop.path()).expect("the file");
    std::fs::write(shop.path(), b"no database at all").expect("broken");
    app.resume();
    night(&app);
    let found = status().await;
    let unchecked = &found["unchecked"][0];
    assert_eq!(
        (
            &unchecked["tenant"],
            &unchecked["tried_at"],
            &unchecked["checked_at"]
        ),
        (&json!("corner"), &json!(app.now()), &json!(checked_at)),
        "{found}"
    );
    assert!(
        unchecked["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{found}"
    );
    let said = logs()
        .security()
        .of_tenant(&shop.id.to_string())
        .saying("tenant could not be checked");
    assert_eq!(said.lines().len(), 1);
    app.stop();
    std::fs::write(shop.path(), sound).expect("repaired");
    app.resume();
    night(&app);
    assert_eq!(
        status().await["unchecked"],
        json!([]),
        "it was checked, although it looks as it did"
    );
}

/// The landlord's file is checked like the others.
#[tokio::test(flavor = "multi_thread")]
async fn reports_landlord_mismatch_until_repaired() {
    let app = TestApp::start();
    app.tenant("corner");
    let running = app.app();
    blocking(|| run_due(&running, TASKS));
    drop(running);
    night(&app);
    let status = async || {
        app.get("/v1/landlord/retention")
            .local()
            .send()
            .await
            .expect(200)
            .json()
    };
    assert_eq!(status().await["mismatches"], json!([]));
    let entry = app
        .landlord_rows("SELECT max(seq), actor FROM audit_log")
        .remove(0);
    let (seq, actor) = entry.split_once('|').expect("two columns");
    let trigger = app
        .landlord_rows("SELECT sql FROM sqlite_schema WHERE name = 'audit_log_no_update'")
        .remove(0);
    let set = |actor: &str| {
        let sql = format!(
            "DROP TRIGGER audit_log_no_update; UPDATE audit_log SET actor = '{actor}' WHERE seq = \
             {seq}; {trigger}"
        );
        app.landlord_raw(&sql).expect("changed");
    };
    set("nobody");
    night(&app);
    let found = status().await;
    let wrong = &found["mismatches"][0];
    assert_eq!(
        (
            &wrong["tenant"],
            &wrong["findings"][0]["check"],
            &wrong["checked_at"]
        ),
        (&json!(null), &json!("audit chain"), &json!(app.now())),
        "{found}"
    );
    set(actor);
    night(&app);
    assert_eq!(status().await["mismatches"], json!([]));
}

/// The worst case: an unreadable page. Opening the file does not touch it.
#[tokio::test(flavor = "multi_thread")]
async fn reports_unreadable_page() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    shop.sell(&[(&tea, 1)]).await;
    app.work_off();
    let running = app.app();
    blocking(|| run_due(&running, TASKS));
    drop(running);
    let page = shop.count("SELECT rootpage FROM sqlite_schema WHERE name = 'invoice'");
    app.stop();
    let mut bytes = std::fs::read(shop.path()).expect("the file is there");
    let at = (usize::try_from(page).expect("a page") - 1) * 4096;
    bytes[at..at + 64].fill(0xff);
    std::fs::write(shop.path(), bytes).expect("damaged");
    app.resume();
    app.advance(DAY);
    let running = app.app();
    blocking(|| run_due(&running, TASKS));
    drop(running);
    let found = app
        .get("/v1/landlord/retention")
        .local()
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        found["mismatches"][0]["findings"][0]["check"], "file",
        "{found}"
    );
    let said = logs()
        .security()
        .of_tenant(&shop.id.to_string())
        .saying("integrity mismatch");
    assert_eq!(said.lines().len(), 1);
}
