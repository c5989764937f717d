//! `POST /v1/sales`: records a whole paid sale.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::finance::FinancialOrderView;
use super::form::{KeyedParams, price};
use super::invoices::InvoiceView;
use super::orders::OrderView;
use super::party::BuyerBody;
use super::payments::{PaymentView, parse_method};
use super::schema::Price;
use super::view::views;
use crate::app::App;
use crate::http::extract::permission::Pos;
use crate::http::extract::{FromBody, Keyed, Object, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::id::{OrderId, OrderLineId, PaymentId, ProductId};
use crate::primitives::limits::{LINES_MAX, PAYMENTS_PER_SALE_MAX};
use crate::primitives::{Email, Note, Quantity, Timestamp};
use crate::tenant::payments::Method;
use crate::tenant::sales::{self, RecordSale, Recorded, SaleLine, SalePayment};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(record_sale))
}

/// A line of a sale.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SaleLineBody {
    /// A UUID that the client chose for the line; globally unique.
    #[schema(value_type = Option<OrderLineId>)]
    id: Option<String>,
    #[schema(value_type = ProductId)]
    product_id: String,
    #[schema(value_type = Quantity)]
    quantity: i64,
    /// The price of one whole unit, when it was not the catalog's.
    #[schema(value_type = Option<Price>)]
    unit_price_minor: Option<i64>,
    /// The reason for that price.
    #[schema(value_type = Option<Note>)]
    price_reason: Option<String>,
    /// The discount of the line, with tax if the prices include it; at most the price of the line.
    #[schema(value_type = Option<Price>)]
    discount_minor: Option<i64>,
    #[schema(value_type = Option<Note>)]
    discount_reason: Option<String>,
}

/// A payment of a sale.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SalePaymentBody {
    /// A UUID that the client chose for the payment; globally unique.
    #[schema(value_type = Option<PaymentId>)]
    id: Option<String>,
    #[schema(value_type = Method)]
    method: String,
    /// The amount handed over; of cash, the surplus is change.
    #[schema(value_type = Price)]
    amount_minor: i64,
}

/// A past sale.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordSaleBody {
    /// A UUID that the client chose for the sale; globally unique. The same sale sent again gets
    /// the recorded sale in its present state.
    #[schema(value_type = Option<OrderId>)]
    id: Option<String>,
    /// The time of the sale; default: now.
    #[schema(value_type = Option<Timestamp>)]
    sold_at: Option<String>,
    #[schema(value_type = Vec<SaleLineBody>, min_items = 1, max_items = 500)]
    lines: Vec<Object<SaleLineBody>>,
    /// The discount of the whole sale, with tax if the prices include it. It is allocated to the
    /// lines in proportion to their prices after their own discounts.
    #[schema(value_type = Option<Price>)]
    discount_minor: Option<i64>,
    #[schema(value_type = Option<Note>)]
    discount_reason: Option<String>,
    #[schema(value_type = Vec<SalePaymentBody>, min_items = 1, max_items = 20)]
    payments: Vec<Object<SalePaymentBody>>,
    /// The address for the confirmation.
    #[schema(value_type = Option<Email>)]
    email: Option<String>,
    /// The buyer for the invoice.
    buyer: Option<BuyerBody>,
}

impl FromBody for RecordSale {
    type Wire = RecordSaleBody;

    fn from_wire(wire: RecordSaleBody, faults: &mut RequestFaults) -> Option<Self> {
        let id = faults.optional("/id", wire.id.as_deref().map(OrderId::parse));
        let sold_at = faults.optional("/sold_at", wire.sold_at.as_deref().map(Timestamp::parse));
        let email = faults.optional("/email", wire.email.as_deref().map(Email::parse));
        let buyer = wire.buyer.map_or(Some(None), |buyer| buyer.parse(faults));
        let discount_minor = faults.optional("/discount_minor", wire.discount_minor.map(price));
        let reason = wire.discount_reason.as_deref().map(Note::parse);
        let discount_reason = faults.optional("/discount_reason", reason);
        if wire.lines.is_empty() || wire.lines.len() > LINES_MAX {
            faults.add(
                "/lines",
                "invalid",
                format!("a sale has 1 to {LINES_MAX} lines"),
            );
        }
        if wire.payments.is_empty() || wire.payments.len() > PAYMENTS_PER_SALE_MAX {
            faults.add(
                "/payments",
                "invalid",
                format!("a sale has 1 to {PAYMENTS_PER_SALE_MAX} payments"),
            );
        }
        let lines: Vec<_> = wire
            .lines
            .iter()
            .take(LINES_MAX)
            .enumerate()
            .map(|(at, Object(line))| sale_line(at, line, faults))
            .collect();
        let payments: Vec<_> = wire
            .payments
            .iter()
            .take(PAYMENTS_PER_SALE_MAX)
            .enumerate()
            .map(|(at, Object(payment))| sale_payment(at, payment, faults))
            .collect();
        let (lines, payments) = (
            lines.into_iter().collect::<Option<_>>()?,
            payments.into_iter().collect::<Option<_>>()?,
        );
        Some(Self {
            id: id?,
            sold_at: sold_at?,
            lines,
            discount_minor: discount_minor?,
            discount_reason: discount_reason?,
            payments,
            email: email?,
            buyer: buyer?,
        })
    }
}

fn sale_line(at: usize, wire: &SaleLineBody, faults: &mut RequestFaults) -> Option<SaleLine> {
    let id = faults.optional(
        format!("/lines/{at}/id"),
        wire.id.as_deref().map(OrderLineId::parse),
    );
    let product_id = faults.check(
        format!("/lines/{at}/product_id"),
        ProductId::parse(&wire.product_id),
    );
    let quantity = faults.check(
        format!("/lines/{at}/quantity"),
        Quantity::new(wire.quantity),
    );
    let unit_price_minor = faults.optional(
        format!("/lines/{at}/unit_price_minor"),
        wire.unit_price_minor.map(price),
    );
    let price_reason = faults.optional(
        format!("/lines/{at}/price_reason"),
        wire.price_reason.as_deref().map(Note::parse),
    );
    let discount_minor = faults.optional(
        format!("/lines/{at}/discount_minor"),
        wire.discount_minor.map(price),
    );
    let discount_reason = faults.optional(
        format!("/lines/{at}/discount_reason"),
        wire.discount_reason.as_deref().map(Note::parse),
    );
    Some(SaleLine {
        id: id?,
        product_id: product_id?,
        quantity: quantity?,
        unit_price_minor: unit_price_minor?,
        price_reason: price_reason?,
        discount_minor: discount_minor?,
        discount_reason: discount_reason?,
    })
}

fn sale_payment(
    at: usize,
    wire: &SalePaymentBody,
    faults: &mut RequestFaults,
) -> Option<SalePayment> {
    let id = faults.optional(
        format!("/payments/{at}/id"),
        wire.id.as_deref().map(PaymentId::parse),
    );
    let method = faults.check(format!("/payments/{at}/method"), parse_method(&wire.method));
    let amount_minor = faults.check(
        format!("/payments/{at}/amount_minor"),
        price(wire.amount_minor),
    );
    Some(SalePayment {
        id: id?,
        method: method?,
        amount_minor: amount_minor?,
    })
}

views! {
    /// A recorded sale.
    pub struct RecordedView from Recorded as recorded {
        order: OrderView = recorded.settlement.order.into(),
        payments: Vec<PaymentView> = recorded
            .payments
            .into_iter()
            .map(PaymentView::from)
            .collect(),
        financial_order: FinancialOrderView = recorded.settlement.financial_order.into(),
        invoice: InvoiceView = recorded.settlement.invoice.into(),
    }
}

/// Records a whole paid sale: order, payments, stock, invoice and ledger entry, in one transaction.
#[utoipa::path(post, path = "/sales", tag = "sales", params(KeyedParams),
    request_body = RecordSaleBody,
    responses((status = 201, body = RecordedView), (status = 409, description = "`id_conflict`, \
        `product_inactive`, `out_of_stock`, `invoice_number_taken`, \
        `tax_not_configured`"),
        (status = 422, description = "`validation_failed`, `product_not_found`, \
            `currency_mismatch`, `currency_ended`, `currency_not_enabled`, `no_exchange_rate`, \
            `amount_too_large`, `quantity_too_large`, `discount_too_large`, `payment_zero`, \
            `payment_insufficient`, `payment_exceeds_total`, `payment_method_unavailable`, \
            `payment_reference_missing`, `sold_at_in_future`, `sold_at_too_old`, \
            `idempotency_key_reused`")))]
async fn record_sale(
    shop: Shop<Pos>,
    Keyed { key, command }: Keyed<RecordSale>,
) -> Result<Response, Problem> {
    let (policy, published) = (shop.policy(), shop.published_for_sale().await?);
    shop.once(key, StatusCode::CREATED, move |work| {
        let recorded = sales::record(work, &policy, &published, &command)?;
        Ok(RecordedView::from(recorded))
    })
    .await
}
