//! What has to hold after every recovery, whatever was done to the disk.
//!
//! The process starts; every call that was answered is there once, and is answered the same when it
//! is sent again; one that was not answered can be carried out now; no job is lost and none has two
//! effects; the books agree with themselves; the landlord's file and the shops' files agree on
//! which shops there are.

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

use crate::house::{Call, House};
use crate::table::{Finding, Kind};
use crate::workload::Sent;

/// Longer than the first pauses after a failure, and shorter than the life of a reservation.
const PAUSE: Duration = Duration::from_secs(5 * 60);

/// What is wrong, in the order in which it was found.
pub type Verdict = Result<(), Finding>;

/// Starts over `dir` and looks at everything; `at` is how much of the history had happened.
pub fn examine(dir: &Path, sent: &[Sent], at: usize, runtime: &tokio::runtime::Runtime) -> Verdict {
    examine_house(House::start(dir, !(at as u64)), sent, at, runtime)
}

/// The same over what the real program left behind, with all that was sent to it.
pub fn examine_real(dir: &Path, sent: &[Sent], runtime: &tokio::runtime::Runtime) -> Verdict {
    examine_house(
        House::start_at(dir, 0, SystemClock.now()),
        sent,
        usize::MAX,
        runtime,
    )
}

fn examine_house(
    house: Result<House, StartError>,
    sent: &[Sent],
    at: usize,
    runtime: &tokio::runtime::Runtime,
) -> Verdict {
    let house = house.map_err(|error| format!("does not start: {error}"))?;
    let verdict = runtime.block_on(look(&house, sent, at));
    house.stop();
    verdict
}

async fn look(house: &House, sent: &[Sent], at: usize) -> Verdict {
    for line in sent
        .iter()
        .filter(|line| line.at <= at && line.until.is_none_or(|until| at < until))
    {
        match line.answer_by(at) {
            Some(_) => acknowledged(house, line).await?,
            None => in_doubt(house, line).await?,
        }
    }
    tokio::task::block_in_place(|| {
        worker::run_until_idle(&house.app);
        // What failed is tried again when its pause is over.
        house.clock.advance(PAUSE);
        worker::run_until_idle(&house.app);
        books(house)?;
        jobs(house)?;
        shops(house)
    })
}

fn name(call: &Call) -> String {
    let key = call.idempotency_key.as_deref().unwrap_or("no key");
    format!("{} {} ({key})", call.method, call.path)
}

/// A call that was answered: the same again under its key, or its effect, where it has none.
async fn acknowledged(house: &House, line: &Sent) -> Verdict {
    let (_, answer) = line.answered.as_ref().expect("it was answered");
    if line.call.idempotency_key.is_some() && !line.call.path.ends_with("/cancel") {
        let again = house.send(&line.call).await;
        return if again == *answer {
            Ok(())
        } else {
            let text = format!(
                "{}: was answered {answer:?}, and now {again:?}",
                name(&line.call)
            );
            Err(Finding::new(Kind::Lost, text))
        };
    }
    let is = |path: String, secret: Option<String>| Call {
        method: Method::GET,
        path,
        secret,
        idempotency_key: None,
        body: Value::Null,
    };
    let (probe, status, pointer, text) = if let Some(order) = line.call.path.strip_suffix("/cancel")
    {
        (
            is(order.to_owned(), line.call.secret.clone()),
            200,
            "/status",
            "cancelled",
        )
    } else if line.call.method == Method::DELETE {
        (
            is(line.call.path.clone(), None),
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
        (is(path, None), 200, "/status", "active")
    };
    let found = house.send(&probe).await;
    if found.status == status && found.text(pointer) == text {
        Ok(())
    } else {
        let text = format!(
            "{}: was answered {}, and now there is {found:?}",
            name(&line.call),
            answer.status
        );
        Err(Finding::new(Kind::Lost, text))
    }
}

/// A call whose answer was lost: sent again it is carried out, once.
async fn in_doubt(house: &House, line: &Sent) -> Verdict {
    let again = house.send(&line.call).await;
    let fine = match (&line.call.method, again.status) {
        (_, 200..=299) => true,
        // Without a key there is nothing to tell it by: it is refused because it was done before.
        (&Method::DELETE, 404) => true,
        (_, 409) => line.call.secret.is_none() || line.call.path.ends_with("/cancel"),
        _ => false,
    };
    if fine {
        Ok(())
    } else {
        Err(format!(
            "{}: its answer was lost, and now it is refused: {again:?}",
            name(&line.call)
        )
        .into())
    }
}

/// The shops that have a file.
pub fn tenants(house: &House) -> Result<Vec<tillbox::tenancy::TenantAccess>, String> {
    let listed = house
        .app
        .directory
        .read(tillbox::tenancy::commands::list_with_file)
        .wait();
    listed.map_err(|error: StorageError| format!("the shops cannot be listed: {error}"))
}

/// The books of every shop agree with themselves.
pub fn books(house: &House) -> Verdict {
    for access in tenants(house)? {
        let db = house
            .app
            .registry
            .open(&access)
            .map_err(|error| format!("{}: {error}", access.slug()))?;
        // These books are small. What is open already reads them: another connection would read the
        // schema first, which takes longer.
        let report: Result<Report, StorageError> = db.read(integrity::check).wait();
        let report = report.map_err(|error| format!("{}: {error}", access.slug()))?;
        if !report.passes() {
            return Err(format!("{}: {:?}", access.slug(), report.mismatches).into());
        }
    }
    Ok(())
}

/// Each order that was paid has one confirmation, each fact one line in the audit log, each run
/// that deleted entries one that says so, and nothing that is due is left.
pub fn jobs(house: &House) -> Verdict {
    let mut confirmations = 0;
    for access in tenants(house)? {
        let path = house
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
            // Those that were pruned had their places; the newest always stays.
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
                "{}: {unfinished} jobs are left; {facts} facts and {log} lines of the audit log; \
                 {paid} paid orders and {mails} confirmations",
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
                "{}: entries of the trail went in {runs} runs, and {begun} are recorded",
                access.slug()
            );
            return Err(Finding::new(Kind::Lost, text));
        }
    }
    let outbox = std::fs::read_dir(house.dir.join("outbox"))
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
            format!("{mails} mails are in the outbox, of {confirmations} orders"),
        ))
    }
}

/// There is a file for each shop, and no other.
pub fn shops(house: &House) -> Verdict {
    let listed: BTreeSet<String> = tenants(house)?
        .iter()
        .map(|access| format!("{}.db", access.id()))
        .collect();
    let entries =
        std::fs::read_dir(house.dir.join("tenants")).map_err(|error| error.to_string())?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let files: BTreeSet<String> = names
        .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect();
    if files == listed {
        Ok(())
    } else {
        Err(format!("the landlord knows {listed:?}, and there are {files:?}").into())
    }
}
