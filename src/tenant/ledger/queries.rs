//! Queries of the ledger. Sums are always computed from the transfers; no stored balance could
//! differ from them.

use super::accounts::AccountCode;
use crate::platform::page::{Page, PageRequest, with_seq};
use crate::primitives::id::EntryId;
use crate::primitives::{Currency, Timestamp};
use crate::storage::{Row, StorageError, TenantView, params, statements};

statements! {
    ACCOUNTS = "SELECT code, currency, name, kind FROM ledger_account ORDER BY currency, code";
    ENTRIES = "SELECT seq, id, kind, description, booked_at FROM ledger_entry WHERE seq < ?1 ORDER \
        BY seq DESC LIMIT ?2";
    TRANSFERS = "SELECT entry_seq, debit_code, credit_code, currency, amount_minor FROM \
        ledger_transfer WHERE entry_seq BETWEEN ?1 AND ?2 ORDER BY entry_seq, seq";
    BALANCES = "WITH side (code, currency, debit_minor, credit_minor) AS (
                  SELECT t.debit_code, t.currency, t.amount_minor, 0 FROM ledger_transfer t JOIN \
                  ledger_entry e ON e.seq = t.entry_seq WHERE e.booked_at <= ?1
                  UNION ALL
                  SELECT t.credit_code, t.currency, 0, t.amount_minor FROM ledger_transfer t JOIN \
                  ledger_entry e ON e.seq = t.entry_seq WHERE e.booked_at <= ?1)
                SELECT a.code, a.name, a.currency, coalesce(sum(side.debit_minor), 0) AS \
                debit_minor, coalesce(sum(side.credit_minor), 0) AS credit_minor
                FROM ledger_account a LEFT JOIN side ON side.code = a.code AND side.currency = \
                a.currency
                GROUP BY a.currency, a.code ORDER BY a.currency, a.code";
    SUM_ACCOUNT = "SELECT t.currency, sum(CASE WHEN t.credit_code = ?1 THEN t.amount_minor ELSE \
        -t.amount_minor END) AS net_credit_minor, count(DISTINCT t.entry_seq) AS entries
                   FROM ledger_entry e JOIN ledger_transfer t ON t.entry_seq = e.seq
                   WHERE e.booked_at >= ?2 AND e.booked_at < ?3 AND (t.credit_code = ?1 OR \
                   t.debit_code = ?1) GROUP BY t.currency ORDER BY t.currency";
}

#[derive(Clone, Debug)]
pub struct Account {
    pub code: AccountCode,
    pub currency: Currency,
    pub name: String,
    /// `asset`, `liability`, `revenue` or `expense`.
    pub kind: String,
}

/// A transfer of an entry.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub debit: AccountCode,
    pub credit: AccountCode,
    pub currency: Currency,
    pub amount_minor: i64,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub id: EntryId,
    /// The name of its posting.
    pub kind: String,
    pub description: String,
    pub booked_at: Timestamp,
    pub transfers: Vec<Transfer>,
}

/// The sums of an account.
#[derive(Clone, Debug)]
pub struct AccountBalance {
    pub code: AccountCode,
    pub name: String,
    pub currency: Currency,
    /// Sum of the debits, in minor units.
    pub debit_minor: i64,
    /// Sum of the credits, in minor units.
    pub credit_minor: i64,
}

/// The sums of all accounts at an instant.
#[derive(Clone, Debug)]
pub struct TrialBalance {
    pub as_of: Timestamp,
    pub accounts: Vec<AccountBalance>,
}

impl TrialBalance {
    /// The sums per currency: currency, debits, credits. Debits equal credits.
    ///
    /// # Panics
    /// When a sum overflows, which the limit of an order's total rules out for any real number of
    /// orders.
    pub fn per_currency(&self) -> Vec<(Currency, i64, i64)> {
        let plus = |sum: i64, more: i64| {
            sum.checked_add(more)
                .expect("the sums of a ledger fit an i64")
        };
        let mut sums: Vec<(Currency, i64, i64)> = Vec::new();
        for account in &self.accounts {
            match sums
                .iter_mut()
                .find(|(currency, ..)| *currency == account.currency)
            {
                Some((_, debit, credit)) => {
                    (*debit, *credit) = (
                        plus(*debit, account.debit_minor),
                        plus(*credit, account.credit_minor),
                    )
                }
                None => sums.push((account.currency, account.debit_minor, account.credit_minor)),
            }
        }
        sums
    }
}

/// The chart of accounts.
pub fn list_accounts(view: &TenantView) -> Result<Vec<Account>, StorageError> {
    let map = |row: &Row<'_>| {
        Ok(Account {
            code: row.get("code")?,
            currency: row.get("currency")?,
            name: row.get("name")?,
            kind: row.get("kind")?,
        })
    };
    view.all(&ACCOUNTS, [], map)
}

/// Lists a page of entries with their transfers, the newest first: two statements for any page.
pub fn list_entries(view: &TenantView, page: PageRequest) -> Result<Page<Entry>, StorageError> {
    let map = with_seq(|row| {
        Ok(Entry {
            id: row.get("id")?,
            kind: row.get("kind")?,
            description: row.get("description")?,
            booked_at: row.get("booked_at")?,
            transfers: Vec::new(),
        })
    });
    let mut entries = view.all(&ENTRIES, params![page.before, page.fetch()], map)?;
    if let (Some((last, _)), Some((first, _))) = (entries.last(), entries.first()) {
        let map = |row: &Row<'_>| {
            let transfer = Transfer {
                debit: row.get("debit_code")?,
                credit: row.get("credit_code")?,
                currency: row.get("currency")?,
                amount_minor: row.get("amount_minor")?,
            };
            Ok((row.get::<_, i64>("entry_seq")?, transfer))
        };
        for (seq, transfer) in view.all(&TRANSFERS, params![last, first], map)? {
            let at = entries
                .binary_search_by(|(place, _)| seq.cmp(place))
                .expect("the range holds the page's entries only");
            entries[at].1.transfers.push(transfer);
        }
    }
    Ok(Page::cut(entries, page))
}

/// The sums of all accounts over the bookings up to and including `as_of`.
pub fn trial_balance(view: &TenantView, as_of: Timestamp) -> Result<TrialBalance, StorageError> {
    let map = |row: &Row<'_>| {
        Ok(AccountBalance {
            code: row.get("code")?,
            name: row.get("name")?,
            currency: row.get("currency")?,
            debit_minor: row.get("debit_minor")?,
            credit_minor: row.get("credit_minor")?,
        })
    };
    Ok(TrialBalance {
        as_of,
        accounts: view.all(&BALANCES, params![as_of], map)?,
    })
}

/// The net credit of an account (credits less debits) from `from` until before `to`, per currency,
/// and the number of entries.
pub fn sum_account(
    view: &TenantView,
    code: AccountCode,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(Currency, i64, i64)>, StorageError> {
    view.all(&SUM_ACCOUNT, params![code, from, to], |row| {
        Ok((
            row.get("currency")?,
            row.get("net_credit_minor")?,
            row.get("entries")?,
        ))
    })
}
