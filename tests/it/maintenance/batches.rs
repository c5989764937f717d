//! One transaction of retention: at most so many rows, and the oldest of them first.

use serde_json::json;
use tillbox::platform::retention;
use tillbox::primitives::Origin;
use tillbox::tenant::retention::{CutOffs, Table};

use super::{DAY, prune, rows_of};
use crate::support::{TestApp, TestShop, blocking};

/// Runs one batch over one table and returns how many rows went.
fn one_batch(app: &TestApp, shop: &TestShop, table: Table) -> i64 {
    let (db, cut_offs) = (shop.db(), CutOffs::at(app.now(), 365, 365));
    let ran = blocking(|| {
        retention::prune(&db, &Origin::system(), &[table], &cut_offs, Some(1), || {
            true
        })
    });
    ran.expect("a batch").rows()
}

/// Old rows, the youngest of which was written first; each one's number is its age in milliseconds
/// since 1970.
const ROWS: &[(Table, &str, &str)] = &[
    (
        Table::IdempotencyKey,
        "INSERT INTO idempotency_key (key_hash, request_hash, status, body, created_at)
         SELECT randomblob(32), zeroblob(32), 200, x'', age FROM ages",
        "created_at",
    ),
    (
        Table::Reservation,
        "INSERT INTO reservation (id, order_id, product_id, quantity, status, expires_at)
         SELECT randomblob(16), randomblob(16), randomblob(16), 1, 'expired', age FROM ages",
        "expires_at",
    ),
    (
        Table::Cart,
        "INSERT INTO cart (id, currency, status, created_at, updated_at)
         SELECT randomblob(16), 'EUR', iif(age % 2, 'open', 'abandoned'), age, age FROM ages",
        "updated_at",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn deletes_the_oldest_rows_first_and_a_bounded_number() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for (table, insert, age) in ROWS {
        let batch = if *table == Table::Cart { 2 } else { 200 };
        let ages = format!(
            "WITH RECURSIVE ages (age) AS (SELECT {} UNION ALL SELECT age - 1 FROM ages WHERE age \
             > 1)",
            batch + 3
        );
        // The references of these rows do not matter here.
        let insert = insert.replacen("SELECT", &format!("{ages} SELECT"), 1);
        shop.raw(&format!("PRAGMA foreign_keys = OFF; {insert}"))
            .expect("inserted");
        assert_eq!(one_batch(&app, &shop, *table), batch, "{table}");
        assert_eq!(
            shop.count(&format!("SELECT min({age}) FROM {table}")),
            batch + 1,
            "{table}: the oldest went"
        );
        assert_eq!(one_batch(&app, &shop, *table), batch.min(3), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_200_movements_and_keeps_the_newest() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 1).await;
    shop.raw(
        "WITH RECURSIVE more (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM more WHERE n < 204)
         INSERT INTO inventory_movement (id, product_id, kind, quantity_delta, on_hand_after, at)
         SELECT randomblob(16), product_id, 'adjustment', 1, n, at FROM more JOIN \
         inventory_movement ON seq = 1;
         UPDATE stock SET on_hand = 204",
    )
    .expect("inserted");
    shop.assert_integrity();
    app.advance(400 * DAY);
    assert_eq!(one_batch(&app, &shop, Table::InventoryMovement), 200);
    shop.assert_integrity();
    assert_eq!(one_batch(&app, &shop, Table::InventoryMovement), 3);
    assert_eq!(
        one_batch(&app, &shop, Table::InventoryMovement),
        0,
        "the newest stays"
    );
    assert_eq!(
        shop.rows("SELECT on_hand_after FROM inventory_movement"),
        ["204"]
    );
    assert_eq!(shop.stock(&tea).await, [204, 0, 204]);
    shop.assert_integrity();
}

/// However many transactions a run takes, the trail says once what it goes on to delete.
#[tokio::test(flavor = "multi_thread")]
async fn records_the_beginning_of_a_run_once() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.raw(
        "WITH RECURSIVE ages (age) AS (SELECT 1 UNION ALL SELECT age + 1 FROM ages WHERE age < 5)
         INSERT INTO cart (id, currency, status, created_at, updated_at)
         SELECT randomblob(16), 'EUR', 'open', age, age FROM ages",
    )
    .expect("inserted");
    let (db, cut_offs) = (shop.db(), CutOffs::at(app.now(), 365, 365));
    let ran =
        blocking(|| retention::prune(&db, &Origin::system(), Table::ALL, &cut_offs, None, || true))
            .expect("a run");
    assert_eq!((ran.rows(), ran.is_done), (5, true));
    assert_eq!(
        shop.rows(
            "SELECT payload ->> '$.details.cart.rows' FROM job WHERE payload ->> '$.action' = \
             'retention.begun'"
        ),
        ["5"]
    );
}

fn free_pages(shop: &TestShop) -> u32 {
    let db = shop.db();
    blocking(|| db.read(|view| view.free_pages()).wait()).expect("read")
}

#[tokio::test(flavor = "multi_thread")]
async fn gives_64_pages_back_at_a_time_and_keeps_256() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.raw(
        "CREATE TABLE filler (row BLOB);
         WITH RECURSIVE rows (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rows WHERE n < 300)
         INSERT INTO filler SELECT zeroblob(8000) FROM rows;
         DROP TABLE filler",
    )
    .expect("freed");
    let before = free_pages(&shop);
    assert!(before > 400, "{before}");
    let db = shop.db();
    let give_back = |may_go_on: &(dyn Fn() -> bool + Sync)| {
        blocking(|| retention::give_back_space(&db, &Origin::system(), may_go_on))
            .expect("given back")
    };
    assert!(give_back(&|| false), "there is more to give back");
    assert_eq!(free_pages(&shop), before);
    let is_first = std::sync::atomic::AtomicBool::new(true);
    assert!(give_back(
        &|| is_first.swap(false, std::sync::atomic::Ordering::SeqCst)
    ));
    assert_eq!(free_pages(&shop), before - 64);
    assert!(!give_back(&|| true), "all is given back");
    assert_eq!(free_pages(&shop), 256);
}

/// The landlord's file has the same bounds: several transactions, recorded once at the beginning
/// and once at the end.
#[tokio::test(flavor = "multi_thread")]
async fn deletes_more_events_than_fit_in_one_transaction() {
    let app = TestApp::start();
    app.landlord_raw(
        "WITH RECURSIVE ages (age) AS (SELECT 1 UNION ALL SELECT age + 1 FROM ages WHERE age < 450)
         INSERT INTO stripe_event SELECT 'evt_' || age, 'invoice.paid', '{}', age, 1 FROM ages",
    )
    .expect("inserted");
    let trail = || {
        app.landlord_rows(
            "SELECT action FROM audit_log WHERE action LIKE 'retention.%' ORDER BY seq",
        )
    };
    for events in [450, 0] {
        let went = rows_of(&prune(&app, json!({})).await.expect(200).json());
        let rows = went
            .iter()
            .find(|(table, _)| table == "landlord/stripe_event");
        assert_eq!(rows.map_or(0, |(_, rows)| *rows), events, "{went:?}");
        assert_eq!(trail(), ["retention.begun", "retention.pruned"]);
    }
    let tables = "SELECT json_each.key FROM audit_log, json_each(details)
                  WHERE action LIKE 'retention.%'";
    assert_eq!(
        app.landlord_rows(tables),
        ["stripe_event"; 2],
        "only what went"
    );
    assert_eq!(
        app.landlord_rows("SELECT count(*) FROM stripe_event"),
        ["0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gives_pages_of_the_landlords_file_back_and_keeps_256() {
    let app = TestApp::start();
    app.landlord_raw(
        "CREATE TABLE filler (row BLOB);
         WITH RECURSIVE rows (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rows WHERE n < 300)
         INSERT INTO filler SELECT zeroblob(8000) FROM rows;
         DROP TABLE filler",
    )
    .expect("freed");
    prune(&app, json!({})).await.expect(200);
    assert_eq!(app.landlord_rows("PRAGMA freelist_count"), ["256"]);
}
