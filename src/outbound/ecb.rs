//! The European Central Bank's files of euro reference rates: the daily one (XML) and the history
//! (CSV). The parser is strict: an unexpected form rejects the whole file, because a misread rate
//! is money.
//!
//! Codes that ISO 4217 no longer lists are skipped and reported; `N/A` is a gap.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::http::{AnswerPart, Bounds, Call, Target};
use super::reach::Reach;
use crate::primitives::{Currency, Day, ExchangeRate, Publication};

/// The maximum size of the daily file; the real one has two kilobytes.
const DAILY_BYTES_MAX: u64 = 256 << 10;

/// The reason why a file is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EcbError {
    /// Not XML, CSV or UTF-8, or not in the bank's form.
    #[error("the file is not in the form of the European Central Bank: {0}")]
    Form(String),
    /// Not a calendar day.
    #[error("the day {0:?} {1}")]
    Day(String, crate::primitives::day::DayError),
    /// Not a valid rate.
    #[error("the rate {rate:?} of {currency} on {day} {error}")]
    Rate {
        day: Day,
        currency: String,
        rate: String,
        error: crate::primitives::exchange::ExchangeRateError,
    },
    /// An error in one line of a CSV file.
    #[error("line {line}: {error}")]
    Line {
        /// The line number, from 1.
        line: u64,
        error: Box<Self>,
    },
    /// A repeated currency, or the euro itself.
    #[error("{0} occurs twice or is not allowed")]
    Currency(String),
}

/// The request for the daily file.
#[must_use]
pub fn daily_call(target: Target, timeout: Duration, reach: Reach) -> Call {
    Call {
        method: Method::GET,
        target,
        headers: Vec::new(),
        body: Vec::new(),
        bounds: Bounds {
            total: timeout,
            connect: timeout.min(Duration::from_secs(10)),
            answer: AnswerPart::Body(DAILY_BYTES_MAX),
            reach,
        },
    }
}

/// Parses a currency code; `None` for one that ISO 4217 no longer lists.
fn currency(code: &str) -> Result<Option<Currency>, EcbError> {
    if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(EcbError::Form(format!("{code:?} is not a currency")));
    }
    if code == "EUR" {
        return Err(EcbError::Currency(code.to_owned()));
    }
    Ok(Currency::parse(code).ok())
}

fn rate(day: Day, code: &str, text: &str) -> Result<ExchangeRate, EcbError> {
    ExchangeRate::parse(text).map_err(|error| EcbError::Rate {
        day,
        currency: code.to_owned(),
        rate: text.to_owned(),
        error,
    })
}

fn form(reason: impl ToString) -> EcbError {
    EcbError::Form(reason.to_string())
}

/// Parses `eurofxref-daily.xml`, or the history in the same form: a `Cube` with a `time` for each
/// day, which contains one `Cube` for each currency.
pub fn parse_xml(bytes: &[u8]) -> Result<Publication, EcbError> {
    let text = std::str::from_utf8(bytes).map_err(|_| form("it is not UTF-8"))?;
    let mut reader = Reader::from_str(text);
    let (mut publication, mut left_out, mut seen, mut depth) = (
        Publication::default(),
        BTreeSet::new(),
        BTreeSet::new(),
        0_u32,
    );
    let mut has_root = false;
    loop {
        let event = reader.read_event().map_err(form)?;
        let (cube, opens) = match &event {
            Event::Eof => break,
            Event::Start(element) => (Some(element), true),
            Event::Empty(element) => (Some(element), false),
            Event::End(_) => {
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| form("an end tag has no start tag"))?;
                (None, false)
            }
            // The bank's files declare no entities of their own.
            Event::DocType(_) => return Err(form("it has a document type")),
            _ => (None, false),
        };
        let Some(element) = cube else { continue };
        if depth == 0 && (has_root || element.local_name().as_ref() != "Envelope") {
            return Err(form("the root element is not an Envelope"));
        }
        has_root = true;
        depth += u32::from(opens);
        if element.local_name().as_ref() == "Cube" {
            let [time, code, rate_text] = attributes(element)?;
            match (time, code, rate_text) {
                (Some(time), None, None) => {
                    let day = Day::parse(&time).map_err(|error| EcbError::Day(time, error))?;
                    publication.days.push((day, Vec::new()));
                    seen.clear();
                }
                (None, Some(code), Some(rate_text)) => {
                    let (day, rates) = publication
                        .days
                        .last_mut()
                        .ok_or_else(|| form("a rate has no day"))?;
                    if !seen.insert(code.clone()) {
                        return Err(EcbError::Currency(code));
                    }
                    let rate = rate(*day, &code, &rate_text)?;
                    match currency(&code)? {
                        Some(currency) => rates.push((currency, rate)),
                        None => drop(left_out.insert(code)),
                    }
                }
                (None, None, None) => {}
                _ => {
                    return Err(form(
                        "a Cube has neither a time nor a currency with its rate",
                    ));
                }
            }
        }
    }
    if depth != 0 || publication.days.is_empty() {
        return Err(form("the file is truncated or has no day"));
    }
    publication.left_out = left_out.into_iter().collect();
    Ok(publication)
}

/// `time`, `currency` and `rate` of an element.
fn attributes(element: &BytesStart<'_>) -> Result<[Option<String>; 3], EcbError> {
    let mut found = [None, None, None];
    for attribute in element.attributes() {
        let attribute = attribute.map_err(form)?;
        let index = match attribute.key.as_ref() {
            "time" => 0,
            "currency" => 1,
            "rate" => 2,
            _ => return Err(form("a Cube has an unknown attribute")),
        };
        found[index] = Some(attribute.value.into_owned());
    }
    Ok(found)
}

/// Parses `eurofxref-hist.csv`: a column for each currency and a line for each day, each ending in
/// a comma.
pub fn parse_csv(bytes: &[u8]) -> Result<Publication, EcbError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let headers = reader.headers().map_err(form)?.clone();
    let mut cells = headers.iter();
    if cells.next() != Some("Date") {
        return Err(form("the first line does not begin with Date"));
    }
    let (mut columns, mut left_out, mut seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (index, code) in headers.iter().enumerate().skip(1) {
        // The bank ends each line with a comma.
        if code.is_empty() && index + 1 == headers.len() {
            continue;
        }
        if !seen.insert(code) {
            return Err(EcbError::Currency(code.to_owned()));
        }
        match currency(code)? {
            Some(currency) => columns.push((index, Some(currency))),
            None => {
                left_out.insert(code.to_owned());
                columns.push((index, None));
            }
        }
    }
    let mut days = Vec::new();
    for record in reader.records() {
        let record = record.map_err(form)?;
        let day = rates_of_day(&headers, &columns, &record).map_err(|error| EcbError::Line {
            line: record.position().map_or(0, csv::Position::line),
            error: Box::new(error),
        })?;
        days.push(day);
    }
    let left_out = left_out.into_iter().collect();
    Ok(Publication { days, left_out })
}

/// Parses a line of the history: a day, and a rate or `N/A` for each currency. Rates of skipped
/// currencies must be valid too.
fn rates_of_day(
    headers: &csv::StringRecord,
    columns: &[(usize, Option<Currency>)],
    record: &csv::StringRecord,
) -> Result<(Day, Vec<(Currency, ExchangeRate)>), EcbError> {
    let text = record.get(0).unwrap_or_default();
    let day = Day::parse(text).map_err(|error| EcbError::Day(text.to_owned(), error))?;
    let mut rates = Vec::new();
    for (index, currency) in columns {
        let cell = record.get(*index).unwrap_or_default();
        if cell == "N/A" {
            continue;
        }
        let rate = rate(day, &headers[*index], cell)?;
        rates.extend(currency.map(|currency| (currency, rate)));
    }
    Ok((day, rates))
}

#[cfg(test)]
mod tests;
