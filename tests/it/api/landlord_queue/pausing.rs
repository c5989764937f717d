//! Pausing and resuming queues.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{KIND, Landlord, state};
use crate::support::TestShop;
use crate::support::jobs::insert;

/// Counts jobs that are held because no handler runs their kind.
fn held(shop: &TestShop) -> i64 {
    shop.count("SELECT count(*) FROM job WHERE epoch < 0")
}

/// Reads the statistics of the queue `low`.
async fn low(landlord: &Landlord, query: &str) -> Value {
    let path = format!("/stats{query}");
    let stats = landlord.get(&path).send().await.expect(200).json();
    let queues = stats["queues"].as_array().expect("a list");
    let low = queues.iter().find(|queue| queue["queue"] == "low");
    low.expect("the queue low").clone()
}

#[tokio::test]
async fn pauses_queue_of_one_tenant_only() {
    let landlord = Landlord::start();
    let (still, other) = (landlord.app.tenant("still"), landlord.app.tenant("other"));
    for shop in [&still, &other] {
        shop.raw(&insert(1, "low", KIND, "available")).unwrap();
    }
    let paused = landlord
        .post("/low/pause?tenant=still")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&paused["tenant"], &paused["paused"]),
        (&json!("still"), &json!(true))
    );
    landlord.app.advance(Duration::from_secs(60));
    let again = landlord
        .post("/low/pause?tenant=still")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(again, paused);
    landlord.app.restart();
    landlord.app.work_off();
    assert_eq!(
        (held(&still), held(&other)),
        (0, 1),
        "no handler runs that kind, and only the other tenant's job was tried"
    );
    let all = low(&landlord, "").await;
    let at = json!([{"tenant": "still", "paused_at": "2026-01-15T10:00:00Z"}]);
    assert_eq!(
        (&all["paused"], &all["paused_tenants"]),
        (&json!(false), &at)
    );
    assert_eq!(low(&landlord, "?tenant=still").await["paused"], true);
    landlord
        .post("/low/pause?tenant=nobody")
        .send()
        .await
        .refused(404, "tenant_not_found");
    landlord.post("/low/resume").send().await.expect(200);
    landlord.app.work_off();
    assert_eq!(
        held(&still),
        0,
        "this resumed all tenants, not the paused one"
    );
    for _ in 0..2 {
        let resumed = landlord
            .post("/low/resume?tenant=still")
            .send()
            .await
            .expect(200)
            .json();
        assert_eq!(resumed["paused"], false);
    }
    landlord.app.work_off();
    assert_eq!(held(&still), 1);
    assert_eq!(
        landlord.audited(),
        ["queue.paused|queue:low|1", "queue.resumed|queue:low|1"]
    );
}

#[tokio::test]
async fn deletes_pause_with_its_tenant() {
    let landlord = Landlord::start();
    landlord.app.tenant("still");
    landlord
        .post("/low/pause?tenant=still")
        .send()
        .await
        .expect(200);
    landlord
        .app
        .call(Method::DELETE, "/v1/landlord/tenants/still")
        .bearer(&landlord.key)
        .send()
        .await
        .expect(204);
    assert_eq!(low(&landlord, "").await["paused_tenants"], json!([]));
    assert_eq!(
        landlord
            .app
            .landlord_rows("SELECT count(*) FROM tenant_pause"),
        ["0"]
    );
}

#[tokio::test]
async fn keeps_pause_over_restart_and_audits_it_once() {
    let landlord = Landlord::start();
    let shop = landlord.app.tenant("corner");
    shop.raw(&insert(1, "low", KIND, "available")).unwrap();
    let paused = landlord.post("/low/pause").send().await.expect(200).json();
    assert_eq!(
        (&paused["paused"], &paused["paused_at"]),
        (&json!(true), &json!("2026-01-15T10:00:00Z"))
    );
    landlord.app.advance(Duration::from_secs(60));
    let again = landlord.post("/low/pause").send().await.expect(200).json();
    assert_eq!(again, paused, "the first pause counts");
    landlord.app.work_off();
    assert_eq!(state(&shop, 1), "available|2|1");
    landlord.app.restart();
    landlord.app.work_off();
    assert_eq!(state(&shop, 1), "available|2|1");
    let stats = landlord.get("/stats").send().await.expect(200).json();
    let is_paused: Vec<&Value> = stats["queues"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|queue| queue["paused"] == true)
        .collect();
    assert_eq!(is_paused.len(), 1);
    assert_eq!(
        (&is_paused[0]["queue"], &is_paused[0]["available"]),
        (&json!("low"), &json!(1))
    );
    for _ in 0..2 {
        let resumed = landlord.post("/low/resume").send().await.expect(200).json();
        assert_eq!(
            (&resumed["paused"], &resumed["paused_at"]),
            (&json!(false), &Value::Null)
        );
    }
    landlord.app.work_off();
    assert_eq!(
        shop.count("SELECT count(*) FROM job WHERE epoch < 0"),
        1,
        "it was tried, but has no handler"
    );
    assert_eq!(
        landlord.audited(),
        ["queue.paused|queue:low|1", "queue.resumed|queue:low|1"]
    );
}
