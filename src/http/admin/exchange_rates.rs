//! `POST /v1/admin/exchange-rates/import`: the central bank's history, for houses without a network
//! and for the past.

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::extract::{Body, FromBody, Landlord};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::landlord::published_rates::Corrections;
use crate::outbound::ecb;
use crate::primitives::Publication;

/// A file, whole.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryBody {
    csv: String,
    #[serde(default)]
    corrections_are_right: bool,
}

/// What is in it, and what its corrections are held against.
pub struct History(Publication, Corrections);

impl FromBody for History {
    type Wire = HistoryBody;

    fn from_wire(wire: HistoryBody, faults: &mut Faults) -> Option<Self> {
        let corrections = match wire.corrections_are_right {
            true => Corrections::Right,
            false => Corrections::Compared,
        };
        let publication = faults.take("/csv", ecb::parse_csv(wire.csv.as_bytes()))?;
        Some(Self(publication, corrections))
    }
}

/// Takes a file of rates, whole or not at all.
pub async fn import(
    house: Landlord,
    Body(History(publication, corrections)): Body<History>,
) -> Result<Json<Value>, Problem> {
    let left_out = publication.left_out.clone();
    let imported = house
        .app
        .published
        .import(house.origin, publication, corrections)
        .await?;
    Ok(Json(json!({
        "days": imported.days, "created": imported.created, "corrected": imported.corrected,
            "unchanged": imported.unchanged, "ended": imported.ended,
        "left_out": left_out,
    })))
}
