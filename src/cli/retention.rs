//! `tillbox retention` and `tillbox audit`: what is not kept for ever.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Data};
use super::failure::{Exit, Failure};
use super::output::{Table, facts, note, print, print_json, text};
use super::{Global, Json};
use crate::primitives::Slug;
use crate::tenant::prune_now::PrunedNow;

const PATH: &str = "/v1/landlord/retention/prune";

/// `tillbox retention …`
#[derive(Debug, Subcommand)]
pub enum Retention {
    /// Delete what is older than [retention] keeps: audit entries, movements of stock, answers kept
    /// for repetitions, left carts, ended reservations, events
    #[command(after_help = "\
Examples:
  tillbox retention prune --dry-run
  tillbox retention prune --tenant corner --json
  tillbox retention prune --now answers,carts --tenant corner

The daemon does it every night by itself. Books are never pruned. Sales go on meanwhile. While the \
clock is not trusted (it was set, was behind, or nothing ran
for more than a week) nothing is deleted. `tillbox retention status` says how that ends; your word \
that it is right ends it at once: --clock-is-right.")]
    Prune(Prune),
    /// Show when it was done last and is due next, what holds it up, and what the nightly check has
    /// found
    Status(Json),
}

/// `tillbox audit …`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Delete the audit entries that are older than [retention] audit_days, and nothing else; what
    /// is left still verifies
    Prune(Prune),
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Delete nothing, and count what would go
    #[arg(long)]
    dry_run: bool,
    /// The shop; without it, all of them and the house's own file
    #[arg(long, value_name = "S")]
    tenant: Option<Slug>,
    /// Say that the clock is right now, whatever it has shown before
    #[arg(long, conflicts_with = "dry_run")]
    clock_is_right: bool,
    /// Delete at once, whatever its age, what callers without a key have stored: answers (of cart
    /// calls), carts (not ordered)
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind,
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
                "leave it out, or use: tillbox retention prune --now answers,carts",
            ));
        }
        let client = Client::connect(&global.config()?, Data::IsThere)?;
        let (mut pruned, mut failed) = (Vec::new(), Vec::new());
        let mut cursor: Option<String> = None;
        let mut is_word_due = self.clock_is_right;
        loop {
            let body = json!({"dry_run": self.dry_run, "tenant": self.tenant,
                "audit_only": audit_only, "clock_is_right": is_word_due, "now": self.now});
            let path = cursor.map_or_else(
                || PATH.to_owned(),
                |cursor| format!("{PATH}?cursor={cursor}"),
            );
            let mut page = client.post(&path, &body)?;
            is_word_due = false;
            take(&mut page, "pruned", &mut pruned);
            take(&mut page, "failed", &mut failed);
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
            print(&table.render("there is no shop"))?;
            if self.dry_run {
                note("nothing was deleted\n");
            }
        }
        if failed.is_empty() {
            return Ok(Exit::Done);
        }
        for shop in &failed {
            note(&format!(
                "{}: {} ({})\n",
                text(&shop["tenant"]),
                text(&shop["detail"]),
                text(&shop["code"])
            ));
        }
        let shops: Vec<String> = failed.iter().map(|shop| text(&shop["tenant"])).collect();
        let what = if self.dry_run {
            "could not be looked into"
        } else {
            "were not pruned, or not to the end"
        };
        Err(Failure::failed_with(
            format!("these shops {what}: {}", shops.join(", ")),
            "what is wrong with each stands above and in the log; run it again when that is mended",
        ))
    }
}

fn kind(text: &str) -> Result<PrunedNow, String> {
    PrunedNow::parse(text).ok_or_else(|| "write answers, carts or answers,carts".to_owned())
}

fn take(page: &mut Value, name: &str, into: &mut Vec<Value>) {
    if let Some(Value::Array(rows)) = page.get_mut(name).map(Value::take) {
        into.extend(rows);
    }
}

fn status(global: &Global, output: Json) -> Result<Exit, Failure> {
    let client = Client::connect(&global.config()?, Data::IsThere)?;
    let found = client.get("/v1/landlord/retention")?;
    if output.json {
        print_json(&found)?;
        return Ok(Exit::Done);
    }
    let doubt = match &found["clock_suspicion"] {
        Value::Null => "trusted".to_owned(),
        doubt => format!(
            "not trusted since {}: {}",
            text(&doubt["since"]),
            text(&doubt["reason"])
        ),
    };
    let mut known = vec![("time zone", text(&found["timezone"])), ("clock", doubt)];
    if let Some(ends) = found["clock_suspicion"]["ends"].as_str() {
        known.push(("it ends", ends.to_owned()));
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
        "nothing comes round",
    );
    let wrong = rows(
        "mismatches",
        &["tenant", "mismatches", "checked_at"],
        "no check has found anything",
    );
    let unchecked = rows(
        "unchecked",
        &["tenant", "tried_at", "checked_at", "reason"],
        "every file could be checked",
    );
    print(&format!("\n{tasks}\n{wrong}\n{unchecked}"))?;
    Ok(Exit::Done)
}
