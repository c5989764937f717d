//! Use case: a buyer begins.

use super::model::{Cart, CartHead, CartRefused, CartStatus};
use super::store;
use crate::primitives::Currency;
use crate::primitives::id::CartKind;
use crate::storage::TenantWork;
use crate::tenant::{currency, settings};

/// Makes an empty cart, in the shop's own currency when none is said.
///
/// # Errors
/// `Currency` for one that the shop does not sell in or that has ended, or the storage's.
pub fn create_cart(work: &mut TenantWork, currency: Option<Currency>) -> Result<Cart, CartRefused> {
    let own = settings::shop(work)?.currency;
    let currency = currency.unwrap_or(own);
    if currency != own {
        currency::require_sold_in(work, currency, work.now()).map_err(CartRefused::Currency)?;
    }
    let head = CartHead {
        id: work.new_id::<CartKind>(),
        currency,
        status: CartStatus::Open,
    };
    store::insert(work, &head)?;
    Ok(Cart::of(head, Vec::new()))
}
