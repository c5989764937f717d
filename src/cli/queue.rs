//! `tillbox queue`: shows and controls the jobs of all tenants.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, DataDirMode};
use super::failure::{Exit, Failure};
use super::output::{Table, green, print, print_json, print_stderr, table, text};
use super::{Global, Json};
use crate::platform::alerts;
use crate::platform::queue::Queue;
use crate::primitives::id::JobId;
use crate::primitives::{Slug, Timestamp};

const METRICS: [&str; 7] = [
    "available",
    "scheduled",
    "running",
    "retryable",
    "held",
    "discarded",
    "cancelled",
];

/// `tillbox queue …`
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Show the depth and the state of the queues, and statistics of the last hour
    #[command(after_help = "\
Completed jobs are not counted. `discarded` jobs have failed for good; `tillbox queue failed` \
lists them.
`held` jobs wait until they are released (`tillbox queue release`), or until a version runs that \
knows their kind.
Statistics of the last hour need a running daemon.")]
    Status(Status),
    /// List the jobs that were discarded after their last attempt, with their last errors
    Failed(Failed),
    /// Make jobs available now: discarded and cancelled jobs start over, scheduled ones wait no
    /// longer
    #[command(after_help = "\
Examples:
  tillbox queue retry 01961f0e-4c7a-7000-8000-000000000001
  tillbox queue retry --all --tenant corner --queue default

--all selects the discarded jobs. Running jobs are not changed.")]
    Retry(Retry),
    /// Remove a discarded job, or cancel one that has not started; it never runs
    Forget(Forget),
    /// Remove all discarded jobs; running and waiting jobs are not changed
    Flush(Flush),
    /// Pause a queue of all tenants or of one, also over restarts, until it is resumed; running
    /// jobs finish
    #[command(after_help = "\
Examples:
  tillbox queue pause default                    the queue of all tenants
  tillbox queue pause default --tenant corner    the queue of one tenant
  tillbox queue pause --tenant corner            all queues of one tenant")]
    Pause(QueueSelection),
    /// Resume a paused queue; name the tenant if it was paused for one tenant
    Resume(QueueSelection),
    /// Release the jobs of a tenant that are held because its file was restored from a copy
    #[command(after_help = "\
Such a job may have run before, from the original of the copy: its mail may have been sent.
`tillbox queue forget` removes a job that must not run; `tillbox queue retry` releases one job.")]
    Release(Release),
}

#[derive(Debug, Args)]
pub struct Status {
    /// The tenant; default: all tenants
    #[arg(long, value_name = "S")]
    tenant: Option<Slug>,
    #[command(flatten)]
    output: Json,
}

/// A selection of jobs.
#[derive(Debug, Args)]
pub struct JobFilter {
    /// The tenant; default: all tenants
    #[arg(long, value_name = "S")]
    tenant: Option<Slug>,
    /// The queue; default: all queues
    #[arg(long, value_name = "Q", value_parser = PossibleValuesParser::new(names()))]
    queue: Option<String>,
}

#[derive(Debug, Args)]
pub struct Failed {
    #[command(flatten)]
    filter: JobFilter,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
#[group(skip)]
pub struct Retry {
    /// The job's id, as `failed` shows it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Option<JobId>,
    /// All discarded jobs
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: JobFilter,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
pub struct Forget {
    /// The job's id, as `failed` shows it
    id: JobId,
    /// The job's tenant; default: search all tenants
    #[arg(long, value_name = "S")]
    tenant: Option<Slug>,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
pub struct Flush {
    #[command(flatten)]
    filter: JobFilter,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
#[group(skip)]
pub struct QueueSelection {
    /// The queue; may be omitted with --tenant: all queues
    #[arg(value_name = "Q", value_parser = PossibleValuesParser::new(names()),
        required_unless_present = "tenant")]
    queue: Option<String>,
    /// The tenant; default: all tenants
    #[arg(long, value_name = "S")]
    tenant: Option<Slug>,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
pub struct Release {
    /// The tenant
    #[arg(long, value_name = "S")]
    tenant: Slug,
    #[command(flatten)]
    output: Json,
}

fn names() -> Vec<&'static str> {
    Queue::ALL.iter().map(|queue| queue.as_str()).collect()
}

impl QueueCommand {
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        if let Self::Retry(retry) = &self {
            retry.check()?;
        }
        let client = Client::connect(&global.config()?, DataDirMode::MustExist)?;
        match self {
            Self::Status(status) => status.run(&client),
            Self::Failed(failed) => failed.run(&client),
            Self::Retry(retry) => retry.run(&client),
            Self::Forget(forget) => forget.run(&client),
            Self::Flush(flush) => sweep(&client, &flush.filter, "flush", "forgotten", flush.output),
            Self::Pause(selection) => selection.run(&client, "pause"),
            Self::Resume(selection) => selection.run(&client, "resume"),
            Self::Release(release) => release.run(&client),
        }
    }
}

/// Adds the query parameters that have a value to a path.
fn with_query(path: &str, parts: &[(&str, Option<&str>)]) -> String {
    let parts = parts
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", (*value)?)));
    let query = parts.collect::<Vec<_>>().join("&");
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

fn job_path(id: JobId, rest: &str, tenant: Option<&Slug>) -> String {
    let path = format!("/v1/landlord/queue/jobs/{id}{rest}");
    with_query(&path, &[("tenant", tenant.map(Slug::as_str))])
}

/// Lists the tenants on all pages whose files are unavailable.
fn unavailable(pages: &[Value]) -> Vec<Value> {
    let of = |page: &Value| page["unavailable"].as_array().cloned().unwrap_or_default();
    pages.iter().flat_map(of).collect()
}

fn report_unavailable(tenants: &[Value]) {
    if !tenants.is_empty() {
        let tenants = text(&Value::Array(tenants.to_vec()));
        print_stderr(&format!(
            "not included, because their files are unavailable: {tenants}\n"
        ));
    }
}

impl Status {
    fn run(self, client: &Client) -> Result<Exit, Failure> {
        let path = with_query(
            "/v1/landlord/queue/stats",
            &[("tenant", self.tenant.as_ref().map(Slug::as_str))],
        );
        let pages = client.pages(&path)?;
        let (queues, unavailable) = (summed(&pages), unavailable(&pages));
        if self.output.json {
            let tenants: i64 = pages
                .iter()
                .filter_map(|page| page["tenants"].as_i64())
                .sum();
            let last_hour = pages
                .first()
                .map_or(Value::Null, |page| page["last_hour"].clone());
            print_json(
                &json!({"queues": queues, "last_hour": last_hour, "tenants": tenants,
                    "unavailable": unavailable}),
            )?;
            return Ok(Exit::Done);
        }
        let mut table = Table::new(&[
            "queue",
            "state",
            "workers",
            "available",
            "scheduled",
            "running",
            "retryable",
            "held",
            "discarded",
            "cancelled",
            "oldest ready",
        ]);
        for queue in &queues {
            let state = if queue["paused"] == true {
                "paused"
            } else {
                "open"
            };
            let mut cells = vec![
                text(&queue["queue"]),
                state.to_owned(),
                text(&queue["workers"]),
            ];
            cells.extend(METRICS.map(|name| text(&queue[name])));
            cells.push(text(&queue["oldest_ready_at"]));
            table.row(cells);
        }
        print(&table.render("No queues found."))?;
        print_paused(&queues)?;
        print_last_hour(pages.first())?;
        report_unavailable(&unavailable);
        Ok(Exit::Done)
    }
}

/// Prints the tenants for which a queue is paused individually.
fn print_paused(queues: &[Value]) -> Result<(), Failure> {
    for queue in queues {
        for paused in queue["paused_tenants"].as_array().into_iter().flatten() {
            let (tenant, at) = (text(&paused["tenant"]), text(&paused["paused_at"]));
            print(&format!(
                "{} of {tenant} is paused since {at}\n",
                text(&queue["queue"])
            ))?;
        }
    }
    Ok(())
}

/// Prints the statistics of the last hour by job kind; nothing if no job ran.
fn print_last_hour(page: Option<&Value>) -> Result<(), Failure> {
    let kinds = page
        .and_then(|page| page["last_hour"].as_array())
        .map_or(&[][..], Vec::as_slice);
    if kinds.is_empty() {
        return Ok(());
    }
    let headings = [
        "last hour",
        "kind",
        "completed",
        "retried",
        "discarded",
        "wait p50",
        "wait p99",
        "run p50",
        "run p99",
    ];
    let mut table = Table::new(&headings);
    for kind in kinds {
        let mut cells: Vec<String> = ["queue", "kind", "completed", "retried", "discarded"]
            .map(|name| text(&kind[name]))
            .into();
        cells.extend(
            ["wait_p50_us", "wait_p99_us", "run_p50_us", "run_p99_us"]
                .map(|name| duration(&kind[name])),
        );
        table.row(cells);
    }
    print(&format!("\n{}", table.render("")))
}

/// Formats microseconds with a suitable unit.
fn duration(us: &Value) -> String {
    match us.as_u64() {
        None => String::new(),
        Some(us) if us < 10_000 => format!("{us} µs"),
        Some(us) if us < 10_000_000 => format!("{} ms", us / 1_000),
        Some(us) => format!("{} s", us / 1_000_000),
    }
}

/// Sums the counts of each queue over all pages.
fn summed(pages: &[Value]) -> Vec<Value> {
    let mut queues = pages
        .first()
        .and_then(|page| page["queues"].as_array().cloned())
        .unwrap_or_default();
    for page in pages.iter().skip(1) {
        for (queue, more) in queues
            .iter_mut()
            .zip(page["queues"].as_array().into_iter().flatten())
        {
            for name in METRICS {
                queue[name] =
                    json!(queue[name].as_i64().unwrap_or(0) + more[name].as_i64().unwrap_or(0));
            }
            let instants = [&queue["oldest_ready_at"], &more["oldest_ready_at"]];
            let oldest = instants
                .into_iter()
                .filter_map(|at| Timestamp::parse(at.as_str()?).ok())
                .min();
            queue["oldest_ready_at"] = json!(oldest);
        }
    }
    queues
}

/// The shown members of a discarded job.
const FAILED: [&str; 7] = [
    "id",
    "tenant",
    "queue",
    "kind",
    "attempts",
    "failed_at",
    "error",
];

impl Failed {
    fn run(self, client: &Client) -> Result<Exit, Failure> {
        let tenant = self.filter.tenant.as_ref().map(Slug::as_str);
        let filters = [
            ("state", Some("discarded")),
            ("tenant", tenant),
            ("queue", self.filter.queue.as_deref()),
        ];
        let mut pages = client.pages(&with_query("/v1/landlord/queue/jobs", &filters))?;
        let mut jobs = Vec::new();
        for page in &mut pages {
            if let Value::Array(data) = page["data"].take() {
                jobs.extend(data);
            }
        }
        let shown = |job: &Value| {
            json!({"id": job["id"], "tenant": job["tenant"], "queue": job["queue"],
                "kind": job["kind"], "attempts": job["attempt"],
                "failed_at": job["finalized_at"], "error": job["last_error"]["error"]})
        };
        self.output.print(&json!(jobs), || {
            let rows: Vec<Value> = jobs.iter().map(shown).collect();
            table(&FAILED, &rows, "No discarded jobs found.")
        })?;
        report_unavailable(&unavailable(&pages));
        Ok(Exit::Done)
    }
}

impl Retry {
    fn check(&self) -> Result<(), Failure> {
        if self.all || self.filter.queue.is_none() {
            return Ok(());
        }
        Err(Failure::usage(
            "--queue cannot be combined with a job id",
            "omit --queue",
        ))
    }

    fn run(self, client: &Client) -> Result<Exit, Failure> {
        let Some(id) = self.id else {
            return sweep(client, &self.filter, "retry", "retried", self.output);
        };
        let job = client.post(
            &job_path(id, "/retry", self.filter.tenant.as_ref()),
            &Value::Null,
        )?;
        self.output.print(&job, || {
            let (tenant, state) = (text(&job["tenant"]), text(&job["state"]));
            format!("{id} of {tenant} is {state}\n")
        })
    }
}

impl Forget {
    fn run(self, client: &Client) -> Result<Exit, Failure> {
        let removed = client.delete(&job_path(self.id, "", self.tenant.as_ref()))?;
        self.output.print(&removed, || {
            let (outcome, tenant) = (text(&removed["outcome"]), text(&removed["tenant"]));
            format!("{outcome} {} of {tenant}\n", self.id)
        })
    }
}

/// Applies an action to all discarded jobs, a limited number per call. A failure in one tenant does
/// not affect the others.
fn sweep(
    client: &Client,
    filter: &JobFilter,
    action: &str,
    done: &str,
    output: Json,
) -> Result<Exit, Failure> {
    let (tenant, queue) = (
        filter.tenant.as_ref().map(Slug::as_str),
        filter.queue.as_deref(),
    );
    let (mut rows, mut failure, mut cursor) = (Vec::new(), None, None::<String>);
    loop {
        let parts = [
            ("tenant", tenant),
            ("queue", queue),
            ("cursor", cursor.as_deref()),
        ];
        match client.post(
            &with_query(&format!("/v1/landlord/queue/{action}"), &parts),
            &Value::Null,
        ) {
            // The results of earlier calls are still printed.
            Err(failed) => {
                failure.get_or_insert(failed);
                break;
            }
            Ok(page) => {
                add_swept(&mut rows, &page, done);
                if let Some(failed) = page["failed"].as_array().and_then(|failed| failed.first()) {
                    failure.get_or_insert_with(|| {
                        Failure::failed(format!(
                            "{}: {}",
                            text(&failed["tenant"]),
                            text(&failed["detail"])
                        ))
                    });
                }
                cursor = page["next_cursor"].as_str().map(str::to_owned);
            }
        }
        if cursor.is_none() {
            break;
        }
    }
    output.print(&json!(rows), || {
        let members = ["tenant", done, "skipped", "error"];
        table(&members, &rows, "No discarded jobs found.")
    })?;
    failure.map_or(Ok(Exit::Done), Err)
}

/// Adds the results of a call to the rows, one per tenant: sums of the counts, or the error.
fn add_swept(rows: &mut Vec<Value>, page: &Value, done: &str) {
    for swept in page["swept"].as_array().into_iter().flatten() {
        let (changed, skipped) = (
            swept["changed"].as_i64().unwrap_or(0),
            swept["skipped"].as_i64().unwrap_or(0),
        );
        match rows.iter_mut().find(|row| row["tenant"] == swept["tenant"]) {
            Some(row) => {
                row[done] = json!(row[done].as_i64().unwrap_or(0) + changed);
                row["skipped"] = json!(row["skipped"].as_i64().unwrap_or(0) + skipped);
            }
            None => rows.push(
                json!({"tenant": swept["tenant"], done: changed, "skipped": skipped,
                "error": null}),
            ),
        }
    }
    for failed in page["failed"].as_array().into_iter().flatten() {
        match rows
            .iter_mut()
            .find(|row| row["tenant"] == failed["tenant"])
        {
            Some(row) => row["error"] = failed["detail"].clone(),
            None => rows.push(json!({"tenant": failed["tenant"], done: 0, "skipped": 0,
                "error": failed["detail"]})),
        }
    }
}

impl QueueSelection {
    fn run(self, client: &Client, action: &str) -> Result<Exit, Failure> {
        let names: Vec<&str> = match &self.queue {
            Some(name) => vec![name],
            None => names(),
        };
        let tenant = self.tenant.as_ref().map(Slug::as_str);
        let mut queues = Vec::new();
        for name in names {
            let path = with_query(
                &format!("/v1/landlord/queue/{name}/{action}"),
                &[("tenant", tenant)],
            );
            queues.push(client.post(&path, &Value::Null)?);
        }
        if self.output.json {
            let all = self.queue.is_none();
            print_json(&if all {
                Value::Array(queues)
            } else {
                queues.remove(0)
            })?;
            return Ok(Exit::Done);
        }
        let of = tenant.map_or_else(String::new, |tenant| format!(" of {tenant}"));
        for queue in queues {
            let name = text(&queue["queue"]);
            if queue["paused"] == true {
                print(&format!(
                    "{name}{of} is paused since {}\n",
                    text(&queue["paused_at"])
                ))?;
                if name == alerts::QUEUE.as_str() {
                    print("alerts about discarded jobs wait in it until it is resumed\n")?;
                }
                if let Some(calls) = queue["under_way"].as_u64().filter(|calls| *calls > 0) {
                    print(&format!(
                        "{calls} calls of its jobs are running and will finish\n"
                    ))?;
                }
            } else {
                print(&format!("{name}{of} is {}\n", green("open")))?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Release {
    fn run(self, client: &Client) -> Result<Exit, Failure> {
        let path = with_query(
            "/v1/landlord/queue/release",
            &[("tenant", Some(self.tenant.as_str()))],
        );
        let released = client.post(&path, &Value::Null)?;
        if self.output.json {
            print_json(&released)?;
            return Ok(Exit::Done);
        }
        print(&format!(
            "{} jobs of {} released\n",
            text(&released["released"]),
            self.tenant
        ))?;
        if released["superseded"].as_i64().unwrap_or(0) > 0 {
            print_stderr(&format!(
                "{} cancelled, because newer jobs replace them\n",
                text(&released["superseded"])
            ));
        }
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_counts_over_pages() {
        let page = |available: i64, oldest: Value| {
            json!({"queues": [{"queue": "low",
            "paused": true, "available": available, "oldest_ready_at": oldest}]})
        };
        let (late, early) = (
            json!("2026-01-15T10:00:00.001Z"),
            json!("2026-01-15T10:00:00Z"),
        );
        let queues = summed(&[page(1, late), page(2, Value::Null), page(4, early.clone())]);
        assert_eq!(queues.len(), 1);
        assert_eq!(
            (&queues[0]["available"], &queues[0]["oldest_ready_at"]),
            (&json!(7), &early)
        );
        assert_eq!(
            (&queues[0]["discarded"], &queues[0]["paused"]),
            (&json!(0), &json!(true))
        );
    }
}
