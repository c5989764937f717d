//! Use cases: Change the currencies that a shop sells in, and the rates that it uses.

use serde_json::json;

use super::model::{
    ChangeSettings, CurrencyRefused, CurrencyRow, CurrencySettings, EnableCurrency, RateSource,
    SoldIn,
};
use crate::platform::audit;
use crate::platform::page::{Page, PageRequest};
use crate::primitives::limits::RATE_AGE_DAYS_DEFAULT;
use crate::primitives::{Currency, Day, Timestamp};
use crate::storage::{Row, Rows, StorageError, TenantView, TenantWork, params, statements};

statements! {
    SETTINGS = "SELECT s.currency, c.rate_source, c.rate_max_age_days, c.version, c.updated_at \
        FROM currency_setting c JOIN shop s ON s.singleton = 1 WHERE c.singleton = 1";
    INSERT_SETTINGS = "INSERT INTO currency_setting (singleton, rate_source, rate_max_age_days, \
        version, updated_at) VALUES (1, ?1, ?2, 1, ?3)";
    UPDATE_SETTINGS = "UPDATE currency_setting SET rate_source = ?1, rate_max_age_days = ?2, \
        version = version + 1, updated_at = ?3 WHERE singleton = 1";
    INSERT_CURRENCY = "INSERT INTO currency (code, enabled, created_at, updated_at) VALUES (?1, \
        ?2, ?3, ?3)";
    ENABLE = "UPDATE currency SET enabled = ?2, updated_at = ?3 WHERE code = ?1";
    IS_ENABLED = "SELECT enabled FROM currency WHERE code = ?1";
    ENABLED = "SELECT code FROM currency WHERE enabled = 1 ORDER BY seq";
    CURRENCIES = "SELECT c.code, c.enabled, c.code = s.currency AS is_base, c.seq FROM currency c \
        JOIN shop s ON s.singleton = 1 WHERE c.seq < ?1 ORDER BY c.seq DESC LIMIT ?2";
}

fn settings_row(row: &Row<'_>) -> rusqlite::Result<CurrencySettings> {
    Ok(CurrencySettings {
        base: row.get("currency")?,
        rate_source: row.get("rate_source")?,
        rate_max_age_days: row.get("rate_max_age_days")?,
        version: row.get("version")?,
        updated_at: row.get("updated_at")?,
    })
}

fn currency_row(row: &Row<'_>) -> rusqlite::Result<CurrencyRow> {
    Ok(CurrencyRow {
        currency: row.get("code")?,
        enabled: row.get("enabled")?,
        is_base: row.get("is_base")?,
    })
}

/// Inserts the first rows of a new shop: its own currency and the default settings.
pub fn seed(work: &mut TenantWork, base: Currency) -> Result<(), StorageError> {
    let now = work.now();
    work.insert(&INSERT_CURRENCY, params![base, true, now])?;
    work.insert(
        &INSERT_SETTINGS,
        params![RateSource::ManualFirst, RATE_AGE_DAYS_DEFAULT, now],
    )
}

pub fn settings(view: &TenantView) -> Result<CurrencySettings, StorageError> {
    view.one(&SETTINGS, [], settings_row)
}

/// Changes the settings; without a difference nothing is written. `expected` is the version that
/// the caller has read (`If-Match`), if any.
///
/// # Errors
/// `Stale`.
pub fn change_settings(
    work: &mut TenantWork,
    expected: Option<i64>,
    change: &ChangeSettings,
) -> Result<CurrencySettings, CurrencyRefused> {
    let before = settings(work)?;
    if expected.is_some_and(|version| version != before.version) {
        return Err(CurrencyRefused::Stale);
    }
    let rate_source = change.rate_source.unwrap_or(before.rate_source);
    let days = change.rate_max_age_days.unwrap_or(before.rate_max_age_days);
    if (rate_source, days) == (before.rate_source, before.rate_max_age_days) {
        return Ok(before);
    }
    let now = work.now();
    work.change(
        &UPDATE_SETTINGS,
        params![rate_source, days, now],
        Rows::Exactly(1),
    )?;
    let details = json!({"rate_source": rate_source, "rate_max_age_days": days});
    audit::record(
        work,
        "currency_settings.changed",
        "currency_settings",
        details,
    )?;
    Ok(settings(work)?)
}

pub fn sold_in(view: &TenantView) -> Result<SoldIn, StorageError> {
    let base = settings(view)?.base;
    let mut others: Vec<Currency> = view.all(&ENABLED, [], |row| row.get(0))?;
    others.retain(|currency| *currency != base);
    Ok(SoldIn { base, others })
}

/// Lists a page of the shop's currencies, the last added first; disabled ones are included.
pub fn list_currencies(
    view: &TenantView,
    page: PageRequest,
) -> Result<Page<CurrencyRow>, StorageError> {
    page.read(view, &CURRENCIES, currency_row)
}

/// Enables or disables a currency; without a difference nothing is written.
///
/// # Errors
/// `IsBase`, `Ended`.
pub fn enable(
    work: &mut TenantWork,
    command: EnableCurrency,
) -> Result<CurrencyRow, CurrencyRefused> {
    let EnableCurrency { currency, enabled } = command;
    let (is_base, now) = (settings(work)?.base == currency, work.now());
    if is_base && !enabled {
        return Err(CurrencyRefused::IsBase(currency));
    }
    let before: Option<bool> = work.find(&IS_ENABLED, params![currency], |row| row.get(0))?;
    if let Some(last) = currency.last_day()
        && enabled
        && before != Some(true)
        && last < Day::of(now)
    {
        return Err(CurrencyRefused::Ended(currency, last));
    }
    match before {
        Some(before) if before == enabled => {}
        Some(_) => drop(work.change(&ENABLE, params![currency, enabled, now], Rows::Exactly(1))?),
        None => work.insert(&INSERT_CURRENCY, params![currency, enabled, now])?,
    }
    if before.unwrap_or(false) != enabled {
        let action = if enabled {
            "currency.enabled"
        } else {
            "currency.disabled"
        };
        audit::record(work, action, &format!("currency:{currency}"), json!({}))?;
    }
    Ok(CurrencyRow {
        currency,
        enabled,
        is_base,
    })
}

/// Refuses a currency that the shop does not sell in, and one that had ended by `at`: it may have
/// been enabled before and have a manual rate. The shop's own currency is not checked: a shop whose
/// currency has ended has no other to sell in, so it is warned and not stopped.
///
/// # Errors
/// `Ended`, `NotEnabled`.
pub fn require_sold_in(
    view: &TenantView,
    currency: Currency,
    at: Timestamp,
) -> Result<(), CurrencyRefused> {
    if let Some(last) = currency.last_day()
        && last < Day::of(at)
    {
        return Err(CurrencyRefused::Ended(currency, last));
    }
    let enabled: Option<bool> = view.find(&IS_ENABLED, params![currency], |row| row.get(0))?;
    if enabled == Some(true) {
        return Ok(());
    }
    Err(CurrencyRefused::NotEnabled(currency))
}
