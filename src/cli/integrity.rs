//! `tillbox integrity`: whether a shop's books, documents and stock agree.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Data};
use super::failure::{Exit, Failure};
use super::output::{Table, bad, good, note, print, print_json, text};
use super::{Global, Json};
use crate::primitives::Slug;

/// `tillbox integrity …`
#[derive(Debug, Subcommand)]
pub enum Integrity {
    /// Check shops' files and the house's own: pages, sums, documents and their hashes, ledger,
    /// number series, stock, audit chains
    #[command(after_help = "\
Examples:
  tillbox integrity check
  tillbox integrity check --tenant corner --json

It changes nothing, and sales go on meanwhile. Exit code 0: PASS. 3: something does not agree; \
each mismatch is listed.")]
    Check(Check),
}

#[derive(Debug, Args)]
pub struct Check {
    /// The shop; without it, all of them
    #[arg(long, value_name = "S")]
    tenant: Option<Slug>,
    #[command(flatten)]
    output: Json,
}

impl Integrity {
    /// Runs it.
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::Check(check) = self;
        check.run(global)
    }
}

impl Check {
    fn run(self, global: &Global) -> Result<Exit, Failure> {
        let client = Client::connect(&global.config()?, Data::IsThere)?;
        let with_landlord = self.tenant.is_none();
        let slugs = match self.tenant {
            Some(slug) => {
                // One that is not there is no finding.
                client.get(&format!("/v1/landlord/tenants/{slug}"))?;
                vec![slug.to_string()]
            }
            None => client
                .list("/v1/landlord/tenants")?
                .iter()
                .map(|tenant| text(&tenant["slug"]))
                .collect(),
        };
        let mut found = Found::default();
        if with_landlord {
            // What is of the house has no tenant's name.
            found.look(&client, None);
        }
        slugs
            .iter()
            .for_each(|slug| found.look(&client, Some(slug)));
        report(&slugs, found, self.output.json)
    }
}

/// What was found in all files.
#[derive(Default)]
struct Found {
    mismatches: Vec<Value>,
    notes: Vec<Value>,
}

impl Found {
    fn look(&mut self, client: &Client, tenant: Option<&str>) {
        match client.post("/v1/admin/integrity", &json!({"tenant": tenant})) {
            Ok(report) => {
                for found in report["mismatches"].as_array().into_iter().flatten() {
                    self.mismatches
                        .push(json!({"tenant": tenant, "check": found["check"],
                            "detail": found["detail"]}));
                }
                for note in report["notes"].as_array().into_iter().flatten() {
                    self.notes.push(json!({"tenant": tenant, "note": note}));
                }
            }
            Err(failure) => self
                .mismatches
                .push(json!({"tenant": tenant, "check": "file", "detail": failure.message()})),
        }
    }
}

fn report(slugs: &[String], found: Found, json: bool) -> Result<Exit, Failure> {
    let Found { mismatches, notes } = found;
    let passes = mismatches.is_empty();
    let verdict = if passes { "PASS" } else { "FAIL" };
    if json {
        print_json(
            &json!({"result": verdict, "tenants": slugs, "mismatches": mismatches, "notes": notes}),
        )?;
    } else if passes {
        print(&format!("{}\n", good(verdict)))?;
        note(&match slugs.len() {
            0 => "there is no shop that could be checked\n".to_owned(),
            1 => format!("the shop {} was checked\n", slugs[0]),
            shops => format!("{shops} shops were checked\n"),
        });
    } else {
        let mut table = Table::new(&["tenant", "check", "detail"]);
        mismatches.iter().for_each(|found| {
            table.row(["tenant", "check", "detail"].map(|name| text(&found[name])))
        });
        print(&format!("{}\n{}", bad(verdict), table.render("")))?;
    }
    if !json {
        for one in &notes {
            note(&format!(
                "{}: {}\n",
                one["tenant"].as_str().unwrap_or("the house"),
                text(&one["note"])
            ));
        }
    }
    Ok(if passes { Exit::Done } else { Exit::FoundWrong })
}
