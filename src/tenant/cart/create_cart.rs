//! Use case: a buyer begins.

use super::model::{Cart, CartHead, CartRefused, CartStatus};
use super::store;
use crate::primitives::Currency;
use crate::primitives::id::CartKind;
use crate::storage::TenantWork;
use crate::tenant::settings;

/// Makes an empty cart, in the shop's own currency when none is said.
///
/// # Errors
/// [`CartRefused`]: the storage's only.
pub fn create_cart(work: &mut TenantWork, currency: Option<Currency>) -> Result<Cart, CartRefused> {
    let currency = match currency {
        Some(currency) => currency,
        None => settings::shop(work)?.currency,
    };
    let head = CartHead {
        id: work.new_id::<CartKind>(),
        currency,
        status: CartStatus::Open,
    };
    store::insert(work, &head)?;
    Ok(Cart::of(head, Vec::new()))
}
