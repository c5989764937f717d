//! Countries as ISO 3166-1 names them: the two-letter codes, and which of them are in the
//! European Union. Names of countries are deliberately absent: pages take them from the browser.

use std::fmt;

/// The codes that ISO 3166-1 assigns, and `XK` for Kosovo: a user-assigned code that the European
/// Commission and the International Monetary Fund use.
const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ \
    BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ \
    DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP \
    GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI \
    KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP \
    MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM \
    PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX \
    SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU \
    WF WS XK YE YT ZA ZM ZW";

/// The member states of the European Union since 2020-02-01.
const MEMBER_STATES: &str = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT \
    RO SE SI SK";

/// A country or territory: an alpha-2 code of ISO 3166-1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country(&'static str);

/// The text is not a country.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CountryError {
    #[error("is not a country; use an ISO 3166-1 code of two capitals, such as DE")]
    Unknown,
    /// A code that other lists use: `EL` and `XI` of VAT ids, `UK` of everyday English.
    #[error("is not the ISO 3166-1 code of the country; write {0}")]
    OtherCode(Country),
}

impl Country {
    /// Parses a code in capitals, as ISO 3166-1 writes it.
    pub fn parse(code: &str) -> Result<Self, CountryError> {
        match code {
            "EL" => Err(CountryError::OtherCode(Self("GR"))),
            "UK" | "XI" => Err(CountryError::OtherCode(Self("GB"))),
            _ => CODES
                .split(' ')
                .find(|known| *known == code)
                .map(Self)
                .ok_or(CountryError::Unknown),
        }
    }

    /// The two-letter code.
    pub fn code(self) -> &'static str {
        self.0
    }

    /// Tells whether the country is a member state of the European Union. Territories of member
    /// states that have a code of their own (`AX`, `GP`, `RE` …) are not member states.
    pub fn is_in_eu(self) -> bool {
        MEMBER_STATES.split(' ').any(|state| state == self.0)
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Country {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::text::parsed(deserializer, Self::parse)
    }
}

impl std::str::FromStr for Country {
    type Err = CountryError;
    fn from_str(text: &str) -> Result<Self, CountryError> {
        Self::parse(text)
    }
}

impl serde::Serialize for Country {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_every_assigned_code_once() {
        let codes: Vec<&str> = CODES.split(' ').collect();
        assert_eq!(codes.len(), 249 + 1);
        assert!(codes.is_sorted_by(|a, b| a < b), "sorted, without doubles");
        for code in codes {
            let country = Country::parse(code).expect(code);
            assert_eq!((country.code(), country.to_string().as_str()), (code, code));
            assert_eq!(code.parse(), Ok(country));
        }
    }

    #[test]
    fn rejects_texts_that_are_not_codes() {
        for text in [
            "", " ", "D", "de", "De", "DEU", "DE ", "AB", "EU", "ZZ", "276", "ＤＥ", "AD AE",
        ] {
            assert_eq!(Country::parse(text), Err(CountryError::Unknown), "{text:?}");
        }
    }

    #[test]
    fn names_the_right_code_for_a_code_of_another_list() {
        for (text, right) in [("EL", "GR"), ("UK", "GB"), ("XI", "GB")] {
            let error = Country::parse(text).expect_err(text);
            assert_eq!(
                error.to_string(),
                format!("is not the ISO 3166-1 code of the country; write {right}")
            );
        }
    }

    #[test]
    fn knows_the_member_states() {
        let is_in_eu = |code| Country::parse(code).expect(code).is_in_eu();
        assert_eq!(MEMBER_STATES.split(' ').filter(|c| is_in_eu(c)).count(), 27);
        for code in ["GB", "CH", "NO", "XK", "AX", "RE", "MC", "US"] {
            assert!(!is_in_eu(code), "{code}");
        }
    }
}
