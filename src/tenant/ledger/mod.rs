//! The ledger: double entry, by transfers that cannot be unbalanced.
//!
//! A transfer moves a positive amount of one currency from one account (credit) to another (debit).
//! An entry is a booking with its transfers. Nothing is ever changed or deleted (triggers refuse
//! it); a correction is a new entry. The ledger takes plain postings and knows none of the
//! documents that they book.

mod accounts;
mod chain;
mod queries;
mod store;

pub use accounts::AccountCode;
pub use chain::{DocumentsOf, end as chain_end, hash_at as chain_hash_at, verify as verify_chain};
pub use queries::{
    Account, AccountBalance, Entry, Transfer, TrialBalance, list_accounts, list_entries,
    sum_account, trial_balance,
};
pub use store::{Posting, book};

pub use chain::STATEMENTS as CHAIN_STATEMENTS;
pub use queries::STATEMENTS as READ_STATEMENTS;
pub use store::STATEMENTS as WRITE_STATEMENTS;
