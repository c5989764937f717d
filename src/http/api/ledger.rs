//! `/v1/ledger` and `/v1/reports`: the books and reports on them.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{PageParams, PageView};
use crate::app::App;
use crate::http::extract::permission::{Finance, Reports};
use crate::http::extract::{PageQuery, QueryOf, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::id::EntryId;
use crate::primitives::{Currency, DayOrInstant, Timestamp};
use crate::tenant::ledger::{self, AccountCode};
use crate::tenant::{reports, settings};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_accounts))
        .routes(routes!(list_transactions))
        .routes(routes!(trial_balance))
        .routes(routes!(revenue))
}

/// An account.
#[derive(Serialize, ToSchema)]
pub struct AccountView {
    #[schema(value_type = AccountCode)]
    code: AccountCode,
    name: String,
    currency: Currency,
    /// `asset`, `liability`, `revenue` or `expense`.
    kind: String,
}

/// The chart of accounts, in one page.
#[derive(Serialize, ToSchema)]
pub struct AccountsView {
    data: Vec<AccountView>,
    /// Always `null`: there is only one page.
    next_cursor: Option<String>,
}

/// Lists the accounts.
#[utoipa::path(get, path = "/ledger/accounts", tag = "ledger", responses((status = 200,
    body = AccountsView)))]
async fn list_accounts(shop: Shop<Finance>) -> Result<Json<AccountsView>, Problem> {
    let accounts = shop.read(|view| Ok(ledger::list_accounts(view)?)).await?;
    let view = |account: ledger::Account| AccountView {
        code: account.code,
        name: account.name,
        currency: account.currency,
        kind: account.kind,
    };
    Ok(Json(AccountsView {
        data: accounts.into_iter().map(view).collect(),
        next_cursor: None,
    }))
}

/// A transfer: one debit account, one credit account, one amount.
#[derive(Serialize, ToSchema)]
pub struct TransferView {
    #[schema(value_type = AccountCode)]
    debit_account: AccountCode,
    #[schema(value_type = AccountCode)]
    credit_account: AccountCode,
    amount_minor: i64,
    currency: Currency,
}

/// An entry of the ledger with its transfers.
#[derive(Serialize, ToSchema)]
pub struct EntryView {
    id: EntryId,
    kind: String,
    description: String,
    booked_at: Timestamp,
    transfers: Vec<TransferView>,
}

impl From<ledger::Entry> for EntryView {
    fn from(entry: ledger::Entry) -> Self {
        let view = |transfer: ledger::Transfer| TransferView {
            debit_account: transfer.debit,
            credit_account: transfer.credit,
            amount_minor: transfer.amount_minor,
            currency: transfer.currency,
        };
        let transfers = entry.transfers.into_iter().map(view).collect();
        Self {
            id: entry.id,
            kind: entry.kind,
            description: entry.description,
            booked_at: entry.booked_at,
            transfers,
        }
    }
}

/// Lists ledger entries, newest first.
#[utoipa::path(get, path = "/ledger/transactions", tag = "ledger", params(PageParams),
    responses((status = 200, body = PageView<EntryView>)))]
async fn list_transactions(
    shop: Shop<Finance>,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<EntryView>>, Problem> {
    shop.page(move |view| ledger::list_entries(view, page))
        .await
}

/// The sums of a currency.
#[derive(Serialize, ToSchema)]
pub struct CurrencySumView {
    currency: Currency,
    debit_minor: i64,
    credit_minor: i64,
}

/// The sums of an account.
#[derive(Serialize, ToSchema)]
pub struct AccountSumView {
    #[schema(value_type = AccountCode)]
    code: AccountCode,
    name: String,
    currency: Currency,
    debit_minor: i64,
    credit_minor: i64,
}

/// The trial balance: debits equal credits in every currency.
#[derive(Serialize, ToSchema)]
pub struct TrialBalanceView {
    as_of: Timestamp,
    currencies: Vec<CurrencySumView>,
    accounts: Vec<AccountSumView>,
}

impl From<ledger::TrialBalance> for TrialBalanceView {
    fn from(balance: ledger::TrialBalance) -> Self {
        let currencies = balance.per_currency().into_iter();
        Self {
            as_of: balance.as_of,
            currencies: currencies
                .map(|(currency, debit_minor, credit_minor)| CurrencySumView {
                    currency,
                    debit_minor,
                    credit_minor,
                })
                .collect(),
            accounts: balance.accounts.into_iter().map(account_sum).collect(),
        }
    }
}

fn account_sum(account: ledger::AccountBalance) -> AccountSumView {
    let ledger::AccountBalance {
        code,
        name,
        currency,
        debit_minor,
        credit_minor,
    } = account;
    AccountSumView {
        code,
        name,
        currency,
        debit_minor,
        credit_minor,
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AsOf {
    /// Includes entries up to this time; default: now.
    #[param(value_type = Option<Timestamp>)]
    as_of: Option<String>,
}

/// Shows the trial balance.
#[utoipa::path(get, path = "/ledger/trial-balance", tag = "ledger", params(AsOf),
    responses((status = 200, body = TrialBalanceView)))]
async fn trial_balance(
    shop: Shop<Finance>,
    QueryOf(query): QueryOf<AsOf>,
) -> Result<Json<TrialBalanceView>, Problem> {
    let mut faults = RequestFaults::default();
    let as_of = faults.optional("?as_of", query.as_of.as_deref().map(Timestamp::parse));
    let as_of = faults.finish(as_of)?;
    let balance = shop
        .read_long(move |view| Ok(ledger::trial_balance(view, as_of.unwrap_or(view.now()))?))
        .await?;
    Ok(Json(balance.into()))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Period {
    /// Start of the period: an instant, or a day in the shop's time zone; default: the beginning.
    #[param(value_type = Option<DayOrInstant>)]
    from: Option<String>,
    /// End of the period: an instant, which does not belong to it, or a day in the shop's time
    /// zone, which belongs to it as a whole; default: now.
    #[param(value_type = Option<DayOrInstant>)]
    to: Option<String>,
}

/// The revenue in a currency.
#[derive(Serialize, ToSchema)]
pub struct RevenueView {
    currency: Currency,
    /// Without tax.
    revenue_minor: i64,
    /// The tax on it.
    tax_minor: i64,
    /// The number of entries.
    entries: i64,
}

/// The revenue of a period, from the ledger.
#[derive(Serialize, ToSchema)]
pub struct RevenueReportView {
    from: Option<Timestamp>,
    to: Timestamp,
    currencies: Vec<RevenueView>,
}

/// Reports the revenue of a period.
#[utoipa::path(get, path = "/reports/revenue", tag = "reports", params(Period),
    responses((status = 200, body = RevenueReportView)))]
async fn revenue(
    shop: Shop<Reports>,
    QueryOf(query): QueryOf<Period>,
) -> Result<Json<RevenueReportView>, Problem> {
    let mut faults = RequestFaults::default();
    let from = faults.optional("?from", query.from.as_deref().map(DayOrInstant::parse));
    let to = faults.optional("?to", query.to.as_deref().map(DayOrInstant::parse));
    let (from, to) = faults.finish(from.zip(to))?;
    let zone = shop.read(|view| Ok(settings::shop(view)?.timezone)).await?;
    let mut faults = RequestFaults::default();
    if from
        .zip(to)
        .is_some_and(|(from, to)| from.is_after(to, &zone))
    {
        let text = "is before `from`; a period must end after it begins";
        faults.add("?to", "invalid", text);
    }
    faults.finish(Some(()))?;
    let (from, to) = (
        from.map(|from| from.start(&zone)),
        to.map(|to| to.end(&zone)),
    );
    let report = shop.read_long(move |view| {
        // "Until now" includes this millisecond: the caller may have seen a sale of it.
        let to = to.unwrap_or_else(|| view.now().plus_millis(1));
        let rows = reports::revenue(
            view,
            from.unwrap_or_else(|| Timestamp::from_millis_clamped(i64::MIN)),
            to,
        )?;
        Ok((to, rows))
    });
    let (to, rows) = report.await?;
    let view = |row: reports::Revenue| RevenueView {
        currency: row.currency,
        revenue_minor: row.revenue_minor,
        tax_minor: row.tax_minor,
        entries: row.entries,
    };
    Ok(Json(RevenueReportView {
        from,
        to,
        currencies: rows.into_iter().map(view).collect(),
    }))
}
