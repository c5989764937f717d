//! Retention: the rows that are pruned and kept, and proofs that hold after pruning.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tillbox::maintenance::scheduler::{TASKS, run_due};
use tillbox::platform::audit::{self, AuditEntry};
use tillbox::primitives::limits::{FREE_PAGES_KEPT, PRUNE_BATCH, VACUUM_PAGES, VACUUM_STEPS};
use tillbox::primitives::{Note, Origin, QuantityDelta, Timestamp};
use tillbox::tenant::inventory::{self, AdjustStock};
use tillbox::tenant::retention::{self, CutOffs, PruneJob, Table};

use super::{DAY, prune, rows_of};
use crate::support::{TestApp, TestShop, blocking, logs};

/// The books and the rows that they refer to.
const KEPT: &[&str] = &[
    "sales_order",
    "order_line",
    "payment",
    "financial_order",
    "financial_transaction",
    "invoice",
    "ledger_entry",
    "ledger_transfer",
    "product",
    "stock",
];

fn kept(shop: &TestShop) -> Vec<String> {
    let table = |table: &&str| shop.rows(&format!("SELECT '{table}', * FROM {table}"));
    KEPT.iter().flat_map(table).collect()
}

/// Makes `movements` stock movements of a product, with their audit entries.
fn busy(shop: &TestShop, product: &str, movements: usize) {
    let product_id = product.parse().expect("an id");
    let adjust = move |work: &mut tillbox::storage::TenantWork<'_>| {
        for number in 0..movements {
            let command = AdjustStock {
                product_id,
                quantity_delta: QuantityDelta::new(if number % 3 == 2 { -1 } else { 1 })
                    .expect("a difference"),
                reason: Note::parse("counted").expect("a note"),
            };
            inventory::adjust_stock(work, &command).expect("it fits");
            let entry = AuditEntry {
                at: work.now(),
                actor: "system".to_owned(),
                action: "test.done".to_owned(),
                subject: format!("test:{number}"),
                request_id: None,
                details: json!({}),
            };
            audit::append(work, &entry)?;
        }
        Ok(())
    };
    shop.write(adjust).expect("written");
}

/// Sales, an unpaid checkout and an abandoned cart of more than a year ago, and a sale of today.
async fn aged(app: &TestApp) -> (TestShop, String) {
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 100).await;
    let mug = shop.stocked("MUG", 1_000, 3).await;
    shop.sell(&[(&tea, 2), (&mug, 1)]).await;
    // Each sale of today deletes a few expired answers by itself.
    for _ in 0..3 {
        shop.sell(&[(&tea, 1)]).await;
    }
    shop.place(&[(&tea, 1)], "cash").await;
    shop.cart(&[(&mug, 1)]).await;
    let anonymous = app
        .call(http::Method::POST, "/v1/carts")
        .header("x-tillbox-tenant", shop.slug.as_str());
    anonymous.key("k").send().await.expect(201);
    app.work_off();
    app.advance(Duration::from_secs(3600));
    app.work_off();
    app.advance(400 * DAY);
    shop.sell(&[(&tea, 3)]).await;
    app.work_off();
    (shop, tea)
}

fn assert_rows_are_gone(shop: &TestShop, before: &BTreeMap<String, i64>, went: &[(String, i64)]) {
    for table in Table::ALL {
        let name = format!("corner/{table}");
        assert!(
            went.iter().any(|(went, _)| *went == name),
            "{name}: {went:?}"
        );
        let (_, rows) = went
            .iter()
            .find(|(went, _)| *went == name)
            .expect("it is there");
        let left = shop.count(&format!("SELECT count(*) FROM {table}"));
        assert_eq!(left, before[table.as_str()] - rows, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prunes_what_has_expired_and_keeps_the_books() {
    let app = TestApp::start();
    let (shop, tea) = aged(&app).await;
    shop.assert_integrity();
    let (before, books, stock) = (shop.census(), kept(&shop), shop.stock(&tea).await);

    let dry = prune(&app, json!({"dry_run": true}))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (shop.census(), kept(&shop)),
        (before.clone(), books.clone()),
        "a dry run deletes nothing"
    );
    let real = prune(&app, json!({})).await.expect(200).json();
    assert_eq!(
        real["pruned"], dry["pruned"],
        "the dry run counted what was pruned"
    );
    assert_eq!(
        (&dry["dry_run"], &real["dry_run"], &real["next_cursor"]),
        (&json!(true), &json!(false), &Value::Null)
    );
    let went = rows_of(&real);
    assert_rows_are_gone(&shop, &before, &went);
    let cut_off = Timestamp::parse("2026-01-15T10:00:00Z")
        .expect("an instant")
        .plus(Duration::from_secs(3600))
        .plus(35 * DAY);
    assert_eq!(real["pruned"][2]["cut_off"], json!(cut_off), "{real}");

    assert_eq!(
        kept(&shop),
        books,
        "no book and no row that a book refers to was pruned"
    );
    assert_eq!(shop.stock(&tea).await, stock);
    let report = shop.integrity();
    assert!(report.passes(), "{report:?}");
    assert_eq!(report.notes.len(), 1);
    assert!(
        report.notes[0].starts_with("audit trail verified from entry ")
            && report.notes[0].ends_with(", pruned before")
    );
    app.work_off();
    let trail = shop.rows("SELECT action, actor FROM audit_log ORDER BY seq DESC LIMIT 1");
    assert_eq!(
        trail,
        ["retention.pruned|operator"],
        "the run has its entry"
    );

    let again = prune(&app, json!({"tenant": "corner"}))
        .await
        .expect(200)
        .json();
    assert_eq!(rows_of(&again), [], "there is nothing left to prune");
    // The next process to open the file finds its chains intact, and business goes on.
    app.restart();
    shop.sell(&[(&tea, 1)]).await;
    app.work_off();
    shop.assert_integrity();
}

#[tokio::test(flavor = "multi_thread")]
async fn prunes_only_audit_trails_when_asked() {
    let app = TestApp::start();
    let (shop, _) = aged(&app).await;
    let before = shop.census();
    let went = rows_of(
        &prune(&app, json!({"audit_only": true, "tenant": "corner"}))
            .await
            .expect(200)
            .json(),
    );
    assert_eq!(went.len(), 1, "{went:?}");
    assert_eq!(went[0].0, "corner/audit_log");
    for table in [
        "inventory_movement",
        "idempotency_key",
        "cart",
        "reservation",
    ] {
        assert_eq!(
            shop.count(&format!("SELECT count(*) FROM {table}")),
            before[table],
            "{table}"
        );
    }
    shop.assert_integrity();
    prune(&app, json!({"tenant": "nobody"}))
        .await
        .refused(404, "tenant_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn prunes_landlord_file() {
    let app = TestApp::start();
    app.tenant("corner");
    let event = |id: &str, at: &str, done: &str| {
        let sql = format!(
            "INSERT INTO stripe_event VALUES ('{id}', 'invoice.paid', '{{}}', unixepoch('{at}') * \
             1000, {done})"
        );
        app.landlord_raw(&sql).expect("inserted");
    };
    event("evt_old", "2026-01-20", "1");
    event("evt_waits", "2026-01-20", "NULL");
    app.advance(400 * DAY);
    event("evt_new", "2027-02-01", "1");
    app.tenant("kiosk");
    let count = || {
        let rows = app.landlord_rows("SELECT count(*) FROM audit_log");
        rows[0].parse::<i64>().expect("a number")
    };
    let entries = count();
    let went = rows_of(&prune(&app, json!({})).await.expect(200).json());
    let of = |name: &str| {
        went.iter()
            .find(|(table, _)| table == name)
            .map_or(0, |(_, rows)| *rows)
    };
    assert_eq!(of("landlord/stripe_event"), 1, "{went:?}");
    assert_eq!(
        app.landlord_rows("SELECT id FROM stripe_event ORDER BY id"),
        ["evt_new", "evt_waits"],
        "an unprocessed event stays"
    );
    assert!(of("landlord/audit_log") > 0, "{went:?}");
    // The run itself writes one entry at its beginning and one at its end.
    assert_eq!(count(), entries - of("landlord/audit_log") + 2);
    let check = app
        .admin("/v1/admin/integrity")
        .json(json!({}))
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(check["mismatches"], json!([]));
    assert!(
        check["notes"][0]
            .as_str()
            .is_some_and(|note| note.contains("pruned before")),
        "{check}"
    );

    app.landlord_raw(
        "DROP TRIGGER audit_log_no_update; UPDATE audit_log SET actor = 'nobody' WHERE seq = \
         (SELECT max(seq) FROM audit_log)",
    )
    .expect("tampered");
    let check = app
        .admin("/v1/admin/integrity")
        .json(json!({}))
        .send()
        .await
        .expect(200)
        .json();
    let checks: Vec<_> = check["mismatches"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|found| found["check"].clone())
        .collect();
    assert_eq!(checks, [json!("schema"), json!("audit chain")]);
}

/// The operator's confirmation of the clock is itself an audit entry. It must not make more of the
/// trail old than was counted.
#[tokio::test(flavor = "multi_thread")]
async fn prunes_what_dry_run_counted_when_operator_confirms_clock() {
    let app = TestApp::start();
    for slug in ["corner", "kiosk"] {
        app.tenant(slug);
    }
    app.work_off();
    // The clock is trusted once, so that there is a reference for the suspicion.
    prune(&app, json!({})).await.expect(200);
    app.stop();
    app.advance(400 * DAY);
    app.resume();
    prune(&app, json!({})).await.refused(409, "clock_suspect");
    let counted = rows_of(
        &prune(&app, json!({"dry_run": true}))
            .await
            .expect(200)
            .json(),
    );
    assert!(
        counted
            .iter()
            .any(|(table, _)| table == "landlord/audit_log"),
        "{counted:?}"
    );
    let went = rows_of(
        &prune(&app, json!({"clock_is_right": true}))
            .await
            .expect(200)
            .json(),
    );
    assert_eq!(went, counted);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_reason_when_tenant_fails_and_prunes_the_others() {
    let app = TestApp::start();
    let [broken, whole] = ["broken", "whole"].map(|slug| app.tenant(slug));
    for shop in [&broken, &whole] {
        let sql = "INSERT INTO idempotency_key (key_hash, request_hash, status, body, created_at) \
            VALUES (randomblob(32), zeroblob(32), 200, x'', 0)";
        shop.raw(sql).expect("inserted");
    }
    broken
        .raw(
            "CREATE TRIGGER broken BEFORE DELETE ON idempotency_key BEGIN SELECT RAISE(ABORT, \
            'broken off'); END",
        )
        .expect("made");
    let alone = prune(&app, json!({"tenant": "broken"}))
        .await
        .expect(500)
        .json();
    let answer = prune(&app, json!({})).await.expect(200).json();
    assert_eq!(rows_of(&answer), [("whole/idempotency_key".to_owned(), 1)]);
    let failed = answer["failed"].as_array().expect("a list");
    assert_eq!(failed.len(), 1, "{answer}");
    assert_eq!(
        (&failed[0]["tenant"], &failed[0]["code"]),
        (&json!("broken"), &alone["code"])
    );
    let lines = logs()
        .of_tenant(&broken.id.to_string())
        .saying("tenant skipped");
    assert_eq!(lines.lines().len(), 1);
    assert!(
        lines.contain("broken off"),
        "with its cause: {:?}",
        lines.lines()
    );
}

/// A run over the landlord's file that ends between two batches has recorded what it pruned.
#[tokio::test(flavor = "multi_thread")]
async fn records_interrupted_landlord_run_in_audit_trail() {
    let app = TestApp::start();
    app.tenant("corner");
    let sql = "INSERT INTO stripe_event VALUES ('evt', 'invoice.paid', '{}', \
        unixepoch('2026-01-20') * 1000, 1);
               CREATE TRIGGER broken BEFORE DELETE ON stripe_event BEGIN SELECT RAISE(ABORT, \
               'broken off'); END";
    app.landlord_raw(sql).expect("inserted");
    app.advance(400 * DAY);
    app.tenant("kiosk");
    let count = "SELECT count(*) FROM audit_log";
    let before = app.landlord_rows(count);
    prune(&app, json!({})).await.expect(500);
    assert_ne!(app.landlord_rows(count), before, "some entries were pruned");
    let trail =
        app.landlord_rows("SELECT action, subject FROM audit_log ORDER BY seq DESC LIMIT 1");
    assert_eq!(trail, ["retention.begun|landlord:retention"]);
    let details = app
        .landlord_rows("SELECT details FROM audit_log ORDER BY seq DESC LIMIT 1")
        .remove(0);
    let details: Value = serde_json::from_str(&details).expect("JSON");
    assert_eq!(
        details["stripe_event"]["rows"], 1,
        "what it goes on to is in it as well: {details}"
    );
    assert!(
        details["audit_log"]["rows"]
            .as_i64()
            .is_some_and(|rows| rows > 0),
        "{details}"
    );
    app.landlord_raw("DROP TRIGGER broken").expect("repaired");
    prune(&app, json!({})).await.expect(200);
    let trail = app.landlord_rows("SELECT action FROM audit_log ORDER BY seq DESC LIMIT 2");
    assert_eq!(trail, ["retention.pruned", "retention.begun"]);
}

/// Without the triggers the proofs find each change.
fn assert_forgeries_are_found(app: &TestApp, shop: &TestShop) {
    app.stop();
    let sound = std::fs::read(shop.path()).expect("the file");
    for (sql, check) in [
        ("UPDATE audit_anchor SET hash = zeroblob(32)", "audit chain"),
        ("DELETE FROM audit_anchor", "audit chain"),
        ("DELETE FROM audit_log", "audit chain"),
        ("UPDATE inventory_anchor SET balance = balance + 1", "stock"),
        ("DELETE FROM inventory_anchor", "stock"),
    ] {
        let triggers = shop
            .rows("SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_schema WHERE type = 'trigger'")
            .concat();
        shop.raw(&format!("{triggers} {sql}")).expect(sql);
        app.landlord_raw("DELETE FROM tenant_checkpoint")
            .expect("forgotten");
        app.resume();
        let report = shop.integrity();
        assert!(
            report.mismatches.iter().any(|found| found.check == check),
            "{sql}: {report:?}"
        );
        app.stop();
        std::fs::write(shop.path(), &sound).expect("the file");
    }
    app.resume();
    shop.assert_integrity();
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_valid_anchor_after_pruning() {
    let app = TestApp::start();
    let (shop, _) = aged(&app).await;
    let anchor = "INSERT INTO audit_anchor VALUES";
    let newest = shop.count("SELECT max(seq) FROM audit_log");
    for (sql, says) in [
        (
            "DELETE FROM audit_log WHERE seq = 1".to_owned(),
            "never deleted",
        ),
        (
            "DELETE FROM inventory_movement WHERE seq = 1".to_owned(),
            "never deleted",
        ),
        (
            "UPDATE inventory_movement SET quantity_delta = 1".to_owned(),
            "never changed",
        ),
        (
            format!("{anchor} (1, zeroblob(32), 0)"),
            "an audit anchor must",
        ),
        (
            format!("{anchor} ({newest}, (SELECT hash FROM audit_log WHERE seq = {newest}), 0)"),
            "an audit anchor must",
        ),
        (
            "INSERT INTO inventory_anchor SELECT product_id, seq, on_hand_after + 1, 0 FROM \
             inventory_movement WHERE seq = 1"
                .to_owned(),
            "an inventory anchor must",
        ),
    ] {
        let error = shop.raw(&sql).expect_err(&sql).to_string();
        assert!(error.contains(says), "{sql}: {error}");
    }
    prune(&app, json!({})).await.expect(200);
    for (sql, says) in [
        ("UPDATE audit_anchor SET seq = seq + 1", "never changed"),
        ("DELETE FROM audit_anchor", "never deleted"),
        ("UPDATE inventory_anchor SET balance = 0", "never changed"),
        ("DELETE FROM inventory_anchor", "never deleted"),
        ("DELETE FROM audit_log", "never deleted"),
        ("DELETE FROM inventory_movement", "never deleted"),
    ] {
        let error = shop.raw(sql).expect_err(sql).to_string();
        assert!(error.contains(says), "{sql}: {error}");
    }
    shop.assert_integrity();
    assert_forgeries_are_found(&app, &shop);
}

/// A job ends before its queue's time-out, and another one continues. None of them fails.
#[tokio::test(flavor = "multi_thread")]
async fn leaves_rest_to_next_job_when_time_is_up() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 100).await;
    busy(&shop, &tea, 3 * PRUNE_BATCH as usize);
    app.work_off();
    app.advance(400 * DAY);
    busy(&shop, &tea, 5);
    let job = PruneJob {
        cut_offs: CutOffs::at(app.now(), 365, 365),
        part: 0,
    };
    let movements = || shop.count("SELECT count(*) FROM inventory_movement");
    let (before, batches) = (movements(), AtomicI64::new(0));
    let db = shop.db();
    // Time for two batches.
    let may_go_on = || batches.fetch_add(1, Ordering::SeqCst) < 2;
    blocking(|| retention::run_job(&db, &job, may_go_on)).expect("a part");
    drop(db);
    let went = || shop.count("SELECT count(*) FROM audit_log") + movements();
    assert!(
        movements() >= before - 2 * i64::from(PRUNE_BATCH),
        "no more than two batches"
    );
    assert_eq!(
        shop.rows("SELECT state || attempt FROM job WHERE kind = 'retention.prune'"),
        ["available0"],
        "the next part waits"
    );
    let left = went();
    app.work_off();
    assert!(went() < left, "it went on: {left}, {}", went());
    let cut_offs = job.cut_offs;
    let due = shop
        .write(move |work| tillbox::platform::retention::count(work, Table::ALL, &cut_offs))
        .expect("counted");
    assert!(due.iter().all(|pruned| pruned.rows == 0), "{due:?}");
    let failed = shop.count(
        "SELECT count(*) FROM job WHERE kind = 'retention.prune' AND (state <> \
        'completed' OR attempt <> 1)",
    );
    assert_eq!(failed, 0);
    shop.assert_integrity();
}

#[tokio::test(flavor = "multi_thread")]
async fn resumes_run_interrupted_anywhere() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 100).await;
    let movements = 3 * PRUNE_BATCH as usize;
    busy(&shop, &tea, movements);
    app.work_off();
    app.advance(400 * DAY);
    busy(&shop, &tea, 5);
    let cut_offs = CutOffs::at(app.now(), 365, 365);
    let due = shop
        .write(move |work| tillbox::platform::retention::count(work, Table::ALL, &cut_offs))
        .expect("counted");
    let (mut went, mut parts, mut begun) = (0, 0, 0);
    loop {
        let db = shop.db();
        let ran = blocking(|| {
            tillbox::platform::retention::prune(
                &db,
                &Origin::system(),
                Table::ALL,
                &cut_offs,
                Some(1),
                || true,
            )
        })
        .expect("a part");
        drop(db);
        assert!(ran.rows() <= i64::from(PRUNE_BATCH), "{ran:?}");
        (went, parts) = (went + ran.rows(), parts + 1);
        // No end was recorded, but the start was recorded together with the rows.
        begun += usize::from(ran.rows() > 0);
        assert_eq!(
            shop.count(
                "SELECT count(*) FROM job WHERE kind = 'audit.append' AND payload LIKE \
                '%retention.begun%'"
            ),
            i64::try_from(begun).expect("few")
        );
        // At no point is anything missing or duplicated.
        shop.assert_integrity();
        app.restart();
        if ran.is_done {
            break;
        }
    }
    assert_eq!(went, due.iter().map(|pruned| pruned.rows).sum::<i64>());
    assert!(parts > 6, "{parts}");
    app.work_off();
    let first = shop
        .rows("SELECT details FROM audit_log WHERE action = 'retention.begun' ORDER BY seq LIMIT 1")
        .remove(0);
    let first: Value = serde_json::from_str(&first).expect("JSON");
    for pruned in due.iter().filter(|pruned| pruned.rows > 0) {
        let table = pruned.table.as_str();
        assert_eq!(
            first[table],
            json!({"rows": pruned.rows, "cut_off": pruned.cut_off}),
            "{table}: {first}"
        );
    }
    assert_eq!(shop.count("SELECT count(*) FROM inventory_movement"), 5);
    let anchors = ["inventory_anchor", "audit_anchor"]
        .map(|table| shop.count(&format!("SELECT count(*) FROM {table}")));
    assert_eq!(
        anchors,
        [1, 1],
        "one for each product, and one for each run"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn prunes_each_row_once_when_two_runs_race_with_sales() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10_000).await;
    busy(&shop, &tea, 4 * PRUNE_BATCH as usize);
    app.work_off();
    app.advance(400 * DAY);
    shop.sell(&[(&tea, 1)]).await;
    app.work_off();
    let due: i64 = rows_of(
        &prune(&app, json!({"dry_run": true, "tenant": "corner"}))
            .await
            .json(),
    )
    .iter()
    .map(|(_, rows)| rows)
    .sum();
    let sales = async {
        for number in 0..20 {
            let body = json!({"lines": [{"product_id": tea, "quantity": 1}],
                "payments": [{"method": "cash", "amount_minor": 450}]});
            shop.sale(&format!("sale {number}"), body).await.expect(201);
        }
    };
    let (one, two, ()) = tokio::join!(
        prune(&app, json!({"tenant": "corner"})),
        prune(&app, json!({"tenant": "corner"})),
        sales
    );
    let went: i64 = [one, two]
        .map(|answer| rows_of(&answer.expect(200).json()))
        .iter()
        .flatten()
        .map(|(_, rows)| rows)
        .sum();
    assert_eq!(went, due);
    shop.assert_integrity();
    app.work_off();
    shop.assert_integrity();
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_space_and_keeps_file_usable() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10_000).await;
    let sql = "WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
               INSERT INTO idempotency_key (key_hash, request_hash, status, body, created_at)
               SELECT randomblob(32), zeroblob(32), 200, randomblob(3000), 0 FROM n";
    shop.raw(sql).expect("answers of long ago");
    shop.sell(&[(&tea, 1)]).await;
    let checkpoint = || {
        shop.raw("PRAGMA wal_checkpoint(TRUNCATE)")
            .expect("checkpointed")
    };
    let size = || std::fs::metadata(shop.path()).expect("the file").len();
    checkpoint();
    let before = size();
    assert!(before > 9_000_000, "{before}");
    shop.sell(&[(&tea, 1)]).await;
    prune(&app, json!({})).await.expect(200);
    checkpoint();
    assert!(size() < before / 3, "{} of {before}", size());
    // The writer knows that it truncated the file itself.
    shop.sell(&[(&tea, 1)]).await;
    assert!(shop.db().is_healthy());
    shop.assert_integrity();
    // It still detects truncation by another program.
    app.restart();
    shop.assert_integrity();
}

/// A bounded amount at a time. The rest follows later.
#[tokio::test(flavor = "multi_thread")]
async fn returns_space_in_bounded_steps() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let running = app.app();
    blocking(|| run_due(&running, TASKS));
    drop(running);
    let share = u64::from(VACUUM_STEPS * VACUUM_PAGES) * 4096;
    let rows = share * 5 / 2 / 4096;
    let sql = format!(
        "WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
         INSERT INTO idempotency_key (key_hash, request_hash, status, body, created_at) SELECT \
         randomblob(32), zeroblob(32), 200, zeroblob(3500), 0 FROM n"
    );
    shop.raw(&sql).expect("answers of long ago");
    shop.product("TEA", 450).await;
    app.work_off();
    let size = || {
        shop.raw("PRAGMA wal_checkpoint(TRUNCATE)")
            .expect("checkpointed");
        std::fs::metadata(shop.path()).expect("the file").len()
    };
    let before = size();
    prune(&app, json!({"tenant": "corner"})).await.expect(200);
    let by_hand = size();
    let given = before - by_hand;
    // The pages that map the freed ones, one in eight hundred, are freed as well.
    assert!(
        (share / 2..=share + share / 800).contains(&given),
        "{before}, then {by_hand}"
    );
    app.advance(DAY);
    let running = app.app();
    blocking(|| run_due(&running, TASKS));
    drop(running);
    app.work_off();
    let after = size();
    assert!(
        by_hand - after > share,
        "the night goes on with it, job by job: {before}, {by_hand}, {after}"
    );
    let kept = u64::from(FREE_PAGES_KEPT + VACUUM_PAGES) * 4096;
    assert!(after < share / 2 + kept, "{after}");
    assert!(
        shop.count(
            "SELECT count(*) FROM job WHERE kind = 'retention.prune' AND state = 'completed'"
        ) > 1
    );
    shop.assert_integrity();
}

#[tokio::test(flavor = "multi_thread")]
async fn accepts_checkpoint_from_before_pruning() {
    let app = TestApp::start();
    let (shop, tea) = aged(&app).await;
    app.stop();
    let mark = shop.rows("SELECT seq, lower(hex(hash)) FROM audit_log ORDER BY seq LIMIT 1");
    let (seq, hash) = mark[0].split_once('|').expect("two columns");
    app.resume();
    prune(&app, json!({})).await.expect(200);
    app.stop();
    app.landlord_raw(&format!(
        "UPDATE tenant_checkpoint SET audit_seq = {seq}, audit_hash = x'{hash}'"
    ))
    .expect("set back");
    app.resume();
    shop.sell(&[(&tea, 1)]).await;
    shop.assert_integrity();
}
