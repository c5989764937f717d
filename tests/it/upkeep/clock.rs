//! No run deletes on the word of a clock that was set: it is held and says so, until the operator says that the clock is right.

use std::time::Duration;

use serde_json::{Value, json};
use tillbox::scheduler::{DUTIES, run_due};

use super::{DAY, prune, rows_of};
use crate::support::logs::logs;
use crate::support::{TestApp, TestShop, blocking};

const HOUR: Duration = Duration::from_secs(3600);

/// A shop with a sale of today.
async fn shop(app: &TestApp) -> TestShop {
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    shop.sell(&[(&tea, 1)]).await;
    app.work_off();
    night(app);
    shop
}

/// What is due is done, and the jobs that it left.
fn night(app: &TestApp) -> Vec<&'static str> {
    let running = app.app();
    let done = blocking(|| run_due(&running, DUTIES));
    drop(running);
    app.work_off();
    done.into_iter().map(|(duty, _)| duty).collect()
}

async fn doubt(app: &TestApp) -> Value {
    app.get("/v1/landlord/retention").local().send().await.expect(200).json()["clock_doubt"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_a_year_ahead_deletes_nothing() {
    let app = TestApp::start();
    let shop = shop(&app).await;
    let (right, rows) = (app.now(), shop.census());
    app.clock().set(right.plus(370 * DAY));
    assert_eq!(night(&app), ["integrity"], "what deletes is held");
    assert_eq!(shop.census(), rows);
    let doubted = doubt(&app).await;
    assert!(
        doubted["reason"].as_str().is_some_and(|reason| reason.contains("set forward by")),
        "{doubted}"
    );
    assert!(logs().security().contain("the clock is not believed"));
    // A restart makes it no truer, and neither does a day of waiting.
    app.restart();
    app.advance(DAY);
    assert_eq!(night(&app), ["integrity"]);
    prune(&app, json!({})).await.refused(409, "clock_doubtful");
    let dry = prune(&app, json!({"dry_run": true})).await.expect(200).json();
    assert!(!rows_of(&dry).is_empty(), "counting may be asked for");
    assert_eq!(shop.census(), rows);
    // Somebody sets it right; the house has seen the later one, so a person has to say so.
    app.clock().set(right.plus(DAY));
    app.restart();
    assert_eq!(night(&app), Vec::<&str>::new());
    prune(&app, json!({})).await.refused(409, "clock_doubtful");
    prune(&app, json!({"clock_is_right": true})).await.expect(200);
    assert_eq!(doubt(&app).await, Value::Null);
    let trail = app.landlord_rows("SELECT actor, action FROM audit_log ORDER BY seq DESC LIMIT 1");
    assert_eq!(trail, ["operator|clock.confirmed"]);
    shop.assert_integrity();
    app.advance(DAY);
    assert!(night(&app).contains(&"retention"), "and the nights are as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_an_hour_is_not_believed_until_it_is_right_again() {
    let app = TestApp::start();
    shop(&app).await;
    let started = app.now();
    app.advance(15 * HOUR);
    app.clock().set(app.now().plus_millis(-3_600_000));
    night(&app);
    let doubted = doubt(&app).await;
    assert!(
        doubted["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("set back by 3600 s")),
        "{doubted}"
    );
    app.advance(2 * HOUR);
    assert!(!night(&app).contains(&"retention"));
    // The same process sees it come back to what it should show.
    app.clock().set(started.plus(17 * HOUR));
    assert!(night(&app).contains(&"retention"));
    assert_eq!(doubt(&app).await, Value::Null);
    // A time server's correction is no news.
    app.clock().set(app.now().plus_millis(-900));
    assert_eq!(doubt(&app).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_restart_a_week_is_believed_and_more_is_not() {
    let app = TestApp::start();
    shop(&app).await;
    app.stop();
    app.advance(6 * DAY);
    app.resume();
    assert!(night(&app).contains(&"retention"));
    app.stop();
    app.advance(8 * DAY);
    app.resume();
    assert!(!night(&app).contains(&"retention"));
    let doubted = doubt(&app).await;
    assert!(
        doubted["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("8 days are said to have passed")),
        "{doubted}"
    );
    let both = json!({"clock_is_right": true, "dry_run": true});
    prune(&app, both).await.refused(422, "validation_failed");
    assert!(!night(&app).contains(&"retention"), "who only counts has said nothing");
    prune(&app, json!({"clock_is_right": true})).await.expect(200);
    assert!(night(&app).contains(&"retention"));
}

/// One step ahead used to make each start warn until the clock had come by there.
#[tokio::test(flavor = "multi_thread")]
async fn the_operators_word_ends_the_warnings_of_every_start() {
    let app = TestApp::start();
    let shop = shop(&app).await;
    let right = app.now();
    app.clock().set(right.plus(370 * DAY));
    let tea = shop.stocked("MUG", 450, 10).await;
    shop.sell(&[(&tea, 1)]).await;
    app.stop();
    app.clock().set(right.plus(HOUR));
    let warnings = || {
        let now = app.now().to_string();
        let lines = logs().saying("the clock is behind what it has shown before; set it right; if it is right now, say so with `tillbox retention prune --clock-is-right`");
        lines.only(|line| line["now"] == now.as_str()).lines().len()
    };
    let before = warnings();
    app.resume();
    assert_eq!(warnings(), before + 1, "it warns");
    prune(&app, json!({"clock_is_right": true})).await.expect(200);
    app.advance(Duration::from_millis(1_001));
    app.restart();
    assert_eq!(warnings(), 0, "and no more");
    assert!(rows_of(&prune(&app, json!({})).await.expect(200).json()).is_empty());
}
