//! Prices of lines: discounts, net amounts, taxes per rate, totals. Pure except for reading the tax
//! rates.
//!
//! A discount of a line and that of the whole sale are in the terms of the prices: with tax when
//! the prices include it. The discount of the sale is allocated to the lines by the largest
//! remainder, and what is left of each line is taxed. The sums of an order are without tax: its
//! subtotal is that of the lines before all discounts, its discount the difference to what is sold.
//! So `total = subtotal - discount + tax`, whether or not the prices include tax.

use serde::{Deserialize, Serialize};

use super::catalog::Product;
use super::tax::{self, TaxRefused};
use crate::primitives::id::{OrderLineId, ProductId, TaxRateId};
use crate::primitives::limits::ORDER_TOTAL_MINOR_MAX;
use crate::primitives::{
    Measure, Money, MoneyError, Name, Note, Quantity, QuantityTooLarge, Sku, TaxClass, TaxRate,
    Timestamp, refusals,
};
use crate::storage::TenantView;

/// A line before it is priced.
#[derive(Clone, Debug)]
pub struct DraftLine {
    pub id: OrderLineId,
    pub product: Product,
    pub quantity: Quantity,
    /// For one whole unit.
    pub unit_price: Money,
    /// The reason that the user gave for the price.
    pub price_reason: Option<Note>,
    /// The discount of the line, in the terms of its price.
    pub discount: Money,
    pub discount_reason: Option<Note>,
}

/// A priced line.
#[derive(Clone, Debug)]
pub struct PricedLine {
    pub id: OrderLineId,
    pub product_id: ProductId,
    /// The SKU when it was sold.
    pub sku: Sku,
    /// The product's name when it was sold.
    pub name: Name,
    pub quantity: i64,
    /// Unit and scale of the quantity when it was sold.
    pub measure: Measure,
    /// For one whole unit, as the shop displays it, with or without tax.
    pub unit_price: Money,
    /// The reason that the user gave for the price.
    pub price_reason: Option<Note>,
    /// All discounts of the line, in the terms of its price; net, tax and total are after them.
    pub discount: Money,
    /// The part of `discount` that is the line's share of the discount of the whole sale.
    pub shared_discount: Money,
    /// The reason that the user gave for the discount of the line.
    pub discount_reason: Option<Note>,
    pub tax_class: TaxClass,
    /// The name of the tax rate.
    pub tax_name: Name,
    pub tax_rate: TaxRate,
    /// Without tax.
    pub net: Money,
    pub tax: Money,
    /// With tax.
    pub total: Money,
}

/// The tax of an order at one rate. Members are sorted by name, because snapshots require it (see
/// `snapshot::canonical`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxLine {
    /// The discounts on goods of this rate, without tax.
    pub discount_minor: i64,
    /// The rate's name.
    pub name: String,
    /// The amount that is taxed: after discounts, without tax.
    pub net_minor: i64,
    /// Parts per million.
    pub rate_ppm: i64,
    pub tax_minor: i64,
}

/// The priced lines of an order with its totals.
#[derive(Clone, Debug)]
pub struct Priced {
    /// In the order of the drafts.
    pub lines: Vec<PricedLine>,
    /// One per rate, the highest first.
    pub tax_lines: Vec<TaxLine>,
    /// The rates of the lines that no order had before.
    pub new_rates: Vec<TaxRateId>,
    /// Sum of the lines before discounts, without tax.
    pub subtotal: Money,
    /// Sum of the discounts, without tax.
    pub discount: Money,
    /// Sum of the taxes, on the lines after discounts.
    pub tax: Money,
    /// The amount to pay.
    pub total: Money,
}

refusals! {
    /// Reasons why lines cannot be priced.
    pub enum PricingRefused {
        /// A sum overflows.
        Money(#[from] MoneyError): Invalid "amount_too_large", "{0}";
        /// The total exceeds the limit of one order.
        TotalTooLarge(Money): Invalid "amount_too_large",
            "{0} is too much for one order; the limit is {ORDER_TOTAL_MINOR_MAX} minor units; \
             check the prices and quantities";
        /// The discount of a line is above its price.
        LineDiscount { sku: Sku, discount: Money, amount: Money }: Invalid "discount_too_large",
            "the discount of `{sku}` is {discount}, but the line is worth {amount}; reduce the \
             discount";
        /// The discount of the sale is above the sum of its lines.
        SaleDiscount { discount: Money, amount: Money }: Invalid "discount_too_large",
            "the discount of the sale is {discount}, but its lines are worth {amount} after their \
             own discounts; reduce the discount";
        /// A line has more than the largest quantity.
        Quantity(#[from] QuantityTooLarge): Invalid "quantity_too_large", "{0}";
    }
    inherits { Tax(TaxRefused) }
}

/// Prices `drafts` by the tax rates valid at `at`. All are in the currency of `discount`, which is
/// that of the whole sale, after those of the lines.
///
/// # Panics
/// When there is no line: an order has at least one.
pub fn price(
    view: &TenantView,
    drafts: &[DraftLine],
    discount: Money,
    included: bool,
    at: Timestamp,
) -> Result<Priced, PricingRefused> {
    assert!(!drafts.is_empty(), "an order has at least one line");
    let (groups, new_rates) = group_by_rate(view, drafts, at)?;
    let priced = price_groups(&groups, drafts, discount, included)?;
    Ok(Priced {
        new_rates,
        ..priced
    })
}

fn price_groups(
    groups: &[Group],
    drafts: &[DraftLine],
    discount: Money,
    included: bool,
) -> Result<Priced, PricingRefused> {
    let amounts = amounts(drafts, discount)?;
    let zero = Money::zero(discount.currency());
    let mut priced = Priced {
        lines: Vec::new(),
        tax_lines: Vec::with_capacity(groups.len()),
        new_rates: Vec::new(),
        subtotal: zero,
        discount: zero,
        tax: zero,
        total: zero,
    };
    let mut lines: Vec<Option<PricedLine>> = vec![None; drafts.len()];
    for group in groups {
        let members = || group.members.iter().map(|&index| &amounts[index]);
        let left: Vec<Money> = members().map(|amount| amount.left).collect();
        let taxed = tax::tax_group(&left, group.rate, included)?;
        let listed = members().try_fold(zero, |sum, amount| sum.plus(amount.listed))?;
        let (subtotal, _) = tax::split(listed, group.rate, included)?;
        let discount = subtotal.minus(taxed.net)?;
        for (position, &index) in group.members.iter().enumerate() {
            let (net, tax) = (taxed.nets[position], taxed.taxes[position]);
            lines[index] = Some(priced_line(
                &drafts[index],
                &amounts[index],
                group,
                (net, tax),
            )?);
        }
        priced.subtotal = priced.subtotal.plus(subtotal)?;
        priced.discount = priced.discount.plus(discount)?;
        priced.tax = priced.tax.plus(taxed.tax)?;
        priced.tax_lines.push(TaxLine {
            discount_minor: discount.minor(),
            name: group.name.to_string(),
            rate_ppm: group.rate.ppm(),
            net_minor: taxed.net.minor(),
            tax_minor: taxed.tax.minor(),
        });
    }
    priced.total = priced.subtotal.minus(priced.discount)?.plus(priced.tax)?;
    if priced.total.minor() > ORDER_TOTAL_MINOR_MAX {
        return Err(PricingRefused::TotalTooLarge(priced.total));
    }
    let lines = lines.into_iter();
    priced.lines = lines
        .map(|line| line.expect("every line is in one group"))
        .collect();
    Ok(priced)
}

/// The amounts of a line, in the terms of its price.
struct Amounts {
    /// Before discounts.
    listed: Money,
    /// The line's share of the discount of the sale.
    shared: Money,
    /// After all discounts.
    left: Money,
}

/// Deducts the discounts of the lines, then allocates the discount of the sale to what is left of
/// them, in proportion.
fn amounts(drafts: &[DraftLine], discount: Money) -> Result<Vec<Amounts>, PricingRefused> {
    let zero = Money::zero(discount.currency());
    let mut amounts = Vec::with_capacity(drafts.len());
    let mut sum = zero;
    for draft in drafts {
        let measure = draft.product.measure;
        measure.require_quantity(draft.quantity)?;
        let listed = measure.amount(draft.unit_price, draft.quantity.get())?;
        let left = listed.minus(draft.discount)?;
        if left.minor() < 0 {
            return Err(PricingRefused::LineDiscount {
                sku: draft.product.sku.clone(),
                discount: draft.discount,
                amount: listed,
            });
        }
        sum = sum.plus(left)?;
        amounts.push(Amounts {
            listed,
            shared: zero,
            left,
        });
    }
    if discount.is_zero() {
        return Ok(amounts);
    }
    if discount.minor() > sum.minor() {
        return Err(PricingRefused::SaleDiscount {
            discount,
            amount: sum,
        });
    }
    let weights: Vec<i64> = amounts.iter().map(|amount| amount.left.minor()).collect();
    for (amount, share) in amounts.iter_mut().zip(discount.allocate(&weights)?) {
        amount.shared = share;
        amount.left = amount.left.minus(share)?;
    }
    Ok(amounts)
}

struct Group {
    tax_class: TaxClass,
    name: Name,
    rate: TaxRate,
    members: Vec<usize>,
}

/// Groups lines by tax rate, the highest first. Also returns the rates that no order had before.
fn group_by_rate(
    view: &TenantView,
    drafts: &[DraftLine],
    at: Timestamp,
) -> Result<(Vec<Group>, Vec<TaxRateId>), PricingRefused> {
    let (mut groups, mut new_rates): (Vec<Group>, _) = (Vec::new(), Vec::new());
    for (index, draft) in drafts.iter().enumerate() {
        let class = &draft.product.tax_class;
        match groups.iter_mut().find(|group| &group.tax_class == class) {
            Some(group) => group.members.push(index),
            None => {
                let rate = tax::rate_at(view, class, at)?;
                if !rate.used {
                    new_rates.push(rate.id);
                }
                groups.push(Group {
                    tax_class: class.clone(),
                    name: rate.name,
                    rate: rate.rate,
                    members: vec![index],
                });
            }
        }
    }
    merge_equal_rates(&mut groups);
    Ok((groups, new_rates))
}

/// Merges classes with the same rate and name into one tax line with one rounding.
fn merge_equal_rates(groups: &mut Vec<Group>) {
    groups.sort_by(|a, b| b.rate.cmp(&a.rate).then_with(|| a.name.cmp(&b.name)));
    groups.dedup_by(|later, earlier| {
        let same = later.rate == earlier.rate && later.name == earlier.name;
        if same {
            earlier.members.append(&mut later.members);
        }
        same
    });
}

fn priced_line(
    draft: &DraftLine,
    amounts: &Amounts,
    group: &Group,
    (net, tax): (Money, Money),
) -> Result<PricedLine, MoneyError> {
    let product = &draft.product;
    Ok(PricedLine {
        id: draft.id,
        product_id: product.id,
        sku: product.sku.clone(),
        name: product.name.clone(),
        quantity: draft.quantity.get(),
        measure: product.measure,
        unit_price: draft.unit_price,
        price_reason: draft.price_reason.clone(),
        discount: draft.discount.plus(amounts.shared)?,
        shared_discount: amounts.shared,
        discount_reason: draft.discount_reason.clone(),
        tax_class: product.tax_class.clone(),
        tax_name: group.name.clone(),
        tax_rate: group.rate,
        net,
        tax,
        total: net.plus(tax)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::primitives::{Currency, QuantityScale, Unit};

    /// The tax classes with their rates, in parts per million, the highest first.
    const RATES: [(&str, i64); 3] = [("full", 190_000), ("low", 88_750), ("none", 0)];

    /// A line: price, quantity, scale, place of its rate, thousandths of its discount.
    type Line = (i64, i64, i64, usize, i64);

    fn line() -> impl Strategy<Value = Line> {
        let price = prop_oneof![0_i64..20, 0_i64..5_000, 0_i64..10_000_000];
        let discount = prop_oneof![Just(0_i64), Just(1_000), 0_i64..=1_000];
        (price, 1_i64..3_000, 0_i64..=3, 0_usize..3, discount)
    }

    fn draft(currency: Currency, (price, quantity, places, rate, discount): Line) -> DraftLine {
        let unit_price = Money::price(price, currency).expect("in range");
        let measure = Measure {
            unit: Unit::Kilogram,
            scale: QuantityScale::new(places).expect("in range"),
        };
        let listed = measure.amount(unit_price, quantity).expect("small");
        let discount = listed.ratio(discount, 1_000, crate::primitives::Rounding::Down);
        DraftLine {
            id: OrderLineId::from_bytes([1; 16]),
            product: Product {
                id: ProductId::from_bytes([2; 16]),
                sku: Sku::parse("TEA").expect("good"),
                barcode: None,
                name: Name::parse("Tea").expect("good"),
                price: unit_price,
                tax_class: TaxClass::parse(RATES[rate].0).expect("good"),
                track_stock: false,
                category_id: None,
                active: true,
                version: 1,
                updated_at: Timestamp::from_millis_clamped(0),
                measure,
                in_use: true,
            },
            quantity: Quantity::new(quantity).expect("in range"),
            unit_price,
            price_reason: None,
            discount: discount.expect("small"),
            discount_reason: None,
        }
    }

    fn groups(lines: &[Line]) -> Vec<Group> {
        let group = |place: usize| Group {
            tax_class: TaxClass::parse(RATES[place].0).expect("good"),
            name: Name::parse(RATES[place].0).expect("good"),
            rate: TaxRate::from_ppm(RATES[place].1).expect("in range"),
            members: (0..lines.len())
                .filter(|index| lines[*index].3 == place)
                .collect(),
        };
        let groups = (0..RATES.len()).map(group);
        groups.filter(|group| !group.members.is_empty()).collect()
    }

    /// Divides and rounds half up; no value is negative.
    fn half_up(numerator: i64, denominator: i64) -> i64 {
        let (numerator, denominator) = (i128::from(numerator), i128::from(denominator));
        i64::try_from((2 * numerator + denominator) / (2 * denominator)).expect("small")
    }

    /// Net amount and tax of a price.
    fn taxed(amount: i64, ppm: i64, included: bool) -> (i64, i64) {
        if included {
            let tax = half_up(amount * ppm, 1_000_000 + ppm);
            (amount - tax, tax)
        } else {
            (amount, half_up(amount * ppm, 1_000_000))
        }
    }

    /// Asserts that `shares` are those of the largest remainders of `discount` over `weights`.
    fn assert_allocated(discount: i64, weights: &[i64], shares: &[i64]) {
        assert_eq!(shares.iter().sum::<i64>(), discount);
        let sum = i128::from(weights.iter().sum::<i64>().max(1));
        let exact = weights
            .iter()
            .map(|weight| i128::from(discount) * i128::from(*weight));
        let exact: Vec<(i128, i128)> = exact.map(|part| (part / sum, part % sum)).collect();
        let (mut raised, mut kept) = (sum, 0);
        for ((floor, rest), share) in exact.iter().zip(shares) {
            match i128::from(*share) - floor {
                0 => kept = kept.max(*rest),
                1 => raised = raised.min(*rest),
                other => panic!("{other} away from the fair share"),
            }
        }
        assert!(raised >= kept, "a smaller remainder was rounded up");
    }

    proptest! {
        #[test]
        fn agrees_with_model_to_the_minor_unit(
            lines in prop::collection::vec(line(), 1..12),
            permille in prop_oneof![Just(0_i64), Just(1_000), 0_i64..=1_000],
            currency in prop::sample::select(vec!["JPY", "EUR", "KWD"]),
            included: bool,
        ) {
            let currency = Currency::parse(currency).expect("known");
            let drafts: Vec<DraftLine> = lines.iter().map(|line| draft(currency, *line)).collect();
            let whole = |places: i64| 10_i64.pow(u32::try_from(places).expect("small"));
            let listed: Vec<i64> = lines
                .iter()
                .map(|(price, quantity, places, ..)| half_up(price * quantity, whole(*places)))
                .collect();
            let own: Vec<i64> = drafts.iter().map(|draft| draft.discount.minor()).collect();
            let left: Vec<i64> = listed.iter().zip(&own).map(|(a, b)| a - b).collect();
            let discount = left.iter().sum::<i64>() * permille / 1_000;
            let money = Money::price(discount, currency).expect("in range");
            let priced = price_groups(&groups(&lines), &drafts, money, included).expect("small");

            let shares: Vec<i64> = priced
                .lines
                .iter()
                .map(|line| line.shared_discount.minor())
                .collect();
            assert_allocated(discount, &left, &shares);
            let (mut subtotal, mut discounts, mut tax) = (0, 0, 0);
            let mut tax_lines = priced.tax_lines.iter();
            for (place, (name, ppm)) in RATES.iter().enumerate() {
                let members: Vec<usize> =
                    (0..lines.len()).filter(|index| lines[*index].3 == place).collect();
                if members.is_empty() {
                    continue;
                }
                let sum = |of: &dyn Fn(usize) -> i64| members.iter().map(|at| of(*at)).sum::<i64>();
                let (before, _) = taxed(sum(&|at| listed[at]), *ppm, included);
                let (net, of_rate) = taxed(sum(&|at| left[at] - shares[at]), *ppm, included);
                let expected = TaxLine {
                    discount_minor: before - net,
                    name: (*name).to_owned(),
                    net_minor: net,
                    rate_ppm: *ppm,
                    tax_minor: of_rate,
                };
                prop_assert_eq!(tax_lines.next(), Some(&expected));
                prop_assert!(before >= net);
                let of_lines = |amount: fn(&PricedLine) -> Money| {
                    sum(&|at| amount(&priced.lines[at]).minor())
                };
                prop_assert_eq!(of_lines(|line| line.net), net);
                prop_assert_eq!(of_lines(|line| line.tax), of_rate);
                (subtotal, discounts, tax) =
                    (subtotal + before, discounts + before - net, tax + of_rate);
            }
            prop_assert_eq!(tax_lines.next(), None);
            prop_assert_eq!(
                [priced.subtotal, priced.discount, priced.tax, priced.total].map(Money::minor),
                [subtotal, discounts, tax, subtotal - discounts + tax]
            );
            let total: i64 = priced.lines.iter().map(|line| line.total.minor()).sum();
            prop_assert_eq!(total, priced.total.minor());
            for (at, line) in priced.lines.iter().enumerate() {
                let due = left[at] - shares[at];
                prop_assert_eq!(if included { line.total } else { line.net }.minor(), due);
                prop_assert_eq!(line.discount.minor(), own[at] + shares[at]);
                prop_assert!([line.net, line.tax].iter().all(|part| part.minor() >= 0));
            }
        }
    }
}
