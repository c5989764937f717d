//! The seller and the buyer in bodies and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::form::present;
use crate::http::faults::RequestFaults;
use crate::primitives::{Address, Country, Email, Name, VatId};
use crate::tenant::party::Party;

/// The buyer as documents name it. Every part may be left out; a receipt needs none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BuyerBody {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Name)]
    name: Option<String>,
    /// The postal address, in up to six lines.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Address)]
    address: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Country)]
    country: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = VatId)]
    vat_id: Option<String>,
}

impl BuyerBody {
    /// Parses a buyer; one without any part is none.
    pub fn parse(self, faults: &mut RequestFaults) -> Option<Option<Party>> {
        let name = faults.optional("/buyer/name", self.name.as_deref().map(Name::parse));
        let address = faults.optional(
            "/buyer/address",
            self.address.as_deref().map(Address::parse),
        );
        let country = faults.optional(
            "/buyer/country",
            self.country.as_deref().map(Country::parse),
        );
        let vat_id = faults.optional("/buyer/vat_id", self.vat_id.as_deref().map(VatId::parse));
        let party = Party {
            address: address?,
            country: country?,
            name: name?,
            vat_id: vat_id?,
            ..Party::default()
        };
        faults.check("/buyer/vat_id", party.check_vat_id())?;
        Some((!party.is_empty()).then_some(party))
    }
}

/// The buyer of an order.
#[derive(Serialize, ToSchema)]
pub struct BuyerView {
    name: Option<Name>,
    address: Option<Address>,
    country: Option<Country>,
    vat_id: Option<VatId>,
}

impl From<Party> for BuyerView {
    fn from(party: Party) -> Self {
        Self {
            name: party.name,
            address: party.address,
            country: party.country,
            vat_id: party.vat_id,
        }
    }
}

/// The seller or the buyer of a document, as it was issued.
#[derive(Serialize, ToSchema)]
pub struct PartyView {
    name: Option<Name>,
    address: Option<Address>,
    country: Option<Country>,
    vat_id: Option<VatId>,
    tax_id: Option<Name>,
    email: Option<Email>,
    phone: Option<Name>,
}

impl From<Party> for PartyView {
    fn from(party: Party) -> Self {
        Self {
            name: party.name,
            address: party.address,
            country: party.country,
            vat_id: party.vat_id,
            tax_id: party.tax_id,
            email: party.email,
            phone: party.phone,
        }
    }
}
