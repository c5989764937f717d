//! `POST /v1/admin/exchange-rates/import`: imports the central bank's history, for instances
//! without network access and for past days.

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::extract::{Body, FromBody, Landlord};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::landlord::published_rates::Corrections;
use crate::outbound::ecb;
use crate::primitives::Publication;

/// A whole CSV file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryBody {
    csv: String,
    #[serde(default)]
    corrections_are_right: bool,
}

/// The content of the file, and the policy for its corrections.
pub struct History(Publication, Corrections);

impl FromBody for History {
    type Wire = HistoryBody;

    fn from_wire(wire: HistoryBody, faults: &mut RequestFaults) -> Option<Self> {
        let corrections = match wire.corrections_are_right {
            true => Corrections::Right,
            false => Corrections::Compared,
        };
        let publication = faults.check("/csv", ecb::parse_csv(wire.csv.as_bytes()))?;
        Some(Self(publication, corrections))
    }
}

/// Imports a file of rates, as a whole or not at all.
pub async fn import(
    landlord: Landlord,
    Body(History(publication, corrections)): Body<History>,
) -> Result<Json<Value>, Problem> {
    let left_out = publication.left_out.clone();
    let imported = landlord
        .app
        .stores
        .published
        .import(landlord.origin, publication, corrections)
        .await?;
    Ok(Json(json!({
        "days": imported.days, "created": imported.created, "corrected": imported.corrected,
            "unchanged": imported.unchanged, "ended": imported.ended,
        "left_out": left_out,
    })))
}
