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
use crate::primitives::id::{OrderLineId, ProductId};
use crate::primitives::limits::ORDER_TOTAL_MINOR_MAX;
use crate::primitives::{
    Class, Measure, Money, MoneyError, Name, Note, Quantity, QuantityTooLarge, Refusal, Sku,
    TaxClass, TaxRate, Timestamp,
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
/// `finance::canonical`).
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
    /// Sum of the lines before discounts, without tax.
    pub subtotal: Money,
    /// Sum of the discounts, without tax.
    pub discount: Money,
    /// Sum of the taxes, on the lines after discounts.
    pub tax: Money,
    /// The amount to pay.
    pub total: Money,
}

/// Reasons why lines cannot be priced.
#[derive(Debug, thiserror::Error)]
pub enum PricingRefused {
    /// A sum overflows.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The total exceeds the limit of one order.
    #[error(
        "{0} is too much for one order; the limit is {ORDER_TOTAL_MINOR_MAX} minor units; check \
         the prices and quantities"
    )]
    TotalTooLarge(Money),
    /// The discount of a line is above its price.
    #[error(
        "the discount of `{sku}` is {discount}, but the line is worth {amount}; reduce the discount"
    )]
    LineDiscount {
        sku: Sku,
        discount: Money,
        amount: Money,
    },
    /// The discount of the sale is above the sum of its lines.
    #[error(
        "the discount of the sale is {discount}, but its lines are worth {amount} after their own \
         discounts; reduce the discount"
    )]
    SaleDiscount { discount: Money, amount: Money },
    /// A line has more than the largest quantity.
    #[error(transparent)]
    Quantity(#[from] QuantityTooLarge),
    /// A tax class has no rate at that instant.
    #[error(transparent)]
    Tax(#[from] TaxRefused),
}

impl Refusal for PricingRefused {
    fn class(&self) -> Class {
        match self {
            Self::Money(_) | Self::TotalTooLarge(_) | Self::Quantity(_) => Class::Invalid,
            Self::LineDiscount { .. } | Self::SaleDiscount { .. } => Class::Invalid,
            Self::Tax(refused) => refused.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Money(_) | Self::TotalTooLarge(_) => "amount_too_large",
            Self::Quantity(_) => "quantity_too_large",
            Self::LineDiscount { .. } | Self::SaleDiscount { .. } => "discount_too_large",
            Self::Tax(refused) => refused.code(),
        }
    }
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
    price_groups(
        &group_by_rate(view, drafts, at)?,
        drafts,
        discount,
        included,
    )
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

/// Groups lines by tax rate, the highest first.
fn group_by_rate(
    view: &TenantView,
    drafts: &[DraftLine],
    at: Timestamp,
) -> Result<Vec<Group>, PricingRefused> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, draft) in drafts.iter().enumerate() {
        let class = &draft.product.tax_class;
        match groups.iter_mut().find(|group| &group.tax_class == class) {
            Some(group) => group.members.push(index),
            None => {
                let rate = tax::rate_at(view, class, at)?;
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
    Ok(groups)
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
