//! Random sales, payments, declines, cancellations and abandoned orders in random order: the books
//! balance and pass the integrity check.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::sale::Placed;
use crate::support::{Answer, TestApp, TestShop};

#[derive(Clone, Debug)]
enum Step {
    /// Places an order.
    Place(Vec<(usize, i64)>),
    /// Confirms the payment of a placed order.
    Confirm(usize),
    /// Has the payment declined, and opens another.
    Decline(usize),
    /// Changes the status of an order.
    Move(usize, &'static str),
    /// Sells at once, with prices from the till and a part of the total paid by transfer or card.
    /// Each line and the sale have a discount.
    Sell(Vec<(usize, i64)>, i64, i64, [i64; 2]),
    /// Lets time pass and runs the jobs.
    Wait(u64),
    /// Puts goods on the shelf.
    Deliver(usize, i64),
    /// Switches whether prices include tax.
    IncludeTax(bool),
}

/// Products of different tax classes and quantity scales. The first two track stock.
const PRODUCTS: [(&str, i64, &str, i64); 5] = [
    ("A", 333, "full", 0),
    ("B", 1_999, "low", 1),
    ("C", 1, "full", 0),
    ("D", 0, "standard", 0),
    ("E", 51_999, "low", 3),
];

fn discounts() -> impl Strategy<Value = [i64; 2]> {
    let discount = || prop_oneof![Just(0_i64), 0_i64..5, 0_i64..600];
    [discount(), discount()]
}

fn step() -> impl Strategy<Value = Step> {
    let lines = || prop::collection::vec((0..PRODUCTS.len(), 1_i64..4), 1..4);
    prop_oneof![
        4 => lines().prop_map(Step::Place),
        4 => (0_usize..8).prop_map(Step::Confirm),
        1 => (0_usize..8).prop_map(Step::Decline),
        2 => ((0_usize..8), prop::sample::select(vec!["confirm", "ship",
            "cancel"])).prop_map(|(order, event)| Step::Move(order, event)),
        4 => (lines(), 0_i64..700, 0_i64..2_000, discounts()).prop_map(|(lines, price, transfer,
            discounts)| Step::Sell(lines, price, transfer, discounts)),
        1 => (0_u64..1_200).prop_map(Step::Wait),
        1 => ((0_usize..2), 1_i64..5).prop_map(|(product, units)| Step::Deliver(product, units)),
        1 => any::<bool>().prop_map(Step::IncludeTax),
    ]
}

/// A shop and the state that the steps need.
struct Run {
    shop: TestShop,
    products: Vec<String>,
    orders: Vec<Placed>,
    steps: usize,
}

impl Run {
    async fn begin(app: &TestApp, currency: &str) -> Self {
        let shop = app.tenant_in("corner", currency);
        shop.tax_class("full", 190_000).await;
        shop.tax_class("low", 88_750).await;
        let mut products = Vec::new();
        for (place, (sku, price, class, scale)) in PRODUCTS.into_iter().enumerate() {
            let more = json!({"tax_class": class, "track_stock": place < 2, "unit": "LTR",
                "quantity_scale": scale});
            products.push(shop.product_with(sku, price, more).await);
        }
        Self {
            shop,
            products,
            orders: Vec::new(),
            steps: 0,
        }
    }

    fn key(&mut self) -> String {
        self.steps += 1;
        format!("step {}", self.steps)
    }

    fn order(&self, place: usize) -> Option<Placed> {
        (!self.orders.is_empty()).then(|| self.orders[place % self.orders.len()].clone())
    }

    async fn step(&mut self, step: &Step) {
        let (shop, key) = (self.shop.clone(), self.key());
        match step {
            Step::Place(lines) => self.place(&key, lines).await,
            Step::Sell(lines, price, transfer, discounts) => {
                self.sell(&key, lines, (*price, *transfer), *discounts)
                    .await;
            }
            Step::Wait(seconds) => {
                shop.app.advance(Duration::from_secs(*seconds));
                shop.app.work_off();
            }
            Step::Deliver(product, units) => {
                let body = json!({"product_id": self.products[*product], "quantity_delta": units,
                    "reason": "delivery"});
                shop.post("/v1/inventory/adjustments")
                    .json(body)
                    .send()
                    .await
                    .expect(201);
            }
            Step::IncludeTax(included) => shop.prices_include_tax(*included).await,
            Step::Confirm(order) => {
                if let Some(order) = self.order(*order) {
                    lawful(&shop.confirm(&key, &order.payment).await);
                }
            }
            Step::Decline(order) => self.decline(&key, *order).await,
            Step::Move(order, event) => {
                if let Some(order) = self.order(*order) {
                    lawful(&shop.move_order(&order.order, event).await);
                }
            }
        }
    }

    async fn place(&mut self, key: &str, lines: &[(usize, i64)]) {
        let items: Vec<(&str, i64)> = lines
            .iter()
            .map(|(product, quantity)| (self.products[*product].as_str(), *quantity))
            .collect();
        let cart = self.shop.cart(&items).await;
        let answer = self.shop.checkout(key, &cart, "test").await;
        lawful(&answer);
        if answer.status == 201 {
            self.orders.push(Placed {
                order: answer.string("/order/id"),
                payment: answer.string("/payment/id"),
            });
        }
    }

    async fn decline(&mut self, key: &str, order: usize) {
        let Some(placed) = self.order(order) else {
            return;
        };
        let body = json!({"payment_id": placed.payment, "provider_reference": "decline"});
        let call = self
            .shop
            .post("/v1/checkout/confirm-payment")
            .key(key)
            .json(body);
        lawful(&call.send().await);
        let body = json!({"order_id": placed.order, "method": "manual"});
        let answer = self
            .shop
            .post("/v1/payments")
            .key(&format!("{key} again"))
            .json(body)
            .send()
            .await;
        lawful(&answer);
        if answer.status == 201 {
            let place = order % self.orders.len();
            self.orders[place].payment = answer.string("/id");
        }
    }

    async fn sell(
        &self,
        key: &str,
        lines: &[(usize, i64)],
        (price, transfer): (i64, i64),
        [of_line, of_sale]: [i64; 2],
    ) {
        let line = |(product, quantity): &(usize, i64)| {
            json!({"product_id": self.products[*product], "quantity": quantity,
            "unit_price_minor": price, "discount_minor": of_line})
        };
        let lines: Vec<Value> = lines.iter().map(line).collect();
        let method = ["manual", "card"][usize::from(transfer % 2 == 0)];
        let payments = json!([{"method": method, "amount_minor": transfer}, {"method": "cash",
            "amount_minor": 20_000}]);
        let body = json!({"lines": lines, "payments": payments, "discount_minor": of_sale});
        lawful(&self.shop.sale(key, body).await);
    }

    async fn assert_balanced(&self) {
        let balance = self
            .shop
            .get("/v1/ledger/trial-balance")
            .send()
            .await
            .expect(200)
            .json();
        for sum in balance["currencies"].as_array().expect("a list") {
            assert_eq!(sum["debit_minor"], sum["credit_minor"], "{balance}");
        }
        let paid = "SELECT coalesce(sum(total_minor), 0) FROM sales_order WHERE status IN ('paid', \
            'confirmed', 'shipped')";
        let debit = balance["currencies"][0]["debit_minor"]
            .as_i64()
            .unwrap_or_default();
        assert_eq!(
            debit,
            self.shop.count(paid),
            "every payment is booked, and nothing else"
        );
        self.shop.assert_integrity();
    }
}

/// The answer is a success or a refusal by a rule, never a server error.
#[track_caller]
fn lawful(answer: &Answer) {
    assert!(
        matches!(answer.status, 200 | 201 | 402 | 409 | 422),
        "{} {}",
        answer.status,
        answer.text()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn keeps_books_balanced_over_random_steps(
        steps in prop::collection::vec(step(), 10..40),
        currency in prop::sample::select(vec!["EUR", "JPY", "KWD"]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a \
            runtime");
        runtime.block_on(async {
            let app = TestApp::start_dev();
            let mut run = Run::begin(&app, currency).await;
            for step in &steps {
                run.step(step).await;
            }
            run.assert_balanced().await;
            app.work_off();
            run.assert_balanced().await;
        });
    }
}
