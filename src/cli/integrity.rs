//! `tillbox integrity`: checks that a tenant's books, documents and stock agree.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, DataDirMode};
use super::failure::{Exit, Failure};
use super::output::{green, print, print_json, print_stderr, red, table, text};
use super::{Global, Json};
use crate::primitives::Slug;

/// `tillbox integrity …`
#[derive(Debug, Subcommand)]
pub enum Integrity {
    /// Check the files of tenants and landlord: pages, sums, documents and their hashes, ledger,
    /// number series, stock, audit chains
    #[command(after_help = "\
Examples:
  tillbox integrity check
  tillbox integrity check --tenant corner --json

The check changes nothing, and sales go on meanwhile. Exit code 0: PASS. 3: FAIL, with a list of \
mismatches.")]
    Check(Check),
}

#[derive(Debug, Args)]
pub struct Check {
    /// The tenant; default: all tenants and the landlord's file
    #[arg(long, value_name = "S")]
    tenant: Option<Slug>,
    #[command(flatten)]
    output: Json,
}

impl Integrity {
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::Check(check) = self;
        check.run(global)
    }
}

impl Check {
    fn run(self, global: &Global) -> Result<Exit, Failure> {
        let client = Client::connect(&global.config()?, DataDirMode::MustExist)?;
        let with_landlord = self.tenant.is_none();
        let slugs = match self.tenant {
            Some(slug) => {
                // A missing tenant is an error, not a mismatch.
                client.get(&format!("/v1/landlord/tenants/{slug}"))?;
                vec![slug.to_string()]
            }
            None => client
                .list("/v1/landlord/tenants")?
                .iter()
                .map(|tenant| text(&tenant["slug"]))
                .collect(),
        };
        let mut findings = Findings::default();
        if with_landlord {
            findings.check(&client, None);
        }
        slugs
            .iter()
            .for_each(|slug| findings.check(&client, Some(slug)));
        report(&slugs, findings, self.output.json)
    }
}

/// The findings in all files.
#[derive(Default)]
struct Findings {
    mismatches: Vec<Value>,
    notes: Vec<Value>,
}

impl Findings {
    /// Checks a tenant's file, or with `None` the landlord's.
    fn check(&mut self, client: &Client, tenant: Option<&str>) {
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

fn report(slugs: &[String], findings: Findings, json: bool) -> Result<Exit, Failure> {
    let Findings { mismatches, notes } = findings;
    let passes = mismatches.is_empty();
    let verdict = if passes { "PASS" } else { "FAIL" };
    if json {
        print_json(
            &json!({"result": verdict, "tenants": slugs, "mismatches": mismatches, "notes": notes}),
        )?;
    } else if passes {
        print(&format!("{}\n", green(verdict)))?;
        print_stderr(&match slugs.len() {
            0 => "no tenants to check\n".to_owned(),
            1 => format!("tenant {} checked\n", slugs[0]),
            tenants => format!("{tenants} tenants checked\n"),
        });
    } else {
        let members = ["tenant", "check", "detail"];
        print(&format!(
            "{}\n{}",
            red(verdict),
            table(&members, &mismatches, "")
        ))?;
    }
    if !json {
        for entry in &notes {
            print_stderr(&format!(
                "{}: {}\n",
                entry["tenant"].as_str().unwrap_or("landlord"),
                text(&entry["note"])
            ));
        }
    }
    Ok(if passes {
        Exit::Done
    } else {
        Exit::CheckFailed
    })
}
