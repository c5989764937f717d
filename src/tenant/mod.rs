//! L4: the shop. Each module owns its tables; it changes another module's tables only by calling
//! that module.
//!
//! Business code is synchronous functions: `f(work, command) -> Result<_, Refused>` to change,
//! `f(view, …)` to read.

pub mod cancellation;
pub mod cart;
pub mod catalog;
pub mod chain_ends;
pub mod checkout;
pub mod confirm_payment;
pub mod confirmation;
pub mod currency;
pub mod disk_usage;
pub mod finance;
pub mod integrity;
pub mod inventory;
pub mod invoices;
pub mod jobs;
pub mod ledger;
pub mod new_shop;
pub mod orders;
pub mod party;
pub mod payments;
pub mod policy;
pub mod pricing;
pub mod prune_now;
pub mod reports;
pub mod retention;
pub mod sales;
pub mod settings;
pub mod snapshot;
pub mod tax;
pub mod tax_presets;

pub use policy::Policy;

use crate::primitives::id::TenantId;
use crate::storage::TenantWork;

/// Every SQL text that runs on a tenant's file, for the test that prepares them all.
pub const STATEMENTS: &[&[crate::storage::Statement]] = &[
    cart::RETENTION_STATEMENTS,
    cart::STATEMENTS,
    catalog::STATEMENTS,
    currency::RATE_STATEMENTS,
    currency::SETTINGS_STATEMENTS,
    currency::UNSELLABLE_STATEMENTS,
    disk_usage::STATEMENTS,
    finance::FINANCIAL_ORDER_STATEMENTS,
    finance::TRANSACTION_STATEMENTS,
    integrity::STATEMENTS,
    inventory::RETENTION_STATEMENTS,
    inventory::STATEMENTS,
    invoices::STATEMENTS,
    jobs::STATEMENTS,
    ledger::CHAIN_STATEMENTS,
    ledger::READ_STATEMENTS,
    ledger::WRITE_STATEMENTS,
    orders::STATEMENTS,
    payments::STATEMENTS,
    prune_now::STATEMENTS,
    settings::STATEMENTS,
    tax::STATEMENTS,
    crate::platform::alerts::STATEMENTS,
    crate::platform::audit::STATEMENTS,
    crate::platform::epoch::STATEMENTS,
    crate::platform::idempotency::STATEMENTS,
    crate::platform::keyless_answers::STATEMENTS,
    crate::platform::queue::STATEMENTS,
    crate::platform::series::STATEMENTS,
    crate::platform::trim::STATEMENTS,
];

/// The tenant of the file, for log lines.
pub(crate) fn id_of(work: &TenantWork) -> TenantId {
    TenantId::from_bytes(work.file_id())
}
