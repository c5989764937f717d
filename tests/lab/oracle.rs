//! Invariants after every recovery, whatever was done to the disk.
//!
//! The process starts. Every answered call is there once, and gets the same answer when it is sent
//! again. An unanswered call can be carried out now. No job is lost and none has two effects. The
//! books are consistent. The landlord's file and the tenants' files agree on the existing tenants.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use http::Method;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tillbox::app::StartError;
use tillbox::primitives::{Clock as _, SystemClock};
use tillbox::storage::StorageError;
use tillbox::tenant::integrity::{self, Report};
use tillbox::worker;

use crate::instance::{Call, Instance};
use crate::table::{Finding, Kind};
use crate::workload::Sent;

/// Longer than the first pauses between attempts, and shorter than the life of a reservation.
const PAUSE: Duration = Duration::from_secs(5 * 60);

/// The first violation, if any.
pub type Verdict<T = ()> = Result<T, Finding>;

/// Starts over `dir` and checks everything; `at` is the position in the history.
pub fn examine(dir: &Path, sent: &[Sent], at: usize, runtime: &tokio::runtime::Runtime) -> Verdict {
    examine_instance(Instance::start(dir, !(at as u64)), sent, at, runtime)
}

/// Does the same over the directory of the real program, with all calls sent to it.
pub fn examine_real(dir: &Path, sent: &[Sent], runtime: &tokio::runtime::Runtime) -> Verdict {
    examine_instance(
        Instance::start_at(dir, 0, SystemClock.now()),
        sent,
        usize::MAX,
        runtime,
    )
}

fn examine_instance(
    instance: Result<Instance, StartError>,
    sent: &[Sent],
    at: usize,
    runtime: &tokio::runtime::Runtime,
) -> Verdict {
    let instance = instance.map_err(|error| format!("the process does not start: {error}"))?;
    let verdict = runtime.block_on(check(&instance, sent, at));
    instance.stop();
    verdict
}

async fn check(instance: &Instance, sent: &[Sent], at: usize) -> Verdict {
    for line in sent
        .iter()
        .filter(|line| line.at <= at && line.until.is_none_or(|until| at < until))
    {
        match line.answer_by(at) {
            Some(_) => acknowledged(instance, line).await?,
            None => unanswered(instance, line).await?,
        }
    }
    tokio::task::block_in_place(|| {
        worker::run_until_idle(&instance.app);
        // A failed job runs again after its pause.
        instance.clock.advance(PAUSE);
        worker::run_until_idle(&instance.app);
        books(instance)?;
        jobs(instance)?;
        tenant_files(instance)
    })
}

fn describe(call: &Call) -> String {
    let key = call.idempotency_key.as_deref().unwrap_or("no key");
    format!("{} {} ({key})", call.method, call.path)
}

/// Checks an answered call: the same answer under its key, or its effect when it has no key.
async fn acknowledged(instance: &Instance, line: &Sent) -> Verdict {
    let (_, answer) = line.answered.as_ref().expect("it was answered");
    if line.call.idempotency_key.is_some() && !line.call.path.ends_with("/cancel") {
        let again = instance.send(&line.call).await;
        return if again == *answer {
            Ok(())
        } else {
            let text = format!(
                "{}: first answered {answer:?}, and now {again:?}",
                describe(&line.call)
            );
            Err(Finding::new(Kind::Lost, text))
        };
    }
    let get = |path: String, secret: Option<String>| Call {
        method: Method::GET,
        path,
        secret,
        idempotency_key: None,
        body: Value::Null,
    };
    let (probe, status, pointer, text) = if let Some(order) = line.call.path.strip_suffix("/cancel")
    {
        (
            get(order.to_owned(), line.call.secret.clone()),
            200,
            "/status",
            "cancelled",
        )
    } else if line.call.method == Method::DELETE {
        (
            get(line.call.path.clone(), None),
            404,
            "/code",
            "tenant_not_found",
        )
    } else {
        let path = format!(
            "{}/{}",
            line.call.path,
            line.call.body["slug"].as_str().unwrap_or_default()
        );
        (get(path, None), 200, "/status", "active")
    };
    let found = instance.send(&probe).await;
    if found.status == status && found.text(pointer) == text {
        Ok(())
    } else {
        let text = format!(
            "{}: answered {}, but the state is {found:?}",
            describe(&line.call),
            answer.status
        );
        Err(Finding::new(Kind::Lost, text))
    }
}

/// Checks a call whose answer was lost: sent again, it is carried out once.
async fn unanswered(instance: &Instance, line: &Sent) -> Verdict {
    let again = instance.send(&line.call).await;
    let is_good = match (&line.call.method, again.status) {
        (_, 200..=299) => true,
        // A call without a key cannot be recognized; it is refused because it was done before.
        (&Method::DELETE, 404) => true,
        (_, 409) => line.call.secret.is_none() || line.call.path.ends_with("/cancel"),
        _ => false,
    };
    if is_good {
        Ok(())
    } else {
        Err(format!(
            "{}: refused after its answer was lost: {again:?}",
            describe(&line.call)
        )
        .into())
    }
}

/// Lists the tenants that have a file.
pub fn tenants(instance: &Instance) -> Result<Vec<tillbox::tenancy::TenantAccess>, String> {
    let listed = instance
        .app
        .stores
        .directory
        .read(tillbox::tenancy::commands::list_with_file)
        .wait();
    listed.map_err(|error: StorageError| format!("the tenants cannot be listed: {error}"))
}

/// Checks that the books of every tenant are consistent.
pub fn books(instance: &Instance) -> Verdict {
    for access in tenants(instance)? {
        let db = instance
            .app
            .stores
            .registry
            .open(&access)
            .map_err(|error| format!("{}: {error}", access.slug()))?;
        // These books are small. The open connection reads them: a new one would read the schema
        // first, which takes longer.
        let report: Result<Report, StorageError> = db.read(integrity::check).wait();
        let report = report.map_err(|error| format!("{}: {error}", access.slug()))?;
        if !report.passes() {
            return Err(format!("{}: {:?}", access.slug(), report.mismatches).into());
        }
    }
    Ok(())
}

/// Checks that each paid order has one confirmation, each fact one entry in the audit log, each
/// pruning run one entry that records it, and that no due job is left.
pub fn jobs(instance: &Instance) -> Verdict {
    let mut confirmations = 0;
    for access in tenants(instance)? {
        let path = instance
            .dir
            .join("tenants")
            .join(format!("{}.db", access.id()));
        let conn = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .map_err(|error| error.to_string())?;
        let count = |sql: &str| -> Result<i64, String> {
            conn.query_row(sql, [], |row| row.get(0))
                .map_err(|error| format!("{sql}: {error}"))
        };
        let unfinished = count(
            "SELECT count(*) FROM job WHERE state IN ('available', 'running', 'retryable', \
             'discarded')",
        )?;
        let (facts, log) = (
            count("SELECT count(*) FROM job WHERE queue = 'audit'")?,
            // Pruned entries count by `seq`; the newest one always stays.
            count("SELECT coalesce(max(seq), 0) FROM audit_log")?,
        );
        let paid = count(
            "SELECT count(*) FROM sales_order WHERE status IN ('paid', 'confirmed', 'shipped') AND \
             email IS NOT NULL",
        )?;
        let mails = count("SELECT count(*) FROM job WHERE kind = 'orders.confirmation'")?;
        if unfinished != 0 || facts != log || paid != mails {
            let kind = match () {
                () if log > facts || mails > paid => Kind::Doubled,
                () if unfinished == 0 => Kind::Lost,
                () => Kind::Other,
            };
            let text = format!(
                "{}: unfinished jobs: {unfinished}; facts: {facts}; audit entries: {log}; paid \
                 orders: {paid}; confirmations: {mails}",
                access.slug()
            );
            return Err(Finding::new(kind, text));
        }
        confirmations += usize::try_from(paid).unwrap_or(0);
        let (runs, begun) = (
            count("SELECT count(*) FROM audit_anchor")?,
            count(
                "SELECT count(*) FROM job WHERE kind = 'audit.append' AND payload LIKE \
                 '%\"retention.begun\"%'",
            )?,
        );
        if runs > begun {
            let text = format!(
                "{}: {runs} runs pruned the audit log, but {begun} are recorded",
                access.slug()
            );
            return Err(Finding::new(Kind::Lost, text));
        }
    }
    let outbox = std::fs::read_dir(instance.dir.join("outbox"))
        .into_iter()
        .flatten()
        .flatten();
    let mails = outbox
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "eml")
        })
        .count();
    if mails == confirmations {
        Ok(())
    } else {
        let kind = if mails > confirmations {
            Kind::Doubled
        } else {
            Kind::Lost
        };
        Err(Finding::new(
            kind,
            format!("{mails} mails in the outbox for {confirmations} orders"),
        ))
    }
}

/// Checks that there is one file for each tenant, and no other file.
pub fn tenant_files(instance: &Instance) -> Verdict {
    let listed: BTreeSet<String> = tenants(instance)?
        .iter()
        .map(|access| format!("{}.db", access.id()))
        .collect();
    let entries =
        std::fs::read_dir(instance.dir.join("tenants")).map_err(|error| error.to_string())?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let files: BTreeSet<String> = names
        .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect();
    if files == listed {
        Ok(())
    } else {
        Err(format!("the landlord lists {listed:?}, but the files are {files:?}").into())
    }
}
