//! Use case: Place an order: a cart becomes an order that waits for its payment, with its stock
//! held.

use serde_json::json;

use super::cart::{self, CartForCheckout, CartRefused};
use super::catalog;
use super::currency::{self, CurrencyRefused, Published};
use super::inventory::{self, StockRefused, StockRequest};
use super::orders::{self, Channel, NewOrder, Order, OrderStatus};
use super::party::Party;
use super::payments::{self, Method, NewPayment, Payment, PaymentRefused};
use super::policy::StorefrontRules;
use super::pricing::{self, DraftLine, PricingRefused};
use super::{Policy, settings};
use crate::platform::audit;
use crate::primitives::id::{CartId, OrderKind, OrderLineKind, PaymentKind, ProductId};
use crate::primitives::limits::RESERVATION_TTL_MS;
use crate::primitives::{ClientHash, Currency, Email, Money, refusals};
use crate::storage::{StorageError, TenantView, TenantWork};

/// The command to place an order.
#[derive(Clone, Debug)]
pub struct PlaceOrder {
    pub cart_id: CartId,
    /// The address for the confirmation.
    pub email: Email,
    pub method: Method,
    /// The buyer for the invoice, if any.
    pub buyer: Option<Party>,
}

/// A placed order, and the payment it waits for.
#[derive(Clone, Debug)]
pub struct Placed {
    pub order: Order,
    /// Pending.
    pub payment: Payment,
}

refusals! {
    /// Reasons to refuse a sale or an order; the first that applies wins, in this order.
    pub enum SellRefused {
        ProductNotFound(ProductId): Invalid "product_not_found",
            "no product {0} in this shop; check the product id";
        ProductInactive { product_id: ProductId, sku: String }: Conflict "product_inactive",
            "the product `{sku}` is not active; activate it, or remove it from the sale";
        /// The product is priced in another currency than the sale.
        CurrencyMismatch { sku: String, product: Currency, sale: Currency }:
            Invalid "currency_mismatch",
            "the product `{sku}` is priced in {product}, but this sale is in {sale}; sell it \
             separately";
        /// The client has too many unpaid orders.
        TooManyUnpaid {
            /// The unpaid orders allowed for one client.
            limit: i64,
        }: Conflict "unpaid_orders_limit",
            "this address has {limit} unpaid orders of the last 24 hours; pay one of them first, \
             or ask the shop to cancel them";
    }
    inherits {
        Cart(CartRefused),
        Pricing(PricingRefused),
        Currency(CurrencyRefused),
        Payment(PaymentRefused),
        Stock(StockRefused),
        Storage(StorageError),
    }
    facts {
        Self::ProductNotFound(id) => { product_id: id },
        Self::ProductInactive { product_id, sku } => { product_id: product_id, sku: sku },
        Self::TooManyUnpaid { limit } => { limit: limit },
    }
}

/// Creates an order from a cart: with present prices, its stock held for 15 minutes, and a pending
/// payment. A client is a caller without an API key, whose unpaid orders are limited in number and
/// in the stock they hold.
pub fn place_order(
    work: &mut TenantWork,
    policy: &Policy,
    published: &Published,
    client: Option<ClientHash>,
    command: &PlaceOrder,
) -> Result<Placed, SellRefused> {
    let cart = cart::load_for_checkout(work, command.cart_id)?;
    let drafts = draft_lines(work, &cart)?;
    let (now, shop) = (work.now(), settings::shop(work)?);
    let discount = Money::zero(cart.currency);
    let priced = pricing::price(work, &drafts, discount, shop.prices_include_tax, now)?;
    let rate = currency::rate_for(work, published, shop.currency, priced.total, now)?;
    payments::require_method(policy, command.method)?;
    let requests = stock_requests(&drafts);
    let rules = &policy.storefront;
    if let Some(client) = client {
        require_few_unpaid(work, rules, client)?;
    }
    inventory::require_available(work, &requests)?;
    if let Some(client) = client {
        inventory::require_within_hold_limit(work, rules, client, &requests)?;
    }
    let exchange_rate_id = rate.map(|rate| currency::adopt(work, &rate)).transpose()?;
    let new = NewOrder {
        id: work.new_id::<OrderKind>(),
        channel: Channel::Checkout,
        status: OrderStatus::Pending,
        prices_include_tax: shop.prices_include_tax,
        priced,
        discount_reason: None,
        email: Some(command.email.clone()),
        buyer: command.buyer.clone(),
        cart_id: Some(cart.id),
        request_hash: None,
        placed_at: now,
        exchange_rate_id,
        client,
    };
    let order = orders::insert_order(work, new)?;
    mark_in_use(work, &drafts)?;
    inventory::reserve(
        work,
        order.id,
        &requests,
        now.plus_millis(RESERVATION_TTL_MS),
    )?;
    let id = work.new_id::<PaymentKind>();
    let new = NewPayment {
        id,
        order_id: order.id,
        method: command.method,
        succeeded_at: None,
        amount: order.total,
        tendered: None,
    };
    let payment = payments::insert_payment(work, &new)?;
    cart::mark_converted(work, cart.id)?;
    let details = json!({"number": order.number, "total_minor": order.total.minor(),
        "currency": order.currency});
    audit::record(
        work,
        "order.placed",
        &format!("order:{}", order.id),
        details,
    )?;
    Ok(Placed { order, payment })
}

fn draft_lines(work: &TenantWork, cart: &CartForCheckout) -> Result<Vec<DraftLine>, SellRefused> {
    let mut drafts = Vec::with_capacity(cart.items.len());
    for (product_id, quantity) in &cart.items {
        let product = catalog::find_product(work, *product_id)?
            .ok_or(SellRefused::ProductNotFound(*product_id))?;
        let product = sellable(product, cart.currency, true)?;
        drafts.push(DraftLine {
            id: work.new_id::<OrderLineKind>(),
            quantity: *quantity,
            unit_price: product.price,
            price_reason: None,
            discount: Money::zero(cart.currency),
            discount_reason: None,
            product,
        });
    }
    Ok(drafts)
}

fn require_few_unpaid(
    view: &TenantView,
    rules: &StorefrontRules,
    client: ClientHash,
) -> Result<(), SellRefused> {
    let limit = rules.unpaid_orders_per_client;
    if orders::count_unpaid(view, client)? < limit {
        return Ok(());
    }
    Err(SellRefused::TooManyUnpaid { limit })
}

/// Returns the product if it can be sold in `currency`. A present sale (`is_present`) also requires
/// it to be active.
pub(super) fn sellable(
    product: catalog::Product,
    currency: Currency,
    is_present: bool,
) -> Result<catalog::Product, SellRefused> {
    if is_present && !product.active {
        return Err(SellRefused::ProductInactive {
            product_id: product.id,
            sku: product.sku.to_string(),
        });
    }
    if product.price.currency() != currency {
        return Err(SellRefused::CurrencyMismatch {
            sku: product.sku.to_string(),
            product: product.price.currency(),
            sale: currency,
        });
    }
    Ok(product)
}

/// Records that the products of new lines are in use. Most are already, so it costs nothing.
pub(super) fn mark_in_use(work: &mut TenantWork, drafts: &[DraftLine]) -> Result<(), StorageError> {
    drafts
        .iter()
        .filter(|draft| !draft.product.in_use)
        .try_for_each(|draft| catalog::mark_in_use(work, draft.product.id))
}

/// The stock that the lines need: per product that counts stock, the sum over the lines.
pub(super) fn stock_requests(drafts: &[DraftLine]) -> Vec<StockRequest> {
    let mut requests: Vec<StockRequest> = Vec::new();
    for draft in drafts.iter().filter(|draft| draft.product.track_stock) {
        match requests
            .iter_mut()
            .find(|request| request.product_id == draft.product.id)
        {
            Some(request) => request.quantity += draft.quantity.get(),
            None => requests.push(StockRequest {
                product_id: draft.product.id,
                sku: draft.product.sku.clone(),
                measure: draft.product.measure,
                quantity: draft.quantity.get(),
            }),
        }
    }
    requests
}
