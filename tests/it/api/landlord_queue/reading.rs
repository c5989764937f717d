//! Reading jobs and statistics.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{KIND, Landlord, OUTCOMES, state};
use crate::support::answer::pointers;
use crate::support::jobs::{id, insert};
use crate::support::{TestShop, logs};

#[tokio::test]
async fn lists_jobs_of_all_tenants_with_filters() {
    let landlord = Landlord::start();
    let (first, second) = (landlord.app.tenant("first"), landlord.app.tenant("second"));
    for (number, state) in ["discarded", "available", "running", "discarded"]
        .into_iter()
        .enumerate()
    {
        first.raw(&insert(number, "low", KIND, state)).unwrap();
        second
            .raw(&insert(10 + number, "billing", "other.kind", state))
            .unwrap();
    }
    let filters = [
        ("state=discarded", vec![3, 0, 13, 10]),
        ("state=discarded&tenant=second", vec![13, 10]),
        ("state=discarded&queue=low", vec![3, 0]),
        ("state=running&kind=other.kind", vec![12]),
        ("kind=kind.of_old", vec![3, 2, 1, 0]),
        ("queue=billing&state=available", vec![11]),
        ("queue=low&kind=other.kind", vec![]),
        ("state=completed&kind=kind.of_old", vec![]),
    ];
    for (filter, wanted) in filters {
        let wanted: Vec<String> = wanted.into_iter().map(id).collect();
        for limit in [1, 2, 3, 200] {
            assert_eq!(
                landlord.ids(&format!("{filter}&limit={limit}")).await,
                wanted,
                "{filter} by {limit}"
            );
        }
    }
    let by_id = format!("state=discarded&tenant={}", second.id);
    assert_eq!(landlord.ids(&by_id).await, [id(13), id(10)]);
    let page = landlord
        .get("/jobs?state=discarded&limit=1")
        .send()
        .await
        .expect(200)
        .json();
    let job = &page["data"][0];
    assert_eq!(
        (&job["tenant"], &job["error_count"]),
        (&json!("first"), &json!(2))
    );
    assert_eq!(
        job["last_error"],
        json!({"attempt": 2, "at": "1970-01-01T00:00:01Z", "error": "the last"})
    );
    assert!(job.get("payload").is_none(), "{job}");
}

/// One page reads a limited number of jobs.
#[tokio::test]
async fn finds_rare_job_behind_many_completed_ones() {
    let landlord = Landlord::start();
    let shop = landlord.app.tenant("corner");
    shop.raw(&insert(1, "low", KIND, "completed")).unwrap();
    shop.raw(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
         INSERT INTO job (id, queue, kind, payload, priority, state, attempt, rescues, \
         scheduled_at, finalized_at, errors)
         SELECT randomblob(16), 'audit', 'many.kind', '{}', 0, 'completed', 1, 0, 0, 0, '[]' FROM \
         n",
    )
    .unwrap();
    let page = landlord
        .get("/jobs?kind=kind.of_old")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(page["data"], json!([]), "one page does not reach that far");
    assert!(page["next_cursor"].is_string(), "{page}");
    assert_eq!(landlord.ids("kind=kind.of_old").await, [id(1)]);
    assert_eq!(landlord.ids("kind=many.kind&limit=200").await.len(), 25_000);
}

#[tokio::test]
async fn reports_unavailable_tenant_and_serves_the_others() {
    let landlord = Landlord::start();
    let (broken, whole) = (landlord.app.tenant("broken"), landlord.app.tenant("whole"));
    whole.raw(&insert(1, "low", KIND, "discarded")).unwrap();
    landlord.app.stop();
    std::fs::write(broken.path(), b"no database at all").unwrap();
    landlord.app.resume();
    let page = landlord
        .get("/jobs?state=discarded")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&page["data"][0]["id"], &page["unavailable"]),
        (&json!(id(1)), &json!(["broken"]))
    );
    let stats = landlord.get("/stats").send().await.expect(200).json();
    assert_eq!(
        (&stats["tenants"], &stats["unavailable"]),
        (&json!(1), &json!(["broken"]))
    );
    landlord
        .get(&format!("/jobs/{}", id(1)))
        .send()
        .await
        .expect(200);
    let named = landlord.get("/jobs?tenant=broken").send().await;
    named.refused(503, "tenant_unavailable");
}

#[tokio::test]
async fn rejects_invalid_parameters_and_lists_valid_names() {
    let landlord = Landlord::start();
    landlord.app.tenant("corner");
    let problem = landlord
        .get("/jobs?state=failed&queue=slow")
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers(&problem), ["?state", "?queue"]);
    let message = problem.to_string();
    assert!(
        message.contains("retryable") && message.contains("financial"),
        "{message}"
    );
    for query in ["limit=0", "cursor=c1", "tennant=corner", "held=perhaps"] {
        let path = format!("/jobs?{query}");
        landlord
            .get(&path)
            .send()
            .await
            .refused(422, "validation_failed");
    }
    landlord
        .get("/jobs?tenant=nobody")
        .send()
        .await
        .refused(404, "tenant_not_found");
    landlord
        .get("/stats?tenant=nobody")
        .send()
        .await
        .refused(404, "tenant_not_found");
    landlord
        .post("/release")
        .send()
        .await
        .refused(422, "validation_failed");
    landlord
        .post("/release?tenant=nobody")
        .send()
        .await
        .refused(404, "tenant_not_found");
    for what in ["pause", "resume"] {
        let problem = landlord
            .post(&format!("/slow/{what}"))
            .send()
            .await
            .refused(404, "queue_not_found");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|text| text.contains("billing")),
            "{problem}"
        );
    }
    assert_eq!(landlord.audited(), [""; 0]);
}

#[tokio::test]
async fn shows_job_with_errors_and_redacted_payload() {
    let landlord = Landlord::start();
    let shop = landlord.app.tenant("corner");
    landlord.app.tenant("other");
    shop.raw(&insert(7, "low", KIND, "discarded")).unwrap();
    let path = format!("/jobs/{}", id(7));
    let job = landlord.get(&path).send().await.expect(200).json();
    assert_eq!(job["payload"], json!({"number": 7, "access_token": "***"}));
    let errors = job["errors"].as_array().expect("a list");
    assert_eq!(errors.len(), 2);
    assert_eq!(
        errors[0],
        json!({"attempt": 1, "at": "1970-01-01T00:00:00Z", "error": "the first"})
    );
    assert_eq!(
        (&job["attempt"], &job["max_attempts"], &job["state"]),
        (&json!(2), &json!(3), &json!("discarded"))
    );
    landlord
        .get(&format!("{path}?tenant=corner"))
        .send()
        .await
        .expect(200);
    for elsewhere in ["", "/retry"] {
        let path = format!("{path}{elsewhere}?tenant=other");
        let method = if elsewhere.is_empty() {
            Method::DELETE
        } else {
            Method::POST
        };
        landlord
            .call(method, &path)
            .send()
            .await
            .refused(404, "job_not_found");
    }
    landlord
        .get(&format!("/jobs/{}", id(8)))
        .send()
        .await
        .refused(404, "job_not_found");
    landlord
        .get("/jobs/8")
        .send()
        .await
        .refused(400, "malformed_id");
    assert_eq!(state(&shop, 7), "discarded|2|1");
    assert!(!logs().contain("sesame"), "the log has the secret");
}

#[tokio::test]
async fn reports_last_hour_by_queue_and_kind() {
    let landlord = Landlord::start();
    let shop = landlord.app.tenant("corner");
    shop.product("TEA", 100).await;
    landlord.app.advance(Duration::from_millis(1_500));
    landlord.app.work_off();
    let first_kind = |stats: &Value| -> Value {
        stats["last_hour"]
            .as_array()
            .expect("a list")
            .first()
            .cloned()
            .unwrap_or_default()
    };
    let audit = first_kind(&landlord.get("/stats").send().await.expect(200).json());
    assert_eq!(
        (&audit["queue"], &audit["kind"]),
        (&json!("audit"), &json!("audit.append"))
    );
    assert!(
        audit["completed"].as_u64().is_some_and(|jobs| jobs > 0),
        "{audit}"
    );
    let wait = audit["wait_p50_us"].as_u64().expect("a number");
    assert!(
        (1_500_000..1_900_000).contains(&wait),
        "by the injected clock: {audit}"
    );
    assert!(audit["run_p99_us"].is_u64(), "{audit}");
    landlord.app.advance(Duration::from_secs(3_700));
    assert_eq!(
        first_kind(&landlord.get("/stats").send().await.expect(200).json()),
        Value::Null
    );
}

#[tokio::test]
async fn counts_jobs_in_tenant_files() {
    let landlord = Landlord::start();
    let (first, second) = (landlord.app.tenant("first"), landlord.app.tenant("second"));
    for (number, (state, ..)) in OUTCOMES.iter().enumerate() {
        first.raw(&insert(number, "low", KIND, state)).unwrap();
        second.raw(&insert(number, "low", KIND, state)).unwrap();
        second
            .raw(&insert(20 + number, "billing", KIND, state))
            .unwrap();
    }
    let counts = |stats: &Value, name: &str| -> Vec<i64> {
        let queues = stats["queues"].as_array().expect("a list");
        let queue = queues
            .iter()
            .find(|queue| queue["queue"] == name)
            .expect("the queue");
        let states = [
            "available",
            "scheduled",
            "running",
            "retryable",
            "discarded",
            "cancelled",
        ];
        states
            .iter()
            .map(|state| queue[*state].as_i64().expect("a number"))
            .collect()
    };
    let stats = landlord.get("/stats").send().await.expect(200).json();
    assert_eq!(
        (&stats["tenants"], &stats["next_cursor"]),
        (&json!(2), &Value::Null)
    );
    assert_eq!(
        (counts(&stats, "low"), counts(&stats, "billing")),
        (vec![2; 6], vec![1; 6])
    );
    assert_eq!(counts(&stats, "financial"), [0; 6]);
    let low = stats["queues"]
        .as_array()
        .and_then(|all| all.iter().find(|queue| queue["queue"] == "low"));
    assert_eq!(
        low.expect("it is there")["oldest_ready_at"],
        "1970-01-01T00:00:00Z"
    );
    let stats = landlord
        .get("/stats?tenant=first")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (counts(&stats, "low"), counts(&stats, "billing")),
        (vec![1; 6], vec![0; 6])
    );
}

/// One page reads a limited number of tenants; the next continues after them, also when tenants
/// were deleted meanwhile.
#[tokio::test]
async fn pages_through_many_tenants() {
    let landlord = Landlord::start();
    let shops: Vec<TestShop> = (0..103)
        .map(|number| landlord.app.tenant(&format!("shop-{number}")))
        .collect();
    for number in [0, 49, 50, 99, 102] {
        shops[number]
            .raw(&insert(number, "low", KIND, "discarded"))
            .unwrap();
    }
    assert_eq!(
        landlord.ids("state=discarded").await,
        [0, 49, 50, 99, 102].map(id)
    );
    assert_eq!(
        landlord.ids("state=discarded&limit=1").await,
        [0, 49, 50, 99, 102].map(id)
    );
    let mut found = Vec::new();
    let mut path = "/stats".to_owned();
    loop {
        let stats = landlord.get(&path).send().await.expect(200).json();
        let queues = stats["queues"].as_array().expect("a list");
        let discarded: i64 = queues
            .iter()
            .filter_map(|queue| queue["discarded"].as_i64())
            .sum();
        found.push((stats["tenants"].as_i64().expect("a number"), discarded));
        let Some(cursor) = stats["next_cursor"].as_str() else {
            break;
        };
        path = format!("/stats?cursor={cursor}");
    }
    assert_eq!(found, [(50, 2), (50, 2), (3, 1)]);

    let page = landlord
        .get("/jobs?state=discarded&limit=1")
        .send()
        .await
        .expect(200)
        .json();
    let cursor = page["next_cursor"]
        .as_str()
        .expect("there are more")
        .to_owned();
    for gone in ["shop-0", "shop-1", "shop-49"] {
        let path = format!("/v1/landlord/tenants/{gone}");
        landlord
            .app
            .call(Method::DELETE, &path)
            .bearer(&landlord.key)
            .send()
            .await
            .expect(204);
    }
    let rest = landlord
        .ids_from("state=discarded", format!("&cursor={cursor}"))
        .await;
    assert_eq!(rest, [50, 99, 102].map(id));
}
