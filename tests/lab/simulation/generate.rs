//! Random actions of the shops and random disruptions.

use libc::{EIO, ENOSPC};

use crate::disk::{Fault, Syscall};
use crate::model::{Action, ModelShop, Tender};
use crate::rng::Rng;

/// A disruption during a step.
#[derive(Clone, Copy, Debug)]
pub enum Disruption {
    None,
    /// The process dies after this many changing calls, or right after a step with fewer calls.
    Death(u64),
    /// Calls fail, and the process lives.
    Disk(Fault),
    /// Another process has locked the file, briefly or until SQLite's busy timeout.
    Locked {
        for_long: bool,
    },
}

impl Disruption {
    /// Returns a disruption for a step with about `calls` changing calls.
    pub fn random(rng: &mut Rng, calls: u64) -> Self {
        match rng.below(20) {
            0 => Self::Death(rng.below(calls)),
            1 => Self::Death(u64::MAX),
            2 => Self::Disk(Fault {
                call: Syscall::Write,
                after: rng.below(calls),
                times: 1 + rng.below(3),
                errno: ENOSPC,
            }),
            3 => Self::Disk(Fault {
                call: *rng.pick(&[Syscall::Write, Syscall::Sync]),
                after: rng.below(calls / 4),
                times: 1 + rng.below(2),
                errno: EIO,
            }),
            _ => Self::None,
        }
    }

    /// Returns a disruption for a step that writes one file, which another process may have locked.
    pub fn random_with_locks(rng: &mut Rng, calls: u64) -> Self {
        match rng.below(8_000) {
            0 => Self::Locked { for_long: true },
            1..400 => Self::Locked { for_long: false },
            _ => Self::random(rng, calls),
        }
    }
}

const CURRENCIES: &[&str] = &["EUR", "EUR", "JPY"];

/// Returns the first actions of a shop: its tax rate, products and deliveries.
pub fn opening(rng: &mut Rng) -> Vec<Action> {
    let product = |(sku, currency): (&str, &'static str)| Action::Product {
        sku: sku.to_owned(),
        // An amount of one minor unit cannot be split into two payments, not even for a tenth.
        price: (1 + rng.below(2_000) as i64).max(20),
        currency,
    };
    let mut acts = vec![Action::Tax];
    acts.extend([("TEA", "EUR"), ("MUG", "EUR"), ("FAN", "JPY")].map(product));
    acts.extend((0..3).map(|product| Action::Adjust {
        product,
        delta: 20 + rng.below(40) as i64,
    }));
    acts
}

/// Returns the next action of a shop.
pub fn action(rng: &mut Rng, shop: &ModelShop) -> Action {
    let product = rng.below(shop.count_products() as u64) as usize;
    let any = |rng: &mut Rng, from: Vec<usize>| (!from.is_empty()).then(|| *rng.pick(&from));
    let chosen = match rng.below(100) {
        0..4 => Some(Action::Product {
            sku: format!("SKU-{}", rng.below(12)),
            price: (1 + rng.below(5_000) as i64).max(20),
            currency: any_currency(rng),
        }),
        4..14 => Some(Action::Adjust {
            product,
            delta: *rng.pick(&[-40, -7, -1, 1, 5, 25, 60]),
        }),
        14..36 => Some(sale(rng, shop, product)),
        36..46 => Some(Action::Cart {
            currency: any_currency(rng),
        }),
        46..60 => {
            // Mostly an open cart and a product of its currency.
            let only_open = rng.below(8) > 0;
            any(rng, shop.carts(only_open)).map(|cart| {
                let fitting = shop.products_of_cart(cart);
                let product = if rng.below(10) == 0 {
                    product
                } else {
                    *rng.pick(&fitting)
                };
                let quantity = 1 + rng.below(6) as i64;
                Action::Item {
                    cart,
                    product,
                    quantity,
                }
            })
        }
        60..72 => {
            let only_open = rng.below(8) > 0;
            let method = *rng.pick(&["cash", "manual", "test"]);
            any(rng, shop.carts(only_open)).map(|cart| Action::Checkout { cart, method })
        }
        72..86 => {
            let status = (rng.below(6) > 0).then_some("pending");
            let declined = rng.below(3) == 0;
            any(rng, shop.orders(status)).map(|order| Action::Confirm { order, declined })
        }
        86..89 => any(rng, shop.orders(None)).map(|order| Action::CancelPayment { order }),
        89..92 => {
            let status = (rng.below(4) > 0).then_some("pending");
            any(rng, shop.orders(status)).map(|order| Action::OpenPayment { order })
        }
        _ => {
            let event = *rng.pick(&["cancel", "cancel", "confirm", "ship"]);
            any(rng, shop.orders(None)).map(|order| Action::ChangeStatus { order, event })
        }
    };
    chosen.unwrap_or(Action::Cart { currency: "EUR" })
}

fn sale(rng: &mut Rng, shop: &ModelShop, product: usize) -> Action {
    let mut lines = vec![(product, 1 + rng.below(5) as i64)];
    for other in 0..shop.count_products() {
        if shop.currency(other) == shop.currency(product) && rng.below(4) == 0 {
            lines.push((other, 1 + rng.below(3) as i64));
        }
    }
    let mut bytes = [0_u8; 16];
    bytes[..8].copy_from_slice(&rng.next().to_be_bytes());
    bytes[8..].copy_from_slice(&rng.next().to_be_bytes());
    Action::Sale {
        id: (rng.below(3) == 0)
            .then(|| tillbox::primitives::id::OrderId::from_bytes(bytes).to_string()),
        lines,
        tender: *rng.pick(&[
            Tender::Cash,
            Tender::Cash,
            Tender::CashAndChange,
            Tender::Split,
            Tender::TooLittle,
        ]),
        email: rng.below(2) == 0,
    }
}

fn any_currency(rng: &mut Rng) -> &'static str {
    rng.pick::<&'static str>(CURRENCIES)
}
