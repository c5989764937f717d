//! L5: the daily fetch of published exchange rates: one step, that whoever keeps the time calls.
//! Whatever goes wrong, the rates that are there stay.

use std::time::Duration;

use crate::app::App;
use crate::landlord::published_rates::{
    self, Corrections, FetchState, ImportRefused, ImportedRates,
};
use crate::outbound::ecb;
use crate::outbound::http::{CallError, Target};
use crate::outbound::reach::Reach;
use crate::primitives::{Entropy, Origin, Timestamp};
use crate::storage::StorageError;

/// How long to wait after the first failure; twice as long after each further one, up to the usual
/// interval.
const FIRST_PAUSE_MS: u64 = 60_000;

/// Why there are no new rates.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the server did not give the file: {0}")]
    Call(#[from] CallError),
    #[error("the file cannot be used: {0}")]
    File(#[from] ecb::EcbError),
    #[error("the file is refused: {0}")]
    Refused(#[from] ImportRefused),
}

/// When it is time to fetch: the instant that is written down, or now; `None` when rates are not to
/// be fetched at all. Blocks; writes nothing.
///
/// # Errors
/// [`StorageError`], when the landlord's file does not say when it is time.
pub fn next_at(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StorageError> {
    if !app.config.exchange_rates.fetch {
        return Ok(None);
    }
    let state = app.directory.read(published_rates::find_fetch).wait()?;
    Ok(Some(state.map_or(now, |state| time(app, state, now))))
}

/// When it is time by what is written down. An instant that lies further ahead than any pause was
/// written while the clock was ahead, or under longer settings.
fn time(app: &App, state: FetchState, now: Timestamp) -> Timestamp {
    let latest = now.plus(Duration::from_millis(
        app.config.exchange_rates.every.as_millis(),
    ));
    if state.next_at <= latest {
        state.next_at
    } else {
        now
    }
}

/// Fetches the daily rates if it is time to, and says when it is time again; `None` when they are
/// not to be fetched at all. Blocks.
///
/// # Errors
/// [`StorageError`], when the landlord's file does not say when it is time.
pub fn fetch_due(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StorageError> {
    let settings = &app.config.exchange_rates;
    if !settings.fetch {
        return Ok(None);
    }
    let state = app.directory.read(published_rates::find_fetch).wait()?;
    if let Some(next_at) = state
        .map(|state| time(app, state, now))
        .filter(|next_at| *next_at > now)
    {
        return Ok(Some(next_at));
    }
    let every_ms = settings.every.as_millis();
    let failures = match fetch(app) {
        Ok(imported) => {
            let ImportedRates {
                created, corrected, ..
            } = imported;
            tracing::info!(created, corrected, "exchange rates fetched");
            0
        }
        Err(error) => {
            let failures = state.map_or(0, |state| state.failures).saturating_add(1);
            tracing::warn!(error = %error, failures, "exchange rates could not be fetched; those \
                that are there stay in use");
            failures
        }
    };
    let pause = Duration::from_millis(pause_ms(failures, every_ms, app.entropy.as_ref()));
    let next_at = now.plus(pause);
    let state = FetchState { next_at, failures };
    let database = app.directory.database();
    database
        .write(Origin::system(), move |work| {
            published_rates::set_fetch(work, state)
        })
        .wait()?;
    Ok(Some(next_at))
}

/// The usual interval after a success. After failures a minute, two, four and so on up to it, less
/// a random half, so that the houses that a stopped server has turned away do not come back
/// together.
fn pause_ms(failures: u32, every_ms: u64, entropy: &dyn Entropy) -> u64 {
    let Some(doublings) = failures.checked_sub(1) else {
        return every_ms;
    };
    let pause = FIRST_PAUSE_MS
        .checked_shl(doublings.min(20))
        .unwrap_or(every_ms)
        .min(every_ms);
    pause - entropy.below(pause / 2)
}

fn fetch(app: &App) -> Result<ImportedRates, FetchError> {
    let settings = &app.config.exchange_rates;
    let target = Target::parse(settings.url.expose()).expect("the configuration was validated");
    let reach = if settings.allow_private_addresses {
        Reach::Anywhere
    } else {
        Reach::Public
    };
    let answer = app
        .outbound
        .call(&ecb::daily_call(target, settings.timeout.into(), reach))?;
    let publication = ecb::parse_xml(&answer.body)?;
    Ok(app
        .published
        .import(Origin::system(), publication, Corrections::Compared)
        .wait()?)
}
