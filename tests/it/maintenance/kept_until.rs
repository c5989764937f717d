//! The instant at which each table of a tenant lets a row go: two rows one millisecond apart, of
//! which only the older one goes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{DAY, prune, rows_of};
use crate::support::{TestApp, TestShop};

const MS: Duration = Duration::from_millis(1);

/// The rows of one table that a run deletes (or counts, with `dry_run`).
async fn gone(app: &TestApp, table: &str, dry_run: bool) -> i64 {
    let answer = prune(app, json!({"dry_run": dry_run}))
        .await
        .expect(200)
        .json();
    let name = format!("corner/{table}");
    rows_of(&answer)
        .iter()
        .find(|(table, _)| *table == name)
        .map_or(0, |(_, rows)| *rows)
}

/// The rows that a run counts, that it deletes, and that it counts after that.
async fn counted_deleted_left(app: &TestApp, table: &str) -> [i64; 3] {
    [
        gone(app, table, true).await,
        gone(app, table, false).await,
        gone(app, table, true).await,
    ]
}

async fn sold(shop: &TestShop, key: &str, product: &str) -> Value {
    let sale = json!({
        "lines": [{"product_id": product, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": 450}],
    });
    shop.sale(key, sale).await.expect(201).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_a_cart_for_90_days_when_nobody_touches_it() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    shop.cart(&[(&tea, 1)]).await;
    app.advance(MS);
    let younger = shop.cart(&[(&tea, 2)]).await;
    app.advance(90 * DAY);
    assert_eq!(counted_deleted_left(&app, "cart").await, [1, 1, 0]);
    assert_eq!(shop.rows("SELECT quantity FROM cart_item"), ["2"]);
    shop.get(&format!("/v1/carts/{younger}"))
        .send()
        .await
        .expect(200);
    app.advance(MS);
    assert_eq!(counted_deleted_left(&app, "cart").await, [1, 1, 0]);
    assert_eq!(shop.count("SELECT count(*) FROM cart_item"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_an_ended_reservation_for_30_days() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    shop.place(&[(&tea, 1)], "cash").await;
    app.advance(MS);
    shop.place(&[(&tea, 2)], "cash").await;
    app.advance(Duration::from_secs(15 * 60));
    app.work_off();
    assert_eq!(shop.stock(&tea).await, [10, 0, 10]);
    app.advance(30 * DAY);
    assert_eq!(counted_deleted_left(&app, "reservation").await, [1, 1, 0]);
    assert_eq!(shop.rows("SELECT quantity FROM reservation"), ["2"]);
    app.advance(MS);
    assert_eq!(counted_deleted_left(&app, "reservation").await, [1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_a_held_reservation_when_its_job_never_ran() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    shop.place(&[(&tea, 1)], "cash").await;
    shop.place(&[(&tea, 2)], "cash").await;
    app.advance(Duration::from_secs(15 * 60));
    // The job of one order ran, that of the other did not.
    shop.raw(
        "UPDATE reservation SET status = 'expired' WHERE quantity = 1; UPDATE stock SET \
        reserved = 2",
    )
    .expect("changed");
    app.advance(30 * DAY + MS);
    assert_eq!(counted_deleted_left(&app, "reservation").await, [1, 1, 0]);
    assert_eq!(
        shop.rows("SELECT quantity, status FROM reservation"),
        ["2|held"]
    );
    shop.assert_integrity();
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_answer_of_a_key_for_less_than_24_hours() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    sold(&shop, "older", &tea).await;
    app.advance(MS);
    let younger = sold(&shop, "younger", &tea).await;
    app.advance(DAY - MS);
    assert_eq!(
        counted_deleted_left(&app, "idempotency_key").await,
        [1, 1, 0]
    );
    assert_eq!(sold(&shop, "younger", &tea).await, younger, "replayed");
    assert_eq!(shop.count("SELECT count(*) FROM sales_order"), 2);
    app.advance(MS);
    assert_eq!(
        counted_deleted_left(&app, "idempotency_key").await,
        [1, 1, 0]
    );
    assert_ne!(sold(&shop, "younger", &tea).await, younger, "a new sale");
}

/// Each table goes by its own setting.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_movements_and_audit_entries_by_their_own_settings() {
    let app = TestApp::with(false, |config| {
        config.retention.audit_days = 20;
        config.retention.inventory_movement_days = 10;
        config.retention.stripe_events_days = 5;
    });
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    app.advance(MS);
    for on_hand in [11, 12] {
        let path = format!("/v1/inventory/stock/{tea}");
        shop.patch(&path)
            .json(json!({"on_hand": on_hand}))
            .send()
            .await
            .expect(200);
    }
    app.work_off();
    app.advance(10 * DAY);
    assert_eq!(
        counted_deleted_left(&app, "inventory_movement").await,
        [1, 1, 0]
    );
    assert_eq!(
        shop.rows("SELECT on_hand_after FROM inventory_movement ORDER BY seq"),
        ["11", "12"]
    );
    assert_eq!(gone(&app, "audit_log", true).await, 0);
    app.advance(MS);
    assert_eq!(
        counted_deleted_left(&app, "inventory_movement").await,
        [1, 1, 0]
    );
    assert_eq!(
        shop.rows("SELECT on_hand_after FROM inventory_movement"),
        ["12"],
        "the newest stays"
    );
    app.advance(10 * DAY - 2 * MS);
    assert_eq!(
        gone(&app, "audit_log", true).await,
        0,
        "one millisecond early"
    );
    app.advance(2 * MS);
    assert!(gone(&app, "audit_log", true).await > 0);
    assert_eq!(
        gone(&app, "inventory_movement", true).await,
        0,
        "the newest stays, however old it is"
    );
    shop.assert_integrity();
}

/// The landlord's file: Stripe's events and its own trail, each by its own setting.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_events_and_the_landlords_trail_by_their_own_settings() {
    let app = TestApp::with(false, |config| {
        config.retention.audit_days = 20;
        config.retention.inventory_movement_days = 10;
        config.retention.stripe_events_days = 5;
    });
    app.tenant("corner");
    app.advance(MS);
    app.tenant("kiosk");
    let events = async |dry_run: bool| {
        let answer = prune(&app, json!({"dry_run": dry_run}))
            .await
            .expect(200)
            .json();
        let of = |name: &str| {
            let rows = rows_of(&answer);
            rows.iter()
                .find(|(table, _)| *table == name)
                .map_or(0, |(_, rows)| *rows)
        };
        (of("landlord/stripe_event"), of("landlord/audit_log"))
    };
    for received_at in [app.now().as_millis() - 1, app.now().as_millis()] {
        app.landlord_raw(&format!(
            "INSERT INTO stripe_event VALUES ('evt_{received_at}', 'invoice.paid', '{{}}', \
             {received_at}, 1)"
        ))
        .expect("inserted");
    }
    let younger = app.now().as_millis();
    app.landlord_raw(
        "INSERT INTO stripe_event VALUES ('evt_waits', 'invoice.paid', '{}', 1, NULL)",
    )
    .expect("inserted");
    app.advance(5 * DAY);
    prune(&app, json!({"audit_only": true})).await.expect(200);
    assert_eq!(
        events(true).await,
        (1, 0),
        "one that is not processed yet stays"
    );
    assert_eq!(events(false).await, (1, 0));
    assert_eq!(
        app.landlord_rows("SELECT received_at FROM stripe_event ORDER BY received_at"),
        ["1".to_owned(), younger.to_string()]
    );
    app.advance(MS);
    assert_eq!(events(false).await, (1, 0));
    app.advance(15 * DAY - MS);
    let (_, entries) = events(true).await;
    assert!(
        entries > 0,
        "the entries of the first tenant, but not yet those of the second"
    );
    app.advance(MS);
    assert!(events(true).await.1 > entries);
}
