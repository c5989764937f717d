//! The nightly check of a file at rest: again after a week, and only so much of what it finds is
//! kept.

use serde_json::json;
use tillbox::maintenance::scheduler::{TASKS, run_due};

use super::DAY;
use crate::support::{TestApp, blocking};

fn night(app: &TestApp) {
    app.advance(DAY);
    let running = app.app();
    for (task, done) in blocking(|| run_due(&running, TASKS)) {
        done.expect(task);
    }
    drop(running);
    app.work_off();
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_a_file_at_rest_again_after_seven_days() {
    let app = TestApp::start();
    app.tenant("corner");
    app.work_off();
    let running = app.app();
    blocking(|| run_due(&running, TASKS));
    drop(running);
    // What the first nights leave in the file is checked in those after them.
    for _ in 0..4 {
        night(&app);
    }
    let checked = || app.landlord_rows("SELECT checked_at FROM tenant_check");
    let mut nights = Vec::new();
    for number in 1..=14 {
        let before = checked();
        night(&app);
        nights.extend((checked() != before).then_some(number));
    }
    assert_eq!(nights.len(), 2, "{nights:?}");
    assert_eq!(nights[1] - nights[0], 7, "{nights:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_first_20_findings() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for number in 0..25 {
        shop.stocked(&format!("SKU-{number}"), 450, 10).await;
    }
    app.work_off();
    let running = app.app();
    blocking(|| run_due(&running, TASKS));
    drop(running);
    shop.raw("UPDATE stock SET on_hand = on_hand + 1")
        .expect("damaged");
    night(&app);
    let found = app
        .get("/v1/landlord/retention")
        .local()
        .send()
        .await
        .expect(200)
        .json();
    let wrong = &found["mismatches"][0];
    assert_eq!(wrong["mismatches"], json!(25), "{wrong}");
    assert_eq!(wrong["findings"].as_array().map(Vec::len), Some(20));
}
