//! Tax classes with their rates over time, and tax arithmetic per rate, exact to the minor unit.
//!
//! Tax is computed once per rate over the sum of its lines (per line the roundings would add up),
//! rounded half up, and distributed over the lines by the largest remainder. So lines, rates and
//! total agree to the last minor unit.

use serde_json::json;

use super::settings;
use crate::platform::audit;
use crate::platform::page::{Page, PageRequest};
use crate::primitives::id::{TaxRateId, TaxRateKind};
use crate::primitives::{
    DayOrInstant, Money, MoneyError, Name, Rounding, TaxClass, TaxRate, Timestamp, refusals,
};
use crate::storage::{Row, Rows, StorageError, TenantView, TenantWork, params, statements};

/// Columns that [`rate_row`] reads.
macro_rules! columns {
    () => {
        "id, tax_class, name, rate_ppm, valid_from, used"
    };
}

statements! {
    INSERT = "INSERT INTO tax_rate (id, tax_class, name, rate_ppm, valid_from, created_at) VALUES \
        (?1, ?2, ?3, ?4, ?5, ?6)";
    UPDATE = "UPDATE tax_rate SET name = ?2, rate_ppm = ?3, valid_from = ?4 WHERE id = ?1";
    DELETE = "DELETE FROM tax_rate WHERE id = ?1";
    MARK_USED = "UPDATE tax_rate SET used = 1 WHERE id = ?1 AND used = 0";
    FIND = concat!("SELECT ", columns!(), " FROM tax_rate WHERE id = ?1");
    AT = concat!("SELECT ", columns!(), " FROM tax_rate WHERE tax_class = ?1 AND valid_from <= ?2 \
        ORDER BY valid_from DESC LIMIT 1");
    FIRST = concat!("SELECT ", columns!(), " FROM tax_rate WHERE tax_class = ?1 \
        AND valid_from IS NOT NULL ORDER BY valid_from LIMIT 1");
    NONE = concat!("SELECT ", columns!(), " FROM tax_rate WHERE tax_class = ?1 AND valid_from IS \
        NULL");
    EXISTS = "SELECT 1 FROM tax_rate WHERE tax_class = ?1 LIMIT 1";
    SAME_START = "SELECT id FROM tax_rate WHERE tax_class = ?1 AND valid_from = ?2";
    PAGE = concat!("SELECT ", columns!(), ", seq FROM tax_rate WHERE seq < ?1 ORDER BY seq DESC \
        LIMIT ?2");
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
    /// `None`: "no tax", which counts only while the class has no other rate.
    pub valid_from: Option<Timestamp>,
    /// Whether a line of an order has it. Then it is final.
    pub used: bool,
}

/// The command to add a rate.
#[derive(Clone, Debug)]
pub struct AddRate {
    /// The first rate of a new class creates it.
    pub tax_class: TaxClass,
    /// Its name on documents.
    pub name: Name,
    pub rate: TaxRate,
    /// A day begins in the shop's time zone; default: now.
    pub valid_from: Option<DayOrInstant>,
}

/// The command to correct a rate that no order has; a field that is `None` stays unchanged.
#[derive(Clone, Debug)]
pub struct CorrectRate {
    pub id: TaxRateId,
    pub name: Option<Name>,
    pub rate: Option<TaxRate>,
    pub valid_from: Option<DayOrInstant>,
}

refusals! {
    /// Reasons to refuse a rate.
    pub enum TaxRefused {
        RateNotFound(TaxRateId): NotFound "tax_rate_not_found",
            "there is no tax rate {0} in this shop; check the id";
        /// An order has the rate on its lines.
        RateInUse: Conflict "tax_rate_in_use",
            "the rate is on documents of this shop, and documents never change; add a rate with a \
             later valid_from instead";
        /// The class has a rate with the same beginning.
        SameStart(TaxClass, TaxRateId): Conflict "tax_rate_exists",
            "the class `{0}` has a rate from that instant already; choose another valid_from, or \
             correct that rate with PATCH /v1/tax-rates/{1}";
        UnknownClass(TaxClass): Invalid "unknown_tax_class",
            "there is no tax class `{0}`; add a rate for it first";
        /// Nothing is sold before the shop has said what tax it charges.
        NotConfigured(TaxClass): Conflict "tax_not_configured",
            "the tax class `{0}` has no rate; add one with POST /v1/tax-rates, or say that this \
             shop charges no tax with POST /v1/tax-rates/none";
        /// "No tax" for a shop that has rates.
        HasRates: Conflict "tax_is_configured",
            "the class `standard` has rates already; add a rate of 0 to end them";
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
        used: row.get("used")?,
    })
}

/// Adds a rate to a class.
pub fn add_rate(work: &mut TenantWork, command: &AddRate) -> Result<RateOfClass, TaxRefused> {
    let valid_from = match command.valid_from {
        Some(start) => instant(work, start)?,
        None => work.now(),
    };
    let AddRate {
        tax_class,
        name,
        rate,
        ..
    } = command;
    let added = insert(work, tax_class, name, *rate, Some(valid_from))?;
    record(work, "tax_rate.added", &added)?;
    Ok(added)
}

/// Inserts the first rates of a new shop, or its explicit "no tax".
pub fn seed(work: &mut TenantWork, rates: &[AddRate], no_tax: bool) -> Result<(), TaxRefused> {
    let now = work.now();
    for rate in rates {
        let valid_from = rate
            .valid_from
            .map_or(Ok(now), |start| instant(work, start))?;
        let added = insert(
            work,
            &rate.tax_class,
            &rate.name,
            rate.rate,
            Some(valid_from),
        )?;
        record(work, "tax_rate.added", &added)?;
    }
    if no_tax {
        insert_no_tax(work)?;
    }
    Ok(())
}

/// Says that the shop charges no tax: the standard class gets a rate of 0 % without a beginning.
/// The first other rate of the class ends it.
///
/// # Errors
/// `HasRates`.
pub fn set_no_tax(work: &mut TenantWork) -> Result<RateOfClass, TaxRefused> {
    let standard = TaxClass::parse(STANDARD).expect("a plain class");
    if work.find(&FIRST, params![standard], rate_row)?.is_some() {
        return Err(TaxRefused::HasRates);
    }
    if let Some(none) = work.find(&NONE, params![standard], rate_row)? {
        return Ok(none);
    }
    let added = insert_no_tax(work)?;
    record(work, "tax_rate.added", &added)?;
    Ok(added)
}

fn insert_no_tax(work: &mut TenantWork) -> Result<RateOfClass, TaxRefused> {
    let standard = TaxClass::parse(STANDARD).expect("a plain class");
    let name = Name::parse("No tax").expect("a plain name");
    let rate = TaxRate::from_ppm(0).expect("in range");
    insert(work, &standard, &name, rate, None)
}

fn instant(view: &TenantView, start: DayOrInstant) -> Result<Timestamp, StorageError> {
    Ok(start.start(&settings::shop(view)?.timezone))
}

fn insert(
    work: &mut TenantWork,
    tax_class: &TaxClass,
    name: &Name,
    rate: TaxRate,
    valid_from: Option<Timestamp>,
) -> Result<RateOfClass, TaxRefused> {
    refuse_same_start(work, tax_class, valid_from, None)?;
    let (id, now) = (work.new_id::<TaxRateKind>(), work.now());
    work.insert(&INSERT, params![id, tax_class, name, rate, valid_from, now])?;
    let added = RateOfClass {
        id,
        tax_class: tax_class.clone(),
        name: name.clone(),
        rate,
        valid_from,
        used: false,
    };
    Ok(added)
}

fn refuse_same_start(
    view: &TenantView,
    tax_class: &TaxClass,
    valid_from: Option<Timestamp>,
    own: Option<TaxRateId>,
) -> Result<(), TaxRefused> {
    let same = view.find(&SAME_START, params![tax_class, valid_from], |row| {
        row.get(0)
    })?;
    match same {
        Some(id) if Some(id) != own => Err(TaxRefused::SameStart(tax_class.clone(), id)),
        _ => Ok(()),
    }
}

fn record(
    work: &mut TenantWork,
    action: &'static str,
    rate: &RateOfClass,
) -> Result<(), StorageError> {
    let details = json!({"tax_class": rate.tax_class, "name": rate.name, "rate_ppm": rate.rate,
        "valid_from": rate.valid_from});
    audit::record(work, action, &format!("tax_rate:{}", rate.id), details)
}

/// A rate that may still change.
fn unused(view: &TenantView, id: TaxRateId) -> Result<RateOfClass, TaxRefused> {
    let rate = view.find(&FIND, params![id], rate_row)?;
    let rate = rate.ok_or(TaxRefused::RateNotFound(id))?;
    if rate.used {
        return Err(TaxRefused::RateInUse);
    }
    Ok(rate)
}

/// Corrects a rate that no order has yet.
///
/// # Errors
/// `RateNotFound`, `RateInUse`, `SameStart`.
pub fn correct_rate(
    work: &mut TenantWork,
    command: &CorrectRate,
) -> Result<RateOfClass, TaxRefused> {
    let mut rate = unused(work, command.id)?;
    let before = rate.clone();
    if let Some(start) = command.valid_from {
        rate.valid_from = Some(instant(work, start)?);
    }
    rate.name = command.name.clone().unwrap_or(rate.name);
    rate.rate = command.rate.unwrap_or(rate.rate);
    if rate.valid_from.is_none() && rate.rate.ppm() != 0 {
        // A tax needs a beginning; "no tax" becomes the first rate.
        rate.valid_from = Some(work.now());
    }
    if rate == before {
        return Ok(rate);
    }
    refuse_same_start(work, &rate.tax_class, rate.valid_from, Some(rate.id))?;
    work.change(
        &UPDATE,
        params![rate.id, rate.name, rate.rate, rate.valid_from],
        Rows::Exactly(1),
    )?;
    record(work, "tax_rate.corrected", &rate)?;
    Ok(rate)
}

/// Withdraws a rate that no order has yet.
///
/// # Errors
/// `RateNotFound`, `RateInUse`.
pub fn withdraw_rate(work: &mut TenantWork, id: TaxRateId) -> Result<(), TaxRefused> {
    let rate = unused(work, id)?;
    work.change(&DELETE, params![id], Rows::Exactly(1))?;
    record(work, "tax_rate.withdrawn", &rate)?;
    Ok(())
}

/// Makes rates final: an order has them on its lines.
pub fn mark_used(work: &mut TenantWork, ids: &[TaxRateId]) -> Result<(), StorageError> {
    for id in ids {
        work.change(&MARK_USED, params![id], Rows::Exactly(1))?;
    }
    Ok(())
}

pub fn list_rates(view: &TenantView, page: PageRequest) -> Result<Page<RateOfClass>, StorageError> {
    page.read(view, &PAGE, rate_row)
}

/// The rate of a class at an instant. A sale before the first rate gets that first rate: the sale
/// has taken place, and hardly was without tax. "No tax" counts only while the class has no other
/// rate; a shop without tax until a date adds a rate of 0 % before it.
///
/// # Errors
/// `NotConfigured` when the class has no rate at all.
pub fn rate_at(
    view: &TenantView,
    tax_class: &TaxClass,
    at: Timestamp,
) -> Result<RateOfClass, TaxRefused> {
    if let Some(rate) = view.find(&AT, params![tax_class, at], rate_row)? {
        return Ok(rate);
    }
    if let Some(first) = view.find(&FIRST, params![tax_class], rate_row)? {
        return Ok(first);
    }
    view.find(&NONE, params![tax_class], rate_row)?
        .ok_or_else(|| TaxRefused::NotConfigured(tax_class.clone()))
}

/// Refuses a class that has no rate at all. The standard class exists from the beginning, so that
/// a catalog can be entered before the tax.
///
/// # Errors
/// `UnknownClass`.
pub fn require_class(view: &TenantView, tax_class: &TaxClass) -> Result<(), TaxRefused> {
    if tax_class.as_str() == STANDARD {
        return Ok(());
    }
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
