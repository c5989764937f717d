//! Retrying, cancelling and removing jobs.

use serde_json::{Value, json};
use tillbox::worker::{self, Handlers};

use super::{KIND, Landlord, OUTCOMES, state, trail};
use crate::support::jobs::{id, insert};
use crate::support::{blocking, logs};

#[tokio::test]
async fn retries_job_by_its_state() {
    for (was, wanted, _) in OUTCOMES {
        let landlord = Landlord::start();
        let shop = landlord.app.tenant("corner");
        shop.raw(&insert(1, "low", KIND, was)).unwrap();
        let answer = landlord
            .post(&format!("/jobs/{}/retry", id(1)))
            .send()
            .await;
        match wanted {
            Err(code) => {
                answer.refused(409, code);
                assert_eq!(state(&shop, 1), format!("{was}|2|1"));
            }
            Ok(wanted) => {
                assert_eq!(answer.expect(200).json()["state"], "available", "{was}");
                assert_eq!(state(&shop, 1), *wanted, "{was}");
            }
        }
        let changed = wanted.is_ok() && *was != "available";
        let audited = [format!("job.retried|job:{}|1", id(1))];
        assert_eq!(landlord.audited(), audited[..usize::from(changed)], "{was}");
        assert_eq!(
            trail(&shop),
            ["job.retried"][..usize::from(changed)],
            "{was}"
        );
    }
}

#[tokio::test]
async fn removes_job_by_its_state_and_never_runs_cancelled_one() {
    for (was, _, wanted) in OUTCOMES {
        let landlord = Landlord::start();
        let shop = landlord.app.tenant("corner");
        shop.raw(&insert(1, "low", KIND, was)).unwrap();
        let answer = landlord.delete(&format!("/jobs/{}", id(1))).send().await;
        match wanted {
            Err(code) => {
                answer.refused(409, code);
                assert_eq!(state(&shop, 1), format!("{was}|2|1"));
            }
            Ok(wanted) => {
                let outcome = if wanted.is_empty() {
                    "forgotten"
                } else {
                    "cancelled"
                };
                assert_eq!(answer.expect(200).json()["outcome"], outcome, "{was}");
                assert_eq!(state(&shop, 1), *wanted, "{was}");
                let changed = *was != "cancelled";
                let audited = [format!("job.{outcome}|job:{}|1", id(1))];
                assert_eq!(landlord.audited(), audited[..usize::from(changed)], "{was}");
                landlord.app.work_off();
                assert_eq!(state(&shop, 1), *wanted, "{was}: it did not run");
            }
        }
    }
}

/// A landlord key can do the same as `tillbox queue retry --all` and `flush`.
#[tokio::test]
async fn retries_and_flushes_discarded_jobs_in_limited_calls() {
    let landlord = Landlord::start();
    let (first, second) = (landlord.app.tenant("first"), landlord.app.tenant("second"));
    let many: String = (0..450)
        .map(|number| insert(number, "low", KIND, "discarded"))
        .collect();
    first.raw(&format!("BEGIN; {many} COMMIT")).unwrap();
    second.raw(&insert(501, "low", KIND, "discarded")).unwrap();
    second
        .raw(&insert(502, "billing", KIND, "discarded"))
        .unwrap();
    let (mut swept, mut cursor) = (Vec::new(), Some(String::new()));
    while let Some(from) = cursor {
        let page = landlord
            .post(&format!("/retry?queue=low{from}"))
            .send()
            .await
            .expect(200)
            .json();
        assert_eq!(page["failed"], json!([]));
        for shop in page["swept"].as_array().expect("a list") {
            swept.push((
                shop["tenant"].as_str().expect("a slug").to_owned(),
                shop["changed"].as_i64().expect("a number"),
            ));
        }
        cursor = page["next_cursor"]
            .as_str()
            .map(|next| format!("&cursor={next}"));
    }
    let wanted = [("first", 200), ("first", 200), ("first", 50), ("second", 1)]
        .map(|(slug, jobs)| (slug.to_owned(), jobs));
    assert_eq!(swept, wanted);
    assert_eq!(
        first.count("SELECT count(*) FROM job WHERE kind = 'kind.of_old' AND state = 'available'"),
        450
    );
    assert_eq!(
        [501, 502].map(|number| state(&second, number)),
        ["available|0|0", "discarded|2|1"]
    );
    let flushed = landlord
        .post("/flush?tenant=second")
        .send()
        .await
        .expect(200)
        .json();
    let wanted = json!({"swept": [{"tenant": "second", "changed": 1, "skipped": 0}], "failed": [],
        "next_cursor": null});
    assert_eq!(flushed, wanted);
    assert_eq!(
        [501, 502].map(|number| state(&second, number)),
        ["available|0|0", ""]
    );
    let retried = format!("jobs.retried|tenant:{}|1", first.id);
    let of_second =
        ["retried", "forgotten"].map(|done| format!("jobs.{done}|tenant:{}|1", second.id));
    let wanted = [
        [retried.clone(), retried.clone(), retried].as_slice(),
        &of_second,
    ]
    .concat();
    assert_eq!(landlord.audited(), wanted);
}

#[tokio::test]
async fn rejects_invalid_parameters_of_retry_and_flush() {
    let landlord = Landlord::start();
    for what in ["retry", "flush"] {
        landlord
            .post(&format!("/{what}?tenant=nobody"))
            .send()
            .await
            .refused(404, "tenant_not_found");
        for query in ["queue=slow", "cursor=c1", "state=discarded"] {
            landlord
                .post(&format!("/{what}?{query}"))
                .send()
                .await
                .refused(422, "validation_failed");
        }
    }
}

#[tokio::test]
async fn reports_tenant_whose_jobs_cannot_be_retried() {
    let landlord = Landlord::start();
    let (broken, whole) = (landlord.app.tenant("broken"), landlord.app.tenant("whole"));
    whole.raw(&insert(1, "low", KIND, "discarded")).unwrap();
    landlord.app.stop();
    std::fs::write(broken.path(), b"no database at all").unwrap();
    landlord.app.resume();
    let page = landlord.post("/retry").send().await.expect(200).json();
    assert_eq!(
        page["swept"],
        json!([{"tenant": "whole", "changed": 1, "skipped": 0}])
    );
    let failed = page["failed"].as_array().expect("a list");
    assert_eq!(failed.len(), 1, "{page}");
    assert_eq!(
        (&failed[0]["tenant"], &failed[0]["code"]),
        (&json!("broken"), &json!("tenant_unavailable"))
    );
    let lines = logs()
        .of_tenant(&broken.id.to_string())
        .saying("tenant skipped");
    assert_eq!(lines.lines().len(), 1);
    landlord
        .post("/retry?tenant=broken")
        .send()
        .await
        .refused(503, "tenant_unavailable");
}

#[tokio::test]
async fn rejects_retry_of_superseded_job() {
    let landlord = Landlord::start();
    let shop = landlord.app.tenant("corner");
    shop.raw(&insert(1, "low", KIND, "discarded")).unwrap();
    shop.raw(&insert(2, "low", KIND, "retryable")).unwrap();
    shop.raw("UPDATE job SET unique_key = 'only one' WHERE kind = 'kind.of_old'")
        .unwrap();
    let retry = || landlord.post(&format!("/jobs/{}/retry", id(1))).send();
    retry().await.refused(409, "job_superseded");
    assert_eq!(state(&shop, 1), "discarded|2|1");
    landlord
        .delete(&format!("/jobs/{}", id(2)))
        .send()
        .await
        .expect(200);
    retry().await.expect(200);
}

/// A job whose kind no longer exists is held and reported. It uses no attempts and keeps its
/// payload until an operator cancels it.
#[tokio::test]
async fn holds_and_reports_job_of_removed_kind() {
    let landlord = Landlord::start();
    let shop = landlord.app.tenant("corner");
    shop.raw(&insert(1, "low", KIND, "available")).unwrap();
    let run = || {
        let app = landlord.app.app();
        blocking(|| worker::run_until_idle_with(&app, Handlers(&[])))
    };
    let path = format!("/jobs/{}", id(1));
    for attempt in 1..=3 {
        run();
        assert_eq!(landlord.ids("held=true&kind=kind.of_old").await, [id(1)]);
        assert_eq!(landlord.ids("held=false&kind=kind.of_old").await, [""; 0]);
        let job = landlord.get(&path).send().await.expect(200).json();
        assert_eq!(
            (&job["held"], &job["attempt"], &job["payload"]["number"]),
            (&json!("unknown_kind"), &json!(2), &json!(1))
        );
        assert_eq!(job["error_count"], attempt);
        let retried = landlord
            .post(&format!("{path}/retry"))
            .send()
            .await
            .expect(200)
            .json();
        assert_eq!(
            (&retried["held"], &retried["state"]),
            (&Value::Null, &json!("available"))
        );
    }
    run();
    let stats = landlord.get("/stats").send().await.expect(200).json();
    let low = stats["queues"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|queue| queue["queue"] == "low")
        .expect("it is there");
    assert_eq!(
        (&low["held"], &low["available"], &low["oldest_ready_at"]),
        (&json!(1), &json!(0), &Value::Null)
    );
    let released = landlord
        .post("/release?tenant=corner")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        released["released"], 0,
        "a release is for jobs that a copy may have run; this one waits for a program with its kind"
    );
    run();
    landlord.delete(&path).send().await.expect(200);
    assert_eq!(state(&shop, 1), "cancelled|2|1");
}
