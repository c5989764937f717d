//! `tillbox retention` and `tillbox audit`: deletes old records.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, DataDirMode};
use super::failure::{Exit, Failure};
use super::output::{Table, facts, print, print_json, print_stderr, text};
use super::{Global, Json};
use crate::primitives::Slug;
use crate::tenant::prune_now::PrunedNow;

const PATH: &str = "/v1/landlord/retention/prune";

/// `tillbox retention …`
#[derive(Debug, Subcommand)]
pub enum Retention {
    /// Delete records that are older than [retention] allows: audit entries, stock movements,
    /// answers stored for idempotency keys, abandoned carts, ended reservations, events
    #[command(after_help = "\
Examples:
  tillbox retention prune --dry-run
  tillbox retention prune --tenant corner --json
  tillbox retention prune --now answers,carts --tenant corner

The daemon prunes every night, while sales go on. Orders, payments, invoices and the ledger are \
never pruned.
Nothing is deleted while the clock is suspect: it was set, was behind, or nothing ran for more \
than a week.
`tillbox retention status` shows when it is trusted again; --clock-is-right confirms it at once.")]
    Prune(Prune),
    /// Show the last and next runs, the state of the clock, and the findings of the nightly check
    Status(Json),
}

/// `tillbox audit …`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Delete only audit entries that are older than [retention] audit_days; the remaining entries
    /// still verify
    Prune(Prune),
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Delete nothing; count the rows that would be deleted
    #[arg(long)]
    dry_run: bool,
    /// The tenant; default: all tenants and the landlord's file
    #[arg(long, value_name = "S")]
    tenant: Option<Slug>,
    /// Confirm that the clock is right now
    #[arg(long, conflicts_with = "dry_run")]
    clock_is_right: bool,
    /// Delete data of callers without a key now, whatever its age: answers (of cart calls), carts
    /// (not ordered)
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = parse_kind,
        conflicts_with = "clock_is_right")]
    now: Vec<PrunedNow>,
    #[command(flatten)]
    output: Json,
}

impl Retention {
    /// Runs it.
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        match self {
            Self::Prune(prune) => prune.run(global, false),
            Self::Status(output) => status(global, output),
        }
    }
}

impl Audit {
    /// Runs it.
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::Prune(prune) = self;
        prune.run(global, true)
    }
}

impl Prune {
    fn run(self, global: &Global, audit_only: bool) -> Result<Exit, Failure> {
        if audit_only && !self.now.is_empty() {
            return Err(Failure::usage(
                "--now deletes no audit entries",
                "omit it, or use: tillbox retention prune --now answers,carts",
            ));
        }
        let client = Client::connect(&global.config()?, DataDirMode::MustExist)?;
        let (mut pruned, mut failed) = (Vec::new(), Vec::new());
        let mut cursor: Option<String> = None;
        // Confirmed by the first request only.
        let mut clock_is_right = self.clock_is_right;
        loop {
            let body = json!({"dry_run": self.dry_run, "tenant": self.tenant,
                "audit_only": audit_only, "clock_is_right": clock_is_right, "now": self.now});
            let path = cursor.map_or_else(
                || PATH.to_owned(),
                |cursor| format!("{PATH}?cursor={cursor}"),
            );
            let mut page = client.post(&path, &body)?;
            clock_is_right = false;
            append(&mut page, "pruned", &mut pruned);
            append(&mut page, "failed", &mut failed);
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        if self.output.json {
            print_json(&json!({"dry_run": self.dry_run, "pruned": pruned, "failed": failed}))?;
        } else {
            let mut table = Table::new(&["tenant", "table", "rows", "cut_off"]);
            for row in &pruned {
                table.row(["tenant", "table", "rows", "cut_off"].map(|name| text(&row[name])));
            }
            print(&table.render("No tenants found."))?;
            if self.dry_run {
                print_stderr("nothing was deleted\n");
            }
        }
        if failed.is_empty() {
            return Ok(Exit::Done);
        }
        for row in &failed {
            print_stderr(&format!(
                "{}: {} ({})\n",
                text(&row["tenant"]),
                text(&row["detail"]),
                text(&row["code"])
            ));
        }
        let tenants: Vec<String> = failed.iter().map(|row| text(&row["tenant"])).collect();
        let problem = if self.dry_run {
            "could not be counted"
        } else {
            "were not or not completely pruned"
        };
        Err(Failure::failed_with(
            format!("these tenants {problem}: {}", tenants.join(", ")),
            "fix the errors listed above and in the log, then run the command again",
        ))
    }
}

fn parse_kind(text: &str) -> Result<PrunedNow, String> {
    PrunedNow::parse(text).ok_or_else(|| "write answers, carts or answers,carts".to_owned())
}

/// Moves the rows of a page's list to the end of `into`.
fn append(page: &mut Value, name: &str, into: &mut Vec<Value>) {
    if let Some(Value::Array(rows)) = page.get_mut(name).map(Value::take) {
        into.extend(rows);
    }
}

fn status(global: &Global, output: Json) -> Result<Exit, Failure> {
    let client = Client::connect(&global.config()?, DataDirMode::MustExist)?;
    let found = client.get("/v1/landlord/retention")?;
    if output.json {
        print_json(&found)?;
        return Ok(Exit::Done);
    }
    let clock = match &found["clock_suspicion"] {
        Value::Null => "trusted".to_owned(),
        suspicion => format!(
            "suspect since {}: {}",
            text(&suspicion["since"]),
            text(&suspicion["reason"])
        ),
    };
    let mut known = vec![("time zone", text(&found["timezone"])), ("clock", clock)];
    if let Some(ends) = found["clock_suspicion"]["ends"].as_str() {
        known.push(("trusted again", ends.to_owned()));
    }
    print(&facts(&known))?;
    let rows = |name: &str, columns: &[&str], empty: &str| {
        let mut table = Table::new(columns);
        for row in found[name].as_array().into_iter().flatten() {
            table.row(columns.iter().map(|column| text(&row[*column])));
        }
        table.render(empty)
    };
    let tasks = rows(
        "tasks",
        &["task", "last_run_at", "next_run_at"],
        "No tasks found.",
    );
    let mismatches = rows(
        "mismatches",
        &["tenant", "mismatches", "checked_at"],
        "No mismatches found.",
    );
    let unchecked = rows(
        "unchecked",
        &["tenant", "tried_at", "checked_at", "reason"],
        "All files were checked.",
    );
    print(&format!("\n{tasks}\n{mismatches}\n{unchecked}"))?;
    Ok(Exit::Done)
}
