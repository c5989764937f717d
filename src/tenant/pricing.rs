//! Prices of lines: net amounts, taxes per rate, totals. Pure except for reading the tax rates.

use serde::{Deserialize, Serialize};

use super::catalog::Product;
use super::tax::{self, TaxRefused};
use crate::primitives::id::{OrderLineId, ProductId};
use crate::primitives::limits::ORDER_TOTAL_MINOR_MAX;
use crate::primitives::{
    Class, Currency, Measure, Money, MoneyError, Name, Quantity, QuantityTooLarge, Refusal, Sku,
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
    /// The rate's name.
    pub name: String,
    /// The amount that is taxed, without tax.
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
    /// Sum of the net amounts.
    pub subtotal: Money,
    /// Sum of the taxes.
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
            Self::Tax(refused) => refused.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Money(_) | Self::TotalTooLarge(_) => "amount_too_large",
            Self::Quantity(_) => "quantity_too_large",
            Self::Tax(refused) => refused.code(),
        }
    }
}

/// Prices `lines`, all of which are in `currency`, by the tax rates valid at `at`.
///
/// # Panics
/// When there is no line: an order has at least one.
pub fn price(
    view: &TenantView,
    drafts: &[DraftLine],
    currency: Currency,
    included: bool,
    at: Timestamp,
) -> Result<Priced, PricingRefused> {
    assert!(!drafts.is_empty(), "an order has at least one line");
    let groups = group_by_rate(view, drafts, at)?;
    let mut lines: Vec<Option<PricedLine>> = vec![None; drafts.len()];
    let (mut subtotal, mut tax_sum, mut tax_lines) =
        (Money::zero(currency), Money::zero(currency), Vec::new());
    for group in &groups {
        let amounts = group.members.iter().map(|&index| amount(&drafts[index]));
        let amounts = amounts.collect::<Result<Vec<_>, _>>()?;
        let taxed = tax::tax_group(&amounts, group.rate, included)?;
        (subtotal, tax_sum) = (subtotal.plus(taxed.net)?, tax_sum.plus(taxed.tax)?);
        for (position, &index) in group.members.iter().enumerate() {
            lines[index] = Some(priced_line(
                &drafts[index],
                group,
                taxed.nets[position],
                taxed.taxes[position],
            )?);
        }
        let (net_minor, tax_minor) = (taxed.net.minor(), taxed.tax.minor());
        tax_lines.push(TaxLine {
            name: group.name.to_string(),
            rate_ppm: group.rate.ppm(),
            net_minor,
            tax_minor,
        });
    }
    let lines = lines
        .into_iter()
        .map(|line| line.expect("every line is in one group"))
        .collect();
    let total = subtotal.plus(tax_sum)?;
    if total.minor() > ORDER_TOTAL_MINOR_MAX {
        return Err(PricingRefused::TotalTooLarge(total));
    }
    Ok(Priced {
        lines,
        tax_lines,
        subtotal,
        tax: tax_sum,
        total,
    })
}

/// The price of a line.
fn amount(draft: &DraftLine) -> Result<Money, PricingRefused> {
    let measure = draft.product.measure;
    measure.require_quantity(draft.quantity)?;
    Ok(measure.amount(draft.unit_price, draft.quantity.get())?)
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
    group: &Group,
    net: Money,
    tax: Money,
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
        tax_class: product.tax_class.clone(),
        tax_name: group.name.clone(),
        tax_rate: group.rate,
        net,
        tax,
        total: net.plus(tax)?,
    })
}
