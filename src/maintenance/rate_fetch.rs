//! L5: the daily fetch of published exchange rates, as one step that the scheduler calls. After any
//! failure the stored rates stay in use.

use std::time::Duration;

use crate::app::App;
use crate::config::Span;
use crate::landlord::published_rates::{
    self, Corrections, FetchState, ImportRefused, ImportedRates,
};
use crate::outbound::ecb;
use crate::outbound::http::{CallError, Target};
use crate::outbound::reach::Reach;
use crate::primitives::{Entropy, Origin, Timestamp};
use crate::storage::StorageError;

/// The pause after the first failure; doubled after each further one, up to the usual interval.
const FIRST_PAUSE_MS: u64 = 60_000;

/// Reasons why there are no new rates.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the server did not return the file: {0}")]
    Call(#[from] CallError),
    #[error("the file cannot be used: {0}")]
    File(#[from] ecb::EcbError),
    #[error("the file was rejected: {0}")]
    Refused(#[from] ImportRefused),
}

/// The instant of the next fetch: the stored one, or now; `None` when fetching is disabled. Blocks;
/// writes nothing.
pub fn next_at(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StorageError> {
    let settings = &app.config.exchange_rates;
    if !settings.fetch {
        return Ok(None);
    }
    let state = app
        .stores
        .directory
        .read(published_rates::find_fetch)
        .wait()?;
    Ok(Some(
        state.map_or(now, |state| due_at(settings.every, state, now)),
    ))
}

/// The due instant by the stored state. An instant that lies further ahead than any pause was
/// stored while the clock was ahead, or with a longer interval: then the fetch is due now.
fn due_at(every: Span, state: FetchState, now: Timestamp) -> Timestamp {
    let latest = now.plus(Duration::from_millis(every.as_millis()));
    if state.next_at <= latest {
        state.next_at
    } else {
        now
    }
}

/// Fetches the daily rates if they are due. Returns the instant of the next fetch; `None` when
/// fetching is disabled. Blocks.
pub fn fetch_due(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StorageError> {
    let settings = &app.config.exchange_rates;
    if !settings.fetch {
        return Ok(None);
    }
    let state = app
        .stores
        .directory
        .read(published_rates::find_fetch)
        .wait()?;
    if let Some(next_at) = state
        .map(|state| due_at(settings.every, state, now))
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
            tracing::warn!(error = %error, failures, "exchange rates could not be fetched; the \
                stored ones stay in use");
            failures
        }
    };
    let pause = Duration::from_millis(pause_ms(failures, every_ms, app.ports.entropy.as_ref()));
    let next_at = now.plus(pause);
    let state = FetchState { next_at, failures };
    let database = app.stores.directory.database();
    database
        .write(Origin::system(), move |work| {
            published_rates::set_fetch(work, state)
        })
        .wait()?;
    Ok(Some(next_at))
}

/// The pause until the next fetch: the usual interval after a success. After failures one minute,
/// two, four and so on up to that interval, less a random half, so that the instances that a
/// stopped server has refused do not come back together.
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
    let answer =
        app.ports
            .outbound
            .call(&ecb::daily_call(target, settings.timeout.into(), reach))?;
    let publication = ecb::parse_xml(&answer.body)?;
    Ok(app
        .stores
        .published
        .import(Origin::system(), publication, Corrections::Compared)
        .wait()?)
}
