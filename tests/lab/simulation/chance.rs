//! What the dice decide: what a shop does next, and what goes wrong meanwhile.

use libc::{EIO, ENOSPC};

use crate::dice::Dice;
use crate::disk::{Call, Fault};
use crate::model::{Act, Shop, Tender};

/// What goes wrong during a step.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    None,
    /// The process dies after so many calls that change something; when the step makes fewer, right
    /// after it.
    Death(u64),
    /// Calls fail, and the process lives.
    Disk(Fault),
    /// Somebody else has locked the file, for a moment; or until SQLite has waited long enough.
    Locked {
        for_long: bool,
    },
}

impl Trouble {
    /// Trouble for a step that makes about so many calls.
    pub fn roll(dice: &mut Dice, calls: u64) -> Self {
        match dice.below(20) {
            0 => Self::Death(dice.below(calls)),
            1 => Self::Death(u64::MAX),
            2 => Self::Disk(Fault {
                call: Call::Write,
                after: dice.below(calls),
                times: 1 + dice.below(3),
                errno: ENOSPC,
            }),
            3 => Self::Disk(Fault {
                call: *dice.pick(&[Call::Write, Call::Sync]),
                after: dice.below(calls / 4),
                times: 1 + dice.below(2),
                errno: EIO,
            }),
            _ => Self::None,
        }
    }

    /// Trouble for a step that writes one file, which somebody else may hold.
    pub fn roll_with_locks(dice: &mut Dice, calls: u64) -> Self {
        match dice.below(8_000) {
            0 => Self::Locked { for_long: true },
            1..400 => Self::Locked { for_long: false },
            _ => Self::roll(dice, calls),
        }
    }
}

const CURRENCIES: &[&str] = &["EUR", "EUR", "JPY"];

/// What a shop does first: its tax, its products, its deliveries.
pub fn opening(dice: &mut Dice) -> Vec<Act> {
    let product = |(sku, currency): (&str, &'static str)| Act::Product {
        sku: sku.to_owned(),
        // What costs a cent cannot be paid in two parts.
        price: (1 + dice.below(2_000) as i64).max(2),
        currency,
    };
    let mut acts = vec![Act::Tax];
    acts.extend([("TEA", "EUR"), ("MUG", "EUR"), ("FAN", "JPY")].map(product));
    acts.extend((0..3).map(|product| Act::Adjust {
        product,
        delta: 20 + dice.below(40) as i64,
    }));
    acts
}

/// What a shop does next.
pub fn act(dice: &mut Dice, shop: &Shop) -> Act {
    let product = dice.below(shop.count_products() as u64) as usize;
    let any = |dice: &mut Dice, from: Vec<usize>| (!from.is_empty()).then(|| *dice.pick(&from));
    let chosen = match dice.below(100) {
        0..4 => Some(Act::Product {
            sku: format!("SKU-{}", dice.below(12)),
            price: (1 + dice.below(5_000) as i64).max(2),
            currency: any_currency(dice),
        }),
        4..14 => Some(Act::Adjust {
            product,
            delta: *dice.pick(&[-40, -7, -1, 1, 5, 25, 60]),
        }),
        14..36 => Some(sale(dice, shop, product)),
        36..46 => Some(Act::Cart {
            currency: any_currency(dice),
        }),
        46..60 => {
            // Mostly one that is open and a product that fits.
            let only_open = dice.below(8) > 0;
            any(dice, shop.carts(only_open)).map(|cart| {
                let fitting = shop.products_of_cart(cart);
                let product = if dice.below(10) == 0 {
                    product
                } else {
                    *dice.pick(&fitting)
                };
                let quantity = 1 + dice.below(6) as i64;
                Act::Item {
                    cart,
                    product,
                    quantity,
                }
            })
        }
        60..72 => {
            let only_open = dice.below(8) > 0;
            let method = *dice.pick(&["cash", "manual", "test"]);
            any(dice, shop.carts(only_open)).map(|cart| Act::Checkout { cart, method })
        }
        72..86 => {
            let status = (dice.below(6) > 0).then_some("pending");
            let declined = dice.below(3) == 0;
            any(dice, shop.orders(status)).map(|order| Act::Confirm { order, declined })
        }
        86..89 => any(dice, shop.orders(None)).map(|order| Act::CancelPayment { order }),
        89..92 => {
            let status = (dice.below(4) > 0).then_some("pending");
            any(dice, shop.orders(status)).map(|order| Act::OpenPayment { order })
        }
        _ => {
            let event = *dice.pick(&["cancel", "cancel", "confirm", "ship"]);
            any(dice, shop.orders(None)).map(|order| Act::Move { order, event })
        }
    };
    chosen.unwrap_or(Act::Cart { currency: "EUR" })
}

fn sale(dice: &mut Dice, shop: &Shop, product: usize) -> Act {
    let mut lines = vec![(product, 1 + dice.below(5) as i64)];
    for other in 0..shop.count_products() {
        if shop.currency(other) == shop.currency(product) && dice.below(4) == 0 {
            lines.push((other, 1 + dice.below(3) as i64));
        }
    }
    let mut bytes = [0_u8; 16];
    bytes[..8].copy_from_slice(&dice.next().to_be_bytes());
    bytes[8..].copy_from_slice(&dice.next().to_be_bytes());
    Act::Sale {
        id: (dice.below(3) == 0)
            .then(|| tillbox::primitives::id::OrderId::from_bytes(bytes).to_string()),
        lines,
        tender: *dice.pick(&[
            Tender::Cash,
            Tender::Cash,
            Tender::CashAndChange,
            Tender::Split,
            Tender::TooLittle,
        ]),
        email: dice.below(2) == 0,
    }
}

fn any_currency(dice: &mut Dice) -> &'static str {
    dice.pick::<&'static str>(CURRENCIES)
}
