//! Maintenance of all files in turn: retention, the nightly check, the scheduler, and the trust in
//! the clock.

mod batches;
mod checks;
mod clock;
mod kept_until;
mod prune_now;
mod rest;
mod retention_prune;
mod runs;
mod schedule;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::TestApp;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A call to prune, as the CLI makes it.
async fn prune(app: &TestApp, more: Value) -> crate::support::answer::Answer {
    let mut body = json!({"dry_run": false});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    app.admin("/v1/landlord/retention/prune")
        .json(body)
        .send()
        .await
}

/// The number of pruned rows by `tenant/table`, without the zeros. Of a dry run: the rows to prune.
fn rows_of(answer: &Value) -> Vec<(String, i64)> {
    let rows = answer["pruned"].as_array().expect("rows").iter();
    let named = rows.map(|row| {
        let name = format!(
            "{}/{}",
            row["tenant"].as_str().unwrap_or("landlord"),
            row["table"].as_str().expect("a table")
        );
        (name, row["rows"].as_i64().expect("a number"))
    });
    named.filter(|(_, rows)| *rows > 0).collect()
}
