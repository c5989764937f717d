//! What is done to all files of the house in turn, and when: retention, the nightly check, the
//! scheduler, the clock that both believe or not.

mod checks;
mod clock;
mod retention_prune;
mod schedule;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::TestApp;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A call to prune, as the command line makes it.
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

/// The rows that went of each table, or would: `tenant/table` and their number; those of which
/// there are none left out.
fn rows_of(answer: &Value) -> Vec<(String, i64)> {
    let rows = answer["pruned"].as_array().expect("rows").iter();
    let named = rows.map(|row| {
        let name = format!(
            "{}/{}",
            row["tenant"].as_str().unwrap_or("house"),
            row["table"].as_str().expect("a table")
        );
        (name, row["rows"].as_i64().expect("a number"))
    });
    named.filter(|(_, rows)| *rows > 0).collect()
}
