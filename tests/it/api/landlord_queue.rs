//! `/v1/landlord/queue`: what an operator sees of the jobs of all shops, and does to them.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tillbox::worker::{self, Handlers};

use crate::support::answer::pointers;
use crate::support::jobs::{id, insert};
use crate::support::shop::Call;
use crate::support::{TestApp, TestShop, blocking, logs};

const KIND: &str = "kind.of_old";
/// A state, and what comes of a retry and of a removal.
type Fate = (
    &'static str,
    Result<&'static str, &'static str>,
    Result<&'static str, &'static str>,
);

#[rustfmt::skip]
const FATES: &[Fate] = &[
    ("available", Ok("available|2|1"), Ok("cancelled|2|1")),
    ("scheduled", Ok("available|2|1"), Ok("cancelled|2|1")),
    ("retryable", Ok("available|2|1"), Ok("cancelled|2|1")),
    ("running", Err("job_running"), Err("job_running")),
    ("completed", Err("job_completed"), Err("job_completed")),
    ("cancelled", Ok("available|0|0"), Ok("cancelled|2|1")),
    ("discarded", Ok("available|0|0"), Ok("")),
];

struct House {
    app: TestApp,
    key: String,
}

impl House {
    fn start() -> Self {
        let app = TestApp::start();
        let key = app.landlord_key();
        Self { app, key }
    }

    fn call(&self, method: Method, path: &str) -> Call {
        self.app
            .call(method, &format!("/v1/landlord/queue{path}"))
            .bearer(&self.key)
    }

    fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// The ids of a list, page by page.
    async fn ids(&self, query: &str) -> Vec<String> {
        self.ids_from(query, String::new()).await
    }

    /// The same from a cursor on, as it stands in the query.
    async fn ids_from(&self, query: &str, mut cursor: String) -> Vec<String> {
        let mut ids = Vec::new();
        loop {
            let page = self
                .get(&format!("/jobs?{query}{cursor}"))
                .send()
                .await
                .expect(200)
                .json();
            let data = page["data"].as_array().expect("rows");
            ids.extend(
                data.iter()
                    .filter_map(|job| job["id"].as_str().map(str::to_owned)),
            );
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return ids,
            }
        }
    }

    /// Actions of the landlord's audit log about jobs and queues, with their subjects.
    fn audited(&self) -> Vec<String> {
        self.app.landlord_rows(
            "SELECT action, subject, actor <> 'system' FROM audit_log WHERE action LIKE 'job%' OR \
             action LIKE 'queue%' ORDER BY seq",
        )
    }
}

fn state(shop: &TestShop, number: usize) -> String {
    let hex = id(number).replace('-', "");
    shop.rows(&format!(
        "SELECT state, attempt, rescues FROM job WHERE id = x'{hex}'"
    ))
    .concat()
}

/// The shop's own audit trail, as far as it is about jobs: entries that wait to be appended.
fn trail(shop: &TestShop) -> Vec<String> {
    shop.rows(
        "SELECT payload ->> '$.action' FROM job WHERE kind = 'audit.append' AND payload ->> \
        '$.action' LIKE 'job.%' ORDER BY seq",
    )
}

#[tokio::test]
async fn a_list_goes_through_all_shops_and_keeps_to_its_filters() {
    let house = House::start();
    let (first, second) = (house.app.tenant("first"), house.app.tenant("second"));
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
                house.ids(&format!("{filter}&limit={limit}")).await,
                wanted,
                "{filter} by {limit}"
            );
        }
    }
    let by_id = format!("state=discarded&tenant={}", second.id);
    assert_eq!(house.ids(&by_id).await, [id(13), id(10)]);
    let page = house
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

/// However many jobs have run, one page looks at so many of them.
#[tokio::test]
async fn a_rare_job_is_found_behind_many_that_have_run() {
    let house = House::start();
    let shop = house.app.tenant("corner");
    shop.raw(&insert(1, "low", KIND, "completed")).unwrap();
    shop.raw(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
         INSERT INTO job (id, queue, kind, payload, priority, state, attempt, rescues, \
         scheduled_at, finalized_at, errors)
         SELECT randomblob(16), 'audit', 'many.kind', '{}', 0, 'completed', 1, 0, 0, 0, '[]' FROM \
         n",
    )
    .unwrap();
    let page = house
        .get("/jobs?kind=kind.of_old")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(page["data"], json!([]), "it is too far away for one page");
    assert!(page["next_cursor"].is_string(), "{page}");
    assert_eq!(house.ids("kind=kind.of_old").await, [id(1)]);
    assert_eq!(house.ids("kind=many.kind&limit=200").await.len(), 25_000);
}

#[tokio::test]
async fn a_shop_that_cannot_be_opened_is_told_of_and_hinders_no_other() {
    let house = House::start();
    let (broken, whole) = (house.app.tenant("broken"), house.app.tenant("whole"));
    whole.raw(&insert(1, "low", KIND, "discarded")).unwrap();
    house.app.stop();
    std::fs::write(broken.path(), b"no database at all").unwrap();
    house.app.resume();
    let page = house
        .get("/jobs?state=discarded")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&page["data"][0]["id"], &page["unavailable"]),
        (&json!(id(1)), &json!(["broken"]))
    );
    let stats = house.get("/stats").send().await.expect(200).json();
    assert_eq!(
        (&stats["tenants"], &stats["unavailable"]),
        (&json!(1), &json!(["broken"]))
    );
    house
        .get(&format!("/jobs/{}", id(1)))
        .send()
        .await
        .expect(200);
    let named = house.get("/jobs?tenant=broken").send().await;
    named.refused(503, "tenant_unavailable");
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_told_with_the_names_there_are() {
    let house = House::start();
    house.app.tenant("corner");
    let problem = house
        .get("/jobs?state=failed&queue=slow")
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers(&problem), ["?state", "?queue"]);
    let said = problem.to_string();
    assert!(
        said.contains("retryable") && said.contains("financial"),
        "{said}"
    );
    for query in ["limit=0", "cursor=c1", "tennant=corner", "held=perhaps"] {
        let path = format!("/jobs?{query}");
        house
            .get(&path)
            .send()
            .await
            .refused(422, "validation_failed");
    }
    house
        .get("/jobs?tenant=nobody")
        .send()
        .await
        .refused(404, "tenant_not_found");
    house
        .get("/stats?tenant=nobody")
        .send()
        .await
        .refused(404, "tenant_not_found");
    house
        .post("/release")
        .send()
        .await
        .refused(422, "validation_failed");
    house
        .post("/release?tenant=nobody")
        .send()
        .await
        .refused(404, "tenant_not_found");
    for what in ["pause", "resume"] {
        let problem = house
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
    assert_eq!(house.audited(), [""; 0]);
}

#[tokio::test]
async fn a_job_is_shown_with_all_its_errors_and_without_its_secrets() {
    let house = House::start();
    let shop = house.app.tenant("corner");
    house.app.tenant("other");
    shop.raw(&insert(7, "low", KIND, "discarded")).unwrap();
    let path = format!("/jobs/{}", id(7));
    let job = house.get(&path).send().await.expect(200).json();
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
    house
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
        house
            .call(method, &path)
            .send()
            .await
            .refused(404, "job_not_found");
    }
    house
        .get(&format!("/jobs/{}", id(8)))
        .send()
        .await
        .refused(404, "job_not_found");
    house
        .get("/jobs/8")
        .send()
        .await
        .refused(400, "malformed_id");
    assert_eq!(state(&shop, 7), "discarded|2|1");
    assert!(!logs().contain("sesame"), "the secret is in the log");
}

#[tokio::test]
async fn a_retry_goes_by_the_jobs_state() {
    for (was, wanted, _) in FATES {
        let house = House::start();
        let shop = house.app.tenant("corner");
        shop.raw(&insert(1, "low", KIND, was)).unwrap();
        let answer = house.post(&format!("/jobs/{}/retry", id(1))).send().await;
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
        assert_eq!(house.audited(), audited[..usize::from(changed)], "{was}");
        assert_eq!(
            trail(&shop),
            ["job.retried"][..usize::from(changed)],
            "{was}"
        );
    }
}

#[tokio::test]
async fn a_removal_goes_by_the_jobs_state_and_what_is_cancelled_never_runs() {
    for (was, _, wanted) in FATES {
        let house = House::start();
        let shop = house.app.tenant("corner");
        shop.raw(&insert(1, "low", KIND, was)).unwrap();
        let answer = house.delete(&format!("/jobs/{}", id(1))).send().await;
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
                assert_eq!(house.audited(), audited[..usize::from(changed)], "{was}");
                house.app.work_off();
                assert_eq!(state(&shop, 1), *wanted, "{was}: it has not run");
            }
        }
    }
}

/// What the command does to all jobs that were given up, a landlord's key does.
#[tokio::test]
async fn all_that_was_given_up_is_retried_and_flushed_so_many_with_each_call() {
    let house = House::start();
    let (first, second) = (house.app.tenant("first"), house.app.tenant("second"));
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
        let page = house
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
    let flushed = house
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
    assert_eq!(house.audited(), wanted);
    for what in ["retry", "flush"] {
        house
            .post(&format!("/{what}?tenant=nobody"))
            .send()
            .await
            .refused(404, "tenant_not_found");
        for query in ["queue=slow", "cursor=c1", "state=discarded"] {
            house
                .post(&format!("/{what}?{query}"))
                .send()
                .await
                .refused(422, "validation_failed");
        }
    }
}

#[tokio::test]
async fn a_shop_whose_jobs_cannot_be_retried_is_told_with_its_reason() {
    let house = House::start();
    let (broken, whole) = (house.app.tenant("broken"), house.app.tenant("whole"));
    whole.raw(&insert(1, "low", KIND, "discarded")).unwrap();
    house.app.stop();
    std::fs::write(broken.path(), b"no database at all").unwrap();
    house.app.resume();
    let page = house.post("/retry").send().await.expect(200).json();
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
    house
        .post("/retry?tenant=broken")
        .send()
        .await
        .refused(503, "tenant_unavailable");
}

#[tokio::test]
async fn a_job_that_another_one_supersedes_is_not_retried() {
    let house = House::start();
    let shop = house.app.tenant("corner");
    shop.raw(&insert(1, "low", KIND, "discarded")).unwrap();
    shop.raw(&insert(2, "low", KIND, "retryable")).unwrap();
    shop.raw("UPDATE job SET unique_key = 'only one' WHERE kind = 'kind.of_old'")
        .unwrap();
    let retry = || house.post(&format!("/jobs/{}/retry", id(1))).send();
    retry().await.refused(409, "job_superseded");
    assert_eq!(state(&shop, 1), "discarded|2|1");
    house
        .delete(&format!("/jobs/{}", id(2)))
        .send()
        .await
        .expect(200);
    retry().await.expect(200);
}

/// The kind is gone, the job is not: it is held and told of, burns no attempt however often it is
/// tried, and keeps its payload until an operator cancels it.
#[tokio::test]
async fn a_kind_that_there_is_no_more_is_kept_and_told_of() {
    let house = House::start();
    let shop = house.app.tenant("corner");
    shop.raw(&insert(1, "low", KIND, "available")).unwrap();
    let run = || {
        let app = house.app.app();
        blocking(|| worker::run_until_idle_with(&app, Handlers(&[])))
    };
    let path = format!("/jobs/{}", id(1));
    for round in 1..=3 {
        run();
        assert_eq!(house.ids("held=true&kind=kind.of_old").await, [id(1)]);
        assert_eq!(house.ids("held=false&kind=kind.of_old").await, [""; 0]);
        let job = house.get(&path).send().await.expect(200).json();
        assert_eq!(
            (&job["held"], &job["attempt"], &job["payload"]["number"]),
            (&json!("unknown_kind"), &json!(2), &json!(1))
        );
        assert_eq!(job["error_count"], round);
        let retried = house
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
    let stats = house.get("/stats").send().await.expect(200).json();
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
    let released = house
        .post("/release?tenant=corner")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        released["released"], 0,
        "a release is for what a copy may have run; this waits for a program that runs it"
    );
    run();
    house.delete(&path).send().await.expect(200);
    assert_eq!(state(&shop, 1), "cancelled|2|1");
}

#[tokio::test]
async fn the_last_hour_is_told_by_queue_and_kind() {
    let house = House::start();
    let shop = house.app.tenant("corner");
    shop.product("TEA", 100).await;
    house.app.advance(Duration::from_millis(1_500));
    house.app.work_off();
    let told = |stats: &Value| -> Value {
        stats["last_hour"]
            .as_array()
            .expect("a list")
            .first()
            .cloned()
            .unwrap_or_default()
    };
    let audit = told(&house.get("/stats").send().await.expect(200).json());
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
        "by the house's clock: {audit}"
    );
    assert!(audit["run_p99_us"].is_u64(), "{audit}");
    house.app.advance(Duration::from_secs(3_700));
    assert_eq!(
        told(&house.get("/stats").send().await.expect(200).json()),
        Value::Null
    );
}

#[tokio::test]
async fn a_pause_of_one_shop_is_its_own() {
    let house = House::start();
    let (still, other) = (house.app.tenant("still"), house.app.tenant("other"));
    for shop in [&still, &other] {
        shop.raw(&insert(1, "low", KIND, "available")).unwrap();
    }
    let paused = house
        .post("/low/pause?tenant=still")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&paused["tenant"], &paused["paused"]),
        (&json!("still"), &json!(true))
    );
    house.app.advance(Duration::from_secs(60));
    let again = house
        .post("/low/pause?tenant=still")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(again, paused);
    house.app.restart();
    house.app.work_off();
    let held = |shop: &TestShop| shop.count("SELECT count(*) FROM job WHERE epoch < 0");
    assert_eq!(
        (held(&still), held(&other)),
        (0, 1),
        "nothing runs that kind, and only the other shop's was tried"
    );
    let low = |stats: Value| -> Value {
        let queues = stats["queues"].as_array().expect("a list");
        queues
            .iter()
            .find(|queue| queue["queue"] == "low")
            .expect("it is there")
            .clone()
    };
    let all = low(house.get("/stats").send().await.expect(200).json());
    let at = json!([{"tenant": "still", "paused_at": "2026-01-15T10:00:00Z"}]);
    assert_eq!(
        (&all["paused"], &all["paused_tenants"]),
        (&json!(false), &at)
    );
    let one = low(house
        .get("/stats?tenant=still")
        .send()
        .await
        .expect(200)
        .json());
    assert_eq!(one["paused"], true);
    house
        .post("/low/pause?tenant=nobody")
        .send()
        .await
        .refused(404, "tenant_not_found");
    house.post("/low/resume").send().await.expect(200);
    house.app.work_off();
    assert_eq!(held(&still), 0, "that was the pause of all shops");
    for _ in 0..2 {
        let resumed = house
            .post("/low/resume?tenant=still")
            .send()
            .await
            .expect(200)
            .json();
        assert_eq!(resumed["paused"], false);
    }
    house.app.work_off();
    assert_eq!(held(&still), 1);
    assert_eq!(
        house.audited(),
        ["queue.paused|queue:low|1", "queue.resumed|queue:low|1"]
    );

    // It goes with its shop.
    house
        .post("/low/pause?tenant=still")
        .send()
        .await
        .expect(200);
    house
        .app
        .call(Method::DELETE, "/v1/landlord/tenants/still")
        .bearer(&house.key)
        .send()
        .await
        .expect(204);
    let all = low(house.get("/stats").send().await.expect(200).json());
    assert_eq!(all["paused_tenants"], json!([]));
    assert_eq!(
        house.app.landlord_rows("SELECT count(*) FROM tenant_pause"),
        ["0"]
    );
}

#[tokio::test]
async fn the_figures_are_those_of_the_files() {
    let house = House::start();
    let (first, second) = (house.app.tenant("first"), house.app.tenant("second"));
    for (number, (state, ..)) in FATES.iter().enumerate() {
        first.raw(&insert(number, "low", KIND, state)).unwrap();
        second.raw(&insert(number, "low", KIND, state)).unwrap();
        second
            .raw(&insert(20 + number, "billing", KIND, state))
            .unwrap();
    }
    let figures = |stats: &Value, name: &str| -> Vec<i64> {
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
    let stats = house.get("/stats").send().await.expect(200).json();
    assert_eq!(
        (&stats["tenants"], &stats["next_cursor"]),
        (&json!(2), &Value::Null)
    );
    assert_eq!(
        (figures(&stats, "low"), figures(&stats, "billing")),
        (vec![2; 6], vec![1; 6])
    );
    assert_eq!(figures(&stats, "financial"), [0; 6]);
    let low = stats["queues"]
        .as_array()
        .and_then(|all| all.iter().find(|queue| queue["queue"] == "low"));
    assert_eq!(
        low.expect("it is there")["oldest_ready_at"],
        "1970-01-01T00:00:00Z"
    );
    let stats = house
        .get("/stats?tenant=first")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (figures(&stats, "low"), figures(&stats, "billing")),
        (vec![1; 6], vec![0; 6])
    );
}

#[tokio::test]
async fn a_pause_is_kept_over_a_restart_and_is_noted_once() {
    let house = House::start();
    let shop = house.app.tenant("corner");
    shop.raw(&insert(1, "low", KIND, "available")).unwrap();
    let paused = house.post("/low/pause").send().await.expect(200).json();
    assert_eq!(
        (&paused["paused"], &paused["paused_at"]),
        (&json!(true), &json!("2026-01-15T10:00:00Z"))
    );
    house.app.advance(Duration::from_secs(60));
    let again = house.post("/low/pause").send().await.expect(200).json();
    assert_eq!(again, paused, "it is paused since the first time");
    house.app.work_off();
    assert_eq!(state(&shop, 1), "available|2|1");
    house.app.restart();
    house.app.work_off();
    assert_eq!(state(&shop, 1), "available|2|1");
    let stats = house.get("/stats").send().await.expect(200).json();
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
        let resumed = house.post("/low/resume").send().await.expect(200).json();
        assert_eq!(
            (&resumed["paused"], &resumed["paused_at"]),
            (&json!(false), &Value::Null)
        );
    }
    house.app.work_off();
    assert_eq!(
        shop.count("SELECT count(*) FROM job WHERE epoch < 0"),
        1,
        "it was tried, and nothing runs it"
    );
    assert_eq!(
        house.audited(),
        ["queue.paused|queue:low|1", "queue.resumed|queue:low|1"]
    );
}

/// One page looks into so many shops; the next goes on behind them, also where shops were removed
/// meanwhile.
#[tokio::test]
async fn a_house_of_many_shops_is_gone_through_in_pages() {
    let house = House::start();
    let shops: Vec<TestShop> = (0..103)
        .map(|number| house.app.tenant(&format!("shop-{number}")))
        .collect();
    for number in [0, 49, 50, 99, 102] {
        shops[number]
            .raw(&insert(number, "low", KIND, "discarded"))
            .unwrap();
    }
    assert_eq!(
        house.ids("state=discarded").await,
        [0, 49, 50, 99, 102].map(id)
    );
    assert_eq!(
        house.ids("state=discarded&limit=1").await,
        [0, 49, 50, 99, 102].map(id)
    );
    let mut found = Vec::new();
    let mut path = "/stats".to_owned();
    loop {
        let stats = house.get(&path).send().await.expect(200).json();
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

    let page = house
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
        house
            .app
            .call(Method::DELETE, &path)
            .bearer(&house.key)
            .send()
            .await
            .expect(204);
    }
    let rest = house
        .ids_from("state=discarded", format!("&cursor={cursor}"))
        .await;
    assert_eq!(rest, [50, 99, 102].map(id));
}
