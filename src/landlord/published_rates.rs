//! Published exchange rates: one copy for all tenants, in the landlord's file, and the series of
//! each currency in memory for a while.
//!
//! Invariants: a file is imported completely or not at all, except for rates of days after their
//! currency had ended, which are ignored. Stored rates never change: a correction is a later row,
//! and the last row counts. Importing the same file again writes nothing. Tenants never read this
//! file within their transactions: they receive the series beforehand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::platform::audit;
use crate::platform::cache::TimedCache;
use crate::primitives::{
    Clock, Currency, Day, ExchangeRate, Origin, Publication, Series, Timestamp, refusals,
};
use crate::storage::{Answer, LandlordView, LandlordWork, Rows, StorageError, params, statements};
use crate::tenancy::Directory;

statements! {
    SERIES = "SELECT day, rate FROM published_rate WHERE currency = ?1 ORDER BY day, seq";
    INSERT = "INSERT INTO published_rate (source, day, currency, rate, imported_at)
        VALUES ('ecb', ?1, ?2, ?3, ?4)";
    FETCH = "SELECT next_at, failures FROM rate_fetch WHERE singleton = 1";
    SET_FETCH = "INSERT INTO rate_fetch (singleton, next_at, failures) VALUES (1, ?1, ?2)
        ON CONFLICT (singleton)
        DO UPDATE SET next_at = excluded.next_at, failures = excluded.failures";
}

/// The first day with rates against the euro.
const FIRST_DAY: &str = "1999-01-04";
/// Rates within this number of days are compared: a rate that doubled or halved in between is an
/// error in the file.
const COMPARED_DAYS: i32 = 10;
/// Series kept in memory; more than there are published currencies.
const CACHED_SERIES: u64 = 100;

/// The result of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ImportedRates {
    /// Days in the file.
    pub days: usize,
    /// New rates.
    pub created: usize,
    /// Rates that replace another rate of the same day.
    pub corrected: usize,
    /// Rates that were already stored.
    pub unchanged: usize,
    /// Ignored rates of days after their currency had ended.
    pub ended: usize,
}

/// The rates that a correction is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrections {
    /// The rate that it replaces, and the neighbouring days.
    Compared,
    /// The neighbouring days only: the operator confirms that the stored rate was wrong.
    Right,
}

refusals! {
    /// The reason why a whole file is rejected; the first that applies, in this order.
    pub enum ImportRefused {
        Empty: Invalid "no_rates", "the file contains no rates";
        DayTwice(Day): Invalid "day_twice", "the file contains the day {0} twice";
        /// A day before the euro existed, or in the future.
        WrongDay(Day): Invalid "wrong_day",
            "the file contains rates of {0}, a day that cannot have rates; check the clock";
        /// A rate differs too much from the stored rate of the same day.
        AbsurdCorrection {
            currency: Currency,
            day: Day,
            /// The stored rate.
            before: ExchangeRate,
            /// The rate that would replace it.
            after: ExchangeRate,
        }: Invalid "absurd_rate",
            "one euro was {before} {currency} on {day} and would become {after} {currency}, which \
             is not a plausible correction; nothing was imported. If the stored rate is wrong, \
             run: tillbox exchange-rates import FILE --corrections-are-right";
        /// A rate differs too much from the rates of a few days before or after.
        Absurd {
            currency: Currency,
            earlier: Day,
            before: ExchangeRate,
            later: Day,
            after: ExchangeRate,
        }: Invalid "absurd_rate",
            "one euro is {before} {currency} on {earlier} and {after} {currency} on {later}, \
             which is not plausible; nothing was imported. Check the file";
    }
    inherits { Storage(StorageError) }
}

/// The schedule of the daily fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchState {
    /// The earliest time of the next fetch.
    pub next_at: Timestamp,
    /// Consecutive failures.
    pub failures: u32,
}

fn load(
    view: &LandlordView,
    currency: Currency,
) -> Result<BTreeMap<Day, ExchangeRate>, StorageError> {
    // A later row of the same day replaces the earlier one.
    let rows: Vec<(Day, ExchangeRate)> = view.all(&SERIES, params![currency], |row| {
        Ok((row.get("day")?, row.get("rate")?))
    })?;
    Ok(rows.into_iter().collect())
}

/// Imports a publication, completely or not at all.
pub fn import(
    work: &mut LandlordWork,
    publication: &Publication,
    corrections: Corrections,
) -> Result<ImportedRates, ImportRefused> {
    let (by_currency, ended) = group_by_currency(publication, work.now())?;
    let mut imported = ImportedRates {
        days: publication.days.len(),
        ended: ended.values().sum(),
        ..ImportedRates::default()
    };
    let mut new = Vec::new();
    for (currency, rates) in by_currency {
        let mut series = load(work, currency)?;
        let mut changed = Vec::new();
        for (day, rate) in rates {
            match series.insert(day, rate) {
                Some(before) if before == rate => imported.unchanged += 1,
                Some(before)
                    if corrections == Corrections::Compared && before.is_far_from(rate) =>
                {
                    let after = rate;
                    return Err(ImportRefused::AbsurdCorrection {
                        currency,
                        day,
                        before,
                        after,
                    });
                }
                Some(_) => {
                    imported.corrected += 1;
                    changed.push((day, rate));
                }
                None => {
                    imported.created += 1;
                    changed.push((day, rate));
                }
            }
        }
        changed
            .iter()
            .try_for_each(|(day, _)| refuse_absurd(currency, &series, *day))?;
        new.extend(changed.into_iter().map(|(day, rate)| (currency, day, rate)));
    }
    let now = work.now();
    for (currency, day, rate) in &new {
        work.insert(&INSERT, params![day, currency, rate, now])?;
    }
    if !new.is_empty() {
        let details = json!({"days": imported.days, "created": imported.created,
            "corrected": imported.corrected});
        audit::record(work, "exchange_rates.imported", "exchange_rates", details)?;
    }
    work.on_commit(move || {
        for (currency, rates) in ended {
            tracing::warn!(%currency, rates, "published exchange rates of an ended currency were \
                ignored");
        }
    });
    Ok(imported)
}

/// The rates of a publication by currency, and the number of ignored rates of ended currencies.
type GroupedRates = (
    BTreeMap<Currency, BTreeMap<Day, ExchangeRate>>,
    BTreeMap<Currency, usize>,
);

/// Groups the rates by currency and validates the days.
fn group_by_currency(
    publication: &Publication,
    now: Timestamp,
) -> Result<GroupedRates, ImportRefused> {
    let (mut by_currency, mut ended): GroupedRates = Default::default();
    let mut days = std::collections::BTreeSet::new();
    // In Frankfurt the day begins up to two hours before it does in UTC.
    let (first, last) = (
        Day::parse(FIRST_DAY).expect("a day"),
        Day::of(now.plus_millis(2 * 3_600_000)),
    );
    for (day, rates) in &publication.days {
        if !days.insert(*day) {
            return Err(ImportRefused::DayTwice(*day));
        }
        if !(first..=last).contains(day) {
            return Err(ImportRefused::WrongDay(*day));
        }
        for (currency, rate) in rates {
            if currency.last_day().is_some_and(|last| last < *day) {
                *ended.entry(*currency).or_default() += 1;
                continue;
            }
            by_currency
                .entry(*currency)
                .or_default()
                .insert(*day, *rate);
        }
    }
    if by_currency.is_empty() {
        return Err(ImportRefused::Empty);
    }
    Ok((by_currency, ended))
}

/// Rejects a day's rate that differs too much from the rates just before and just after it.
fn refuse_absurd(
    currency: Currency,
    series: &BTreeMap<Day, ExchangeRate>,
    day: Day,
) -> Result<(), ImportRefused> {
    let neighbours = [
        series
            .range(..day)
            .next_back()
            .zip(series.get_key_value(&day)),
        series.get_key_value(&day).zip(series.range(day..).nth(1)),
    ];
    for ((earlier, before), (later, after)) in neighbours.into_iter().flatten() {
        if earlier.days_until(*later) <= COMPARED_DAYS && before.is_far_from(*after) {
            let (earlier, before, later, after) = (*earlier, *before, *later, *after);
            return Err(ImportRefused::Absurd {
                currency,
                earlier,
                before,
                later,
                after,
            });
        }
    }
    Ok(())
}

/// Returns the schedule of the fetch; `None` before the first one.
pub fn find_fetch(view: &LandlordView) -> Result<Option<FetchState>, StorageError> {
    view.find(&FETCH, [], |row| {
        Ok(FetchState {
            next_at: row.get("next_at")?,
            failures: row.get("failures")?,
        })
    })
}

/// Stores the schedule of the fetch.
pub fn set_fetch(work: &mut LandlordWork, state: FetchState) -> Result<(), StorageError> {
    work.change(
        &SET_FETCH,
        params![state.next_at, state.failures],
        Rows::Exactly(1),
    )
    .map(drop)
}

/// Cached access to the published rates.
pub struct PublishedRates {
    directory: Arc<Directory>,
    series: TimedCache<Currency, Arc<Series>>,
}

impl PublishedRates {
    pub fn new(directory: Arc<Directory>, ttl: Duration, clock: Arc<dyn Clock>) -> Self {
        let series = TimedCache::new("exchange_rates", CACHED_SERIES, ttl, clock);
        Self { directory, series }
    }

    /// Returns all rates of a currency.
    pub fn series(&self, currency: Currency) -> Answer<Arc<Series>, StorageError> {
        let db = self.directory.database();
        self.series.read(db, currency, move |view| {
            Ok(Arc::new(Series::new(
                load(view, currency)?.into_iter().collect(),
            )))
        })
    }

    /// Imports a publication. When the answer arrives, the new rates are in effect.
    pub fn import(
        &self,
        origin: Origin,
        publication: Publication,
        corrections: Corrections,
    ) -> Answer<ImportedRates, ImportRefused> {
        let series = self.series.clone();
        self.directory.database().write(origin, move |work| {
            let imported = import(work, &publication, corrections)?;
            let (series, days) = (series.clone(), &publication.days);
            let currencies: std::collections::BTreeSet<Currency> = days
                .iter()
                .flat_map(|(_, rates)| rates)
                .map(|(currency, _)| *currency)
                .collect();
            work.on_commit(move || {
                currencies
                    .iter()
                    .for_each(|currency| series.invalidate(currency))
            });
            Ok(imported)
        })
    }
}
