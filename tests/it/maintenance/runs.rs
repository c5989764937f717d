//! One job of a retention run: how much it does, what it records, and the job that goes on where it
//! ends.

use serde_json::{Value, json};
use tillbox::maintenance;
use tillbox::primitives::Timestamp;
use tillbox::tenant::retention::{self, CutOffs, PruneJob};

use super::prune;
use crate::support::{TestApp, TestShop, blocking};

/// Carts that nobody has touched since 1970.
fn old_carts(shop: &TestShop, number: u32) {
    shop.raw(&format!(
        "WITH RECURSIVE ages (age) AS (SELECT 1 UNION ALL SELECT age + 1 FROM ages WHERE age < \
         {number})
         INSERT INTO cart (id, currency, status, created_at, updated_at)
         SELECT randomblob(16), 'EUR', 'open', age, age FROM ages"
    ))
    .expect("inserted");
}

fn run(shop: &TestShop, now: Timestamp, part: u32, may_go_on: bool) {
    let (db, job) = (
        shop.db(),
        PruneJob {
            cut_offs: CutOffs::at(now, 365, 365),
            part,
        },
    );
    blocking(|| retention::run_job(&db, &job, || may_go_on)).expect("a part of a run");
}

fn next_jobs(shop: &TestShop) -> Vec<String> {
    shop.rows(
        "SELECT queue, payload ->> '$.part' FROM job WHERE kind = 'retention.prune' ORDER BY seq",
    )
}

fn trail(shop: &TestShop, action: &str) -> Vec<Value> {
    let sql = format!(
        "SELECT payload ->> '$.details' FROM job WHERE payload ->> '$.action' = '{action}'"
    );
    shop.rows(&sql)
        .iter()
        .map(|text| serde_json::from_str(text).expect("details"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_a_job_after_500_transactions_and_goes_on_in_another() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    // Two carts go in each transaction.
    old_carts(&shop, 1_003);
    run(&shop, app.now(), 0, true);
    assert_eq!(shop.count("SELECT count(*) FROM cart"), 3);
    assert_eq!(next_jobs(&shop), ["low|1"]);
    let pruned = trail(&shop, "retention.pruned");
    assert_eq!(pruned.len(), 1);
    assert_eq!(
        pruned[0].as_object().expect("tables").len(),
        1,
        "{pruned:?}"
    );
    assert_eq!(pruned[0]["cart"]["rows"], json!(1_000));
    run(&shop, app.now(), 1, true);
    assert_eq!(shop.count("SELECT count(*) FROM cart"), 0);
    assert_eq!(next_jobs(&shop), ["low|1"], "the run is at its end");
    assert_eq!(trail(&shop, "retention.pruned").len(), 2);
}

/// The job that goes on is queued while the one before it is not finished yet.
#[tokio::test(flavor = "multi_thread")]
async fn queues_the_next_part_when_a_job_has_to_end_early() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    old_carts(&shop, 3);
    for part in 0..2 {
        run(&shop, app.now(), part, false);
    }
    assert_eq!(next_jobs(&shop), ["low|1", "low|2"]);
    assert_eq!(shop.count("SELECT count(*) FROM cart"), 3);
    assert!(trail(&shop, "retention.begun").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_nothing_when_nothing_is_old() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let before = shop.census();
    run(&shop, app.now(), 0, true);
    prune(&app, json!({"tenant": "corner"})).await.expect(200);
    assert_eq!(shop.census(), before);
}

/// So many pages of 4096 bytes that nothing uses, and a few more.
fn free(shop: &TestShop, pages: u32) {
    shop.raw(&format!(
        "CREATE TABLE filler (row BLOB);
         WITH RECURSIVE rows (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rows WHERE n < {pages} / \
         2)
         INSERT INTO filler SELECT zeroblob(8000) FROM rows;
         DROP TABLE filler"
    ))
    .expect("freed");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_a_job_when_more_than_512_pages_are_free() {
    let app = TestApp::start();
    let (few, many) = (app.tenant("few"), app.tenant("many"));
    free(&few, 480);
    free(&many, 560);
    let (running, now) = (app.app(), app.now());
    blocking(|| maintenance::retention::begin_retention(&running, now)).expect("queued");
    assert_eq!(
        (next_jobs(&few), next_jobs(&many)),
        (vec![], vec!["low|0".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn visits_no_file_when_the_process_is_stopping() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    old_carts(&shop, 1);
    let (running, now) = (app.app(), app.now());
    running.stores.tasks.stop();
    for task in [
        maintenance::retention::begin_retention,
        maintenance::integrity::check_changed,
    ] {
        blocking(|| task(&running, now)).expect_err("it is put off");
    }
    assert!(next_jobs(&shop).is_empty());
    assert_eq!(
        app.landlord_rows("SELECT count(*) FROM tenant_check"),
        ["0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closes_a_file_that_was_at_rest_and_no_other() {
    let app = TestApp::start();
    let [rested, open] = ["rested", "open"].map(|slug| app.tenant(slug));
    app.restart();
    open.get("/v1/tax-rates").send().await.expect(200);
    let running = app.app();
    assert!(running.stores.registry.peek(rested.id).is_none());
    prune(&app, json!({"dry_run": true})).await.expect(200);
    assert!(
        running.stores.registry.peek(rested.id).is_none(),
        "it is at rest again"
    );
    assert!(running.stores.registry.peek(open.id).is_some());
}
