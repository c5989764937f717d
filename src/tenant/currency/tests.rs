//! Tests of cross rates over the euro, and of missing rates.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Published;
use crate::primitives::{Currency, Day, ExchangeRate, Series};

fn published(code: &str, rates: &[(&str, &str)]) -> Published {
    let rates = rates.iter().map(|(day, rate)| {
        let rate = ExchangeRate::parse(rate).expect("a rate");
        (Day::parse(day).expect("a day"), rate)
    });
    let currency = Currency::parse(code).expect("known");
    Published::new(BTreeMap::from([(
        currency,
        Arc::new(Series::new(rates.collect())),
    )]))
}

#[test]
fn finds_no_rate_when_none_is_published() {
    let (usd, day) = (
        Currency::parse("USD").expect("known"),
        Day::parse("2026-01-14").expect("a day"),
    );
    assert_eq!(Published::default().of_euro(usd, day, 366), None);
    assert_eq!(
        published("USD", &[("2026-01-15", "1.1")]).of_euro(usd, day, 366),
        None,
        "not before its day"
    );
    assert_eq!(
        published("CHF", &[("2026-01-14", "0.9")]).of_euro(usd, day, 366),
        None,
        "not another's"
    );
    let euro = Currency::parse("EUR").expect("known");
    assert_eq!(
        Published::default().of_euro(euro, day, 1),
        Some((day, ExchangeRate::ONE)),
        "a euro is a euro"
    );
}
