//! Money splitting: the parts sum exactly, and each is within one unit of its share. The lines of a
//! tax rate sum to its total.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tillbox::primitives::limits::MONEY_MINOR_MAX;
use tillbox::primitives::{Currency, Money, MoneyError, Rounding, TaxRate, allocate};
use tillbox::tenant::tax::tax_group;
use tillbox_fuzz::Bytes;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    let (total, choice, ppm) = (bytes.number(), bytes.byte(), bytes.number());
    let numbers = bytes.numbers(64);
    splits(total, &numbers);
    let eur = Currency::parse("EUR").expect("a currency");
    let amounts: Vec<Money> = numbers
        .iter()
        .filter_map(|minor| Money::price(*minor, eur).ok())
        .collect();
    if let Ok(rate) = TaxRate::from_ppm(ppm)
        && !amounts.is_empty()
    {
        taxes(&amounts, rate, choice & 1 == 1);
    }
    if let (Ok(money), Some(by)) = (Money::new(total, eur), numbers.first()) {
        computes(money, *by, ppm);
    }
});

fn splits(total: i64, weights: &[i64]) {
    let wide = |numbers: &[i64]| {
        numbers
            .iter()
            .map(|number| i128::from(*number))
            .sum::<i128>()
    };
    let sum = wide(weights);
    let can = weights.iter().all(|weight| *weight >= 0) && (sum > 0 || total == 0);
    let parts = allocate(total, weights);
    assert_eq!(parts.is_some(), can);
    let Some(parts) = parts else { return };
    assert_eq!(parts.len(), weights.len());
    assert_eq!(wide(&parts), i128::from(total));
    for (part, weight) in parts.iter().zip(weights) {
        assert!(*part == 0 || (part.signum() == total.signum() && *weight > 0));
        if let Some(given) = i128::from(*part).checked_mul(sum) {
            assert!(
                (given - i128::from(total) * i128::from(*weight)).abs() <= sum,
                "a part is off its share"
            );
        }
    }
}

fn taxes(amounts: &[Money], rate: TaxRate, included: bool) {
    let sum = |parts: &[Money]| {
        parts
            .iter()
            .map(|part| i128::from(part.minor()))
            .sum::<i128>()
    };
    let base = sum(amounts);
    match tax_group(amounts, rate, included) {
        Ok(group) => {
            let (net, tax) = (i128::from(group.net.minor()), i128::from(group.tax.minor()));
            assert_eq!((sum(&group.nets), sum(&group.taxes)), (net, tax));
            assert_eq!(if included { net + tax } else { net }, base);
            assert!(
                group
                    .nets
                    .iter()
                    .chain(&group.taxes)
                    .all(|part| part.minor() >= 0)
            );
            // Within half a unit of the exact tax on the net amount; where tax is included, the net
            // is rounded with it.
            assert!((tax * 1_000_000 - net * i128::from(rate.ppm())).abs() <= 1_000_000);
        }
        Err(error) => assert!(
            error == MoneyError::Overflow && base > i128::from(MONEY_MINOR_MAX),
            "{error}"
        ),
    }
}

/// Checks that nothing wraps: a result is exact or refused.
fn computes(money: Money, by: i64, parts: i64) {
    let exact = i128::from(money.minor()) * i128::from(by);
    match money.times(by) {
        Ok(product) => assert_eq!(i128::from(product.minor()), exact),
        Err(error) => {
            assert!(error == MoneyError::Overflow && exact.abs() > i128::from(MONEY_MINOR_MAX))
        }
    }
    for mode in [Rounding::HalfUp, Rounding::HalfEven, Rounding::Down] {
        if let Ok(share) = money.ratio(by, parts, mode) {
            let rest = exact - i128::from(share.minor()) * i128::from(parts);
            let within = if mode == Rounding::Down {
                rest.abs() < i128::from(parts)
            } else {
                rest.abs() * 2 <= i128::from(parts)
            };
            assert!(
                within,
                "{money:?} × {by} ÷ {parts} by {mode:?} is not {share:?}"
            );
        }
    }
    let shown = money.to_string();
    let digits: String = shown
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == '-')
        .collect();
    assert_eq!(digits.parse::<i64>().ok(), Some(money.minor()));
}
