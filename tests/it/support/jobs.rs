//! Jobs in any state, as SQL, instead of waiting for the events that lead to it.

/// The id of the `number`th job of a test.
pub fn id(number: usize) -> String {
    format!("018f3c9e-7b1a-7000-8000-{number:012}")
}

/// A job in a state. A waiting job is due in 2100, and a discarded one has errors.
pub fn insert(number: usize, queue: &str, kind: &str, state: &str) -> String {
    let due: i64 = if matches!(state, "scheduled" | "retryable") {
        4_102_444_800_000
    } else {
        0
    };
    let finalized = if matches!(state, "completed" | "cancelled" | "discarded") {
        // A recent time by any test's clock, because jobs that ended long ago are deleted.
        "CAST(unixepoch() * 1000 AS INTEGER)"
    } else {
        "NULL"
    };
    let errors = if state == "discarded" {
        r#"[{"attempt":1,"at":"1970-01-01T00:00:00Z","error":"the first"},{"attempt":2,"at":"1970-01-01T00:00:01Z","error":"the last"}]"#
    } else {
        "[]"
    };
    format!(
        "INSERT INTO job (id, queue, kind, payload, priority, state, attempt, rescues, \
         scheduled_at, finalized_at, errors)
         VALUES (x'{}', '{queue}', '{kind}', \
         '{{\"number\":{number},\"access_token\":\"sesame\"}}', 0, '{state}', 2, 1, {due}, \
         {finalized}, '{errors}');",
        id(number).replace('-', "")
    )
}
