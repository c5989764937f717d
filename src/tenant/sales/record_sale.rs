//! Use case: a whole paid sale at once, as a till records it, in one transaction.
//!
//! A till that works offline brings its own id for the sale. That id is unique for ever: sent again with the same content it gets the
//! same answer, with another content it is a conflict, and never is anything overwritten.

use serde_json::{Map, Value, json};

use super::fingerprint;
use crate::primitives::id::{OrderId, OrderKind, OrderLineId, OrderLineKind, PaymentId, PaymentKind, ProductId};
use crate::primitives::limits::SOLD_AT_AHEAD_MS;
use crate::primitives::{Class, Digest, Email, Money, MoneyError, Quantity, Refusal, Timestamp};
use crate::storage::{StorageError, TenantWork};
use crate::tenant::checkout::{SellRefused, sellable, wanted};
use crate::tenant::finance::{self, SettleRefused, Settlement};
use crate::tenant::inventory::{self, Goods};
use crate::tenant::orders::{self, Channel, NewOrder, Order, OrderStatus};
use crate::tenant::payments::{self, Method, NewPayment, Payment, PaymentRefused};
use crate::tenant::pricing::{self, DraftLine};
use crate::tenant::{Policy, catalog, settings};

/// A sale that has taken place.
#[derive(Clone, Debug)]
pub struct RecordSale {
    /// The client's own id of it, if it has one.
    pub id: Option<OrderId>,
    /// When it took place; now, when it is not said.
    pub sold_at: Option<Timestamp>,
    /// What was sold.
    pub lines: Vec<SaleLine>,
    /// How it was paid.
    pub payments: Vec<SalePayment>,
    /// Where the confirmation goes, if anywhere.
    pub email: Option<Email>,
}

/// A line of a sale.
#[derive(Clone, Debug)]
pub struct SaleLine {
    /// The client's own id of it.
    pub id: Option<OrderLineId>,
    /// What was sold.
    pub product_id: ProductId,
    /// How many.
    pub quantity: Quantity,
    /// What one cost, when that was not the catalog's price.
    pub unit_price_minor: Option<i64>,
}

/// A payment of a sale.
#[derive(Clone, Debug)]
pub struct SalePayment {
    /// The client's own id of it.
    pub id: Option<PaymentId>,
    /// How.
    pub method: Method,
    /// How much was handed over, in minor units.
    pub amount_minor: i64,
}

/// A sale in the books.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its payments.
    pub payments: Vec<Payment>,
    /// Its order, financial order and invoice.
    pub settlement: Settlement,
}

/// Why a sale is not recorded; the first that applies wins, in this order.
#[derive(Debug, thiserror::Error)]
pub enum SaleRefused {
    /// The id was used before, for something else.
    #[error("the id {0} belongs to another sale, line or payment; ids are unique for ever")]
    IdConflict(String),
    /// It lies in the future.
    #[error("sold_at lies in the future; set the till's clock")]
    SoldInFuture,
    /// The products cannot be sold so.
    #[error(transparent)]
    Sell(#[from] SellRefused),
    /// More was paid than it costs, by a method that gives no change.
    #[error("the payments exceed the total of {0}; only cash gives change")]
    Exceeds(Money),
    /// A sum is beyond the limit.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The books refused.
    #[error(transparent)]
    Settle(#[from] SettleRefused),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<PaymentRefused> for SaleRefused {
    fn from(refused: PaymentRefused) -> Self {
        Self::Sell(refused.into())
    }
}

impl Refusal for SaleRefused {
    fn class(&self) -> Class {
        match self {
            Self::IdConflict(_) => Class::Conflict,
            Self::SoldInFuture | Self::Exceeds(_) | Self::Money(_) => Class::Invalid,
            Self::Sell(refused) => refused.class(),
            Self::Settle(refused) => refused.class(),
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::IdConflict(_) => "id_conflict",
            Self::SoldInFuture => "sold_at_in_future",
            Self::Exceeds(_) => "payment_exceeds_total",
            Self::Money(_) => "amount_too_large",
            Self::Sell(refused) => refused.code(),
            Self::Settle(refused) => refused.code(),
            Self::Storage(error) => error.code(),
        }
    }

    fn facts(&self) -> Map<String, Value> {
        match self {
            Self::IdConflict(id) => Map::from_iter([("id".to_owned(), json!(id))]),
            Self::Exceeds(total) => Map::from_iter([("total_minor".to_owned(), json!(total.minor()))]),
            Self::Sell(refused) => refused.facts(),
            Self::Settle(refused) => refused.facts(),
            _ => Map::new(),
        }
    }
}

/// Records a sale: order, payments, stock, and all the books of a paid order.
///
/// # Errors
/// [`SaleRefused`]; nothing of the sale is kept then.
pub fn record(work: &mut TenantWork, policy: &Policy, command: &RecordSale) -> Result<Recorded, SaleRefused> {
    let hash = command.id.map(|_| fingerprint::of_record(command));
    record_as(work, policy, command, hash, Shelf::Present)
}

/// Whether a sale takes its goods from the shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shelf {
    /// A sale of the present: only active products, and stock goes down.
    Present,
    /// A sale of a past that other counts know of: the present shelf has nothing to do with it.
    Past,
}

/// Records a sale whose id, if it has one, stands for `hash`.
pub(super) fn record_as(
    work: &mut TenantWork,
    policy: &Policy,
    command: &RecordSale,
    hash: Option<Digest>,
    shelf: Shelf,
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
    let now = work.now();
    let sold_at = command.sold_at.unwrap_or(now);
    if sold_at > now.plus_millis(SOLD_AT_AHEAD_MS) {
        return Err(SaleRefused::SoldInFuture);
    }
    command
        .payments
        .iter()
        .try_for_each(|payment| payments::require_method(policy, payment.method))?;
    let drafts = drafts(work, command, shelf)?;
    let (shop, currency) = (settings::shop(work)?, drafts[0].unit_price.currency());
    let priced = pricing::price(work, &drafts, currency, shop.prices_include_tax, sold_at).map_err(SellRefused::from)?;
    let tenders = tenders(work, command, priced.total)?;
    let wanted = wanted(&drafts);
    let goods = match shelf {
        Shelf::Present => Goods::OnShelf(&wanted),
        Shelf::Past => Goods::Gone,
    };
    if let Goods::OnShelf(wanted) = goods {
        inventory::require_available(work, wanted).map_err(SellRefused::from)?;
    }
    let new = NewOrder {
        id: command.id.unwrap_or_else(|| work.new_id::<OrderKind>()),
        channel: Channel::Sale,
        status: OrderStatus::Paid,
        prices_include_tax: shop.prices_include_tax,
        priced,
        email: command.email.clone(),
        cart_id: None,
        request_hash: hash.as_ref(),
        placed_at: sold_at,
    };
    let order = orders::insert_order(work, new)?;
    let payments = pay(work, &order, &tenders)?;
    let settlement = finance::settle(work, policy, order, &payments, goods, sold_at)?;
    Ok(Recorded { payments, settlement })
}

/// The sale that the same request recorded before.
fn recorded_before(work: &mut TenantWork, policy: &Policy, id: OrderId) -> Result<Recorded, SaleRefused> {
    let order = orders::find_order(work, id)?.expect("its hash was just read");
    let payments = payments::list_payments_of_order(work, id)?;
    let at = order.placed_at;
    let settlement = finance::settle(work, policy, order, &payments, Goods::Gone, at)?;
    Ok(Recorded { payments, settlement })
}

fn drafts(work: &TenantWork, command: &RecordSale, shelf: Shelf) -> Result<Vec<DraftLine>, SaleRefused> {
    let mut drafts: Vec<DraftLine> = Vec::with_capacity(command.lines.len());
    for line in &command.lines {
        let product = match drafts.iter().find(|draft| draft.product.id == line.product_id) {
            Some(draft) => draft.product.clone(),
            None => sold_product(work, line.product_id, drafts.first(), shelf)?,
        };
        if let Some(id) = line.id
            && (drafts.iter().any(|draft| draft.id == id) || orders::is_line_known(work, id)?)
        {
            return Err(SaleRefused::IdConflict(id.to_string()));
        }
        let unit_price = line
            .unit_price_minor
            .map_or(Ok(product.price), |minor| Money::price(minor, product.price.currency()))?;
        let id = line.id.unwrap_or_else(|| work.new_id::<OrderLineKind>());
        drafts.push(DraftLine {
            id,
            quantity: line.quantity,
            unit_price,
            product,
        });
    }
    Ok(drafts)
}

/// A product in the currency of the first line; the first line decides.
fn sold_product(work: &TenantWork, id: ProductId, first: Option<&DraftLine>, shelf: Shelf) -> Result<catalog::Product, SellRefused> {
    let product = catalog::find_product(work, id)?.ok_or(SellRefused::ProductNotFound(id))?;
    let currency = first.map_or(product.price.currency(), |first| first.unit_price.currency());
    sellable(product, currency, shelf == Shelf::Present)
}

/// What each payment puts to the total, and what was handed over where that was more.
struct Tender {
    id: PaymentId,
    method: Method,
    amount: Money,
    tendered: Option<Money>,
}

/// Puts the payments to the total. What is too much is change, and only cash gives change.
fn tenders(work: &TenantWork, command: &RecordSale, total: Money) -> Result<Vec<Tender>, SaleRefused> {
    let mut tenders: Vec<Tender> = Vec::with_capacity(command.payments.len());
    let mut paid = Money::zero(total.currency());
    for payment in &command.payments {
        if let Some(id) = payment.id
            && (tenders.iter().any(|tender| tender.id == id) || payments::is_payment_known(work, id)?)
        {
            return Err(SaleRefused::IdConflict(id.to_string()));
        }
        let amount = Money::price(payment.amount_minor, total.currency())?;
        paid = paid.plus(amount)?;
        let id = payment.id.unwrap_or_else(|| work.new_id::<PaymentKind>());
        tenders.push(Tender {
            id,
            method: payment.method,
            amount,
            tendered: None,
        });
    }
    if paid.minor() < total.minor() {
        return Err(PaymentRefused::Insufficient { paid, total }.into());
    }
    give_change(&mut tenders, paid.minus(total)?, total)?;
    Ok(tenders)
}

fn give_change(tenders: &mut [Tender], mut change: Money, total: Money) -> Result<(), SaleRefused> {
    for tender in tenders.iter_mut().rev().filter(|tender| tender.method == Method::Cash) {
        if change.is_zero() {
            break;
        }
        let part = if change.minor() < tender.amount.minor() {
            change
        } else {
            tender.amount
        };
        tender.tendered = Some(tender.amount);
        tender.amount = tender.amount.minus(part)?;
        change = change.minus(part)?;
    }
    if change.is_zero() {
        Ok(())
    } else {
        Err(SaleRefused::Exceeds(total))
    }
}

fn pay(work: &mut TenantWork, order: &Order, tenders: &[Tender]) -> Result<Vec<Payment>, StorageError> {
    let pay = |tender: &Tender| {
        let new = NewPayment {
            id: tender.id,
            order_id: order.id,
            method: tender.method,
            succeeded_at: Some(order.placed_at),
            amount: tender.amount,
            tendered: tender.tendered,
        };
        payments::insert_payment(work, &new)
    };
    tenders.iter().map(pay).collect()
}
