//! `tillbox tenant`: creates and manages tenants.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, DataDirMode};
use super::failure::{Exit, Failure};
use super::output::{facts, green, print, print_json, print_stderr, table, text};
use super::{Global, Json};
use crate::primitives::{Country, Currency, HostName, Name, Slug, TaxClass, TaxRate, TimeZone};

/// `tillbox tenant …`
#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// Create a tenant: its file, its settings, its first API key
    #[command(after_help = "\
Examples:
  tillbox tenant create corner --name 'Corner Shop' --timezone Europe/Berlin \
    --prices-include-tax --tax standard=19% --tax reduced=7%
  tillbox tenant create kiosk --name Kiosk --currency CHF --domain kiosk.example.org --no-tax

A shop sells nothing before it has a tax rate or says that it charges none.

The API key has all scopes of a tenant. It is shown only once, because only its hash is stored.")]
    Create(Create),
    /// List the tenants, the newest first
    List(Json),
    /// Show a tenant
    Show(OneTenant),
    /// Suspend a tenant: its data is kept, but it cannot sell
    Suspend(OneTenant),
    /// Resume a suspended tenant
    Resume(OneTenant),
    /// Delete a tenant permanently: its file, its keys, its domains
    Delete(Delete),
    /// Check tenants' files and migrate them to the schema of this version
    #[command(after_help = "\
A tenant is also migrated at its first use. This command migrates at a time of your choice.

A file that is held after two disk failures is released if its tenant is named, but not by --all: \
check the disk first.")]
    Migrate(Migrate),
    /// Open a tenant's file although acknowledged sales are missing from it
    #[command(after_help = "\
A file that lacks acknowledged changes is not opened: it is an older copy, or its disk lost \
confirmed writes.
Restore the newest copy, and the tenant works again. Use this command only without a newer copy: \
it opens the file as it is.
The missing sales stay lost, their document numbers are assigned again, and the landlord's audit \
log records it.")]
    AcceptLoss(AcceptLoss),
}

#[derive(Debug, Args)]
pub struct Create {
    /// The short name for commands and headers: lowercase letters, digits and inner hyphens
    slug: Slug,
    /// The shop's name on documents
    #[arg(long, value_name = "N")]
    name: Name,
    /// The shop's currency (ISO 4217); it cannot be changed later
    #[arg(long, value_name = "CODE", default_value = "EUR", value_parser = Currency::parse)]
    currency: Currency,
    /// A host name of the storefront; may be repeated
    #[arg(long = "domain", value_name = "H")]
    domains: Vec<HostName>,
    /// The seller's country (ISO 3166-1); its tax rates are shown, and taken with --tax preset
    #[arg(long, value_name = "CC")]
    country: Option<Country>,
    /// The shop's time zone (IANA name): the year of an invoice number, the day of a report
    #[arg(long, value_name = "Z", default_value = "UTC")]
    timezone: TimeZone,
    /// Prices include tax, as consumer prices in Europe do
    #[arg(long)]
    prices_include_tax: bool,
    /// A tax rate from now on, such as "standard=19%", or "preset" for those of the country; may be
    /// repeated
    #[arg(long, value_name = "CLASS=RATE", conflicts_with = "no_tax")]
    tax: Vec<NewTax>,
    /// The shop charges no tax
    #[arg(long)]
    no_tax: bool,
    #[command(flatten)]
    output: Json,
}

/// A tax class with its rate (`standard=19%`), or `preset`.
#[derive(Clone, Debug)]
enum NewTax {
    Preset,
    Rate(TaxClass, TaxRate),
}

impl std::str::FromStr for NewTax {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "preset" {
            return Ok(Self::Preset);
        }
        let (class, rate) = text
            .split_once('=')
            .ok_or("has no `=`; write a class and its rate, such as standard=19%")?;
        let class = TaxClass::parse(class.trim()).map_err(|error| error.to_string())?;
        let rate = TaxRate::parse_percent(rate)
            .map_err(|_| "the rate is not a percentage from 0 to 100, such as 19% or 8.1%")?;
        Ok(Self::Rate(class, rate))
    }
}

#[derive(Debug, Args)]
pub struct OneTenant {
    /// The tenant
    slug: Slug,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// The tenant
    slug: Slug,
    /// Confirm the permanent deletion
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub struct AcceptLoss {
    /// The tenant
    slug: Slug,
    /// Confirm that there is no newer copy
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
#[group(skip)]
pub struct Migrate {
    /// The tenant
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    slug: Option<Slug>,
    /// All tenants
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Json,
}

impl Tenant {
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let config = global.config()?;
        if let Self::Delete(delete) = &self {
            delete.check()?;
        }
        if let Self::AcceptLoss(accept) = &self {
            accept.check()?;
        }
        let mode = if matches!(self, Self::Create(_)) {
            DataDirMode::MayCreate
        } else {
            DataDirMode::MustExist
        };
        let client = Client::connect(&config, mode)?;
        match self {
            Self::Create(create) => create.run(&client),
            Self::List(output) => list(&client, output),
            Self::Show(named) => show(named.output, &client.get(&path(&named.slug, ""))?),
            Self::Suspend(named) => show(
                named.output,
                &client.post(&path(&named.slug, "/suspend"), &Value::Null)?,
            ),
            Self::Resume(named) => show(
                named.output,
                &client.post(&path(&named.slug, "/resume"), &Value::Null)?,
            ),
            Self::Delete(delete) => delete.run(&client),
            Self::Migrate(migrate) => migrate.run(&client),
            Self::AcceptLoss(accept) => accept.run(&client),
        }
    }
}

fn path(slug: &Slug, rest: &str) -> String {
    format!("/v1/landlord/tenants/{slug}{rest}")
}

impl Create {
    /// The steps that are left before the first sale.
    fn tax_hint(&self, presets: &Value) -> String {
        if self.no_tax || !self.tax.is_empty() {
            return String::new();
        }
        let hint = "\nThe shop sells nothing before it has a tax rate: POST /v1/tax-rates, or \
            POST /v1/tax-rates/none\nif it charges no tax.\n";
        let presets = presets.as_array().map(Vec::as_slice).unwrap_or_default();
        if presets.is_empty() {
            return hint.to_owned();
        }
        let members = ["tax_class", "name", "valid_from", "source", "checked"];
        let rates = table(&members, presets, "");
        format!("{hint}\nKnown rates of the country (--tax preset takes them):\n{rates}")
    }

    fn run(self, client: &Client) -> Result<Exit, Failure> {
        let rate = |tax: &NewTax| match tax {
            NewTax::Preset => None,
            NewTax::Rate(class, rate) => Some(json!({"tax_class": class, "rate_ppm": rate})),
        };
        let tax: Vec<Value> = self.tax.iter().filter_map(rate).collect();
        let is_preset = self.tax.iter().any(|tax| matches!(tax, NewTax::Preset));
        let body = json!({"slug": self.slug, "name": self.name, "currency": self.currency,
            "domains": self.domains, "country": self.country, "timezone": self.timezone,
            "prices_include_tax": self.prices_include_tax, "tax": tax, "tax_preset": is_preset,
            "no_tax": self.no_tax});
        let tenant = client.post("/v1/landlord/tenants", &body)?;
        let printed = if self.output.json {
            print_json(&tenant)
        } else {
            print(&format!(
                "{}\n\nAPI key (all scopes, shown only now):\n{}\n{}",
                facts_of(&tenant).trim_end(),
                green(&text(&tenant["api_key"])),
                self.tax_hint(&tenant["tax_presets"])
            ))
        };
        printed.map_err(|_| {
            Failure::failed_with(
                format!(
                    "the tenant {} was created, but its key could not be printed",
                    self.slug
                ),
                format!(
                    "create another key: tillbox api-key create --tenant {} --name NAME --scope \
                     SCOPE",
                    self.slug
                ),
            )
        })?;
        Ok(Exit::Done)
    }
}

fn list(client: &Client, output: Json) -> Result<Exit, Failure> {
    let tenants = client.list("/v1/landlord/tenants")?;
    output.print(&json!(tenants), || {
        let empty = "No tenants found. Create one: tillbox tenant create SLUG --name NAME";
        table(&MEMBERS, &tenants, empty)
    })
}

fn show(output: Json, tenant: &Value) -> Result<Exit, Failure> {
    output.print(tenant, || facts_of(tenant))
}

/// The shown members of a tenant.
const MEMBERS: [&str; 7] = [
    "slug",
    "name",
    "currency",
    "status",
    "domains",
    "created_at",
    "id",
];

/// Labels and JSON pointers of the sizes of a tenant's file.
const SIZES: [(&str, &str); 11] = [
    ("disk used", "/disk/used_bytes"),
    ("share of the disk", "/disk/share_bytes"),
    ("documents", "/disk/parts/documents_bytes"),
    ("stored answers", "/disk/parts/answers_bytes"),
    ("carts", "/disk/parts/carts_bytes"),
    ("jobs", "/disk/parts/jobs_bytes"),
    ("audit trail", "/disk/parts/audit_bytes"),
    ("other", "/disk/parts/other_bytes"),
    ("free pages", "/disk/free_bytes"),
    ("WAL", "/disk/wal_bytes"),
    ("note", "/disk/note"),
];

fn facts_of(tenant: &Value) -> String {
    let labels = MEMBERS.map(|member| member.replace('_', " "));
    let mut known: Vec<_> = labels
        .iter()
        .zip(MEMBERS)
        .map(|(label, member)| (label.as_str(), text(&tenant[member])))
        .collect();
    let sizes = SIZES.iter().filter_map(|(name, pointer)| {
        let value = tenant.pointer(pointer).filter(|value| !value.is_null())?;
        let shown = value.as_u64().map_or_else(|| text(value), bytes);
        Some((*name, shown))
    });
    known.extend(sizes);
    facts(&known)
}

/// Formats bytes in KiB, MiB or GiB with one decimal place.
fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, factor)| bytes >= *factor);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(unit, factor)| {
            let tenths = u128::from(bytes) * 10 / u128::from(*factor);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        },
    )
}

impl Delete {
    fn check(&self) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        Err(Failure::usage(
            format!(
                "this would permanently delete the tenant `{}` with all its sales and books",
                self.slug
            ),
            "repeat the command with --yes to confirm",
        ))
    }

    fn run(self, client: &Client) -> Result<Exit, Failure> {
        client.delete(&path(&self.slug, ""))?;
        print(&format!("deleted {}\n", self.slug))?;
        Ok(Exit::Done)
    }
}

impl AcceptLoss {
    fn check(&self) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        Err(Failure::usage(
            format!(
                "this would abandon the sales that are missing from the file of `{}`",
                self.slug
            ),
            "if there is no newer copy, repeat the command with --yes",
        ))
    }

    fn run(self, client: &Client) -> Result<Exit, Failure> {
        let accepted = client.post(
            &format!("/v1/admin/tenants/{}/accept-loss", self.slug),
            &Value::Null,
        )?;
        if self.output.json {
            print_json(&accepted)?;
            return Ok(Exit::Done);
        }
        let of = |pointer: &str| {
            accepted
                .pointer(pointer)
                .and_then(Value::as_i64)
                .unwrap_or(0)
        };
        print(&format!(
            "{} is open again, as of ledger entry {} (it had {}) and audit entry {} (it had {})\n",
            self.slug,
            of("/found/ledger_seq"),
            of("/known/ledger_seq"),
            of("/found/audit_seq"),
            of("/known/audit_seq"),
        ))?;
        print_stderr(&format!(
            "\nCheck the remaining data: tillbox integrity check --tenant {0}\nIts unfinished jobs \
             are held, because they may have run since: tillbox queue release --tenant {0}\n",
            self.slug
        ));
        Ok(Exit::Done)
    }
}

impl Migrate {
    fn run(self, client: &Client) -> Result<Exit, Failure> {
        let body = json!({"release": self.slug.is_some()});
        let slugs = match self.slug {
            Some(slug) => vec![slug.to_string()],
            None => client
                .list("/v1/landlord/tenants")?
                .iter()
                .map(|tenant| text(&tenant["slug"]))
                .collect(),
        };
        let mut done = Vec::new();
        let mut first_failure = None;
        for slug in slugs {
            match client.post(&format!("/v1/admin/tenants/{slug}/migrate"), &body) {
                Ok(migrated) if migrated["released"] == true => {
                    done.push(json!({"slug": slug, "status": "released"}))
                }
                Ok(_) => done.push(json!({"slug": slug, "status": "ok"})),
                Err(failure) => {
                    done.push(
                        json!({"slug": slug, "status": "failed", "error": failure.message()}),
                    );
                    first_failure.get_or_insert(failure);
                }
            }
        }
        self.output.print(&json!(done), || {
            table(&["slug", "status", "error"], &done, "No tenants found.")
        })?;
        first_failure.map_or(Ok(Exit::Done), Err)
    }
}
