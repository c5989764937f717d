//! Every SQL text of the program is prepared on a new file. A snapshot per module keeps its plan.
//!
//! After a change of SQL: check the plan, then `INSTA_UPDATE=always cargo test --test it plans`.

use rusqlite::Connection;
use tillbox::storage::{FileKind, Landlord, Statement, Tenant};

use super::schema::fresh;

/// Statements that may scan a whole table or sort, by a part of their names, with the reason.
const MAY_SCAN: &[(&str, &str)] = &[
    ("audit::LAST", "the last row by its rowid, and only that"),
    (
        "audit::ANCHOR",
        "the last anchor by its rowid, and only that",
    ),
    (
        "audit::FIRST_SINCE",
        "scans the entries that are to be pruned, once for each run, as a long read",
    ),
    (
        "tenant::inventory::retention::FIRST_SINCE",
        "scans the movements that are to be pruned, once for each run, as a long read",
    ),
    (
        "tenant::inventory::retention::NEWEST",
        "reads the last row by its rowid",
    ),
    (
        "tenant::inventory::retention::ANCHOR",
        "groups the movements of one batch",
    ),
    (
        "landlord::task_runs::TASKS",
        "reads the handful of tasks at the start",
    ),
    (
        "landlord::check_results::WRONG",
        "scans the shops for the findings of the nightly check",
    ),
    (
        "landlord::check_results::UNCHECKED",
        "scans the shops for those that the nightly check could not read",
    ),
    (
        "audit::CHAIN",
        "scans the chain from its beginning: that is its purpose",
    ),
    ("commands::LIST_STATUS", "scans the tenants at the start"),
    ("commands::LIST_ACCESS", "scans the tenants for checks"),
    (
        "commands::TENANT",
        "puts the few hosts of each tenant in order",
    ),
    (
        "tenant::disk_usage::BY_TREE",
        "reads every page: that is its purpose, and it has a deadline in the long lane",
    ),
    (
        "integrity::",
        "compares everything with everything: that is its purpose, and it is a long read",
    ),
    ("ledger::chain::LAST", "reads the last row by its rowid"),
    (
        "currency::rates::INSERT_RATE",
        "looks for children of a new parent only while a deferred constraint is open, which none \
         is",
    ),
    (
        "currency::rates::DOCUMENTS",
        "compares every document with its rate, for the integrity check, as a long read",
    ),
    (
        "currency::settings::ENABLED",
        "reads the handful of a shop's currencies",
    ),
    (
        "currency::unsellable::OF_PRODUCTS",
        "scans the products, once for each shop at the start, as a long read",
    ),
    ("cart::store::LINES", "puts the lines of one cart in order"),
    (
        "tenant::orders::store::INSERT",
        "looks for children of a new parent only while a deferred constraint is open, which none \
         is",
    ),
    (
        "finance::financial_order::INSERT_PAID",
        "looks for children of a new parent only while a deferred constraint is open, which none \
         is",
    ),
    (
        "ledger::store::OPEN_ACCOUNT",
        "looks for children of a new parent only while a deferred constraint is open, which none \
         is",
    ),
    (
        "inventory::store::FROM_SHELF",
        "sums the lines of one order per product",
    ),
    (
        "tenant::jobs::LIST_READY",
        "sorts the ready jobs, which are those not done yet, as a long read",
    ),
    (
        "tenant::jobs::LIST_WAITING",
        "sorts the jobs that wait for their time, as a long read",
    ),
    (
        "tenant::jobs::LIST_GIVEN_UP",
        "sorts the jobs that were discarded, as a long read",
    ),
    (
        "tenant::jobs::COUNT_WAITING",
        "counts the jobs that wait for their time, as a long read",
    ),
    (
        "tenant::jobs::COUNT_GIVEN_UP",
        "counts the jobs that were discarded, as a long read",
    ),
    (
        "landlord::rate_buckets::LIST",
        "reads the buckets at the start, at most 1,024 of them",
    ),
    (
        "tenancy::pauses::PAUSES",
        "reads the handful of paused queues at the start",
    ),
    (
        "tenancy::pauses::TENANT_PAUSES",
        "reads the handful of shops' pauses at the start",
    ),
    (
        "tenant::jobs::LIST_RUNNING",
        "sorts the jobs that run, which are a handful",
    ),
    (
        "payments::store::OF_ORDER",
        "puts the payments of one order in order",
    ),
    (
        "ledger::queries::ACCOUNTS",
        "puts the handful of accounts in order",
    ),
    (
        "ledger::queries::BALANCES",
        "sums every transfer: the trial balance keeps no sum of its own, and is a long read",
    ),
    (
        "ledger::queries::SUM_ACCOUNT",
        "sums a period's transfers per currency, as a long read",
    ),
];

fn plan(conn: &Connection, statement: &Statement) -> Vec<String> {
    let name = statement.name();
    let mut prepared = conn
        .prepare(&format!("EXPLAIN QUERY PLAN {}", statement.sql()))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let steps = prepared
        .raw_query()
        .mapped(|row| row.get::<_, String>("detail"))
        .collect::<Result<Vec<_>, _>>();
    steps.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The partial indexes, such as the one of waiting jobs: a scan of one is bounded by its condition.
fn partial_indexes(conn: &Connection) -> Vec<String> {
    let sql = "SELECT i.name FROM sqlite_schema s JOIN pragma_index_list(s.name) i WHERE s.type = \
        'table' AND i.partial = 1";
    let mut prepared = conn.prepare(sql).expect("prepares");
    let names = prepared
        .query_map([], |row| row.get(0))
        .expect("runs")
        .collect::<Result<_, _>>();
    names.expect("names")
}

fn is_costly(conn: &Connection, step: &str) -> bool {
    let is_bounded = || {
        let index = step
            .rsplit_once("INDEX ")
            .map(|(_, index)| index.to_owned());
        step.contains("CONSTANT ROW")
            || step.contains("json_each")
            || index.is_some_and(|index| partial_indexes(conn).contains(&index))
    };
    step.contains("TEMP B-TREE") || (step.starts_with("SCAN ") && !is_bounded())
}

fn check<K: FileKind>(lists: &[&[Statement]], unused: &mut Vec<&'static str>) {
    let dir = tempfile::tempdir().expect("a directory");
    let conn = fresh::<K>(dir.path());
    let mut costly = Vec::new();
    for module in lists {
        let mut text = String::new();
        for statement in *module {
            let steps = plan(&conn, statement);
            let exception = MAY_SCAN
                .iter()
                .find(|(name, _)| statement.name().contains(name));
            if steps.iter().any(|step| is_costly(&conn, step)) {
                match exception {
                    Some((name, _)) => unused.retain(|unused| unused != name),
                    None => costly.push(format!(
                        "{} scans a table or sorts: {steps:#?}",
                        statement.name()
                    )),
                }
            }
            let (_, name) = statement
                .name()
                .rsplit_once("::")
                .expect("a name in a module");
            let steps = if steps.is_empty() {
                "-".to_owned()
            } else {
                steps.join("\n  ")
            };
            text.push_str(&format!("{name}\n  {steps}\n"));
        }
        let Some(first) = module.first() else {
            continue;
        };
        let (path, _) = first.name().rsplit_once("::").expect("a name in a module");
        let file = format!(
            "{}.{}",
            K::NAME,
            path.trim_start_matches("tillbox::").replace("::", ".")
        );
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true,
            snapshot_path => "plans"}, {
            insta::assert_snapshot!(file, text);
        });
    }
    assert!(costly.is_empty(), "{}", costly.join("\n"));
}

#[test]
fn plans_every_statement_without_scan() {
    let mut unused: Vec<&str> = MAY_SCAN.iter().map(|(name, _)| *name).collect();
    check::<Tenant>(tillbox::tenant::STATEMENTS, &mut unused);
    check::<Landlord>(tillbox::tenancy::STATEMENTS, &mut unused);
    check::<Landlord>(tillbox::landlord::STATEMENTS, &mut unused);
    assert!(
        unused.is_empty(),
        "these exceptions excuse nothing any more; take them out: {unused:?}"
    );
}

#[test]
fn detects_bad_plan() {
    let dir = tempfile::tempdir().expect("a directory");
    let conn = fresh::<Tenant>(dir.path());
    let costly = |sql| {
        plan(&conn, &Statement::new("test::BAD", sql))
            .iter()
            .any(|step| is_costly(&conn, step))
    };
    assert!(costly("SELECT * FROM product WHERE name = ?1"));
    assert!(costly(
        "SELECT * FROM product WHERE category_id = ?1 ORDER BY name"
    ));
    assert!(!costly("SELECT * FROM product WHERE sku = ?1"));
}
