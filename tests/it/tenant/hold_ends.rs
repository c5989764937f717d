//! The instant at which a hold ends, how many end at once, and what a payment that comes after it
//! finds.

use serde_json::json;
use tillbox::tenant::inventory;

use crate::support::{TestApp, TestShop};

/// Sets the end of each hold relative to the clock, in milliseconds.
fn ends(app: &TestApp, shop: &TestShop, after_ms: i64) {
    let at = app.now().as_millis() + after_ms;
    shop.raw(&format!("UPDATE reservation SET expires_at = {at}"))
        .expect("changed");
}

fn is_overdue(shop: &TestShop) -> bool {
    shop.write(|work| inventory::has_overdue(work, work.now()))
        .expect("read")
}

fn end_due(shop: &TestShop) -> usize {
    shop.write(inventory::expire_reservations).expect("written")
}

const HALF_AN_HOUR_MS: i64 = 30 * 60 * 1000;

#[tokio::test]
async fn ends_a_hold_at_its_instant_and_when_it_is_more_than_half_an_hour_ahead() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    assert!(!is_overdue(&shop), "nothing is held");
    for (after_ms, is_over) in [
        (1, false),
        (0, true),
        (HALF_AN_HOUR_MS, false),
        (HALF_AN_HOUR_MS + 1, true),
    ] {
        shop.place(&[(&tea, 2)], "cash").await;
        ends(&app, &shop, after_ms);
        assert_eq!(is_overdue(&shop), is_over, "{after_ms}");
        assert_eq!(end_due(&shop), usize::from(is_over), "{after_ms}");
        let reserved = if is_over { 0 } else { 2 };
        assert_eq!(
            shop.stock(&tea).await,
            [10, reserved, 10 - reserved],
            "{after_ms}"
        );
        ends(&app, &shop, -1);
        end_due(&shop);
    }
}

#[tokio::test]
async fn ends_200_holds_in_one_transaction() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 300).await;
    shop.place(&[(&tea, 1)], "cash").await;
    shop.raw(
        "PRAGMA foreign_keys = OFF;
         WITH RECURSIVE more (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM more WHERE n < 203)
         INSERT INTO reservation (id, order_id, product_id, quantity, status, expires_at)
         SELECT randomblob(16), randomblob(16), product_id, 1, 'held', expires_at FROM more JOIN \
         reservation ON seq = 1;
         UPDATE stock SET reserved = 203",
    )
    .expect("inserted");
    ends(&app, &shop, 0);
    assert_eq!(
        [end_due(&shop), end_due(&shop), end_due(&shop)],
        [200, 3, 0]
    );
    assert_eq!(shop.stock(&tea).await, [300, 0, 300]);
}

#[tokio::test]
async fn queues_no_job_when_an_order_holds_nothing() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    shop.place(&[(&tea, 2)], "cash").await;
    let jobs = "SELECT count(*) FROM job WHERE kind = 'inventory.expire_reservation'";
    assert_eq!(shop.count(jobs), 0);
    let mug = shop.stocked("MUG", 450, 10).await;
    shop.place(&[(&mug, 2)], "cash").await;
    assert_eq!(shop.count(jobs), 1);
}

#[tokio::test]
async fn frees_stock_once_when_an_order_is_cancelled_after_its_hold() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let late = shop.place(&[(&tea, 2)], "cash").await;
    ends(&app, &shop, 0);
    end_due(&shop);
    shop.place(&[(&tea, 3)], "cash").await;
    shop.move_order(&late.order, "cancel").await.expect(200);
    assert_eq!(shop.stock(&tea).await, [10, 3, 7]);
    assert_eq!(
        shop.rows("SELECT status FROM reservation ORDER BY seq"),
        ["expired", "held"]
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn names_the_first_line_when_a_late_payment_finds_too_little_of_two() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 5).await;
    let mug = shop.stocked("MUG", 450, 5).await;
    let late = shop.place(&[(&mug, 5), (&tea, 5)], "cash").await;
    ends(&app, &shop, 0);
    end_due(&shop);
    let payments = json!([{"method": "cash", "amount_minor": 900}]);
    let lines = [&tea, &mug].map(|id| json!({"product_id": id, "quantity": 1}));
    shop.sale("one", json!({"lines": lines, "payments": payments}))
        .await
        .expect(201);
    let refused = shop
        .confirm("late", &late.payment)
        .await
        .refused(409, "out_of_stock");
    assert_eq!(
        (&refused["sku"], &refused["available"]),
        (&json!("MUG"), &json!(4))
    );
}

#[tokio::test]
async fn lists_each_movement_once_over_all_pages() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 1).await;
    for on_hand in [2, 3] {
        let path = format!("/v1/inventory/stock/{tea}");
        shop.patch(&path)
            .json(json!({"on_hand": on_hand}))
            .send()
            .await
            .expect(200);
    }
    for filter in [String::new(), format!("&product_id={tea}")] {
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        for _ in 0..4 {
            let path = format!("/v1/inventory/movements?limit=1{filter}{cursor}");
            let page = shop.get(&path).send().await.expect(200).json();
            listed.extend(page["data"][0]["on_hand_after"].as_i64());
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(listed, [3, 2, 1], "{filter}");
    }
}
