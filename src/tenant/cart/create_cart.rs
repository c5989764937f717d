//! Use case: Create a cart.

use super::model::{Cart, CartHead, CartRefused, CartStatus};
use super::retention::delete_anonymous_carts;
use super::store;
use crate::platform::keyless_answers;
use crate::primitives::id::CartKind;
use crate::primitives::limits::CART_IDLE_MS;
use crate::primitives::{ClientHash, Currency};
use crate::storage::TenantWork;
use crate::tenant::policy::StorefrontRules;
use crate::tenant::{currency, settings};

/// Carts that are deleted to make room for a new one: several, so that a shop above a lowered limit
/// comes back below it.
const MADE_ROOM: u32 = 2;

/// Creates an empty cart, by default in the shop's currency. A client is a caller without an API
/// key, whose carts are limited.
///
/// # Errors
/// `Currency` for one that the shop does not sell in or that has ended, `TooManyOfClient`,
/// `TooManyInShop`.
pub fn create_cart(
    work: &mut TenantWork,
    rules: &StorefrontRules,
    client: Option<ClientHash>,
    currency: Option<Currency>,
) -> Result<Cart, CartRefused> {
    let own = settings::shop(work)?.currency;
    let currency = currency.unwrap_or(own);
    if currency != own {
        currency::require_sold_in(work, currency, work.now()).map_err(CartRefused::Currency)?;
    }
    if let Some(client) = client {
        require_few_carts(work, rules, client)?;
    }
    let head = CartHead {
        id: work.new_id::<CartKind>(),
        currency,
        status: CartStatus::Open,
    };
    store::insert(work, &head, client)?;
    Ok(Cart::of(head, Vec::new()))
}

/// Refuses a client that has too many carts. In a shop that is full of carts, those untouched for
/// longest make room: a flood of carts must not keep buyers out for as long as carts live.
fn require_few_carts(
    work: &mut TenantWork,
    rules: &StorefrontRules,
    client: ClientHash,
) -> Result<(), CartRefused> {
    let limit = rules.carts_per_client;
    if store::count_of_client(work, client)? >= limit {
        return Err(CartRefused::TooManyOfClient { limit });
    }
    let limit = rules.carts_max;
    if keyless_answers::usage(work)?.carts < limit {
        return Ok(());
    }
    let idle_since = work.now().plus_millis(-CART_IDLE_MS);
    match delete_anonymous_carts(work, idle_since, MADE_ROOM)? {
        0 => Err(CartRefused::TooManyInShop { limit }),
        _ => Ok(()),
    }
}
