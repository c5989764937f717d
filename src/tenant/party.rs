//! The seller and the buyer as documents show them. Every part is optional: a receipt needs none of
//! them, an invoice between businesses needs most.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

use crate::primitives::vat_id::VatIdError;
use crate::primitives::{Address, Country, Email, Name, VatId};

/// A seller or buyer. Members are sorted by name, because snapshots require it (see
/// `snapshot::canonical`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// The legal name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Name>,
    /// A number of the national tax office, in whatever form that country has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_id: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vat_id: Option<VatId>,
}

impl Party {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses a VAT id that a business of the country cannot have.
    pub fn check_vat_id(&self) -> Result<(), VatIdError> {
        match (&self.vat_id, self.country) {
            (Some(vat_id), Some(country)) => vat_id.require_country(country),
            _ => Ok(()),
        }
    }
}

impl ToSql for Party {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(self).expect("a party holds texts only");
        Ok(ToSqlOutput::from(text))
    }
}

impl FromSql for Party {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map_err(FromSqlError::other)
    }
}
