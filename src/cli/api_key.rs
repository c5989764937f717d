//! `tillbox api-key`: keys of tenants and of the landlord.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::json;

use super::client::{Client, DataDirMode};
use super::failure::{Exit, Failure};
use super::output::{facts, green, print, table, text};
use super::{Global, Json};
use crate::primitives::id::ApiKeyId;
use crate::primitives::{Name, Slug};
use crate::tenancy::Scope;

/// `tillbox api-key …`
#[derive(Debug, Subcommand)]
pub enum ApiKey {
    /// Create a key; it is shown only once, because only its hash is stored
    #[command(after_help = "\
Examples:
  tillbox api-key create --tenant corner --name 'Till 1' --scope pos catalog:read
  tillbox api-key create --tenant corner --name Bookkeeper --scope finance --scope reports
  tillbox api-key create --landlord --name Provisioning")]
    Create(Create),
    /// List keys, the newest first, including revoked ones
    List(List),
    /// Revoke a key; it is rejected from then on
    Revoke(Revoke),
}

/// The owner of the keys.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Owner {
    /// The tenant that owns the key
    #[arg(long, value_name = "S")]
    tenant: Option<Slug>,
    /// A landlord key: manages tenants, but has no access to their data
    #[arg(long)]
    landlord: bool,
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    owner: Owner,
    /// A name that says what the key is for
    #[arg(long, value_name = "N")]
    name: Name,
    /// The scopes of the key; list several, or repeat the option
    #[arg(long = "scope", value_name = "SCOPE", num_args = 1..,
        required_unless_present = "landlord", conflicts_with = "landlord",
          value_parser = PossibleValuesParser::new(scopes_of_a_tenant()))]
    scopes: Vec<String>,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
pub struct Revoke {
    /// The key's id, as `list` shows it
    id: ApiKeyId,
}

fn scopes_of_a_tenant() -> Vec<&'static str> {
    let scopes = Scope::ALL.iter().filter(|scope| **scope != Scope::Landlord);
    scopes.map(|scope| scope.as_str()).collect()
}

impl ApiKey {
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let mode = if matches!(self, Self::Create(_)) {
            DataDirMode::MayCreate
        } else {
            DataDirMode::MustExist
        };
        let client = Client::connect(&global.config()?, mode)?;
        match self {
            Self::Create(create) => create.run(&client),
            Self::List(list) => list.run(&client),
            Self::Revoke(revoke) => {
                client.delete(&format!("/v1/landlord/api-keys/{}", revoke.id))?;
                print(&format!("revoked {}\n", revoke.id))?;
                Ok(Exit::Done)
            }
        }
    }
}

impl Owner {
    fn path(&self) -> String {
        match &self.tenant {
            Some(slug) => format!("/v1/landlord/tenants/{slug}/api-keys"),
            None => "/v1/landlord/api-keys".to_owned(),
        }
    }
}

impl Create {
    fn run(self, client: &Client) -> Result<Exit, Failure> {
        let key = client.post(
            &self.owner.path(),
            &json!({"name": self.name, "scopes": self.scopes}),
        )?;
        self.output.print(&key, || {
            let facts = facts(&[("id", text(&key["id"])), ("scopes", text(&key["scopes"]))]);
            format!(
                "{facts}\nAPI key (shown only now):\n{}\n",
                green(&text(&key["api_key"]))
            )
        })
    }
}

/// The shown members of a key.
const MEMBERS: [&str; 7] = [
    "id",
    "name",
    "prefix",
    "scopes",
    "created_at",
    "last_used_at",
    "revoked_at",
];

impl List {
    fn run(self, client: &Client) -> Result<Exit, Failure> {
        let keys = client.list(&self.owner.path())?;
        self.output.print(&json!(keys), || {
            let empty = "No keys found. Create one: tillbox api-key create";
            table(&MEMBERS, &keys, empty)
        })
    }
}
