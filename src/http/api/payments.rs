//! `/v1/payments`, and the confirmation of a payment.

use std::sync::Arc;

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::finance::FinancialOrderView;
use super::form::{KeyedParams, MayBeKeyedParams, OfOrder, PageParams, PageView};
use super::invoices::InvoiceView;
use super::orders::OrderView;
use crate::app::App;
use crate::http::extract::permission::{
    CancelPayment as MayCancel, ConfirmPayment as MayConfirm, Payments,
};
use crate::http::extract::{
    FromBody, Keyed, MayBeKeyed, PageBeside, PathId, Permission, QueryOf, Shop,
};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::platform::idempotency::{IdempotencyKey, KeyOutcome};
use crate::primitives::id::{OrderId, PaymentId, PaymentKind};
use crate::primitives::{Class, Currency, Note, Timestamp};
use crate::rate_limit::LineKind;
use crate::tenant::confirm_payment::{self, ConfirmPayment, Confirmed};
use crate::tenant::payments::{self, Method, OpenPayment, Payment};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_payments, open_payment))
        .routes(routes!(get_payment))
        .routes(routes!(confirm_payment))
        .routes(routes!(cancel_payment))
        .routes(routes!(checkout_confirm_payment))
}

/// A payment.
#[derive(Serialize, ToSchema)]
pub struct PaymentView {
    id: PaymentId,
    order_id: OrderId,
    #[schema(value_type = Method)]
    method: Method,
    /// `pending`, `authorized`, `succeeded`, `failed`, `cancelled` or `unknown`.
    status: &'static str,
    /// The part of the order that it pays.
    amount_minor: i64,
    /// The amount handed over, when it was more.
    tendered_minor: Option<i64>,
    /// The change given back.
    change_minor: i64,
    currency: Currency,
    provider_reference: Option<Note>,
    failure_code: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    succeeded_at: Option<Timestamp>,
}

impl From<Payment> for PaymentView {
    fn from(payment: Payment) -> Self {
        let tendered_minor = payment.tendered.map(|tendered| tendered.minor());
        Self {
            id: payment.id,
            order_id: payment.order_id,
            method: payment.method,
            status: payment.status.as_str(),
            amount_minor: payment.amount.minor(),
            tendered_minor,
            change_minor: tendered_minor.map_or(0, |tendered| tendered - payment.amount.minor()),
            currency: payment.amount.currency(),
            provider_reference: payment.provider_reference,
            failure_code: payment.failure_code,
            created_at: payment.created_at,
            updated_at: payment.updated_at,
            succeeded_at: payment.succeeded_at,
        }
    }
}

/// A confirmed payment with its order, financial order and invoice.
#[derive(Serialize, ToSchema)]
pub struct ConfirmedView {
    payment: PaymentView,
    order: OrderView,
    financial_order: FinancialOrderView,
    invoice: InvoiceView,
}

/// Lists payments, newest first.
#[utoipa::path(get, path = "/payments", tag = "payments", params(PageParams, OfOrder),
    responses((status = 200, body = PageView<PaymentView>)))]
async fn list_payments(
    shop: Shop<Payments>,
    PageBeside(page): PageBeside,
    QueryOf(filter): QueryOf<OfOrder>,
) -> Result<Json<PageView<PaymentView>>, Problem> {
    let order = filter.parse()?;
    shop.page(move |view| payments::list_payments(view, page, order))
        .await
}

/// Shows a payment.
#[utoipa::path(get, path = "/payments/{id}", tag = "payments", params(("id" = String, Path)),
    responses((status = 200, body = PaymentView), (status = 404,
        description = "`payment_not_found`")))]
async fn get_payment(
    shop: Shop<Payments>,
    PathId(id): PathId<PaymentKind>,
) -> Result<Json<PaymentView>, Problem> {
    shop.find("payment_not_found", "payment", move |view| {
        payments::find_payment(view, id)
    })
    .await
}

/// A further payment of an unpaid order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenPaymentBody {
    #[schema(value_type = OrderId)]
    order_id: String,
    #[schema(value_type = Method)]
    method: String,
}

pub(super) fn parse_method(text: &str) -> Result<Method, String> {
    Method::parse(text)
        .ok_or_else(|| format!("unknown payment method; use one of {}", Method::names()))
}

impl FromBody for OpenPayment {
    type Wire = OpenPaymentBody;

    fn from_wire(wire: OpenPaymentBody, faults: &mut RequestFaults) -> Option<Self> {
        let order_id = faults.check("/order_id", OrderId::parse(&wire.order_id));
        let method = faults.check("/method", parse_method(&wire.method));
        Some(Self {
            order_id: order_id?,
            method: method?,
        })
    }
}

/// Creates a further payment of an order, after the previous one has failed or was cancelled.
#[utoipa::path(post, path = "/payments", tag = "payments", params(KeyedParams),
    request_body = OpenPaymentBody,
    responses((status = 201, body = PaymentView), (status = 404, description = "`order_not_found`"),
        (status = 409, description = "`order_not_payable`, `payment_pending`, `too_many_payments`"),
            (status = 422, description = "`validation_failed`, `payment_method_unavailable`, \
                `idempotency_key_reused`")))]
async fn open_payment(
    shop: Shop<Payments>,
    Keyed { key, command }: Keyed<OpenPayment>,
) -> Result<Response, Problem> {
    let policy = shop.policy();
    shop.once(key, StatusCode::CREATED, move |work| {
        Ok(PaymentView::from(payments::open_payment(
            work, &policy, &command,
        )?))
    })
    .await
}

/// A confirmation of the payment in the path.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmBody {
    /// A reference of the payer or provider: a receipt number, a bank reference. `decline` makes a
    /// `test` payment fail.
    #[schema(value_type = Option<Note>)]
    provider_reference: Option<String>,
}

struct Reference(Option<Note>);

impl FromBody for Reference {
    type Wire = ConfirmBody;

    fn from_wire(wire: ConfirmBody, faults: &mut RequestFaults) -> Option<Self> {
        faults
            .optional(
                "/provider_reference",
                wire.provider_reference.as_deref().map(Note::parse),
            )
            .map(Self)
    }
}

/// Confirms a payment: it succeeds, and the order is paid and invoiced, or it is declined.
#[utoipa::path(post, path = "/payments/{id}/confirm", tag = "payments", params(("id" = String,
    Path), KeyedParams), request_body = ConfirmBody,
    responses((status = 200, body = ConfirmedView), (status = 402,
        description = "`payment_declined`"), (status = 404, description = "`payment_not_found`"),
        (status = 409, description = "`payment_already_processed`, `payment_over`, \
            `order_not_payable`, `out_of_stock`, `invoice_number_taken`")))]
async fn confirm_payment(
    shop: Shop<Payments>,
    PathId(payment_id): PathId<PaymentKind>,
    Keyed { key, command }: Keyed<Reference>,
) -> Result<Response, Problem> {
    confirm(
        &shop,
        key,
        ConfirmPayment {
            payment_id,
            provider_reference: command.0,
        },
    )
    .await
}

/// A confirmation of a payment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmPaymentBody {
    #[schema(value_type = PaymentId)]
    payment_id: String,
    /// A reference of the payer or provider: a receipt number, a bank reference. `decline` makes a
    /// `test` payment fail.
    #[schema(value_type = Option<Note>)]
    provider_reference: Option<String>,
}

impl FromBody for ConfirmPayment {
    type Wire = ConfirmPaymentBody;

    fn from_wire(wire: ConfirmPaymentBody, faults: &mut RequestFaults) -> Option<Self> {
        let payment_id = faults.check("/payment_id", PaymentId::parse(&wire.payment_id));
        let provider_reference = faults.optional(
            "/provider_reference",
            wire.provider_reference.as_deref().map(Note::parse),
        );
        Some(Self {
            payment_id: payment_id?,
            provider_reference: provider_reference?,
        })
    }
}

/// Confirms the payment of a checkout: it succeeds, and the order is paid and invoiced, or it is
/// declined.
#[utoipa::path(post, path = "/checkout/confirm-payment", tag = "checkout", params(KeyedParams),
    request_body = ConfirmPaymentBody,
    responses((status = 200, body = ConfirmedView), (status = 402,
        description = "`payment_declined`"), (status = 404, description = "`payment_not_found`"),
        (status = 409, description = "`payment_already_processed`, `payment_over`, \
            `order_not_payable`, `out_of_stock`, `invoice_number_taken`")))]
async fn checkout_confirm_payment(
    shop: Shop<MayConfirm>,
    Keyed { key, command }: Keyed<ConfirmPayment>,
) -> Result<Response, Problem> {
    confirm(&shop, key, command).await
}

async fn confirm<P: Permission>(
    shop: &Shop<P>,
    key: IdempotencyKey,
    command: ConfirmPayment,
) -> Result<Response, Problem> {
    let policy = shop.policy();
    let payment_id = command.payment_id;
    let confirmed =
        shop.once(
            key,
            StatusCode::OK,
            move |work| match confirm_payment::confirm_payment(work, &policy, &command)? {
                Confirmed::Succeeded(done) => Ok(KeyOutcome::Keep(confirmed_view(*done))),
                Confirmed::Declined(payment) => Ok(KeyOutcome::Forget(declined(&payment))),
            },
        );
    confirmed.await.inspect_err(|problem| {
        if problem.code() == "payment_already_processed" {
            shop.log_security_event(
                LineKind::DoublePayment,
                "double payment processing",
                &format!("payment:{payment_id}"),
            );
        }
    })
}

fn confirmed_view(
    (payment, settlement): (Payment, crate::tenant::finance::Settlement),
) -> ConfirmedView {
    ConfirmedView {
        payment: payment.into(),
        order: settlement.order.into(),
        financial_order: settlement.financial_order.into(),
        invoice: settlement.invoice.into(),
    }
}

fn declined(payment: &Payment) -> Problem {
    let detail = "the payment was declined; create a new one for the order with POST /v1/payments";
    Problem::new(Class::Declined, "payment_declined", detail).with_fact("payment_id", payment.id)
}

/// The cancellation of a payment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelPaymentBody {
    /// The reason, for the audit log.
    #[schema(value_type = Option<Note>)]
    reason: Option<String>,
}

struct CancelPayment(Option<Note>);

impl FromBody for CancelPayment {
    type Wire = CancelPaymentBody;

    fn from_wire(wire: CancelPaymentBody, faults: &mut RequestFaults) -> Option<Self> {
        faults
            .optional("/reason", wire.reason.as_deref().map(Note::parse))
            .map(Self)
    }
}

/// Cancels a payment that has not succeeded. The body may be left out.
#[utoipa::path(post, path = "/payments/{id}/cancel", tag = "payments", params(("id" = String, Path),
    MayBeKeyedParams), request_body = CancelPaymentBody,
    responses((status = 200, body = PaymentView), (status = 404,
        description = "`payment_not_found`"), (status = 409,
        description = "`payment_already_processed`, `payment_over`")))]
async fn cancel_payment(
    shop: Shop<MayCancel>,
    PathId(id): PathId<PaymentKind>,
    MayBeKeyed { key, command }: MayBeKeyed<CancelPayment>,
) -> Result<Response, Problem> {
    let CancelPayment(reason) = command;
    shop.once(key, StatusCode::OK, move |work| {
        Ok(PaymentView::from(payments::cancel_payment(
            work,
            id,
            reason.as_ref(),
        )?))
    })
    .await
}
