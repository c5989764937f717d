//! Conversions are compared with the definition, in integers that cannot overflow, and with manual
//! calculations.

use proptest::prelude::*;

use super::*;

fn currency(code: &str) -> Currency {
    Currency::parse(code).expect(code)
}

fn rate(text: &str) -> ExchangeRate {
    ExchangeRate::parse(text).expect(text)
}

fn quotation(base: &str, quote: &str, numerator: &str, denominator: &str) -> Quotation {
    Quotation {
        base: currency(base),
        quote: currency(quote),
        numerator: rate(numerator),
        denominator: rate(denominator),
    }
}

fn converted(by: &Quotation, minor: i64, mode: Rounding) -> i64 {
    let amount = Money::new(minor, by.base).expect("in range");
    by.convert(amount, mode).expect("in range").minor()
}

#[test]
fn parses_plain_decimals_only() {
    for (text, shown) in [
        ("1.0842", "1.0842"),
        ("1.10", "1.1"),
        ("186.750", "186.75"),
        ("0.000000001", "0.000000001"),
        ("20082.05", "20082.05"),
        ("0.10", "0.1"),
    ] {
        assert_eq!(rate(text).to_string(), shown);
    }
    use ExchangeRateError as E;
    for (text, error) in [
        ("", E::Malformed),
        (".5", E::Malformed),
        ("5.", E::Malformed),
        ("-1", E::Malformed),
        ("+1", E::Malformed),
        ("1e3", E::Malformed),
        ("1,5", E::Malformed),
        ("1.2.3", E::Malformed),
        ("N/A", E::Malformed),
        ("NaN", E::Malformed),
        ("１", E::Malformed),
        (" 1", E::Malformed),
        ("0", E::Zero),
        ("0.000", E::Zero),
        ("007", E::Malformed),
        ("1000000000", E::TooManyDigits),
        ("0.0000000009", E::TooManyDigits),
        ("1.1234567891", E::TooManyDigits),
        ("1234567890123", E::TooManyDigits),
    ] {
        assert_eq!(ExchangeRate::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn converts_between_different_minor_units() {
    // 10.00 EUR at 186.75 is 1867.5 JPY, which has no half.
    let yen = quotation("EUR", "JPY", "186.75", "1");
    assert_eq!(
        [Rounding::HalfUp, Rounding::HalfEven, Rounding::Down]
            .map(|mode| converted(&yen, 1000, mode)),
        [1868, 1868, 1867]
    );
    // 1.000 KWD at 2.8 EUR is 2.80 EUR; and back.
    let dinar = quotation("KWD", "EUR", "2.8", "1");
    assert_eq!(converted(&dinar, 1000, Rounding::HalfUp), 280);
    assert_eq!(converted(&dinar.inverse(), 280, Rounding::HalfUp), 1000);
    // 100 JPY in KWD, both against the euro.
    let cross = quotation("JPY", "KWD", "0.35714", "186.75");
    assert_eq!(converted(&cross, 100, Rounding::HalfUp), 191);
    assert_eq!(cross.shown(), "0.00191239625167");
}

#[test]
fn inverts_exactly() {
    let dollars = quotation("EUR", "USD", "1.1684", "1");
    assert_eq!(dollars.inverse().inverse(), dollars);
    assert_eq!(
        converted(&dollars.inverse(), 11_684, Rounding::Down),
        10_000
    );
    assert_eq!(dollars.inverse().shown(), "0.85587127696");
}

#[test]
fn rejects_overflow_and_other_currencies() {
    let large = quotation("EUR", "JPY", "999999999", "0.000000001");
    let amount = |minor, code| Money::new(minor, currency(code)).expect("in range");
    assert_eq!(
        large.convert(amount(1_000_000, "EUR"), Rounding::HalfUp),
        Err(MoneyError::Overflow)
    );
    let all = crate::primitives::limits::MONEY_MINOR_MAX;
    assert_eq!(
        large.convert(amount(all, "EUR"), Rounding::HalfUp),
        Err(MoneyError::Overflow)
    );
    assert_eq!(
        large.convert(amount(1, "USD"), Rounding::HalfUp),
        Err(MoneyError::CurrencyMismatch(
            currency("USD"),
            currency("EUR")
        ))
    );
}

#[test]
fn applies_last_rate_until_it_is_too_old() {
    let day = |text| Day::parse(text).expect(text);
    // The Thursday before Easter and the Tuesday after it.
    let series = Series::new(vec![
        (day("2026-04-02"), rate("1.15")),
        (day("2026-04-07"), rate("1.16")),
    ]);
    assert_eq!(series.at(day("2026-04-01"), 7), None);
    assert_eq!(
        series.at(day("2026-04-02"), 7),
        Some((day("2026-04-02"), rate("1.15")))
    );
    assert_eq!(
        series.at(day("2026-04-06"), 7),
        Some((day("2026-04-02"), rate("1.15")))
    );
    assert_eq!(series.at(day("2026-04-06"), 3), None);
    assert_eq!(
        series.at(day("2026-04-14"), 7),
        Some((day("2026-04-07"), rate("1.16")))
    );
    assert_eq!(series.at(day("2026-04-15"), 7), None);
    assert_eq!(Series::default().at(day("2026-04-15"), 7), None);
}

#[test]
fn is_far_when_more_than_doubled_or_halved() {
    for (one, other, far) in [
        ("1", "2", false),
        ("1", "2.01", true),
        ("2", "1", false),
        ("2.01", "1", true),
        ("1.1", "1.2", false),
    ] {
        assert_eq!(rate(one).is_far_from(rate(other)), far, "{one} {other}");
    }
}

prop_compose! {
    fn any_rate()(mantissa in 1_u64..1_000_000_000, scale in 0_usize..9) -> ExchangeRate {
        let scale = u32::try_from(scale).expect("a digit");
        ExchangeRate::parse(&Decimal::from_i128_with_scale(i128::from(mantissa),
            scale).to_string()).expect("a rate")
    }
}

fn any_currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec!["EUR", "USD", "JPY", "KWD", "CHF"]).prop_map(currency)
}

proptest! {
    /// |converted × denominator − amount × numerator| is at most half a minor unit, both sides in
    /// whole numbers.
    #[test]
    fn converts_within_half_a_unit(
        minor in -1_000_000_000_i64..1_000_000_000, numerator in any_rate(),
            denominator in any_rate(), base in any_currency(), quote in any_currency(),
    ) {
        let by = Quotation { base, quote, numerator, denominator };
        let amount = Money::new(minor, base).expect("in range");
        let Ok(found) = by.convert(amount, Rounding::HalfUp) else { return Ok(()) };
        let scaled = |rate: ExchangeRate,
            places: u32| rate.0.mantissa() * 10_i128.pow(9 - rate.0.scale()) * 10_i128.pow(places);
        let exact = i128::from(minor) * scaled(numerator, quote.digits());
        let unit = scaled(denominator, base.digits());
        let error = i128::from(found.minor()) * unit - exact;
        prop_assert!(error.abs() * 2 <= unit, "{by:?}: {amount:?} became {found:?}");
        prop_assert_eq!(found.currency(), quote);
    }

    #[test]
    fn half_up_exceeds_down_by_at_most_one(minor in 0_i64..1_000_000_000,
        numerator in any_rate(), denominator in any_rate()) {
        let by = Quotation { base: currency("EUR"), quote: currency("USD"), numerator,
            denominator };
        let amount = Money::new(minor, by.base).expect("in range");
        if let (Ok(down), Ok(up)) = (by.convert(amount, Rounding::Down), by.convert(amount,
            Rounding::HalfUp)) {
            prop_assert!(matches!(up.minor() - down.minor(), 0 | 1));
        }
    }

    /// Converting to a finer unit and back loses nothing.
    #[test]
    fn round_trip_is_exact_when_other_unit_is_finer(minor in 0_i64..1_000_000_000,
        numerator in any_rate()) {
        prop_assume!(numerator >= ExchangeRate::ONE);
        let by = Quotation { base: currency("EUR"), quote: currency("KWD"), numerator,
            denominator: ExchangeRate::ONE };
        let amount = Money::new(minor, by.base).expect("in range");
        if let Ok(there) = by.convert(amount, Rounding::HalfEven) {
            prop_assert_eq!(by.inverse().convert(there, Rounding::HalfEven), Ok(amount));
        }
    }
}
