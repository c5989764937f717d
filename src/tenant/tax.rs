//! Tax classes with their rates over time, and tax arithmetic per rate, exact to the minor unit.
//!
//! Tax is computed once per rate over the sum of its lines (per line the roundings would add up),
//! rounded half up, and distributed over the lines by the largest remainder. So lines, rates and
//! total agree to the last minor unit.

use serde_json::json;

use crate::platform::audit;
use crate::platform::page::{Page, PageRequest};
use crate::primitives::id::{TaxRateId, TaxRateKind};
use crate::primitives::{
    Money, MoneyError, Name, Rounding, TaxClass, TaxRate, Timestamp, refusals,
};
use crate::storage::{Row, StorageError, TenantView, TenantWork, params, statements};

statements! {
    INSERT = "INSERT INTO tax_rate (id, tax_class, name, rate_ppm, valid_from, created_at) VALUES \
        (?1, ?2, ?3, ?4, ?5, ?6)";
    AT = "SELECT id, tax_class, name, rate_ppm, valid_from FROM tax_rate WHERE tax_class = ?1 AND \
        valid_from <= ?2 ORDER BY valid_from DESC LIMIT 1";
    FIRST_AFTER = "SELECT id, tax_class, name, rate_ppm, valid_from FROM tax_rate WHERE tax_class \
        = ?1 AND valid_from > ?2 ORDER BY valid_from LIMIT 1";
    EXISTS = "SELECT 1 FROM tax_rate WHERE tax_class = ?1 LIMIT 1";
    SAME_START = "SELECT 1 FROM tax_rate WHERE tax_class = ?1 AND valid_from = ?2";
    PAGE = "SELECT id, tax_class, name, rate_ppm, valid_from, seq FROM tax_rate WHERE seq < ?1 \
        ORDER BY seq DESC LIMIT ?2";
}

/// The class of every shop, and the default class of a product.
pub const STANDARD: &str = "standard";

/// A rate of a class, valid from an instant until the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateOfClass {
    pub id: TaxRateId,
    pub tax_class: TaxClass,
    /// Its name on documents: `VAT 19 %`.
    pub name: Name,
    pub rate: TaxRate,
    pub valid_from: Timestamp,
}

/// The command to add a rate.
#[derive(Clone, Debug)]
pub struct AddRate {
    /// The first rate of a new class creates it.
    pub tax_class: TaxClass,
    /// Its name on documents.
    pub name: Name,
    pub rate: TaxRate,
    /// Default: now.
    pub valid_from: Option<Timestamp>,
}

refusals! {
    /// Reasons to refuse a rate.
    pub enum TaxRefused {
        /// The class has a rate with the same beginning.
        SameStart(TaxClass): Conflict "tax_rate_exists",
            "the class `{0}` has a rate from that instant already; choose another valid_from";
        UnknownClass(TaxClass): Invalid "unknown_tax_class",
            "there is no tax class `{0}`; add a rate for it first";
    }
    inherits { Storage(StorageError) }
}

fn rate_row(row: &Row<'_>) -> rusqlite::Result<RateOfClass> {
    Ok(RateOfClass {
        id: row.get("id")?,
        tax_class: row.get("tax_class")?,
        name: row.get("name")?,
        rate: row.get("rate_ppm")?,
        valid_from: row.get("valid_from")?,
    })
}

/// The earliest instant: the beginning of the rate that every shop starts with.
fn beginning() -> Timestamp {
    Timestamp::from_millis_clamped(i64::MIN)
}

/// Inserts the standard class at 0 %, for a shop that sets no rate.
pub fn seed(work: &mut TenantWork) -> Result<(), StorageError> {
    let (id, now) = (work.new_id::<TaxRateKind>(), work.now());
    let since = beginning();
    work.insert(&INSERT, params![id, STANDARD, "No tax", 0, since, now])
}

/// Adds a rate to a class.
pub fn add_rate(work: &mut TenantWork, command: &AddRate) -> Result<RateOfClass, TaxRefused> {
    let (id, now) = (work.new_id::<TaxRateKind>(), work.now());
    let valid_from = command.valid_from.unwrap_or(now);
    if work
        .find(&SAME_START, params![command.tax_class, valid_from], |_| {
            Ok(())
        })?
        .is_some()
    {
        return Err(TaxRefused::SameStart(command.tax_class.clone()));
    }
    work.insert(
        &INSERT,
        params![
            id,
            command.tax_class,
            command.name,
            command.rate,
            valid_from,
            now
        ],
    )?;
    let details =
        json!({"tax_class": command.tax_class, "rate_ppm": command.rate, "valid_from": valid_from});
    audit::record(work, "tax_rate.added", &format!("tax_rate:{id}"), details)?;
    Ok(RateOfClass {
        id,
        tax_class: command.tax_class.clone(),
        name: command.name.clone(),
        rate: command.rate,
        valid_from,
    })
}

pub fn list_rates(view: &TenantView, page: PageRequest) -> Result<Page<RateOfClass>, StorageError> {
    page.read(view, &PAGE, rate_row)
}

/// The rate of a class at an instant. A sale before the first rate that the shop set gets that
/// first rate: the sale has taken place, and hardly was without tax. The initial rate of 0 % counts
/// only while no other rate is set; a shop without tax until a date sets a rate of 0 % before it.
///
/// # Errors
/// `UnknownClass` when the class has no rate at all.
pub fn rate_at(
    view: &TenantView,
    tax_class: &TaxClass,
    at: Timestamp,
) -> Result<RateOfClass, TaxRefused> {
    let found = view.find(&AT, params![tax_class, at], rate_row)?;
    if let Some(rate) = found.as_ref().filter(|rate| !is_seeded(rate)) {
        return Ok(rate.clone());
    }
    let first = view.find(&FIRST_AFTER, params![tax_class, beginning()], rate_row)?;
    first
        .or(found)
        .ok_or_else(|| TaxRefused::UnknownClass(tax_class.clone()))
}

/// Whether a rate is the initial one of every shop.
fn is_seeded(rate: &RateOfClass) -> bool {
    rate.valid_from == beginning() && rate.tax_class.as_str() == STANDARD
}

/// Refuses a class that has no rate at all.
///
/// # Errors
/// `UnknownClass`.
pub fn require_class(view: &TenantView, tax_class: &TaxClass) -> Result<(), TaxRefused> {
    view.find(&EXISTS, params![tax_class], |_| Ok(()))?
        .ok_or_else(|| TaxRefused::UnknownClass(tax_class.clone()))
}

/// Net amounts and taxes of the lines of one rate; they add up to the sums of the rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaxedGroup {
    /// Net amount of each line.
    pub nets: Vec<Money>,
    /// Tax of each line.
    pub taxes: Vec<Money>,
    /// Sum of the net amounts.
    pub net: Money,
    /// Sum of the taxes.
    pub tax: Money,
}

/// The net amount and the tax of a price, which includes the tax if `included`.
pub fn split(amount: Money, rate: TaxRate, included: bool) -> Result<(Money, Money), MoneyError> {
    let denominator = if included {
        TaxRate::ONE + rate.ppm()
    } else {
        TaxRate::ONE
    };
    let tax = amount.ratio(rate.ppm(), denominator, Rounding::HalfUp)?;
    let net = if included { amount.minus(tax)? } else { amount };
    Ok((net, tax))
}

/// Taxes the lines of one rate. `amounts` are the lines' prices, including tax if `included`.
///
/// # Errors
/// [`MoneyError`] when a sum is too large or the currencies differ.
///
/// # Panics
/// When `amounts` is empty.
pub fn tax_group(
    amounts: &[Money],
    rate: TaxRate,
    included: bool,
) -> Result<TaxedGroup, MoneyError> {
    let currency = amounts
        .first()
        .expect("a group has at least one line")
        .currency();
    let sum = amounts
        .iter()
        .try_fold(Money::zero(currency), |sum, amount| sum.plus(*amount))?;
    let (net, tax) = split(sum, rate, included)?;
    let weights: Vec<i64> = amounts.iter().map(|amount| amount.minor()).collect();
    let taxes = if tax.is_zero() {
        vec![Money::zero(currency); amounts.len()]
    } else {
        tax.allocate(&weights)?
    };
    let nets: Vec<Money> = if included {
        amounts
            .iter()
            .zip(&taxes)
            .map(|(amount, tax)| amount.minus(*tax))
            .collect::<Result<_, _>>()?
    } else {
        amounts.to_vec()
    };
    Ok(TaxedGroup {
        nets,
        taxes,
        net,
        tax,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::primitives::Currency;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::parse("EUR").expect("known")).expect("small")
    }

    #[test]
    fn distributes_last_cent_over_thirds() {
        let rate = TaxRate::from_ppm(190_000).expect("19 %");
        let group = tax_group(&[eur(33), eur(33), eur(33)], rate, false).expect("small");
        assert_eq!((group.net, group.tax), (eur(99), eur(19)));
        assert_eq!(group.taxes, [eur(7), eur(6), eur(6)]);
        let group = tax_group(&[eur(119), eur(119)], rate, true).expect("small");
        assert_eq!((group.net, group.tax), (eur(200), eur(38)));
    }

    proptest! {
        #[test]
        fn lines_sum_to_their_rate_exactly(amounts in prop::collection::vec(0_i64..10_000_000,
            1..40), ppm in 0_i64..=1_000_000, included: bool) {
            let rate = TaxRate::from_ppm(ppm).expect("in range");
            let amounts: Vec<Money> = amounts.into_iter().map(eur).collect();
            let group = tax_group(&amounts, rate, included).expect("small");
            let sum = |parts: &[Money]| parts.iter().map(|part| part.minor()).sum::<i64>();
            prop_assert_eq!(sum(&group.taxes), group.tax.minor());
            prop_assert_eq!(sum(&group.nets), group.net.minor());
            let base = sum(&amounts);
            let gross = group.net.minor() + group.tax.minor();
            prop_assert_eq!(if included { gross } else { group.net.minor() }, base);
            prop_assert!(group.nets.iter().chain(&group.taxes).all(|part| part.minor() >= 0));
            // Within half a unit of the exact tax on the net amount.
            let exact = i128::from(group.net.minor()) * i128::from(ppm);
            prop_assert!((i128::from(group.tax.minor()) * 1_000_000 - exact).abs() <= 1_000_000);
        }
    }
}
