//! Stock and orders: reserved, consumed, released, and sold exactly once.

use std::time::Duration;

use serde_json::json;
use tillbox::primitives::id::{OrderId, ProductId};
use tillbox::primitives::limits::RESERVATION_TTL_MS;
use tillbox::primitives::{
    Measure, Note, OnHand, Origin, QuantityDelta, Refusal as _, Sku, Timestamp,
};
use tillbox::storage::{StorageError, TenantWork};
use tillbox::tenant::cart::{self, CartRefused};
use tillbox::tenant::inventory::{
    self, AdjustStock, CountStock, Goods, StockRefused, StockRequest,
};
use tillbox::worker::Worker;

use crate::support::sale::rows;
use crate::support::{TestApp, TestShop, blocking};

/// A shop with `on_hand` units of each SKU, for orders to come.
struct Stocked {
    shop: TestShop,
    products: Vec<(ProductId, Sku)>,
}

fn hex(bytes: &[u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Stocked {
    async fn with(app: &TestApp, stock: &[(&str, i64)]) -> Self {
        let shop = app.tenant("corner");
        let mut products = Vec::new();
        for (sku, on_hand) in stock {
            let id = shop
                .product_with(sku, 100, json!({"track_stock": true}))
                .await;
            let id = ProductId::parse(&id).expect("an id");
            shop.raw(&format!(
                "INSERT INTO stock VALUES (x'{}', {on_hand}, 0, 0)",
                hex(id.as_bytes())
            ))
            .expect("a row");
            products.push((id, Sku::parse(sku).expect("a SKU")));
        }
        Self { shop, products }
    }

    /// Inserts an order, as the sale path does before it reserves stock.
    fn order(&self, number: u8) -> OrderId {
        let id = OrderId::from_bytes([number; 16]);
        let row = format!(
            "INSERT INTO sales_order (id, number, channel, status, currency, prices_include_tax, \
             subtotal_minor, discount_minor, tax_minor,
             total_minor, tax_lines, placed_at, updated_at) VALUES (x'{}', '{number}', 'checkout', \
             'pending', 'EUR', 0, 0, 0, 0, 0, '[]', 0, 0)",
            hex(id.as_bytes())
        );
        self.shop.raw(&row).expect("a row");
        id
    }

    fn wanted(&self, quantities: &[i64]) -> Vec<StockRequest> {
        let wanted = |((product_id, sku), quantity): (&(ProductId, Sku), &i64)| StockRequest {
            product_id: *product_id,
            sku: sku.clone(),
            quantity: *quantity,
            measure: Measure::default(),
        };
        self.products.iter().zip(quantities).map(wanted).collect()
    }

    fn run<R: Send + 'static, E: From<StorageError> + Send + 'static>(
        &self,
        f: impl FnMut(&mut TenantWork) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E> {
        let db = self.shop.db();
        blocking(|| db.write(Origin::system(), f).wait())
    }

    /// Inserts the order's lines, as the sale path does.
    fn lines(&self, order: OrderId, wanted: &[StockRequest]) {
        for StockRequest {
            product_id,
            sku,
            quantity,
            ..
        } in wanted
        {
            let row = format!(
                "INSERT INTO order_line (id, order_id, product_id, sku, name, quantity, \
                 unit_price_minor, tax_class, tax_name, tax_rate_ppm, net_minor, tax_minor, \
                 total_minor, unit, quantity_scale, discount_minor, shared_discount_minor)
                 VALUES (randomblob(16), x'{}', x'{}', '{sku}', '{sku}', {quantity}, 0, \
                 'standard', 'No tax', 0, 0, 0, 0, 'C62', 0, 0, 0)",
                hex(order.as_bytes()),
                hex(product_id.as_bytes())
            );
            self.shop.raw(&row).expect("a row");
        }
    }

    fn reserve(&self, order: OrderId, quantities: &[i64]) -> Result<(), StockRefused> {
        let wanted = self.wanted(quantities);
        self.lines(order, &wanted);
        self.run(move |work| {
            let until = work.now().plus_millis(RESERVATION_TTL_MS);
            inventory::reserve(work, order, &wanted, until)
        })
    }

    fn consume(&self, order: OrderId) -> Result<(), StockRefused> {
        self.run(move |work| inventory::hand_over(work, order, Goods::Held, work.now()))
    }

    fn take(&self, order: OrderId, quantities: &[i64], at: Timestamp) -> Result<(), StockRefused> {
        let wanted = self.wanted(quantities);
        self.run(move |work| inventory::hand_over(work, order, Goods::OnShelf(&wanted), at))
    }

    fn expire(&self, order: OrderId) -> usize {
        self.run(move |work| inventory::expire(work, order))
            .expect("the storage works")
    }

    /// `sku|on_hand|reserved` of every product.
    fn stock(&self) -> Vec<String> {
        self.shop.rows(
            "SELECT sku, on_hand, reserved FROM stock JOIN product ON product.id = \
                product_id ORDER BY sku",
        )
    }

    /// `status|quantity` of every reservation.
    fn reservations(&self) -> Vec<String> {
        self.shop
            .rows("SELECT status, quantity FROM reservation ORDER BY seq")
    }

    /// `kind|delta|on hand after` of every movement.
    fn movements(&self) -> Vec<String> {
        self.shop
            .rows("SELECT kind, quantity_delta, on_hand_after FROM inventory_movement ORDER BY seq")
    }
}

fn past_expiry() -> Duration {
    Duration::from_millis(RESERVATION_TTL_MS.unsigned_abs())
}

#[tokio::test]
async fn consumes_reservation_once() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 5), ("B", 3)]).await;
    let order = stocked.order(1);
    stocked.reserve(order, &[2, 3]).expect("there is enough");
    assert_eq!(stocked.stock(), ["A|5|2", "B|3|3"]);
    assert_eq!(stocked.movements(), [""; 0]);
    let job = "SELECT queue, state, payload, unique_key, scheduled_at FROM job WHERE kind = \
        'inventory.expire_reservation'";
    let due = app.now().plus_millis(RESERVATION_TTL_MS).as_millis();
    assert_eq!(
        stocked.shop.rows(job),
        [format!(
            "low|scheduled|{{\"order_id\":\"{order}\"}}|reservation:{order}|{due}"
        )]
    );
    for _ in 0..2 {
        stocked.consume(order).expect("it is held");
        assert_eq!(stocked.stock(), ["A|3|0", "B|0|0"]);
        // The order of the products depends on their random ids.
        let mut movements = stocked.movements();
        movements.sort();
        assert_eq!(movements, ["sale|-2|3", "sale|-3|0"]);
        assert_eq!(stocked.reservations(), ["consumed|2", "consumed|3"]);
    }
    app.advance(past_expiry());
    assert_eq!(stocked.expire(order), 0);
    assert_eq!(stocked.stock(), ["A|3|0", "B|0|0"]);
}

#[tokio::test]
async fn reserves_nothing_when_one_line_lacks_stock() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 5), ("B", 3)]).await;
    let order = stocked.order(1);
    let refused = stocked.reserve(order, &[2, 4]).expect_err("B is short");
    assert_eq!(refused.code(), "out_of_stock");
    let facts = refused.facts();
    assert_eq!(
        (
            facts["sku"].as_str(),
            facts["requested"].as_i64(),
            facts["available"].as_i64()
        ),
        (Some("B"), Some(4), Some(3))
    );
    let refused = stocked.take(order, &[2, 4], app.now());
    assert!(matches!(
        refused,
        Err(StockRefused::OutOfStock {
            requested: 4,
            available: 3,
            ..
        })
    ));
    assert_eq!(stocked.stock(), ["A|5|0", "B|3|0"]);
    assert_eq!(
        (stocked.reservations(), stocked.movements()),
        (Vec::new(), Vec::new())
    );
    assert_eq!(
        stocked
            .shop
            .count("SELECT count(*) FROM job WHERE kind LIKE 'inventory.%'"),
        0
    );
}

#[tokio::test]
async fn hides_reserved_stock_from_others() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 5)]).await;
    let (first, second) = (stocked.order(1), stocked.order(2));
    stocked.reserve(first, &[4]).expect("there is enough");
    assert!(matches!(
        stocked.reserve(second, &[2]),
        Err(StockRefused::OutOfStock {
            requested: 2,
            available: 1,
            ..
        })
    ));
    let taken = stocked.take(second, &[2], app.now());
    assert!(matches!(
        taken,
        Err(StockRefused::OutOfStock { available: 1, .. })
    ));
    stocked
        .run(move |work| inventory::release(work, first))
        .expect("the storage works");
    assert_eq!(
        (stocked.stock(), stocked.reservations()),
        (vec!["A|5|0".to_owned()], vec!["released|4".to_owned()])
    );
    stocked.reserve(second, &[5]).expect("it is free again");
}

#[tokio::test]
async fn books_stock_of_immediate_sale_at_its_date() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 5)]).await;
    let order = stocked.order(1);
    let sold_at = Timestamp::parse("2021-01-01T00:00:00Z").expect("an instant");
    for _ in 0..2 {
        stocked.take(order, &[4], sold_at).expect("there is enough");
        assert_eq!(stocked.stock(), ["A|1|0"], "once");
    }
    let row = format!("{}|{}", hex(order.as_bytes()), sold_at.as_millis());
    assert_eq!(
        stocked
            .shop
            .rows("SELECT order_id, at FROM inventory_movement"),
        [row]
    );
}

/// The schema allows a negative stock, so that a rule can. No rule does yet: each way to take stock
/// refuses by itself.
#[tokio::test]
async fn takes_nothing_from_stock_that_is_overdrawn() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 3)]).await;
    let (held, other) = (stocked.order(1), stocked.order(2));
    stocked.reserve(held, &[3]).expect("there is enough");
    let product = stocked.products[0].0;
    for (on_hand, available) in [(2, -1), (0, -3), (-2, -5)] {
        stocked
            .shop
            .raw(&format!("UPDATE stock SET on_hand = {on_hand}"))
            .expect("the schema allows it");
        let before = (stocked.stock(), stocked.reservations(), stocked.movements());
        let wanted = stocked.wanted(&[1]);
        let refusals = [
            stocked.reserve(other, &[1]).expect_err("nothing is there"),
            stocked
                .take(other, &[1], app.now())
                .expect_err("nothing is there"),
            stocked
                .run(move |work| inventory::require_available(work, &wanted))
                .expect_err("nothing is there"),
        ];
        for refused in refusals {
            assert!(
                matches!(refused, StockRefused::OutOfStock { available: now, .. }
                    if now == available),
                "{refused}"
            );
        }
        // The held goods are not there: the payment is not accepted.
        let failed = stocked.consume(held).expect_err("less is on hand");
        assert!(matches!(failed, StockRefused::Storage(_)), "{failed}");
        for delta in [-1, -1_000_000] {
            let command = AdjustStock {
                product_id: product,
                quantity_delta: QuantityDelta::new(delta).expect("in range"),
                reason: Note::parse("broken").expect("good"),
            };
            let adjusted = stocked.run(move |work| inventory::adjust_stock(work, &command));
            let refused = adjusted.expect_err("less than reserved");
            assert_eq!(refused.code(), "stock_too_low");
        }
        let command = CountStock {
            on_hand: OnHand::new(1).expect("in range"),
            reason: None,
        };
        let counted = stocked.run(move |work| inventory::count_stock(work, product, &command));
        let refused = counted.expect_err("less than reserved");
        assert_eq!(refused.code(), "stock_too_low");
        let after = (stocked.stock(), stocked.reservations(), stocked.movements());
        assert_eq!(after, before, "{on_hand}");
    }
    let path = format!("/v1/inventory/stock/{product}");
    let count = stocked.shop.patch(&path).json(json!({"on_hand": -1}));
    count.send().await.refused(422, "validation_failed");
}

#[tokio::test]
async fn treats_missing_stock_row_as_zero() {
    let app = TestApp::start();
    let mut stocked = Stocked::with(&app, &[]).await;
    let id = stocked
        .shop
        .product_with("NEW", 100, json!({"track_stock": true}))
        .await;
    let id = ProductId::parse(&id).expect("an id");
    stocked
        .products
        .push((id, Sku::parse("NEW").expect("a SKU")));
    let order = stocked.order(1);
    assert!(matches!(
        stocked.reserve(order, &[1]),
        Err(StockRefused::OutOfStock {
            requested: 1,
            available: 0,
            ..
        })
    ));
}

#[tokio::test]
async fn expires_reservation_at_its_time() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 5)]).await;
    let order = stocked.order(1);
    stocked.reserve(order, &[4]).expect("there is enough");
    app.advance(past_expiry() - Duration::from_millis(1));
    assert_eq!(stocked.expire(order), 0);
    assert_eq!(stocked.stock(), ["A|5|4"]);
    app.advance(Duration::from_millis(1));
    assert_eq!(stocked.expire(order), 1);
    assert_eq!(
        (stocked.stock(), stocked.reservations()),
        (vec!["A|5|0".to_owned()], vec!["expired|4".to_owned()])
    );
    assert_eq!(stocked.expire(order), 0);
    assert_eq!(stocked.stock(), ["A|5|0"]);
}

#[tokio::test]
async fn gives_late_payer_remaining_stock_or_nothing() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 5), ("B", 5)]).await;
    let (late, other) = (stocked.order(1), stocked.order(2));
    stocked.reserve(late, &[4, 4]).expect("there is enough");
    app.advance(past_expiry());
    assert_eq!(stocked.expire(late), 2);
    stocked.reserve(other, &[1, 2]).expect("there is enough");
    let refused = stocked.consume(late);
    assert!(
        matches!(refused, Err(StockRefused::OutOfStock { ref sku, requested: 4, available: 3,
            .. }) if sku.as_str() == "B")
    );
    assert_eq!(stocked.stock(), ["A|5|1", "B|5|2"]);
    assert_eq!(stocked.movements(), [""; 0]);
    stocked
        .run(move |work| inventory::release(work, other))
        .expect("the storage works");
    stocked.consume(late).expect("it is free again");
    assert_eq!(stocked.stock(), ["A|1|0", "B|1|0"]);
    assert_eq!(stocked.movements(), ["sale|-4|1", "sale|-4|1"]);
    assert_eq!(stocked.reservations()[..2], ["consumed|4", "consumed|4"]);
}

#[tokio::test]
async fn uses_reservation_when_paid_in_time_and_sweep_is_late() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 1)]).await;
    let order = stocked.order(1);
    stocked.reserve(order, &[1]).expect("there is one");
    app.advance(past_expiry());
    stocked.consume(order).expect("it is held still");
    assert_eq!(
        (stocked.stock(), stocked.expire(order)),
        (vec!["A|0|0".to_owned()], 0)
    );
}

#[tokio::test]
async fn expires_only_overdue_reservations_in_sweep() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 10)]).await;
    for number in 1..=3 {
        let order = stocked.order(number);
        stocked.reserve(order, &[2]).expect("there is enough");
        app.advance(past_expiry() / 2);
    }
    let swept = stocked
        .run(inventory::expire_reservations)
        .expect("the storage works");
    assert_eq!(swept, 2);
    assert_eq!(
        (stocked.stock(), stocked.reservations()[2].as_str()),
        (vec!["A|10|2".to_owned()], "held|2")
    );
}

/// A clock that was ahead is corrected: reservations from that time must not block the stock until
/// then.
#[tokio::test]
async fn expires_reservation_when_clock_ahead_is_corrected() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 10)]).await;
    stocked
        .reserve(stocked.order(1), &[2])
        .expect("there is enough");
    let sweep = || {
        stocked
            .run(inventory::expire_reservations)
            .expect("the storage works")
    };
    app.clock().set(app.now().plus_millis(-RESERVATION_TTL_MS));
    assert_eq!(sweep(), 0, "a little longer harms nobody");
    app.clock().set(app.now().plus_millis(-1));
    stocked
        .reserve(stocked.order(2), &[3])
        .expect("there is enough");
    assert_eq!(sweep(), 1);
    assert_eq!(
        (stocked.stock(), stocked.reservations()),
        (
            vec!["A|10|3".to_owned()],
            vec!["expired|2".to_owned(), "held|3".to_owned()]
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expires_reservations_without_job() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 10)]).await;
    stocked
        .reserve(stocked.order(1), &[2])
        .expect("there is enough");
    stocked.shop.raw("DELETE FROM job").expect("deleted");
    app.advance(past_expiry());
    let worker = Worker::start(app.app());
    let ended = async {
        while stocked.stock() != ["A|10|0"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .expect("the sweep comes");
    worker.stop(Duration::ZERO).await;
    assert_eq!(stocked.reservations(), ["expired|2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sells_last_unit_once() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 1)]).await;
    let db = stocked.shop.db();
    let answers: Vec<_> = (1..=20_u8)
        .map(|number| {
            let (order, wanted) = (stocked.order(number), stocked.wanted(&[1]));
            db.write(Origin::system(), move |work| {
                if number % 2 == 0 {
                    inventory::hand_over(work, order, Goods::OnShelf(&wanted), work.now())
                } else {
                    inventory::reserve(
                        work,
                        order,
                        &wanted,
                        work.now().plus_millis(RESERVATION_TTL_MS),
                    )
                }
            })
        })
        .collect();
    let mut won = 0;
    for answer in answers {
        match answer.await {
            Ok(()) => won += 1,
            Err(refused) => assert!(
                matches!(refused, StockRefused::OutOfStock { available: 0, .. }),
                "{refused}"
            ),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn checks_out_cart_once_and_rejects_empty_cart() {
    let app = TestApp::start();
    let stocked = Stocked::with(&app, &[("A", 1), ("B", 1)]).await;
    let rules = app.app().policy.storefront;
    let created = stocked
        .run(move |work| cart::create_cart(work, &rules, None, None))
        .expect("a cart");
    let load = || stocked.run(move |work| cart::load_for_checkout(work, created.id));
    assert!(matches!(load(), Err(CartRefused::Empty)));
    for (index, (product_id, _)) in stocked.products.iter().enumerate() {
        let quantity = tillbox::primitives::Quantity::new(index as i64 + 1).expect("in range");
        let item = cart::AddItem {
            product_id: *product_id,
            quantity,
        };
        stocked
            .run(move |work| cart::add_item(work, &rules, created.id, &item))
            .expect("it is sold");
    }
    let loaded = load().expect("it has lines");
    let quantities: Vec<i64> = loaded
        .items
        .iter()
        .map(|(_, quantity)| quantity.get())
        .collect();
    assert_eq!(
        (loaded.id, loaded.currency.code(), quantities),
        (created.id, "EUR", vec![1, 2])
    );
    stocked
        .run(move |work| cart::mark_converted(work, created.id))
        .expect("it is open");
    assert_eq!(load().expect_err("it is converted").code(), "cart_not_open");
    assert!(
        stocked
            .run(move |work| cart::mark_converted(work, created.id))
            .is_err()
    );
    let unknown = tillbox::primitives::id::CartId::from_bytes([9; 16]);
    let refused = stocked.run(move |work| cart::load_for_checkout(work, unknown));
    assert!(matches!(refused, Err(CartRefused::CartNotFound)));
}

/// A refusal after a write makes the whole batch run again: one sold-out product would slow every
/// request down.
#[tokio::test]
async fn writes_nothing_when_stock_is_insufficient() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (tea, mug) = (
        shop.stocked("TEA", 450, 1).await,
        shop.stocked("MUG", 900, 5).await,
    );
    let late = shop.place(&[(&mug, 1), (&tea, 1)], "cash").await;
    app.advance(past_expiry());
    app.work_off();
    shop.sell(&[(&tea, 1)]).await;
    let (before, replays) = (shop.census(), shop.db().stats().replays());
    let sale = json!({"lines": [{"product_id": mug, "quantity": 1}, {"product_id": tea,
        "quantity": 1}], "payments": [{"method": "cash", "amount_minor": 1_350}]});
    shop.sale("sale", sale).await.refused(409, "out_of_stock");
    shop.confirm("late", &late.payment)
        .await
        .refused(409, "out_of_stock");
    assert_eq!(shop.grown_since(&before), rows([]));
    let cart = shop.cart(&[(&mug, 1), (&tea, 1)]).await;
    shop.checkout("checkout", &cart, "cash")
        .await
        .refused(409, "out_of_stock");
    assert_eq!(
        shop.db().stats().replays(),
        replays,
        "nothing had to be undone"
    );
    assert_eq!(shop.stock(&mug).await, [5, 0, 5]);
}

#[tokio::test]
async fn follows_stock_tracking_at_time_of_consumption() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let (tea, mug) = (
        shop.product("TEA", 450).await,
        shop.stocked("MUG", 900, 2).await,
    );
    let count = |product: String, counted: bool| {
        let path = format!("/v1/catalog/products/{product}");
        shop.patch(&path)
            .json(json!({"track_stock": counted}))
            .send()
    };
    let first = shop.place(&[(&tea, 2)], "cash").await;
    let second = shop.place(&[(&mug, 2)], "cash").await;
    count(tea.clone(), true).await.expect(200);
    shop.confirm("short", &first.payment)
        .await
        .refused(409, "out_of_stock");
    let path = format!("/v1/inventory/stock/{tea}");
    shop.patch(&path)
        .json(json!({"on_hand": 5}))
        .send()
        .await
        .expect(200);
    shop.confirm("first", &first.payment).await.expect(200);
    assert_eq!(shop.stock(&tea).await, [3, 0, 3], "it is counted by now");

    app.advance(past_expiry());
    app.work_off();
    count(mug.clone(), false).await.expect(200);
    shop.patch(&format!("/v1/inventory/stock/{mug}"))
        .json(json!({"on_hand": 0}))
        .send()
        .await
        .expect(200);
    shop.confirm("second", &second.payment).await.expect(200);
    assert_eq!(
        shop.stock(&mug).await,
        [0, 0, 0],
        "nobody counts it any more"
    );
    shop.assert_integrity();
}
