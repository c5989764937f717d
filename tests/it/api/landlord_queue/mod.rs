//! Tests of `/v1/landlord/queue`: jobs and queues of all tenants.

mod changing;
mod pausing;
mod reading;

use http::Method;

use crate::support::jobs::id;
use crate::support::shop::Call;
use crate::support::{TestApp, TestShop};

const KIND: &str = "kind.of_old";
/// A job state, and the results of a retry and of a removal.
type JobOutcome = (
    &'static str,
    Result<&'static str, &'static str>,
    Result<&'static str, &'static str>,
);

#[rustfmt::skip]
const OUTCOMES: &[JobOutcome] = &[
    ("available", Ok("available|2|1"), Ok("cancelled|2|1")),
    ("scheduled", Ok("available|2|1"), Ok("cancelled|2|1")),
    ("retryable", Ok("available|2|1"), Ok("cancelled|2|1")),
    ("running", Err("job_running"), Err("job_running")),
    ("completed", Err("job_completed"), Err("job_completed")),
    ("cancelled", Ok("available|0|0"), Ok("cancelled|2|1")),
    ("discarded", Ok("available|0|0"), Ok("")),
];

struct Landlord {
    app: TestApp,
    key: String,
}

impl Landlord {
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

    /// Lists job ids, page by page.
    async fn ids(&self, query: &str) -> Vec<String> {
        self.ids_from(query, String::new()).await
    }

    /// Lists job ids from a cursor in query form.
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

    /// Lists actions and subjects of the landlord's audit log about jobs and queues.
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

/// Lists pending entries of the tenant's audit trail about jobs.
fn trail(shop: &TestShop) -> Vec<String> {
    shop.rows(
        "SELECT payload ->> '$.action' FROM job WHERE kind = 'audit.append' AND payload ->> \
        '$.action' LIKE 'job.%' ORDER BY seq",
    )
}
