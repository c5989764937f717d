//! Use case: Record a complete paid sale in one transaction, as a till does.
//!
//! A till that works offline chooses the id of the sale. That id is unique for ever: repeated with
//! the same content it returns the sale in its present state; with other content it is a conflict.
//! Nothing is ever overwritten.

use std::collections::HashSet;

use super::model::{RecordSale, Recorded, SaleRefused};
use super::{fingerprint, tender};
use crate::primitives::id::{OrderId, OrderKind, OrderLineKind, ProductId};
use crate::primitives::limits::{SOLD_AT_AHEAD_MS, SOLD_AT_BEHIND_MS};
use crate::primitives::{Digest, Money, Timestamp};
use crate::storage::TenantWork;
use crate::tenant::checkout::{SellRefused, mark_in_use, sellable, stock_requests};
use crate::tenant::currency::Published;
use crate::tenant::finance;
use crate::tenant::inventory::{self, Goods};
use crate::tenant::orders::{self, Channel, NewOrder, OrderStatus};
use crate::tenant::payments;
use crate::tenant::pricing::{self, DraftLine, Priced, PricingRefused};
use crate::tenant::{Policy, catalog, currency, settings};

/// Records a sale: order, payments, stock, and all the books of a paid order. After an error
/// nothing of the sale is kept.
pub fn record(
    work: &mut TenantWork,
    policy: &Policy,
    published: &Published,
    command: &RecordSale,
) -> Result<Recorded, SaleRefused> {
    let hash = command.id.map(|_| fingerprint::of_record(command));
    record_as(work, policy, published, command, hash, Source::Till)
}

/// The origin of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A till of the shop: only active products, and stock is reduced.
    Till,
    /// Another system's past: stock is unchanged, and the lines must add up to the amount paid
    /// there.
    Import { total_minor: i64 },
}

impl Source {
    /// Refuses an imported sale whose lines do not add up to the amount paid.
    const fn require_total(self, total: Money) -> Result<(), SaleRefused> {
        let priced = total.minor();
        match self {
            Self::Import {
                total_minor: stated,
            } if stated != priced => Err(SaleRefused::TotalMismatch { priced, stated }),
            _ => Ok(()),
        }
    }
}

/// Records a sale; its id, if any, is bound to `hash`.
pub(super) fn record_as(
    work: &mut TenantWork,
    policy: &Policy,
    published: &Published,
    command: &RecordSale,
    hash: Option<Digest>,
    source: Source,
) -> Result<Recorded, SaleRefused> {
    if let Some(id) = command.id
        && let Some(known) = orders::request_hash(work, id)?
    {
        return if known == hash {
            recorded_before(work, policy, id)
        } else {
            Err(SaleRefused::IdConflict(id.to_string()))
        };
    }
    refuse_known_ids(work, command)?;
    let sold_at = sold_at(work, command, source)?;
    let drafts = drafts(work, command, source)?;
    let shop = settings::shop(work)?;
    let priced = priced(work, command, &drafts, shop.prices_include_tax, sold_at)
        .map_err(SellRefused::from)?;
    source.require_total(priced.total)?;
    let rate = currency::rate_for(work, published, shop.currency, priced.total, sold_at)
        .map_err(SellRefused::from)?;
    let tenders = tender::put_to(work, policy, &command.payments, priced.total)?;
    let requests = stock_requests(&drafts);
    let goods = match source {
        Source::Till => Goods::OnShelf(&requests),
        Source::Import { .. } => Goods::Gone,
    };
    if source == Source::Till {
        inventory::require_available(work, &requests).map_err(SellRefused::from)?;
    }
    let exchange_rate_id = rate.map(|rate| currency::adopt(work, &rate)).transpose()?;
    let new = NewOrder {
        client: None,
        id: command.id.unwrap_or_else(|| work.new_id::<OrderKind>()),
        channel: Channel::Sale,
        status: OrderStatus::Paid,
        prices_include_tax: shop.prices_include_tax,
        priced,
        discount_reason: command.discount_reason.clone(),
        email: command.email.clone(),
        buyer: command.buyer.clone(),
        cart_id: None,
        request_hash: hash.as_ref(),
        placed_at: sold_at,
        exchange_rate_id,
    };
    let order = orders::insert_order(work, new)?;
    mark_in_use(work, &drafts)?;
    let payments = tender::pay(work, &order, &tenders)?;
    let settlement = finance::settle(work, policy, order, &payments, goods, sold_at)?;
    Ok(Recorded {
        payments,
        settlement,
    })
}

/// The sale that the same request recorded before.
fn recorded_before(
    work: &mut TenantWork,
    policy: &Policy,
    id: OrderId,
) -> Result<Recorded, SaleRefused> {
    let order = orders::find_order(work, id)?.expect("the order exists: its hash was just read");
    let payments = payments::list_payments_of_order(work, id)?;
    let at = order.placed_at;
    let settlement = finance::settle(work, policy, order, &payments, Goods::Gone, at)?;
    Ok(Recorded {
        payments,
        settlement,
    })
}

/// Refuses ids chosen by the client that exist already or occur twice.
fn refuse_known_ids(work: &TenantWork, command: &RecordSale) -> Result<(), SaleRefused> {
    let (mut lines, mut payments) = (HashSet::new(), HashSet::new());
    for id in command.lines.iter().filter_map(|line| line.id) {
        if !lines.insert(id) || orders::is_line_known(work, id)? {
            return Err(SaleRefused::IdConflict(id.to_string()));
        }
    }
    for id in command.payments.iter().filter_map(|payment| payment.id) {
        if !payments.insert(id) || payments::is_payment_known(work, id)? {
            return Err(SaleRefused::IdConflict(id.to_string()));
        }
    }
    Ok(())
}

/// The time of the sale. A till whose clock has lost its battery must not write far into the past
/// or the future.
fn sold_at(
    work: &TenantWork,
    command: &RecordSale,
    source: Source,
) -> Result<Timestamp, SaleRefused> {
    let now = work.now();
    match command.sold_at.unwrap_or(now) {
        at if at > now.plus_millis(SOLD_AT_AHEAD_MS) => Err(SaleRefused::SoldInFuture),
        at if source == Source::Till && at < now.plus_millis(-SOLD_AT_BEHIND_MS) => {
            Err(SaleRefused::SoldTooLongAgo)
        }
        at => Ok(at),
    }
}

fn drafts(
    work: &TenantWork,
    command: &RecordSale,
    source: Source,
) -> Result<Vec<DraftLine>, SellRefused> {
    let mut drafts: Vec<DraftLine> = Vec::with_capacity(command.lines.len());
    for line in &command.lines {
        let product = match drafts
            .iter()
            .find(|draft| draft.product.id == line.product_id)
        {
            Some(draft) => draft.product.clone(),
            None => sold_product(work, line.product_id, drafts.first(), source)?,
        };
        let price =
            |minor| Money::price(minor, product.price.currency()).map_err(PricingRefused::from);
        drafts.push(DraftLine {
            id: line.id.unwrap_or_else(|| work.new_id::<OrderLineKind>()),
            quantity: line.quantity,
            unit_price: line.unit_price_minor.map_or(Ok(product.price), price)?,
            price_reason: line.price_reason.clone(),
            discount: price(line.discount_minor.unwrap_or(0))?,
            discount_reason: line.discount_reason.clone(),
            product,
        });
    }
    Ok(drafts)
}

/// Prices the lines with their discounts and that of the sale.
fn priced(
    work: &TenantWork,
    command: &RecordSale,
    drafts: &[DraftLine],
    included: bool,
    at: Timestamp,
) -> Result<Priced, PricingRefused> {
    let sold_in = drafts[0].unit_price.currency();
    let discount = Money::price(command.discount_minor.unwrap_or(0), sold_in)?;
    pricing::price(work, drafts, discount, included, at)
}

/// A product in the currency of the first line; the first line decides.
fn sold_product(
    work: &TenantWork,
    id: ProductId,
    first: Option<&DraftLine>,
    source: Source,
) -> Result<catalog::Product, SellRefused> {
    let product = catalog::find_product(work, id)?.ok_or(SellRefused::ProductNotFound(id))?;
    let currency = first.map_or(product.price.currency(), |first| {
        first.unit_price.currency()
    });
    sellable(product, currency, source == Source::Till)
}
