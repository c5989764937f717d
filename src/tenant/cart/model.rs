//! Carts, their sums, and the reasons to refuse a change.

use crate::primitives::id::{CartId, CartItemId, ProductId};
use crate::primitives::{
    Currency, Measure, Money, MoneyError, Name, Quantity, QuantityTooLarge, Sku, refusals,
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

refusals! {
    /// Reasons to refuse a cart; the first that applies wins, in this order.
    pub enum CartRefused {
        CartNotFound: NotFound "cart_not_found", "no such cart in this shop; create a cart first";
        /// It was ordered or abandoned.
        NotOpen(CartStatus): Conflict "cart_not_open", "this cart is {0}; start a new one";
        ItemNotFound: NotFound "cart_item_not_found",
            "no such item in this cart; read the cart again";
        ProductNotFound(ProductId): Invalid "product_not_found",
            "no such product in this shop; check the product id";
        /// The product is inactive.
        ProductInactive { product_id: ProductId, sku: Sku }: Conflict "product_inactive",
            "the product `{sku}` is not active; choose another one, or activate it";
        /// The product is sold in another currency.
        CurrencyMismatch { cart: Currency, product: Currency }: Invalid "currency_mismatch",
            "the cart is in {cart} and the product is sold in {product}; make a cart in \
             {product}";
        /// More items than a cart can have.
        Full {
            /// The items in the cart.
            items: usize,
            /// The items allowed.
            limit: usize,
        }: Conflict "cart_full",
            "the cart is full: it holds {items} items, {limit} are allowed; check it out, or \
             remove an item";
        /// The client has too many carts that were not ordered.
        TooManyOfClient {
            /// The carts allowed for one client.
            limit: i64,
        }: Conflict "carts_per_address_limit",
            "this address has {limit} carts that were not ordered; go on with one of them, or \
             order it";
        /// The shop has too many carts made without an API key, and all were touched recently.
        TooManyInShop {
            /// The carts allowed for the shop.
            limit: i64,
        }: Conflict "carts_limit",
            "this shop has {limit} open carts, which is the most it can have; try again in some \
             minutes";
        /// The line would exceed the largest quantity.
        QuantityTooLarge(#[from] QuantityTooLarge): Invalid "quantity_too_large", "{0}";
        Empty: Invalid "cart_empty", "the cart is empty; add an item first";
        /// The sum is too large for an amount.
        AmountTooLarge(#[source] MoneyError): Invalid "amount_too_large",
            "the total of the cart is too large; reduce the quantities";
    }
    inherits { Currency(CurrencyRefused), Storage(StorageError) }
    facts {
        Self::NotOpen(status) => { cart_status: status },
        Self::ProductNotFound(product_id) => { product_id: product_id },
        Self::ProductInactive { product_id, sku } => { product_id: product_id, sku: sku },
        Self::CurrencyMismatch { cart, product } => {
            cart_currency: cart, product_currency: product
        },
        Self::Full { limit, .. } => { limit: limit.to_string() },
        Self::TooManyOfClient { limit } => { limit: limit.to_string() },
        Self::TooManyInShop { limit } => { limit: limit.to_string() },
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
