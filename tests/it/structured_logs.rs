//! Log lines that programs read: their messages and keys are part of the contract.

use serde_json::{Value, json};
use tillbox::storage::{Rows, Statement};

use crate::support::{TestApp, TestShop, jobs, logs};

/// The keys of every line.
const HEAD: [&str; 4] = ["timestamp", "level", "target", "message"];

/// The only line about a shop with this `message`.
#[track_caller]
fn one(shop: &TestShop, message: &str) -> Value {
    let found = logs().of_tenant(&shop.id.to_string()).saying(message);
    let [line] = found.lines() else {
        panic!("{message} is said {} times", found.lines().len())
    };
    line.clone()
}

/// Asserts that a line has these keys and no others, and these values where one is given.
#[track_caller]
fn has(line: &Value, keys: &[(&str, Option<&str>)]) {
    for (key, value) in keys {
        match value {
            Some(value) => assert_eq!(line[*key], *value, "{key} in {line}"),
            None => assert!(!line[*key].is_null(), "{key} is missing in {line}"),
        }
    }
    let is_known =
        |key: &String| HEAD.contains(&key.as_str()) || keys.iter().any(|(known, _)| known == key);
    let strangers: Vec<&String> = line
        .as_object()
        .expect("an object")
        .keys()
        .filter(|key| !is_known(key))
        .collect();
    assert!(
        strangers.is_empty() && HEAD.iter().all(|key| line[*key].is_string()),
        "{strangers:?} in {line}"
    );
}

#[tokio::test]
async fn writes_promised_messages_with_their_fields() {
    let app = TestApp::with(true, |config| config.queue.default.tries = 1);
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let placed = shop.place(&[(&tea, 1)], "test").await;
    let body = json!({"payment_id": placed.payment});
    let call = shop
        .post("/v1/checkout/confirm-payment")
        .key("c")
        .header("x-request-id", "till-7")
        .json(body);
    let done = call.send().await.expect(200);
    let (financial_order, invoice) = (
        done.string("/financial_order/id"),
        done.string("/invoice/id"),
    );
    let tenant = shop.id.to_string();
    let of_order = [
        ("request_id", Some("till-7")),
        ("tenant_id", Some(&*tenant)),
        ("order_id", Some(&*placed.order)),
    ];
    let of_financial = [
        &of_order[..],
        &[("financial_order_id", Some(&*financial_order))],
    ]
    .concat();
    let of_invoice = [&of_financial[..], &[("invoice_id", Some(&*invoice))]].concat();
    has(&one(&shop, "financial order locked"), &of_financial);
    has(&one(&shop, "financial order marked paid"), &of_financial);
    has(&one(&shop, "invoice issued"), &of_invoice);
    has(
        &one(&shop, "payment succeeded"),
        &[&of_invoice[..], &[("payment_id", Some(&*placed.payment))]].concat(),
    );

    shop.raw(&jobs::insert(
        1,
        "default",
        "orders.confirmation",
        "available",
    ))
    .expect("a job");
    app.work_off();
    let failed = one(&shop, "job failed");
    let of_job = [
        ("tenant_id", Some(&*tenant)),
        ("queue", Some("default")),
        ("job", Some("orders.confirmation")),
        ("job_id", None),
        ("attempt", None),
        ("error", None),
    ];
    has(&failed, &of_job);
    assert_eq!(
        (&failed["level"], &failed["attempt"]),
        (&json!("ERROR"), &json!(3))
    );
    assert_eq!(failed["job_id"], jobs::id(1));
}

#[tokio::test]
async fn logs_double_payment_and_foreign_host_as_security_events() {
    let app = TestApp::start();
    let (shop, other) = (app.tenant("corner"), app.tenant("other"));
    let tea = shop.stocked("TEA", 450, 10).await;
    let placed = shop.place(&[(&tea, 1)], "cash").await;
    shop.confirm("c-1", &placed.payment).await.expect(200);
    shop.confirm("c-2", &placed.payment)
        .await
        .refused(409, "payment_already_processed");
    shop.get("/v1/orders")
        .header("host", "other.shop.test")
        .send()
        .await
        .refused(403, "tenant_mismatch");
    let (tenant, other) = (shop.id.to_string(), other.id.to_string());
    let double = one(&shop, "double payment processing");
    let subject = format!("payment:{}", placed.payment);
    has(
        &double,
        &[
            ("request_id", None),
            ("tenant_id", Some(&tenant)),
            ("actor", None),
            ("subject", Some(&subject)),
        ],
    );
    let mismatch = one(&shop, "tenant mismatch");
    let path = ("path", Some("/v1/orders"));
    has(
        &mismatch,
        &[
            ("request_id", None),
            ("tenant_id", Some(&tenant)),
            ("named_tenant_id", Some(&other)),
            path,
        ],
    );
    assert!(
        [double, mismatch]
            .iter()
            .all(|line| line["target"] == "security" && line["level"] == "WARN")
    );
}

/// The program itself tries to change a final row: a trigger refuses it, and a security event
/// reports it.
#[tokio::test]
async fn logs_change_of_final_row_as_security_event() {
    const FORGE: Statement = Statement::new(
        "test::FORGE",
        "UPDATE ledger_transfer SET amount_minor = 1 WHERE entry_seq = ?1",
    );
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let placed = shop.place(&[(&tea, 1)], "cash").await;
    shop.confirm("c-1", &placed.payment).await.expect(200);
    let forged = shop.write(|work| work.change(&FORGE, [1_i64], Rows::Any));
    assert!(forged.is_err());
    let line = one(&shop, "immutability violation");
    let tenant = shop.id.to_string();
    has(
        &line,
        &[
            ("tenant_id", Some(&tenant)),
            ("actor", None),
            ("statement", Some("test::FORGE")),
            ("error", Some("ledger transfers are never changed")),
        ],
    );
    assert_eq!(line["target"], "security");
    shop.assert_integrity();
}

/// A change made past the program is found by the check.
#[tokio::test]
async fn logs_snapshot_mismatch_as_security_event() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let placed = shop.place(&[(&tea, 1)], "cash").await;
    shop.confirm("c-1", &placed.payment).await.expect(200);
    let check = || {
        app.admin("/v1/admin/integrity")
            .json(json!({"tenant": "corner"}))
            .send()
    };
    assert_eq!(check().await.expect(200).json()["mismatches"], json!([]));
    let security = || logs().of_tenant(&shop.id.to_string()).security();
    assert_eq!(security().lines().len(), 0);
    let triggers =
        shop.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'invoice'");
    let dropped: String = triggers
        .iter()
        .map(|name| format!("DROP TRIGGER {name};"))
        .collect();
    shop.raw(&format!(
        "{dropped} UPDATE invoice SET snapshot = replace(snapshot, 'TEA', 'TEE')"
    ))
    .expect("tampered");
    check().await.expect(200);
    let tenant = shop.id.to_string();
    let of_check = |check| {
        [
            ("tenant_id", Some(&*tenant)),
            ("request_id", None),
            ("check", Some(check)),
            ("found", None),
            ("first", None),
        ]
    };
    let snapshot = one(&shop, "snapshot mismatch");
    has(&snapshot, &of_check("snapshots"));
    assert_eq!(snapshot["found"], 1);
    let others = security().saying("integrity mismatch");
    assert!(
        others.lines().iter().any(|line| line["check"] == "schema"),
        "the triggers are missing: {others:?}"
    );
}
