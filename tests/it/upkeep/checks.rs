//! The nightly check: finds what does not agree, says so where somebody looks, mends nothing, and leaves alone what has not changed.

use std::time::Duration;

use serde_json::json;
use tillbox::scheduler::{DUTIES, run_due};

use super::DAY;
use crate::support::logs::logs;
use crate::support::{TestApp, blocking};

fn night(app: &TestApp) {
    app.advance(DAY);
    let running = app.app();
    for (duty, done) in blocking(|| run_due(&running, DUTIES)) {
        done.expect(duty);
    }
    drop(running);
    app.work_off();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_night_finds_is_told_and_not_mended() {
    let app = TestApp::start();
    let (good, bad) = (app.tenant("good"), app.tenant("bad"));
    for shop in [&good, &bad] {
        let tea = shop.stocked("TEA", 450, 10).await;
        shop.sell(&[(&tea, 1)]).await;
    }
    app.work_off();
    let running = app.app();
    blocking(|| run_due(&running, DUTIES));
    drop(running);
    // Nights in which retention takes its share, which has its entries in the trails, and the queue what has ended.
    night(&app);
    night(&app);
    night(&app);
    bad.raw("UPDATE stock SET on_hand = on_hand + 1").expect("damaged");
    night(&app);
    let found = app.get("/v1/landlord/retention").local().send().await.expect(200).json();
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
    let said = logs().security().of_tenant(&id).saying("integrity mismatch");
    assert_eq!(said.lines().len(), 1);
    assert_eq!(said.lines()[0]["check"], "stock");
    assert_eq!(bad.rows("SELECT on_hand FROM stock"), ["10"], "it was found, and not mended");

    // The one that is well is left alone until it changes, or a week has passed; the other is looked at each night.
    let checked =
        || app.landlord_rows("SELECT t.slug, c.checked_at FROM tenant_check c JOIN tenant t ON t.id = c.tenant_id ORDER BY t.slug");
    let at = |days: u32| (app.now().as_millis() - (days * DAY).as_millis() as i64).to_string();
    night(&app);
    assert_eq!(checked(), [format!("bad|{}", at(0)), format!("good|{}", at(2))]);
    bad.raw("UPDATE stock SET on_hand = on_hand - 1").expect("mended");
    night(&app);
    assert_eq!(checked(), [format!("bad|{}", at(0)), format!("good|{}", at(3))]);
    let body = json!({"sku": "MUG", "name": "Mug", "price_minor": 100});
    good.post("/v1/catalog/products").json(body).send().await.expect(201);
    app.work_off();
    night(&app);
    assert_eq!(checked(), [format!("bad|{}", at(1)), format!("good|{}", at(0))]);
    // The jobs of the change went in the night after it, which is a change as well.
    for _ in 0..6 {
        night(&app);
    }
    assert_eq!(checked(), [format!("bad|{}", at(0)), format!("good|{}", at(5))]);
    let found = app.get("/v1/landlord/retention").local().send().await.expect(200).json();
    assert_eq!(found["mismatches"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_opened_stops_no_other() {
    let app = TestApp::start();
    let (broken, good) = (app.tenant("broken"), app.tenant("good"));
    let running = app.app();
    blocking(|| run_due(&running, DUTIES));
    drop(running);
    app.stop();
    std::fs::write(broken.path(), b"no database at all").expect("broken");
    app.resume();
    app.advance(Duration::from_secs(1));
    night(&app);
    let checked = app.landlord_rows("SELECT t.slug FROM tenant_check c JOIN tenant t ON t.id = c.tenant_id");
    assert_eq!(checked, [good.slug.to_string()]);
}

/// The worst that can be found: a page that nobody can read. Opening the file does not meet it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_through_is_a_finding() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    shop.sell(&[(&tea, 1)]).await;
    app.work_off();
    let running = app.app();
    blocking(|| run_due(&running, DUTIES));
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
    blocking(|| run_due(&running, DUTIES));
    drop(running);
    let found = app.get("/v1/landlord/retention").local().send().await.expect(200).json();
    assert_eq!(found["mismatches"][0]["findings"][0]["check"], "file", "{found}");
    let said = logs().security().of_tenant(&shop.id.to_string()).saying("integrity mismatch");
    assert_eq!(said.lines().len(), 1);
}
