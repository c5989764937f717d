//! VAT ids: the form and the check digits, offline. Whether an id is registered is deliberately
//! absent: only the tax authorities know (VIES), and a sale does not wait for them.

mod rules;
#[cfg(test)]
mod tests;

use std::fmt;

use self::rules::Rule;
use super::Country;
use super::limits::{VAT_ID_CHARS_MAX, VAT_ID_LETTERS_MAX, VAT_ID_LETTERS_MIN};

/// Territories with a code of their own whose businesses have the VAT ids of another country:
/// Monaco and the Isle of Man (Directive 2006/112/EC, art. 7), Åland, and the French overseas
/// departments with Saint-Martin.
const TERRITORIES: &[(&str, &str)] = &[
    ("AX", "FI"),
    ("GF", "FR"),
    ("GP", "FR"),
    ("IM", "GB"),
    ("MC", "FR"),
    ("MF", "FR"),
    ("MQ", "FR"),
    ("RE", "FR"),
    ("YT", "FR"),
];

/// A VAT id with its prefix, in capitals and without separators: `DE136695976`.
///
/// The form and the check digits are right where their rules are known; an id of another country
/// is any 4 to 20 letters and digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct VatId(String);

/// The reason why a VAT id is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VatIdError {
    /// The text does not begin with a country.
    #[error("has no country prefix; write it with the prefix, such as DE136695976")]
    Prefix,
    /// The rules of the country are unknown, and no VAT id looks like this.
    #[error(
        "is not a VAT id; write {VAT_ID_LETTERS_MIN} to {VAT_ID_LETTERS_MAX} letters and digits, \
         the country prefix included"
    )]
    UnknownForm,
    #[error("is not a VAT id of {country}; write it like {example}")]
    Form {
        country: Country,
        example: &'static str,
    },
    /// A typing error, or an invented id.
    #[error("has a wrong check digit; compare it with the document that it was copied from")]
    Checksum,
    #[error("is a VAT id of {id_country}, not of {country}; correct the VAT id or the country")]
    CountryMismatch {
        id_country: Country,
        country: Country,
    },
}

impl VatId {
    /// Parses a VAT id with its prefix. Blanks, dots and dashes are removed, and letters become
    /// capitals. `GR` is read as `EL`, the prefix of Greece.
    pub fn parse(text: &str) -> Result<Self, VatIdError> {
        if text.chars().count() > VAT_ID_CHARS_MAX {
            return Err(VatIdError::UnknownForm);
        }
        let id: String = text
            .chars()
            .filter(|c| !is_separator(*c))
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let (prefix, number) = id.split_at_checked(2).ok_or(VatIdError::Prefix)?;
        let prefix = if prefix == "GR" { "EL" } else { prefix };
        let country = country_of(prefix).ok_or(VatIdError::Prefix)?;
        match Rule::of(prefix) {
            Some(rule) if !rule.has_form(number) => Err(VatIdError::Form {
                country,
                example: rule.example,
            }),
            Some(rule) if !rule.has_valid_check(number) => Err(VatIdError::Checksum),
            None if !has_plausible_form(&id) => Err(VatIdError::UnknownForm),
            _ => Ok(Self(format!("{prefix}{number}"))),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The country that issued the id: `GR` for `EL`, `GB` for `XI` (Northern Ireland).
    pub fn country(&self) -> Country {
        country_of(&self.0[..2]).expect("a VAT id begins with a country")
    }

    /// Tells whether a business in the country may have this id.
    pub fn belongs_to(&self, country: Country) -> bool {
        let issuer = TERRITORIES
            .iter()
            .find(|(territory, _)| *territory == country.code())
            .map_or(country.code(), |(_, issuer)| issuer);
        [issuer, country.code()].contains(&self.country().code())
    }

    /// Refuses the id for a business in another country.
    pub fn require_country(&self, country: Country) -> Result<(), VatIdError> {
        if self.belongs_to(country) {
            return Ok(());
        }
        Err(VatIdError::CountryMismatch {
            id_country: self.country(),
            country,
        })
    }
}

/// Blanks, dots and dashes, those of typesetters included: ids are copied from documents.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, '.' | '-' | '\u{2010}'..='\u{2014}')
}

fn country_of(prefix: &str) -> Option<Country> {
    let code = match prefix {
        "EL" => "GR",
        "XI" => "GB",
        _ => prefix,
    };
    Country::parse(code).ok()
}

fn has_plausible_form(id: &str) -> bool {
    (VAT_ID_LETTERS_MIN..=VAT_ID_LETTERS_MAX).contains(&id.len())
        && id.bytes().all(|c| c.is_ascii_alphanumeric())
}

impl fmt::Display for VatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> serde::Deserialize<'de> for VatId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::text::parsed(deserializer, Self::parse)
    }
}

impl std::str::FromStr for VatId {
    type Err = VatIdError;
    fn from_str(text: &str) -> Result<Self, VatIdError> {
        Self::parse(text)
    }
}
