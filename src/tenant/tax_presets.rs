//! Proposed VAT rates of ten countries: a data file, each rate with its law and the day of the
//! newest text that confirms it. A shop takes them only when it asks for them.
//!
//! Rates of regions (Corsica, the Canary Islands, the French overseas departments) and parking
//! rates are deliberately absent. So is Austria's rate of 4.9 % for basic foods: the government
//! announced it for 2026-07-01, and the text of the law could not be checked.

use std::sync::LazyLock;

use crate::primitives::{Country, Day, Name, TaxClass, TaxRate};

/// The proposed rate of a tax class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preset {
    pub country: Country,
    /// `standard`, `reduced`, `reduced-2`, `super-reduced` or `zero`.
    pub tax_class: TaxClass,
    /// Its name on receipts, in the language of the country.
    pub name: Name,
    pub rate: TaxRate,
    /// The first day of the rate without an interruption until today.
    pub valid_from: Day,
    /// The article of the law.
    pub source: Name,
    /// The date of the newest text found that confirms the rate, which may precede its start.
    pub checked: Day,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    country: String,
    tax_class: String,
    name: String,
    rate_ppm: i64,
    valid_from: String,
    source: String,
    checked: String,
}

static PRESETS: LazyLock<Vec<Preset>> = LazyLock::new(|| {
    let entries: Vec<Entry> =
        serde_json::from_str(include_str!("tax_presets.json")).expect("tested: a list of entries");
    entries.iter().map(preset).collect()
});

fn preset(entry: &Entry) -> Preset {
    Preset {
        country: Country::parse(&entry.country).expect("tested: a country"),
        tax_class: TaxClass::parse(&entry.tax_class).expect("tested: a tax class"),
        name: Name::parse(&entry.name).expect("tested: a name"),
        rate: TaxRate::from_ppm(entry.rate_ppm).expect("tested: a rate"),
        valid_from: Day::parse(&entry.valid_from).expect("tested: a day"),
        source: Name::parse(&entry.source).expect("tested: a source"),
        checked: Day::parse(&entry.checked).expect("tested: a day"),
    }
}

/// The proposed rates of a country, the standard rate first; none for most countries.
pub fn presets_of(country: Country) -> &'static [Preset] {
    PRESETS
        .chunk_by(|a, b| a.country == b.country)
        .find(|presets| presets[0].country == country)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::tax::STANDARD;

    const COUNTRIES: [&str; 10] = ["AT", "BE", "CH", "DE", "ES", "FR", "GB", "IT", "NL", "PL"];

    fn presets(code: &str) -> &'static [Preset] {
        presets_of(Country::parse(code).expect(code))
    }

    /// The rate that a name states: 55,000 for `TVA 5,5 %`.
    fn stated_ppm(name: &str) -> i64 {
        let (_, percent) = name.split_once(' ').expect("a tax and its rate");
        let percent = percent.trim_end_matches([' ', '%']);
        let (whole, tenths) = percent.split_once(',').unwrap_or((percent, "0"));
        assert_eq!(tenths.len(), 1, "{name}");
        let [whole, tenths] = [whole, tenths].map(|digits| digits.parse::<i64>().expect(name));
        whole * 10_000 + tenths * 1_000
    }

    #[test]
    fn has_a_standard_rate_of_each_country_first() {
        let of_countries: usize = COUNTRIES.iter().map(|code| presets(code).len()).sum();
        assert_eq!(of_countries, PRESETS.len(), "sorted by country, no others");
        for code in COUNTRIES {
            let [standard, others @ ..] = presets(code) else {
                panic!("{code} has no preset");
            };
            assert_eq!(standard.tax_class.as_str(), STANDARD, "{code}");
            assert!(
                others.iter().all(|other| other.rate < standard.rate),
                "{code}"
            );
            let mut classes: Vec<_> = others.iter().map(|other| &other.tax_class).collect();
            classes.sort();
            classes.dedup();
            assert_eq!(classes.len(), others.len(), "{code}: each class once");
        }
        assert_eq!(presets("US"), []);
    }

    #[test]
    fn states_the_rate_in_the_name() {
        for preset in PRESETS.iter() {
            assert_eq!(
                stated_ppm(preset.name.as_str()),
                preset.rate.ppm(),
                "{preset:?}"
            );
        }
    }
}
