//! A model of a shop in memory: the expected answer to each call, and the expected content of the
//! file afterwards. It knows the published rules and nothing of the code that implements them. It
//! learns ids and numbers from the answers, because only the daemon can know them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tillbox::primitives::Timestamp;

use crate::instance::Reply;

/// The tax rate of all products: 7 %, on top of the price.
const TAX_PPM: i64 = 70_000;
/// Time for which an order reserves its stock.
const HOLD_MS: i64 = 15 * 60 * 1000;

/// An action in a shop. Products, carts and orders are indexes into the model.
#[derive(Clone, Debug)]
pub enum Action {
    /// Adds the tax rate of all products.
    Tax,
    Product {
        sku: String,
        price: i64,
        currency: &'static str,
    },
    Adjust {
        product: usize,
        delta: i64,
    },
    Sale {
        id: Option<String>,
        lines: Vec<(usize, i64)>,
        tender: Tender,
        email: bool,
    },
    Cart {
        currency: &'static str,
    },
    Item {
        cart: usize,
        product: usize,
        quantity: i64,
    },
    Checkout {
        cart: usize,
        method: &'static str,
    },
    /// Confirms the order's last payment. With `declined`, the payer declines it.
    Confirm {
        order: usize,
        declined: bool,
    },
    CancelPayment {
        order: usize,
    },
    OpenPayment {
        order: usize,
    },
    /// The event is `cancel`, `confirm` or `ship`.
    ChangeStatus {
        order: usize,
        event: &'static str,
    },
}

/// The way in which a sale is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tender {
    Cash,
    /// More than the total; the till gives change.
    CashAndChange,
    /// Half of it in cash.
    Split,
    TooLittle,
}

/// The expected answer: the status, and the code of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub status: u16,
    pub code: &'static str,
}

const fn refused(status: u16, code: &'static str) -> Expected {
    Expected { status, code }
}

const fn done(status: u16) -> Expected {
    Expected { status, code: "" }
}

#[derive(Clone, Debug)]
struct ModelProduct {
    id: String,
    sku: String,
    price: i64,
    /// The integer of one whole unit.
    whole: i64,
    currency: &'static str,
    on_hand: i64,
    reserved: i64,
}

#[derive(Clone, Debug)]
struct ModelCart {
    id: String,
    currency: &'static str,
    status: &'static str,
    items: Vec<(usize, i64)>,
}

#[derive(Clone, Debug)]
struct ModelPayment {
    id: String,
    method: &'static str,
    status: &'static str,
    amount: i64,
}

#[derive(Clone, Debug)]
struct ModelOrder {
    id: String,
    status: &'static str,
    currency: &'static str,
    lines: Vec<(usize, i64)>,
    net: i64,
    tax: i64,
    has_email: bool,
    payments: Vec<ModelPayment>,
    /// The status of the order's reservation, and its expiry.
    hold: Option<(&'static str, Timestamp)>,
}

/// The model of one shop.
#[derive(Clone, Debug, Default)]
pub struct ModelShop {
    products: Vec<ModelProduct>,
    carts: Vec<ModelCart>,
    orders: Vec<ModelOrder>,
    movements: i64,
    /// The last invoice number of each year.
    invoices: BTreeMap<i16, i64>,
    ledger: BTreeMap<String, i64>,
}

/// Named values for the comparison of a model with a file. Zero values are left out.
pub type Facts = BTreeMap<String, i64>;

/// The quantity scale of a product: 0 or 1, so that six tenths are worth more than nothing.
fn scale_of(sku: &str) -> u32 {
    sku.bytes().map(u32::from).sum::<u32>() % 2
}

fn taxed(net: i64) -> i64 {
    (net * TAX_PPM * 2 + 1_000_000) / 2_000_000
}

impl ModelShop {
    pub const fn count_products(&self) -> usize {
        self.products.len()
    }

    pub fn currency(&self, product: usize) -> &'static str {
        self.products[product].currency
    }

    /// Lists the open carts, or all.
    pub fn carts(&self, only_open: bool) -> Vec<usize> {
        let matches = |at: &usize| !only_open || self.carts[*at].status == "open";
        (0..self.carts.len()).filter(matches).collect()
    }

    pub fn products_of_cart(&self, cart: usize) -> Vec<usize> {
        let is_sold = |at: &usize| self.products[*at].currency == self.carts[cart].currency;
        (0..self.products.len()).filter(is_sold).collect()
    }

    /// Lists the orders in a status, or all.
    pub fn orders(&self, status: Option<&str>) -> Vec<usize> {
        let matches = |at: &usize| status.is_none_or(|status| self.orders[*at].status == status);
        (0..self.orders.len()).filter(matches).collect()
    }

    fn available(&self, product: usize) -> i64 {
        self.products[product].on_hand - self.products[product].reserved
    }

    fn net(&self, lines: &[(usize, i64)]) -> i64 {
        lines
            .iter()
            .map(|(product, quantity)| {
                let product = &self.products[*product];
                (product.price * quantity * 2 + product.whole) / (2 * product.whole)
            })
            .sum()
    }

    fn is_available(&self, lines: &[(usize, i64)]) -> bool {
        let requested = lines.iter().fold(
            BTreeMap::<usize, i64>::new(),
            |mut requested, (product, quantity)| {
                *requested.entry(*product).or_default() += quantity;
                requested
            },
        );
        requested
            .iter()
            .all(|(product, quantity)| self.available(*product) >= *quantity)
    }

    /// Returns the path and the body of the request.
    pub fn request(&self, action: &Action) -> (String, Value) {
        let payment = |order: &usize| {
            self.orders[*order]
                .payments
                .last()
                .expect("an order has a payment")
                .id
                .clone()
        };
        match action {
            Action::Tax => (
                "/v1/tax-rates".to_owned(),
                json!({"tax_class": "book", "name": "VAT", "rate_ppm": TAX_PPM,
                    "valid_from": "1971-01-01T00:00:00Z"}),
            ),
            Action::Product {
                sku,
                price,
                currency,
            } => (
                "/v1/catalog/products".to_owned(),
                json!({"sku": sku, "name": sku, "price_minor": price, "currency": currency,
                    "track_stock": true, "tax_class": "book", "unit": "MTR",
                    "quantity_scale": scale_of(sku)}),
            ),
            Action::Adjust { product, delta } => (
                "/v1/inventory/adjustments".to_owned(),
                json!({"product_id": self.products[*product].id, "quantity_delta": delta,
                    "reason": "delivery"}),
            ),
            Action::Sale {
                id,
                lines,
                tender,
                email,
            } => {
                let net = self.net(lines);
                let total = net + taxed(net);
                let cash = |amount: i64| json!({"method": "cash", "amount_minor": amount});
                let payments = match tender {
                    Tender::Cash => vec![cash(total)],
                    Tender::CashAndChange => vec![cash(total + 500)],
                    Tender::Split => vec![
                        cash(total / 2),
                        json!({"method": "manual", "amount_minor": total - total / 2}),
                    ],
                    Tender::TooLittle => vec![cash(total - 1)],
                };
                let line = |(product, quantity): &(usize, i64)| {
                    let id = &self.products[*product].id;
                    json!({"product_id": id, "quantity": quantity})
                };
                let lines: Vec<Value> = lines.iter().map(line).collect();
                let mut body = json!({"lines": lines, "payments": payments});
                if *email {
                    body["email"] = json!("ada@example.org");
                }
                if let Some(id) = id {
                    body["id"] = json!(id);
                }
                ("/v1/sales".to_owned(), body)
            }
            Action::Cart { currency } => ("/v1/carts".to_owned(), json!({"currency": currency})),
            Action::Item {
                cart,
                product,
                quantity,
            } => (
                format!("/v1/carts/{}/items", self.carts[*cart].id),
                json!({"product_id": self.products[*product].id, "quantity": quantity}),
            ),
            Action::Checkout { cart, method } => (
                "/v1/checkout".to_owned(),
                json!({"cart_id": self.carts[*cart].id, "payment_method": method,
                    "email": "bob@example.org"}),
            ),
            Action::Confirm { order, declined } => {
                let reference = if *declined { "decline" } else { "paid" };
                (
                    "/v1/checkout/confirm-payment".to_owned(),
                    json!({"payment_id": payment(order), "provider_reference": reference}),
                )
            }
            Action::CancelPayment { order } => {
                (format!("/v1/payments/{}/cancel", payment(order)), json!({}))
            }
            Action::OpenPayment { order } => (
                "/v1/payments".to_owned(),
                json!({"order_id": self.orders[*order].id, "method": "cash"}),
            ),
            Action::ChangeStatus { order, event } => (
                format!("/v1/orders/{}/{event}", self.orders[*order].id),
                Value::Null,
            ),
        }
    }

    /// Predicts the answer in the current state.
    pub fn predict(&self, action: &Action) -> Expected {
        match action {
            Action::Product { sku, .. }
                if self.products.iter().any(|product| product.sku == *sku) =>
            {
                refused(409, "sku_taken")
            }
            Action::Tax | Action::Product { .. } | Action::Cart { .. } => done(201),
            Action::Adjust { product, delta } if self.available(*product) + delta < 0 => {
                refused(409, "stock_too_low")
            }
            Action::Adjust { .. } => done(201),
            Action::Sale { id: Some(id), .. }
                if self.orders.iter().any(|order| order.id == *id) =>
            {
                done(201)
            }
            Action::Sale {
                tender: Tender::TooLittle,
                ..
            } => refused(422, "payment_insufficient"),
            Action::Sale { lines, .. } if !self.is_available(lines) => refused(409, "out_of_stock"),
            Action::Sale { .. } => done(201),
            Action::Item { cart, .. } | Action::Checkout { cart, .. }
                if self.carts[*cart].status != "open" =>
            {
                refused(409, "cart_not_open")
            }
            Action::Item { cart, product, .. }
                if self.carts[*cart].currency != self.currency(*product) =>
            {
                refused(422, "currency_mismatch")
            }
            Action::Item { .. } => done(201),
            Action::Checkout { cart, .. } if self.carts[*cart].items.is_empty() => {
                refused(422, "cart_empty")
            }
            Action::Checkout { cart, .. } if !self.is_available(&self.carts[*cart].items) => {
                refused(409, "out_of_stock")
            }
            Action::Checkout { .. } => done(201),
            Action::Confirm { order, declined } => {
                self.predict_confirmation(&self.orders[*order], *declined)
            }
            Action::CancelPayment { order } => match self.orders[*order]
                .payments
                .last()
                .expect("an order has a payment")
                .status
            {
                "pending" => done(200),
                "succeeded" => refused(409, "payment_already_processed"),
                _ => refused(409, "payment_over"),
            },
            Action::OpenPayment { order } => match &self.orders[*order] {
                order if order.status != "pending" => refused(409, "order_not_payable"),
                order
                    if order
                        .payments
                        .iter()
                        .any(|payment| payment.status == "pending") =>
                {
                    refused(409, "payment_pending")
                }
                _ => done(201),
            },
            Action::ChangeStatus { order, event } => match (self.orders[*order].status, *event) {
                ("pending", "cancel") | ("paid", "confirm") | ("confirmed", "ship") => done(200),
                _ => refused(409, "illegal_transition"),
            },
        }
    }

    fn predict_confirmation(&self, order: &ModelOrder, declined: bool) -> Expected {
        let payment = order.payments.last().expect("an order has a payment");
        match payment.status {
            "pending" if declined && payment.method == "test" => refused(402, "payment_declined"),
            "pending"
                if order.hold.is_some_and(|(status, _)| status == "held")
                    || self.is_available(&order.lines) =>
            {
                done(200)
            }
            "pending" => refused(409, "out_of_stock"),
            "succeeded" => refused(409, "payment_already_processed"),
            _ => refused(409, "payment_over"),
        }
    }

    /// Updates the model after an answer that was predicted.
    ///
    /// # Errors
    /// The part of the answer that cannot be right.
    pub fn apply(
        &mut self,
        action: &Action,
        expected: Expected,
        reply: &Reply,
    ) -> Result<(), String> {
        if expected.status == 402
            && let Action::Confirm { order, .. } = action
        {
            self.orders[*order]
                .payments
                .last_mut()
                .expect("an order has a payment")
                .status = "failed";
        }
        if expected.status >= 300 {
            return Ok(());
        }
        match action {
            Action::Tax => {}
            Action::Product {
                sku,
                price,
                currency,
            } => self.products.push(ModelProduct {
                id: reply.text("/id"),
                sku: sku.clone(),
                price: *price,
                whole: 10_i64.pow(scale_of(sku)),
                currency,
                on_hand: 0,
                reserved: 0,
            }),
            Action::Adjust { product, delta } => {
                self.products[*product].on_hand += delta;
                self.movements += 1;
            }
            Action::Sale { id: Some(id), .. }
                if self.orders.iter().any(|order| order.id == *id) =>
            {
                return same("order", &reply.text("/order/id"), id);
            }
            Action::Sale {
                lines,
                tender,
                email,
                ..
            } => return self.apply_sale(lines, *tender, *email, reply),
            Action::Cart { currency } => self.carts.push(ModelCart {
                id: reply.text("/id"),
                currency,
                status: "open",
                items: Vec::new(),
            }),
            Action::Item {
                cart,
                product,
                quantity,
            } => {
                let items = &mut self.carts[*cart].items;
                match items.iter_mut().find(|(of, _)| of == product) {
                    Some((_, has)) => *has += quantity,
                    None => items.push((*product, *quantity)),
                }
            }
            Action::Checkout { cart, method } => return self.apply_checkout(*cart, method, reply),
            Action::Confirm { order, .. } => return self.apply_payment(*order, reply),
            Action::CancelPayment { order } => {
                self.orders[*order]
                    .payments
                    .last_mut()
                    .expect("an order has a payment")
                    .status = "cancelled"
            }
            Action::OpenPayment { order } => {
                let amount = self.orders[*order].net + self.orders[*order].tax;
                self.orders[*order].payments.push(ModelPayment {
                    id: reply.text("/id"),
                    method: "cash",
                    status: "pending",
                    amount,
                });
            }
            Action::ChangeStatus { order, event } => self.apply_event(*order, event),
        }
        Ok(())
    }

    fn new_order(
        &self,
        lines: &[(usize, i64)],
        has_email: bool,
        reply: &Reply,
    ) -> Result<ModelOrder, String> {
        let net = self.net(lines);
        let order = ModelOrder {
            id: reply.text("/order/id"),
            status: "pending",
            currency: self.currency(lines[0].0),
            lines: lines.to_vec(),
            net,
            tax: taxed(net),
            has_email,
            payments: Vec::new(),
            hold: None,
        };
        same(
            "total",
            reply.body["order"]["total_minor"].as_i64(),
            Some(order.net + order.tax),
        )?;
        same(
            "number",
            reply.text("/order/number"),
            format!("ORD-{:06}", self.orders.len() + 1),
        )?;
        Ok(order)
    }

    fn apply_sale(
        &mut self,
        lines: &[(usize, i64)],
        tender: Tender,
        has_email: bool,
        reply: &Reply,
    ) -> Result<(), String> {
        let mut order = self.new_order(lines, has_email, reply)?;
        let total = order.net + order.tax;
        let amounts = match tender {
            Tender::Split => vec![("cash", total / 2), ("manual", total - total / 2)],
            _ => vec![("cash", total)],
        };
        for (at, (method, amount)) in amounts.into_iter().enumerate() {
            let id = reply.text(&format!("/payments/{at}/id"));
            let status = "succeeded";
            order.payments.push(ModelPayment {
                id,
                method,
                status,
                amount,
            });
        }
        order.status = "paid";
        for (product, quantity) in lines {
            self.products[*product].on_hand -= quantity;
        }
        self.orders.push(order);
        self.record_in_books(self.orders.len() - 1, reply)
    }

    fn apply_checkout(
        &mut self,
        cart: usize,
        method: &'static str,
        reply: &Reply,
    ) -> Result<(), String> {
        let lines = self.carts[cart].items.clone();
        let mut order = self.new_order(&lines, true, reply)?;
        let placed_at =
            Timestamp::parse(&reply.text("/order/placed_at")).map_err(|error| error.to_string())?;
        order.hold = Some(("held", placed_at.plus_millis(HOLD_MS)));
        order.payments.push(ModelPayment {
            id: reply.text("/payment/id"),
            method,
            status: "pending",
            amount: order.net + order.tax,
        });
        for (product, quantity) in &lines {
            self.products[*product].reserved += quantity;
        }
        self.carts[cart].status = "converted";
        self.orders.push(order);
        Ok(())
    }

    fn apply_payment(&mut self, at: usize, reply: &Reply) -> Result<(), String> {
        let order = &mut self.orders[at];
        order
            .payments
            .last_mut()
            .expect("an order has a payment")
            .status = "succeeded";
        order.status = "paid";
        let was_held = matches!(order.hold, Some(("held", _)));
        if let Some((status, _)) = order.hold.as_mut() {
            *status = "consumed";
        }
        for (product, quantity) in &order.lines {
            let product = &mut self.products[*product];
            product.on_hand -= quantity;
            product.reserved -= if was_held { *quantity } else { 0 };
        }
        self.record_in_books(at, reply)
    }

    /// Records the invoice, stock movements and ledger entries of a paid order.
    fn record_in_books(&mut self, at: usize, reply: &Reply) -> Result<(), String> {
        let order = &self.orders[at];
        let products: std::collections::BTreeSet<usize> =
            order.lines.iter().map(|(product, _)| *product).collect();
        self.movements += products.len() as i64;
        let issued = Timestamp::parse(&reply.text("/invoice/issued_at"))
            .map_err(|error| error.to_string())?;
        let last = self.invoices.entry(issued.year()).or_default();
        *last += 1;
        same(
            "invoice",
            reply.text("/invoice/number"),
            format!("INV-{:04}-{last:06}", issued.year()),
        )?;
        let currency = order.currency;
        let mut add = |account: &str, amount: i64| {
            *self
                .ledger
                .entry(format!("{account} {currency}"))
                .or_default() += amount
        };
        for payment in order
            .payments
            .iter()
            .filter(|payment| payment.status == "succeeded")
        {
            let account = if payment.method == "cash" {
                "debit 1000"
            } else {
                "debit 1200"
            };
            add(account, payment.amount);
        }
        add("credit 4000", order.net);
        add("credit 2200", order.tax);
        Ok(())
    }

    fn apply_event(&mut self, at: usize, event: &str) {
        let order = &mut self.orders[at];
        order.status = match event {
            "cancel" => "cancelled",
            "confirm" => "confirmed",
            _ => "shipped",
        };
        if event != "cancel" {
            return;
        }
        for payment in order
            .payments
            .iter_mut()
            .filter(|payment| payment.status == "pending")
        {
            payment.status = "cancelled";
        }
        if let Some((status @ "held", _)) = order.hold.as_mut() {
            *status = "released";
            for (product, quantity) in &order.lines {
                self.products[*product].reserved -= quantity;
            }
        }
    }

    /// Expires the reservations for which `is_over` returns true, after the jobs ran.
    pub fn expire(&mut self, is_over: impl Fn(Timestamp) -> bool) {
        for order in &mut self.orders {
            if let Some((status @ "held", until)) = order.hold.as_mut()
                && is_over(*until)
            {
                *status = "expired";
                for (product, quantity) in &order.lines {
                    self.products[*product].reserved -= quantity;
                }
            }
        }
    }

    /// Counts the customers who get a confirmation of payment.
    pub fn count_mails(&self) -> i64 {
        let has_ended = |order: &&ModelOrder| {
            order.has_email && matches!(order.status, "paid" | "confirmed" | "shipped")
        };
        self.orders.iter().filter(has_ended).count() as i64
    }

    /// Lists the facts that the file must contain.
    pub fn facts(&self) -> Facts {
        let mut facts: Facts = self.ledger.clone();
        let mut add = |name: String, value: i64| *facts.entry(name).or_default() += value;
        for product in &self.products {
            add(format!("on hand {}", product.sku), product.on_hand);
            add(format!("reserved {}", product.sku), product.reserved);
        }
        for cart in &self.carts {
            add(format!("carts {}", cart.status), 1);
        }
        for order in &self.orders {
            add(format!("orders {}", order.status), 1);
            add(
                format!("orders {} {}", order.status, order.currency),
                order.net + order.tax,
            );
            for payment in &order.payments {
                add(format!("payments {} {}", payment.method, payment.status), 1);
                add(
                    format!(
                        "payments {} {} {}",
                        payment.method, payment.status, order.currency
                    ),
                    payment.amount,
                );
            }
            if let Some((status, _)) = order.hold {
                add(format!("reservations {status}"), order.lines.len() as i64);
            }
        }
        for (year, last) in &self.invoices {
            let series = format!("invoice/INV-{year:04}-#");
            for name in ["invoices", "last", "series"] {
                add(format!("{name} {series}"), *last);
            }
        }
        add("series order".to_owned(), self.orders.len() as i64);
        add("movements".to_owned(), self.movements);
        add("mails".to_owned(), self.count_mails());
        facts.retain(|_, value| *value != 0);
        facts
    }
}

/// The query for the same facts in a file.
pub const FACTS: &str = "
    SELECT 'on hand ' || sku, coalesce(on_hand, 0) FROM product LEFT JOIN stock ON product_id = id
    UNION ALL SELECT 'reserved ' || sku, coalesce(reserved, 0) FROM product LEFT JOIN stock ON \
    product_id = id
    UNION ALL SELECT 'carts ' || status, count(*) FROM cart GROUP BY status
    UNION ALL SELECT 'orders ' || status, count(*) FROM sales_order GROUP BY status
    UNION ALL SELECT 'orders ' || status || ' ' || currency, sum(total_minor) FROM sales_order \
    GROUP BY status, currency
    UNION ALL SELECT 'payments ' || method || ' ' || status, count(*) FROM payment GROUP BY \
    method, status
    UNION ALL SELECT 'payments ' || method || ' ' || status || ' ' || currency, sum(amount_minor) \
    FROM payment GROUP BY method, status, currency
    UNION ALL SELECT 'reservations ' || status, count(*) FROM reservation GROUP BY status
    UNION ALL SELECT 'invoices ' || series, count(*) FROM invoice GROUP BY series
    UNION ALL SELECT 'last ' || series, max(series_number) FROM invoice GROUP BY series
    UNION ALL SELECT 'series ' || name, last_number FROM series
    UNION ALL SELECT 'debit ' || debit_code || ' ' || currency, sum(amount_minor) FROM \
    ledger_transfer GROUP BY debit_code, currency
    UNION ALL SELECT 'credit ' || credit_code || ' ' || currency, sum(amount_minor) FROM \
    ledger_transfer GROUP BY credit_code, currency
    UNION ALL SELECT 'movements', count(*) FROM inventory_movement
    UNION ALL SELECT 'mails', count(*) FROM job WHERE kind = 'orders.confirmation'";

fn same<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
    name: &str,
    found: T,
    expected: U,
) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{name}: expected {expected:?}, found {found:?}"))
    }
}
