//! Use cases: Set a rate; find the valid rate; store the rate that a document uses.

use serde_json::json;

use super::model::{AddRate, CurrencyRefused, HoldingRate, Published, RateOrigin, RateSource};
use super::settings::{require_sold_in, settings};
use crate::platform::audit;
use crate::platform::page::{Page, PageRequest, with_seq};
use crate::primitives::id::{ExchangeRateId, ExchangeRateKind};
use crate::primitives::{
    Currency, Day, ExchangeRate, Money, MoneyError, Quotation, Rounding, Timestamp,
};
use crate::storage::{Row, StorageError, TenantView, TenantWork, money, params, statements};

/// Columns that [`rate_row`] reads.
macro_rules! rate_columns {
    () => {
        "id, base, quote, numerator, denominator, source, effective_at"
    };
}

statements! {
    INSERT_RATE = "INSERT INTO exchange_rate (id, base, quote, numerator, denominator, source, \
        effective_at, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    RATES = concat!("SELECT ", rate_columns!(), ", seq FROM exchange_rate WHERE seq < ?1 ORDER BY \
        seq DESC LIMIT ?2");
    RATE = concat!("SELECT ", rate_columns!(), " FROM exchange_rate WHERE id = ?1");
    MANUAL_AT = concat!("SELECT ", rate_columns!(), ", seq FROM exchange_rate WHERE source = \
        'manual' AND base = ?1 AND quote = ?2 AND effective_at <= ?3
                 ORDER BY effective_at DESC, seq DESC LIMIT 1");
    DOCUMENTS = "SELECT lower(hex(f.id)) AS document, f.currency, f.total_minor, f.base_currency, \
        f.base_total_minor, r.base, r.quote, r.numerator, r.denominator
                 FROM financial_order f JOIN exchange_rate r ON r.id = f.exchange_rate_id ORDER BY \
                 f.seq";
    PUBLISHED = "SELECT id FROM exchange_rate WHERE source = 'ecb' AND base = ?1 AND quote = ?2 \
        AND effective_at = ?3 AND numerator = ?4 AND denominator = ?5";
}

fn rate_row(row: &Row<'_>) -> rusqlite::Result<HoldingRate> {
    Ok(HoldingRate {
        id: Some(row.get("id")?),
        quotation: Quotation {
            base: row.get("base")?,
            quote: row.get("quote")?,
            numerator: row.get("numerator")?,
            denominator: row.get("denominator")?,
        },
        source: row.get("source")?,
        effective_at: row.get("effective_at")?,
    })
}

/// Inserts a manual rate. It replaces none: of those valid at an instant the one with the latest
/// beginning counts, and of several with the same beginning the last inserted.
///
/// # Errors
/// `SameCurrency`.
pub fn add_rate(work: &mut TenantWork, command: &AddRate) -> Result<HoldingRate, CurrencyRefused> {
    if command.base == command.quote {
        return Err(CurrencyRefused::SameCurrency(command.base));
    }
    let new = HoldingRate {
        id: None,
        quotation: Quotation {
            base: command.base,
            quote: command.quote,
            numerator: command.rate,
            denominator: ExchangeRate::ONE,
        },
        source: RateOrigin::Manual,
        effective_at: command.effective_at.unwrap_or(work.now()),
    };
    let id = insert(work, &new)?;
    let details = json!({"base": command.base, "quote": command.quote, "rate": command.rate,
        "effective_at": new.effective_at});
    audit::record(
        work,
        "exchange_rate.added",
        &format!("exchange_rate:{id}"),
        details,
    )?;
    Ok(HoldingRate {
        id: Some(id),
        ..new
    })
}

fn insert(work: &mut TenantWork, new: &HoldingRate) -> Result<ExchangeRateId, StorageError> {
    let (id, now, by) = (work.new_id::<ExchangeRateKind>(), work.now(), new.quotation);
    let row = params![
        id,
        by.base,
        by.quote,
        by.numerator,
        by.denominator,
        new.source,
        new.effective_at,
        now
    ];
    work.insert(&INSERT_RATE, row)?;
    Ok(id)
}

/// Lists a page of the rates in this file, the last inserted first: manual rates, and published
/// rates that a document used.
pub fn list_rates(view: &TenantView, page: PageRequest) -> Result<Page<HoldingRate>, StorageError> {
    page.read(view, &RATES, rate_row)
}

/// The rate that is valid at an instant.
///
/// A manual rate is valid until the next one of the same pair begins, in whichever direction it was
/// set. A published rate is valid from the beginning of its day (UTC) until the next one, and for
/// the number of days in the settings: on Sundays and holidays that of the day before is valid.
/// Between two currencies other than the euro it is the quotient of both, kept as a fraction.
///
/// # Errors
/// `SameCurrency`, `NoRate`.
pub fn rate_at(
    view: &TenantView,
    published: &Published,
    base: Currency,
    quote: Currency,
    at: Timestamp,
) -> Result<HoldingRate, CurrencyRefused> {
    if base == quote {
        return Err(CurrencyRefused::SameCurrency(base));
    }
    let settings = settings(view)?;
    let days = settings.rate_max_age_days;
    let found = match settings.rate_source {
        RateSource::Manual => manual_at(view, base, quote, at)?,
        RateSource::Published => published_at(published, base, quote, at, days),
        RateSource::ManualFirst => manual_at(view, base, quote, at)?
            .or_else(|| published_at(published, base, quote, at, days)),
    };
    found.ok_or(CurrencyRefused::NoRate { base, quote, at })
}

fn manual_at(
    view: &TenantView,
    base: Currency,
    quote: Currency,
    at: Timestamp,
) -> Result<Option<HoldingRate>, StorageError> {
    let last = |base: Currency, quote: Currency| {
        view.find(&MANUAL_AT, params![base, quote, at], with_seq(rate_row))
    };
    let turned = last(quote, base)?.map(|(seq, rate)| {
        let quotation = rate.quotation.inverse();
        (seq, HoldingRate { quotation, ..rate })
    });
    let found = last(base, quote)?.into_iter().chain(turned);
    Ok(found
        .max_by_key(|(seq, rate)| (rate.effective_at, *seq))
        .map(|(_, rate)| rate))
}

fn published_at(
    published: &Published,
    base: Currency,
    quote: Currency,
    at: Timestamp,
    days_max: i32,
) -> Option<HoldingRate> {
    let day = Day::of(at);
    let (base_day, denominator) = published.of_euro(base, day, days_max)?;
    let (quote_day, numerator) = published.of_euro(quote, day, days_max)?;
    Some(HoldingRate {
        id: None,
        quotation: Quotation {
            base,
            quote,
            numerator,
            denominator,
        },
        source: RateOrigin::Ecb,
        effective_at: base_day.min(quote_day).start(),
    })
}

/// Stores a rate in this file, if it is not stored yet, so that a document can refer to it.
pub fn adopt(work: &mut TenantWork, rate: &HoldingRate) -> Result<ExchangeRateId, StorageError> {
    if let Some(id) = rate.id {
        return Ok(id);
    }
    let by = rate.quotation;
    let key = params![
        by.base,
        by.quote,
        rate.effective_at,
        by.numerator,
        by.denominator
    ];
    match work.find(&PUBLISHED, key, |row| row.get(0))? {
        Some(id) => Ok(id),
        None => insert(work, rate),
    }
}

/// The rate from the currency of `total` to the shop's own: `None` when they are the same. Writes
/// nothing.
///
/// # Errors
/// `Ended`, `NotEnabled`, `NoRate`, `AmountTooLarge`.
pub fn rate_for(
    view: &TenantView,
    published: &Published,
    own: Currency,
    total: Money,
    at: Timestamp,
) -> Result<Option<HoldingRate>, CurrencyRefused> {
    if total.currency() == own {
        return Ok(None);
    }
    require_sold_in(view, total.currency(), at)?;
    let rate = rate_at(view, published, total.currency(), own, at)?;
    in_own(&rate.quotation, total).map_err(CurrencyRefused::AmountTooLarge)?;
    Ok(Some(rate))
}

/// Converts a document's total to the shop's own currency: rounded to the nearest minor unit, half
/// away from zero, as tax offices round.
fn in_own(by: &Quotation, total: Money) -> Result<Money, MoneyError> {
    by.convert(total, Rounding::HalfUp)
}

/// Converts a document's total to the shop's own currency, by the rate that the document refers
/// to, in whichever direction that was set.
///
/// # Panics
/// When the rate is of other currencies or the total too large: [`rate_for`] refused such a
/// document.
pub fn convert_by(
    view: &TenantView,
    id: ExchangeRateId,
    total: Money,
) -> Result<(Quotation, Money), StorageError> {
    let stored = view.one(&RATE, params![id], rate_row)?.quotation;
    let by = if stored.base == total.currency() {
        stored
    } else {
        stored.inverse()
    };
    let own = in_own(&by, total).expect("rate_for checked it before the order was placed");
    Ok((by, own))
}

/// Documents whose totals in the shop's own currency do not follow from the rates they refer to.
pub fn list_mismatches(view: &TenantView) -> Result<Vec<String>, StorageError> {
    let found = view.all(&DOCUMENTS, [], |row| {
        let (document, currency): (String, Currency) = (row.get("document")?, row.get("currency")?);
        let total = money(row, "total_minor", currency)?;
        let own = money(row, "base_total_minor", row.get("base_currency")?)?;
        let stored = Quotation {
            base: row.get("base")?,
            quote: row.get("quote")?,
            numerator: row.get("numerator")?,
            denominator: row.get("denominator")?,
        };
        let by = if stored.base == currency {
            stored
        } else {
            stored.inverse()
        };
        let agrees = in_own(&by, total) == Ok(own);
        Ok((!agrees).then(|| {
            format!(
                "financial order {document} says that {total} are {own}, but \
                its rate says otherwise"
            )
        }))
    })?;
    Ok(found.into_iter().flatten().collect())
}
