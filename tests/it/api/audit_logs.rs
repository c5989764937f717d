//! Tests of `/v1/audit-logs`.

use serde_json::{Value, json};
use tillbox::platform::audit::{self, AuditEntry};
use tillbox::tenancy::Scope;

use crate::support::{TestApp, TestShop};

fn append(shop: &TestShop, action: &'static str) {
    let appended = shop.write(move |work| {
        let entry = AuditEntry {
            at: work.now(),
            actor: "system".to_owned(),
            action: action.to_owned(),
            subject: "test:1".to_owned(),
            request_id: Some("req-1".to_owned()),
            details: json!({"n": 1}),
        };
        audit::append(work, &entry)
    });
    appended.expect("the entry is appended");
}

#[tokio::test]
async fn lists_newest_entries_first_with_chained_hashes() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for action in ["first.done", "second.done", "third.done"] {
        append(&shop, action);
    }
    let first = shop.get("/v1/audit-logs?limit=2").send().await.expect(200);
    let rest = shop.get(&format!(
        "/v1/audit-logs?limit=2&cursor={}",
        first.string("/next_cursor")
    ));
    let (first, rest) = (first.json(), rest.send().await.expect(200).json());
    let (third, second, oldest) = (&first["data"][0], &first["data"][1], &rest["data"][0]);
    assert_eq!(
        (&rest["next_cursor"], rest["data"].as_array().map(Vec::len)),
        (&Value::Null, Some(1))
    );
    assert_eq!(
        *third,
        json!({"seq": 3, "at": "2026-01-15T10:00:00Z", "actor": "system", "action": "third.done",
            "subject": "test:1", "request_id": "req-1",
               "details": {"n": 1}, "prev_hash": second["hash"], "hash": third["hash"]})
    );
    assert_eq!(
        (&second["prev_hash"], &oldest["prev_hash"]),
        (&oldest["hash"], &json!("0".repeat(64)))
    );
    let hashes = shop.rows("SELECT hash FROM audit_log ORDER BY seq DESC");
    assert_eq!(
        [&third["hash"], &second["hash"], &oldest["hash"]]
            .map(|hash| hash.as_str().unwrap_or_default()),
        *hashes
    );
}

#[tokio::test]
async fn requires_admin_scope_and_hides_other_tenants_entries() {
    let app = TestApp::start();
    let (shop, other) = (app.tenant("corner"), app.tenant("other"));
    append(&other, "secret.done");
    assert_eq!(
        shop.get("/v1/audit-logs").send().await.expect(200).json(),
        json!({"data": [], "next_cursor": null})
    );
    let key = shop.key_with(&[Scope::Orders, Scope::Finance]);
    shop.get("/v1/audit-logs")
        .bearer(&key)
        .send()
        .await
        .refused(403, "insufficient_scope");
    for query in ["limit=0", "limit=201", "limit=x", "cursor=7", "cursor=c0"] {
        shop.get(&format!("/v1/audit-logs?{query}"))
            .send()
            .await
            .refused(422, "validation_failed");
    }
}
