//! Carts, their sums, and the reasons to refuse a change.

use serde_json::{Map, Value};

use crate::primitives::id::{CartId, CartItemId, ProductId};
use crate::primitives::{
    Class, Currency, Measure, Money, MoneyError, Name, Quantity, QuantityTooLarge, Refusal, Sku,
};
use crate::storage::{StorageError, text_enum};
use crate::tenant::currency::CurrencyRefused;

text_enum! {
    /// The status of a cart.
    CartStatus {
        /// It can be filled and checked out.
        Open = "open",
        /// An order was made of it.
        Converted = "converted",
        /// The buyer gave it up.
        Abandoned = "abandoned",
    }
}

/// A cart without its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CartHead {
    pub(super) id: CartId,
    pub(super) currency: Currency,
    pub(super) status: CartStatus,
}

/// A stored line with the present data of its product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CartLine {
    pub(super) id: CartItemId,
    pub(super) product_id: ProductId,
    pub(super) sku: Sku,
    pub(super) name: Name,
    pub(super) quantity: Quantity,
    pub(super) measure: Measure,
    pub(super) unit_price: Money,
}

/// A cart with its lines and their present prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cart {
    pub id: CartId,
    /// The currency of all lines.
    pub currency: Currency,
    pub status: CartStatus,
    /// In the order in which they were added.
    pub items: Vec<CartItem>,
    /// The sum of the lines, with or without tax by the shop's settings; `None` when prices rose so
    /// far that it overflows.
    pub subtotal: Option<Money>,
}

/// A line of a cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartItem {
    pub id: CartItemId,
    pub product_id: ProductId,
    pub sku: Sku,
    pub name: Name,
    pub quantity: Quantity,
    /// Unit and scale of the quantity.
    pub measure: Measure,
    /// The present price of one whole unit.
    pub unit_price: Money,
    /// The present total of the line; `None` when it overflows.
    pub total: Option<Money>,
}

impl Cart {
    pub(super) fn of(head: CartHead, lines: Vec<CartLine>) -> Self {
        let items: Vec<CartItem> = lines.into_iter().map(CartItem::of).collect();
        let subtotal = items
            .iter()
            .try_fold(Money::zero(head.currency), |sum, item| {
                sum.plus(item.total?).ok()
            });
        Self {
            id: head.id,
            currency: head.currency,
            status: head.status,
            items,
            subtotal,
        }
    }

    /// Returns the cart unless its total overflows: a cart that cannot be added up cannot be
    /// ordered.
    ///
    /// # Errors
    /// `AmountTooLarge`.
    pub(super) fn require_sum(self) -> Result<Self, CartRefused> {
        match self.subtotal {
            Some(_) => Ok(self),
            None => Err(CartRefused::AmountTooLarge(MoneyError::Overflow)),
        }
    }
}

impl CartItem {
    fn of(line: CartLine) -> Self {
        let total = line.measure.amount(line.unit_price, line.quantity.get());
        Self {
            id: line.id,
            product_id: line.product_id,
            sku: line.sku,
            name: line.name,
            quantity: line.quantity,
            measure: line.measure,
            unit_price: line.unit_price,
            total: total.ok(),
        }
    }
}

/// The data of a cart from which an order is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartForCheckout {
    pub id: CartId,
    pub currency: Currency,
    /// In the order in which they were added; at least one, and each product once.
    pub items: Vec<(ProductId, Quantity)>,
}

/// Reasons to refuse a cart; the first that applies wins, in this order.
#[derive(Debug, thiserror::Error)]
pub enum CartRefused {
    #[error("no such cart in this shop; create a cart first")]
    CartNotFound,
    /// It was ordered or abandoned.
    #[error("this cart is {0}; start a new one")]
    NotOpen(CartStatus),
    /// The shop does not sell in the cart's currency.
    #[error(transparent)]
    Currency(CurrencyRefused),
    #[error("no such item in this cart; read the cart again")]
    ItemNotFound,
    #[error("no such product in this shop; check the product id")]
    ProductNotFound(ProductId),
    /// The product is inactive.
    #[error("the product `{sku}` is not active; choose another one, or activate it")]
    ProductInactive { product_id: ProductId, sku: Sku },
    /// The product is sold in another currency.
    #[error("the cart is in {cart} and the product is sold in {product}; make a cart in {product}")]
    CurrencyMismatch { cart: Currency, product: Currency },
    /// More items than a cart can have.
    #[error(
        "the cart is full: it holds {items} items, {limit} are allowed; check it out, or remove an \
         item"
    )]
    Full {
        /// The items in the cart.
        items: usize,
        /// The items allowed.
        limit: usize,
    },
    /// The client has too many carts that were not ordered.
    #[error(
        "this address has {limit} carts that were not ordered; go on with one of them, or order it"
    )]
    TooManyOfClient {
        /// The carts allowed for one client.
        limit: i64,
    },
    /// The shop has too many carts made without an API key, and all were touched recently.
    #[error(
        "this shop has {limit} open carts, which is the most it can have; try again in some minutes"
    )]
    TooManyInShop {
        /// The carts allowed for the shop.
        limit: i64,
    },
    /// The line would exceed the largest quantity.
    #[error(transparent)]
    QuantityTooLarge(#[from] QuantityTooLarge),
    #[error("the cart is empty; add an item first")]
    Empty,
    /// The sum is too large for an amount.
    #[error("the total of the cart is too large; reduce the quantities")]
    AmountTooLarge(#[source] MoneyError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal for CartRefused {
    fn class(&self) -> Class {
        match self {
            Self::CartNotFound | Self::ItemNotFound => Class::NotFound,
            Self::Currency(refused) => refused.class(),
            Self::NotOpen(_) | Self::ProductInactive { .. } | Self::Full { .. } => Class::Conflict,
            Self::TooManyOfClient { .. } | Self::TooManyInShop { .. } => Class::Conflict,
            // The product is in the body: the path was right, the value is not.
            Self::ProductNotFound(_) | Self::CurrencyMismatch { .. } => Class::Invalid,
            Self::QuantityTooLarge(_) | Self::Empty | Self::AmountTooLarge(_) => Class::Invalid,
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::CartNotFound => "cart_not_found",
            Self::NotOpen(_) => "cart_not_open",
            Self::Currency(refused) => refused.code(),
            Self::ItemNotFound => "cart_item_not_found",
            Self::ProductNotFound(_) => "product_not_found",
            Self::ProductInactive { .. } => "product_inactive",
            Self::CurrencyMismatch { .. } => "currency_mismatch",
            Self::Full { .. } => "cart_full",
            Self::TooManyOfClient { .. } => "carts_per_address_limit",
            Self::TooManyInShop { .. } => "carts_limit",
            Self::QuantityTooLarge(_) => "quantity_too_large",
            Self::Empty => "cart_empty",
            Self::AmountTooLarge(_) => "amount_too_large",
            Self::Storage(error) => error.code(),
        }
    }

    fn facts(&self) -> Map<String, Value> {
        let facts = match self {
            Self::NotOpen(status) => vec![("cart_status", status.to_string())],
            Self::ProductNotFound(product_id) => vec![("product_id", product_id.to_string())],
            Self::ProductInactive { product_id, sku } => vec![
                ("product_id", product_id.to_string()),
                ("sku", sku.to_string()),
            ],
            Self::CurrencyMismatch { cart, product } => {
                vec![
                    ("cart_currency", cart.to_string()),
                    ("product_currency", product.to_string()),
                ]
            }
            Self::Full { limit, .. } => vec![("limit", limit.to_string())],
            Self::TooManyOfClient { limit } | Self::TooManyInShop { limit } => {
                vec![("limit", limit.to_string())]
            }
            _ => Vec::new(),
        };
        facts
            .into_iter()
            .map(|(name, fact)| (name.to_owned(), Value::from(fact)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::limits::{MONEY_MINOR_MAX, QUANTITY_MAX};

    fn head() -> CartHead {
        CartHead {
            id: CartId::from_bytes([1; 16]),
            currency: Currency::parse("EUR").expect("known"),
            status: CartStatus::Open,
        }
    }

    fn line(unit_price_minor: i64, quantity: i64) -> CartLine {
        CartLine {
            id: CartItemId::from_bytes([2; 16]),
            product_id: ProductId::from_bytes([3; 16]),
            sku: Sku::parse("TEA").expect("good"),
            name: Name::parse("Tea").expect("good"),
            quantity: Quantity::new(quantity).expect("in range"),
            measure: Measure::default(),
            unit_price: Money::new(unit_price_minor, head().currency).expect("in range"),
        }
    }

    #[test]
    fn adds_up_lines() {
        assert!(
            Cart::of(head(), Vec::new())
                .subtotal
                .is_some_and(Money::is_zero)
        );
        let cart = Cart::of(head(), vec![line(499, 3), line(1, QUANTITY_MAX)]);
        let totals: Vec<_> = cart
            .items
            .iter()
            .map(|item| item.total.map(Money::minor))
            .collect();
        assert_eq!(
            (totals, cart.subtotal.map(Money::minor)),
            (vec![Some(1_497), Some(1_000_000)], Some(1_001_497))
        );
    }

    #[test]
    fn returns_no_sum_when_line_or_sum_exceeds_limit() {
        for lines in [
            vec![line(MONEY_MINOR_MAX, 2)],
            vec![line(MONEY_MINOR_MAX, 1), line(1, 1)],
        ] {
            assert!(matches!(
                Cart::of(head(), lines).require_sum(),
                Err(CartRefused::AmountTooLarge(MoneyError::Overflow))
            ));
        }
        assert!(
            Cart::of(head(), vec![line(MONEY_MINOR_MAX, 1)])
                .require_sum()
                .is_ok()
        );
    }
}
