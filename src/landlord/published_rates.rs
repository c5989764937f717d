//! Published exchange rates: one copy for all shops, in the landlord's file, and the series of each
//! currency in memory for a while.
//!
//! Invariants: a file is taken whole or not at all, but for rates of days after their currency had
//! ended, which are none; what is stored never changes (a correction is a later row, and the last
//! one counts); taking the same file again writes nothing. Shops never read this file within their
//! transactions: they are handed the series beforehand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::platform::cache::{Found, TimedCache};
use crate::primitives::{
    Class, Clock, Currency, Day, ExchangeRate, Origin, Publication, Refusal, Series, Timestamp,
};
use crate::storage::{Answer, LandlordView, LandlordWork, Rows, StorageError, params, statements};
use crate::tenancy::Directory;
use crate::tenancy::commands::record_audit;

statements! {
    SERIES = "SELECT day, rate FROM published_rate WHERE currency = ?1 ORDER BY day, seq";
    INSERT = "INSERT INTO published_rate (source, day, currency, rate, imported_at) VALUES ('ecb', \
        ?1, ?2, ?3, ?4)";
    FETCH = "SELECT next_at, failures FROM rate_fetch WHERE singleton = 1";
    SET_FETCH = "INSERT INTO rate_fetch (singleton, next_at, failures) VALUES (1, ?1, ?2)
                 ON CONFLICT (singleton) DO UPDATE SET next_at = excluded.next_at, failures = \
                 excluded.failures";
}

/// The first day with rates against the euro.
const FIRST_DAY: &str = "1999-01-04";
/// Rates within so many days of each other are compared: one that doubled or halved since is a
/// mistake of the file.
const COMPARED_DAYS: i32 = 10;
/// The currencies whose series are kept: more than are published.
const SERIES_KEPT: u64 = 100;

/// What became of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ImportedRates {
    /// Days in the file.
    pub days: usize,
    /// Rates that are new.
    pub created: usize,
    /// Rates that are other than before for the same day.
    pub corrected: usize,
    /// Rates that were there already.
    pub unchanged: usize,
    /// Rates of days after their currency had ended, which were left out.
    pub ended: usize,
}

/// What a correction is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrections {
    /// The rate that it takes the place of, as a new one is held against its neighbours.
    Compared,
    /// Its neighbours alone: the operator says that the first was the mistake.
    Right,
}

/// Why a file is refused whole; the first that applies wins, in this order.
#[derive(Debug, thiserror::Error)]
pub enum ImportRefused {
    /// There is nothing in it.
    #[error("there is not one rate in it")]
    Empty,
    /// A day is there twice.
    #[error("the day {0} is in it twice")]
    DayTwice(Day),
    /// A day before there was a euro, or one that is still to come.
    #[error("it has rates of {0}, a day that no rates can be of; is the clock right?")]
    WrongDay(Day),
    /// A rate is far from the one of the same day that it is to take the place of.
    #[error(
        "one euro was {before} {currency} on {day} and is now said to have been {after}: that is \
         no correction; nothing was taken. If the first was the \
         mistake, say so: tillbox exchange-rates import FILE --corrections-are-right"
    )]
    AbsurdCorrection {
        /// Which currency.
        currency: Currency,
        /// Of which day.
        day: Day,
        /// The rate that is there.
        before: ExchangeRate,
        /// The rate that was to take its place.
        after: ExchangeRate,
    },
    /// A rate is far from what it was a few days before or after.
    #[error(
        "one euro was {before} {currency} on {earlier} and is said to be {after} on {later}: that \
         is no rate; nothing was taken"
    )]
    Absurd {
        /// Which currency.
        currency: Currency,
        /// The earlier day.
        earlier: Day,
        /// The rate then.
        before: ExchangeRate,
        /// The later day.
        later: Day,
        /// The rate then.
        after: ExchangeRate,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal for ImportRefused {
    fn class(&self) -> Class {
        match self {
            Self::Empty
            | Self::DayTwice(_)
            | Self::WrongDay(_)
            | Self::Absurd { .. }
            | Self::AbsurdCorrection { .. } => Class::Invalid,
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Empty => "no_rates",
            Self::DayTwice(_) => "day_twice",
            Self::WrongDay(_) => "wrong_day",
            Self::Absurd { .. } | Self::AbsurdCorrection { .. } => "absurd_rate",
            Self::Storage(error) => error.code(),
        }
    }
}

/// When to fetch again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchState {
    /// Not before this.
    pub next_at: Timestamp,
    /// Failures since the last success.
    pub failures: u32,
}

fn stored(
    view: &LandlordView,
    currency: Currency,
) -> Result<BTreeMap<Day, ExchangeRate>, StorageError> {
    // A later row of the same day takes the place of the earlier one.
    let rows: Vec<(Day, ExchangeRate)> = view.all(&SERIES, params![currency], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.into_iter().collect())
}

/// Takes a publication, whole or not at all.
///
/// # Errors
/// [`ImportRefused`].
pub fn import(
    work: &mut LandlordWork,
    publication: &Publication,
    corrections: Corrections,
) -> Result<ImportedRates, ImportRefused> {
    let (by_currency, ended) = sorted(publication, work.now())?;
    let mut imported = ImportedRates {
        days: publication.days.len(),
        ended: ended.values().sum(),
        ..ImportedRates::default()
    };
    let mut new = Vec::new();
    for (currency, rates) in by_currency {
        let mut series = stored(work, currency)?;
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
        record_audit(work, "exchange_rates.imported", "exchange_rates", details)?;
    }
    work.on_commit(move || {
        for (currency, rates) in ended {
            tracing::warn!(%currency, rates, "published exchange rates of a currency that had \
                ended were left out");
        }
    });
    Ok(imported)
}

/// The rates of a publication by currency, and how many of each are of days after it had ended.
type Sorted = (
    BTreeMap<Currency, BTreeMap<Day, ExchangeRate>>,
    BTreeMap<Currency, usize>,
);

/// The rates by currency; days are looked at on the way.
fn sorted(publication: &Publication, now: Timestamp) -> Result<Sorted, ImportRefused> {
    let (mut by_currency, mut ended): Sorted = Default::default();
    let mut days = std::collections::BTreeSet::new();
    // In Frankfurt the day begins before it does in UTC.
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

/// Compares a day's rate with those just before and just after it.
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

/// Where the fetch stands; never asked, before the first time.
///
/// # Errors
/// [`StorageError`].
pub fn find_fetch(view: &LandlordView) -> Result<Option<FetchState>, StorageError> {
    view.find(&FETCH, [], |row| {
        Ok(FetchState {
            next_at: row.get(0)?,
            failures: row.get(1)?,
        })
    })
}

/// Writes down where the fetch stands.
///
/// # Errors
/// [`StorageError`].
pub fn set_fetch(work: &mut LandlordWork, state: FetchState) -> Result<(), StorageError> {
    work.change(
        &SET_FETCH,
        params![state.next_at, state.failures],
        Rows::Exactly(1),
    )
    .map(drop)
}

/// The published rates, as the house reads them.
pub struct PublishedRates {
    directory: Arc<Directory>,
    series: TimedCache<Currency, Arc<Series>>,
}

impl PublishedRates {
    /// Over the landlord's file.
    pub fn new(directory: Arc<Directory>, ttl: Duration, clock: Arc<dyn Clock>) -> Self {
        let series = TimedCache::new("exchange_rates", SERIES_KEPT, ttl, clock);
        Self { directory, series }
    }

    /// A currency's rates, all days.
    pub fn series(&self, currency: Currency) -> Answer<Arc<Series>, StorageError> {
        let ticket = match self.series.look(&currency) {
            Found::Hit(series) => return Answer::ready(Ok(series)),
            Found::Miss(ticket) => ticket,
        };
        let kept = self.series.clone();
        self.directory.read(move |view| {
            let series = Arc::new(Series::new(stored(view, currency)?.into_iter().collect()));
            kept.keep(currency, ticket, series.clone());
            Ok(series)
        })
    }

    /// Takes a publication. When the answer comes, everybody goes by it.
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
