//! The one function that writes entries and transfers.

use super::accounts::AccountCode;
use super::chain::{self, Link};
use crate::primitives::id::{EntryId, EntryKind};
use crate::primitives::{Currency, Digest, Money, Timestamp};
use crate::storage::{StorageError, TenantWork, params, statements};

statements! {
    OPEN_ACCOUNTS = "SELECT code FROM ledger_account WHERE currency = ?1";
    OPEN_ACCOUNT = "INSERT INTO ledger_account (code, currency, name, kind) VALUES (?1, ?2, ?3, \
        ?4)";
    ENTRY_EXISTS = "SELECT 1 FROM ledger_entry WHERE kind = ?1 AND subject_id = ?2";
    INSERT_ENTRY = "INSERT INTO ledger_entry (id, kind, subject_id, description, booked_at, \
        created_at, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    INSERT_TRANSFER = "INSERT INTO ledger_transfer (entry_seq, debit_code, credit_code, currency, \
        amount_minor) VALUES (?1, ?2, ?3, ?4, ?5)";
}

/// A new entry.
#[derive(Debug)]
pub struct Posting<'a> {
    /// The name of the posting.
    pub kind: &'static str,
    /// The subject: it has at most one entry of a kind.
    pub subject_id: [u8; 16],
    pub description: &'a str,
    pub booked_at: Timestamp,
    /// Accounts to debit, with their amounts.
    pub debits: &'a [(AccountCode, Money)],
    /// Accounts to credit, with their amounts; the sums are equal.
    pub credits: &'a [(AccountCode, Money)],
    /// Digest of the booked documents; part of the chain.
    pub documents: Digest,
}

/// Books an entry; `false` when it is booked already.
///
/// # Panics
/// When the sums of debits and credits differ: a broken invariant, and the whole transaction is
/// rolled back.
pub fn book(work: &mut TenantWork, new: &Posting<'_>) -> Result<bool, StorageError> {
    if work
        .find(&ENTRY_EXISTS, params![new.kind, new.subject_id], |_| Ok(()))?
        .is_some()
    {
        return Ok(false);
    }
    let transfers = transfers(new.debits, new.credits);
    if let Some((_, _, amount)) = transfers.first() {
        open_accounts(work, amount.currency())?;
    }
    let (id, now): (EntryId, _) = (work.new_id::<EntryKind>(), work.now());
    let link = Link {
        id,
        kind: new.kind,
        subject_id: new.subject_id,
        description: new.description,
        booked_at: new.booked_at,
        created_at: now,
        documents: new.documents,
    };
    let (_, prev) = chain::end(work)?;
    let moved = transfers
        .iter()
        .map(|(debit, credit, amount)| (*debit, *credit, amount.currency(), amount.minor()));
    let hash = link.hash(&prev, moved);
    let row = params![
        id,
        new.kind,
        new.subject_id,
        new.description,
        new.booked_at,
        now,
        hash
    ];
    let seq = work.insert_at_end(&INSERT_ENTRY, row)?;
    for (debit, credit, amount) in transfers {
        work.insert(
            &INSERT_TRANSFER,
            params![seq, debit, credit, amount.currency(), amount.minor()],
        )?;
    }
    Ok(true)
}

fn open_accounts(work: &mut TenantWork, currency: Currency) -> Result<(), StorageError> {
    let open: Vec<AccountCode> = work.all(&OPEN_ACCOUNTS, params![currency], |row| row.get(0))?;
    let mut missing = AccountCode::ALL.iter().filter(|code| !open.contains(code));
    missing.try_for_each(|code| {
        let (name, kind) = code.name_and_kind();
        work.insert(&OPEN_ACCOUNT, params![code, currency, name, kind])
    })
}

/// Pairs debits with credits: the first debit is matched with the first credit as far as it goes,
/// and so on.
fn transfers(
    debits: &[(AccountCode, Money)],
    credits: &[(AccountCode, Money)],
) -> Vec<(AccountCode, AccountCode, Money)> {
    let mut left: Vec<(AccountCode, Money)> = credits
        .iter()
        .filter(|(_, amount)| !amount.is_zero())
        .copied()
        .collect();
    left.reverse();
    let mut transfers = Vec::new();
    for (debit, amount) in debits {
        let mut rest = *amount;
        while !rest.is_zero() {
            let (credit, open) = left.pop().expect("debits are no more than credits");
            let part = if open.minor() <= rest.minor() {
                open
            } else {
                rest
            };
            transfers.push((*debit, credit, part));
            rest = rest
                .minus(part)
                .expect("a part is of the same currency and no larger");
            let open = open
                .minus(part)
                .expect("a part is of the same currency and no larger");
            if !open.is_zero() {
                left.push((credit, open));
            }
        }
    }
    assert!(left.is_empty(), "credits are no more than debits");
    transfers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::parse("EUR").expect("known")).expect("small")
    }

    #[test]
    fn pairs_split_tender_with_revenue_and_tax() {
        let debits = [
            (AccountCode::Cash, eur(50)),
            (AccountCode::Clearing, eur(69)),
        ];
        let credits = [
            (AccountCode::Revenue, eur(100)),
            (AccountCode::TaxPayable, eur(19)),
        ];
        let expected = [
            (AccountCode::Cash, AccountCode::Revenue, eur(50)),
            (AccountCode::Clearing, AccountCode::Revenue, eur(50)),
            (AccountCode::Clearing, AccountCode::TaxPayable, eur(19)),
        ];
        assert_eq!(transfers(&debits, &credits), expected);
        assert!(
            transfers(
                &[(AccountCode::Cash, eur(0))],
                &[(AccountCode::Revenue, eur(0))]
            )
            .is_empty()
        );
    }

    #[test]
    #[should_panic(expected = "credits are no more than debits")]
    fn panics_when_entry_does_not_balance() {
        transfers(
            &[(AccountCode::Cash, eur(1))],
            &[(AccountCode::Revenue, eur(2))],
        );
    }
}
