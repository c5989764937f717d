//! The limits of callers without an API key: stored answers, carts, holds and unpaid orders.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tillbox::maintenance;
use tillbox::primitives::limits::KEYLESS_ANSWER_BYTES_MAX;
use tillbox::tenant::retention;
use tokio::task::JoinSet;

use crate::support::answer::pointers;
use crate::support::shop::Call;
use crate::support::{Answer, TestApp, TestShop, blocking};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A browser at an address.
struct Buyer<'a> {
    shop: &'a TestShop,
    address: &'a str,
}

impl<'a> Buyer<'a> {
    fn at(shop: &'a TestShop, address: &'a str) -> Self {
        Self { shop, address }
    }

    fn call(&self, path: &str, key: Option<&str>, body: Value) -> Call {
        let call = self
            .shop
            .app
            .call(Method::POST, path)
            .at_address(self.address)
            .header("x-tillbox-tenant", self.shop.slug.as_str())
            .json(body);
        match key {
            Some(key) => call.key(key),
            None => call,
        }
    }

    async fn post(&self, path: &str, key: Option<&str>, body: Value) -> Answer {
        self.call(path, key, body).send().await
    }

    async fn new_cart(&self) -> Answer {
        self.post("/v1/carts", None, json!({})).await
    }

    async fn cart_with(&self, product: &str, quantity: i64) -> String {
        let cart = self.new_cart().await.expect(201).string("/id");
        let item = json!({"product_id": product, "quantity": quantity});
        let path = format!("/v1/carts/{cart}/items");
        self.post(&path, None, item).await.expect(201);
        cart
    }

    fn checkout_call(&self, cart: &str) -> Call {
        let body = json!({"cart_id": cart, "email": "eve@example.org", "payment_method": "cash"});
        self.call("/v1/checkout", Some(cart), body)
    }

    async fn checkout(&self, cart: &str) -> Answer {
        self.checkout_call(cart).send().await
    }

    /// Sends the checkouts in parallel and counts the answers with status 201.
    async fn checkout_at_once(&self, carts: &[String]) -> usize {
        let calls: JoinSet<Answer> = carts
            .iter()
            .map(|cart| self.checkout_call(cart).send())
            .collect();
        let answers = calls.join_all().await;
        answers.iter().filter(|answer| answer.status == 201).count()
    }

    async fn order(&self, product: &str, quantity: i64) -> Answer {
        let cart = self.cart_with(product, quantity).await;
        self.checkout(&cart).await
    }
}

/// Does the work of the sweep for an open tenant.
fn sweep(shop: &TestShop) {
    let app = shop.app.app();
    let cut_offs = maintenance::retention::cut_offs(&app.config.retention, app.ports.clock.now());
    shop.write(move |work| retention::delete_keyless(work, &cut_offs))
        .expect("deleted");
}

#[tokio::test]
async fn gives_each_client_its_own_cart_for_same_key() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let cart = async |address: &'static str| {
        let buyer = Buyer::at(&shop, address);
        let made = buyer.post("/v1/carts", Some("cart-1"), json!({})).await;
        made.expect(201).string("/id")
    };
    let (first, second) = (cart("203.0.113.1").await, cart("203.0.113.2").await);
    assert_ne!(first, second);
    assert_eq!(cart("203.0.113.1").await, first);
}

#[tokio::test]
async fn replays_present_cart_for_keyless_caller_and_first_answer_for_keyed() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let buyer = Buyer::at(&shop, "203.0.113.1");
    let made = buyer
        .post("/v1/carts", Some("k"), json!({}))
        .await
        .expect(201);
    let cart = made.string("/id");
    let items = format!("/v1/carts/{cart}/items");
    let item = json!({"product_id": tea, "quantity": 2});
    let filled = buyer
        .post(&items, Some("i"), item.clone())
        .await
        .expect(201);
    assert_eq!(
        shop.rows("SELECT status, length(cart_id), body IS NULL FROM keyless_answer"),
        ["201|16|1", "201|16|1"]
    );
    assert_eq!(shop.count("SELECT count(*) FROM idempotency_key"), 0);
    let again = buyer
        .post("/v1/carts", Some("k"), json!({}))
        .await
        .expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json(), filled.json(), "the current cart");
    let again = buyer
        .post(&items, Some("i"), item.clone())
        .await
        .expect(201);
    assert_eq!(again.json()["items"][0]["quantity"], 2, "added once");
    let other = json!({"product_id": tea, "quantity": 3});
    buyer
        .post(&items, Some("i"), other)
        .await
        .refused(422, "idempotency_key_reused");
    shop.raw("DELETE FROM cart_item; DELETE FROM cart;")
        .expect("deleted");
    buyer
        .post(&items, Some("i"), item)
        .await
        .refused(404, "cart_not_found");

    let keyed = |key: &'static str| shop.post("/v1/carts").key(key).json(json!({})).send();
    let first = keyed("k").await.expect(201);
    let path = format!("/v1/carts/{}/items", first.string("/id"));
    shop.post(&path)
        .json(json!({"product_id": tea, "quantity": 1}))
        .send()
        .await
        .expect(201);
    assert_eq!(keyed("k").await.expect(201).body, first.body);
    assert_eq!(
        shop.count("SELECT count(*) FROM idempotency_key WHERE length(key_hash) = 32"),
        1,
        "stored as a hash"
    );
    let long = "k".repeat(10_000);
    buyer
        .post("/v1/carts", Some(&long), json!({}))
        .await
        .refused(400, "idempotency_key_invalid");
}

#[tokio::test]
async fn forgets_keyless_keys_after_an_hour_and_keyed_ones_after_a_day() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let running = app.app();
    blocking(|| running.stores.clock_watch.observe()).expect("the clock is looked at");
    let tea = shop.stocked("TEA", 450, 100).await;
    let buyer = Buyer::at(&shop, "203.0.113.1");
    let cart = buyer.cart_with(&tea, 1).await;
    let placed = buyer.checkout(&cart).await.expect(201);
    let keyed = || shop.post("/v1/carts").key("k").json(json!({})).send();
    keyed().await.expect(201);
    app.advance(HOUR - Duration::from_millis(1));
    let again = buyer.checkout(&cart).await.expect(201);
    assert_eq!(again.body, placed.body, "byte for byte");
    app.advance(Duration::from_millis(1));
    buyer.checkout(&cart).await.refused(409, "cart_not_open");
    assert_eq!(
        keyed().await.expect(201).header("idempotent-replayed"),
        Some("true")
    );
    sweep(&shop);
    assert_eq!(
        shop.rows("SELECT answers, answer_bytes FROM keyless_usage"),
        ["0|0"]
    );
}

#[tokio::test]
async fn evicts_oldest_cart_answers_beyond_cap_and_no_checkout() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 100).await;
    let buyer = Buyer::at(&shop, "203.0.113.1");
    let cart = buyer.cart_with(&tea, 1).await;
    let placed = buyer.checkout(&cart).await.expect(201);
    buyer
        .post("/v1/carts", Some("old"), json!({}))
        .await
        .expect(201);
    let rows = KEYLESS_ANSWER_BYTES_MAX / 200;
    shop.raw(&format!(
        "INSERT INTO keyless_answer (key_hash, request_hash, status, cart_id, created_at)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         SELECT randomblob(32), randomblob(32), 201, randomblob(16), {} FROM n",
        app.now().as_millis()
    ))
    .expect("rows");
    for number in 0..16 {
        let key = format!("k-{number}");
        let made = buyer.post("/v1/carts", Some(&key), json!({})).await;
        made.expect(201);
    }
    let bytes = shop.count("SELECT answer_bytes FROM keyless_usage");
    assert!(bytes <= KEYLESS_ANSWER_BYTES_MAX, "{bytes}");
    let counted = shop.count("SELECT sum(200 + coalesce(length(body), 0)) FROM keyless_answer");
    assert_eq!(bytes, counted, "the total matches the stored answers");
    let again = buyer.checkout(&cart).await.expect(201);
    assert_eq!(again.body, placed.body);
    let old = buyer
        .post("/v1/carts", Some("old"), json!({}))
        .await
        .expect(201);
    assert_eq!(
        old.header("idempotent-replayed"),
        None,
        "the oldest went first"
    );
    let young = buyer
        .post("/v1/carts", Some("k-15"), json!({}))
        .await
        .expect(201);
    assert_eq!(young.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn lets_larger_cart_shrink_and_order_but_not_grow() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let mut products = Vec::new();
    for index in 0..4 {
        products.push(shop.product(&format!("P-{index}"), 100).await);
    }
    let items: Vec<(&str, i64)> = products.iter().map(|id| (id.as_str(), 1)).collect();
    let cart = shop.cart(&items).await;
    app.restart_with(|config| config.storefront.cart_items_max = 2);
    let path = format!("/v1/carts/{cart}/items");
    let add = |product: &str| {
        let body = json!({"product_id": product, "quantity": 1});
        shop.post(&path).json(body).send()
    };
    let other = shop.product("OTHER", 100).await;
    add(&other).await.refused(409, "cart_full");
    add(&products[0]).await.refused(409, "cart_full");
    let shown = shop
        .get(&format!("/v1/carts/{cart}"))
        .send()
        .await
        .expect(200);
    for index in 0..2 {
        let item = shown.string(&format!("/items/{index}/id"));
        shop.delete(&format!("{path}/{item}"))
            .send()
            .await
            .expect(200);
    }
    add(&products[3]).await.expect(201);
    add(&other).await.refused(409, "cart_full");
    let large = shop.cart(&items[..2]).await;
    app.restart_with(|config| config.storefront.cart_items_max = 1);
    shop.checkout("k", &large, "cash").await.expect(201);
}

#[tokio::test]
async fn refuses_carts_beyond_bound_of_address_until_one_is_ordered() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let buyer = Buyer::at(&shop, "2001:db8:1:2::1");
    let cart = buyer.cart_with(&tea, 1).await;
    for _ in 1..50 {
        buyer.new_cart().await.expect(201);
    }
    // A /64 network is one client.
    let neighbour = Buyer::at(&shop, "2001:db8:1:2:ffff::9");
    let refused = neighbour.new_cart().await;
    assert_eq!(
        refused.refused(409, "carts_per_address_limit")["limit"],
        "50"
    );
    Buyer::at(&shop, "2001:db8:1:3::1")
        .new_cart()
        .await
        .expect(201);
    shop.post("/v1/carts")
        .json(json!({}))
        .send()
        .await
        .expect(201);
    assert_eq!(shop.count("SELECT carts FROM keyless_usage"), 51);
    buyer.checkout(&cart).await.expect(201);
    assert_eq!(
        shop.rows("SELECT client_hash IS NULL FROM cart WHERE status = 'converted'"),
        ["1"]
    );
    buyer.new_cart().await.expect(201);
    buyer
        .new_cart()
        .await
        .refused(409, "carts_per_address_limit");
    // An abandoned cart still exists.
    let path = format!("/v1/carts/{}/abandon", shop.cart(&[]).await);
    shop.post(&path).json(json!({})).send().await.expect(200);
    assert_eq!(
        shop.count("SELECT carts FROM keyless_usage"),
        shop.count("SELECT count(*) FROM cart WHERE client_hash IS NOT NULL")
    );
}

#[tokio::test]
async fn makes_room_with_idle_carts_when_shop_is_full_of_carts() {
    let app = TestApp::start();
    app.restart_with(|config| config.storefront.carts_max = 3);
    let shop = app.tenant("corner");
    let addresses = ["203.0.113.1", "203.0.113.2", "203.0.113.3"];
    let mut carts = Vec::new();
    for address in addresses {
        let made = Buyer::at(&shop, address).new_cart().await.expect(201);
        carts.push(made.string("/id"));
        app.advance(Duration::from_secs(1));
    }
    let late = Buyer::at(&shop, "203.0.113.4");
    late.new_cart().await.refused(409, "carts_limit");
    shop.post("/v1/carts")
        .json(json!({}))
        .send()
        .await
        .expect(201);
    app.advance(HOUR);
    late.new_cart().await.expect(201);
    assert_eq!(shop.count("SELECT carts FROM keyless_usage"), 2);
    let gone = shop.get(&format!("/v1/carts/{}", carts[0])).send().await;
    gone.refused(404, "cart_not_found");
    let kept = shop.get(&format!("/v1/carts/{}", carts[2])).send().await;
    kept.expect(200);
}

#[tokio::test]
async fn deletes_anonymous_carts_after_their_days_and_keyed_ones_after_ninety() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let buyer = Buyer::at(&shop, "203.0.113.1");
    buyer.new_cart().await.expect(201);
    buyer.cart_with(&tea, 1).await;
    shop.cart(&[]).await;
    let carts = || {
        sweep(&shop);
        let anonymous = shop.count("SELECT count(*) FROM cart WHERE client_hash IS NOT NULL");
        (anonymous, shop.count("SELECT count(*) FROM cart"))
    };
    app.advance(DAY);
    assert_eq!(carts(), (2, 3), "not a moment before");
    app.advance(Duration::from_millis(1));
    assert_eq!(carts(), (1, 2), "the empty one");
    app.advance(6 * DAY);
    assert_eq!(carts(), (0, 1), "the other one");
    assert_eq!(shop.count("SELECT carts FROM keyless_usage"), 0);
    assert_eq!(shop.count("SELECT count(*) FROM cart_item"), 0);
    // The nightly run deletes carts that were created with a key.
    let prune = |days: u32| {
        app.advance(days * DAY);
        let running = app.app();
        let cut_offs =
            maintenance::retention::cut_offs(&running.config.retention, running.ports.clock.now());
        let db = shop.db();
        let tables = &[retention::Table::Cart];
        let origin = tillbox::primitives::Origin::system();
        blocking(|| {
            tillbox::platform::retention::prune(&db, &origin, tables, &cut_offs, None, || true)
        })
        .expect("pruned");
        shop.count("SELECT count(*) FROM cart")
    };
    assert_eq!(prune(82), 1, "89 days and a moment");
    assert_eq!(prune(1), 0, "90 days and a moment");
}

#[tokio::test]
async fn counts_whole_units_of_weighed_products_in_holds() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let fields = json!({"track_stock": true, "unit": "KGM", "quantity_scale": 3});
    let flour = shop.product_with("FLOUR", 450, fields).await;
    let path = format!("/v1/inventory/stock/{flour}");
    let count = shop.patch(&path).json(json!({"on_hand": 60_000}));
    count.send().await.expect(200);
    let buyer = Buyer::at(&shop, "203.0.113.1");
    buyer.order(&flour, 19_500).await.expect(201);
    let refused = buyer.order(&flour, 501).await;
    let refused = refused.refused(409, "hold_limit_exceeded");
    assert_eq!(
        [&refused["requested"], &refused["held"], &refused["allowed"]],
        [&json!(501), &json!(19_500), &json!(20_000)]
    );
    let detail = refused["detail"].as_str().expect("a text");
    assert!(detail.contains("20.000 kg"), "{detail}");
    buyer.order(&flour, 500).await.expect(201);
}

#[tokio::test]
async fn refuses_holds_beyond_pieces_and_share_of_one_address() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let few = shop.stocked("FEW", 450, 40).await;
    let many = shop.stocked("MANY", 450, 1_000).await;
    let buyer = Buyer::at(&shop, "203.0.113.1");
    let refused = buyer
        .order(&many, 999)
        .await
        .refused(409, "hold_limit_exceeded");
    assert_eq!(
        [&refused["requested"], &refused["held"], &refused["allowed"]],
        [&json!(999), &json!(0), &json!(250)]
    );
    assert_eq!(refused["sku"], "MANY");
    buyer
        .order(&few, 21)
        .await
        .refused(409, "hold_limit_exceeded");
    buyer.order(&few, 15).await.expect(201);
    let refused = buyer
        .order(&few, 6)
        .await
        .refused(409, "hold_limit_exceeded");
    assert_eq!(
        [&refused["held"], &refused["allowed"]],
        [&json!(15), &json!(20)]
    );
    buyer.order(&few, 5).await.expect(201);
    buyer.order(&many, 250).await.expect(201);
    assert_eq!(shop.stock(&few).await, [40, 20, 20]);
    // More than the stock is insufficient stock, whatever may be held.
    Buyer::at(&shop, "203.0.113.2")
        .order(&few, 21)
        .await
        .refused(409, "out_of_stock");
    Buyer::at(&shop, "203.0.113.2")
        .order(&few, 20)
        .await
        .expect(201);
    shop.place(&[(&many, 700)], "cash").await;
    shop.assert_integrity();
}

#[tokio::test]
async fn holds_share_again_only_after_its_hold_expired_and_five_times_a_day() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 1_000).await;
    let buyer = Buyer::at(&shop, "203.0.113.1");
    for _ in 0..5 {
        buyer.order(&tea, 250).await.expect(201);
        let refused = buyer.order(&tea, 1).await;
        assert_eq!(refused.status, 409);
        app.advance(Duration::from_secs(15 * 60));
        app.work_off();
    }
    let refused = buyer
        .order(&tea, 1)
        .await
        .refused(409, "unpaid_orders_limit");
    assert_eq!(refused["limit"], 5);
    assert_eq!(shop.stock(&tea).await, [1_000, 0, 1_000]);
    app.advance(DAY - 5 * Duration::from_secs(15 * 60));
    buyer.order(&tea, 1).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_bounds_under_fifty_parallel_checkouts_of_one_address() {
    let app = TestApp::start();
    app.restart_with(|config| config.storefront.unpaid_orders_per_address = 1_000);
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 1_000).await;
    let mug = shop.stocked("MUG", 450, 1_000).await;
    let buyer = Buyer::at(&shop, "203.0.113.1");
    let mut carts = Vec::new();
    for _ in 0..50 {
        carts.push(buyer.cart_with(&tea, 7).await);
    }
    assert_eq!(buyer.checkout_at_once(&carts).await, 35, "250 / 7");
    assert_eq!(shop.stock(&tea).await, [1_000, 245, 755]);
    app.restart_with(|config| config.storefront.unpaid_orders_per_address = 5);
    let buyer = Buyer::at(&shop, "203.0.113.2");
    let mut carts = Vec::new();
    for _ in 0..50 {
        carts.push(buyer.cart_with(&mug, 1).await);
    }
    assert_eq!(buyer.checkout_at_once(&carts).await, 5);
    shop.assert_integrity();
}

async fn cancel_unpaid(shop: &TestShop, body: Value) -> Answer {
    shop.post("/v1/orders/cancel-unpaid")
        .json(body)
        .send()
        .await
}

#[tokio::test]
async fn cancels_unpaid_orders_of_one_address_or_all_in_one_call() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 1_000).await;
    let kept = shop.place(&[(&tea, 1)], "cash").await;
    let (first, second) = (
        Buyer::at(&shop, "2001:db8:1:2::1"),
        Buyer::at(&shop, "203.0.113.2"),
    );
    let mut orders = Vec::new();
    for _ in 0..3 {
        let placed = first.order(&tea, 10).await.expect(201);
        orders.push(placed.string("/order/id"));
        app.advance(Duration::from_secs(1));
    }
    let paid = second.order(&tea, 10).await.expect(201);
    shop.confirm("c", &paid.string("/payment/id"))
        .await
        .expect(200);
    let by_order = second.order(&tea, 10).await.expect(201).string("/order/id");
    let open = second.order(&tea, 10).await.expect(201).string("/order/id");

    let done = cancel_unpaid(&shop, json!({"client_address": "2001:db8:1:2::77"})).await;
    assert_eq!(
        done.expect(200).json(),
        json!({"cancelled": 3, "order_ids": orders, "has_more": false})
    );
    assert_eq!(shop.stock(&tea).await, [990, 21, 969]);
    let none = cancel_unpaid(&shop, json!({"order_id": kept.order})).await;
    none.refused(409, "order_without_client");
    let none = cancel_unpaid(&shop, json!({"order_id": paid.string("/order/id")})).await;
    none.refused(409, "order_without_client");
    let done = cancel_unpaid(&shop, json!({"order_id": open}))
        .await
        .expect(200);
    assert_eq!(done.json()["order_ids"], json!([by_order, open]));
    first.order(&tea, 1).await.expect(201);
    second.order(&tea, 1).await.expect(201);
    let done = cancel_unpaid(&shop, json!({"all": true})).await.expect(200);
    assert_eq!(done.json()["cancelled"], 2);
    app.work_off();
    assert_eq!(
        shop.count("SELECT count(*) FROM audit_log WHERE action = 'order.cancelled'"),
        7,
        "one entry for each order"
    );
    assert_eq!(
        shop.rows("SELECT status FROM sales_order WHERE client_hash IS NOT NULL"),
        Vec::<String>::new(),
        "the client is deleted when the wait for a payment ends"
    );
    let still = shop.get(&format!("/v1/orders/{}", kept.order)).send().await;
    assert_eq!(still.expect(200).string("/status"), "pending");
    shop.assert_integrity();
}

#[tokio::test]
async fn rejects_cancel_unpaid_without_exactly_one_choice() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for (body, pointer) in [
        (json!({}), ""),
        (json!({"all": false}), ""),
        (json!({"all": true, "client_address": "203.0.113.1"}), ""),
        (json!({"client_address": "next door"}), "/client_address"),
        (json!({"order_id": "1"}), "/order_id"),
    ] {
        let refused = cancel_unpaid(&shop, body)
            .await
            .refused(422, "validation_failed");
        assert_eq!(pointers(&refused), [pointer]);
    }
    let unknown = json!({"order_id": "01890000-0000-7000-8000-000000000001"});
    cancel_unpaid(&shop, unknown)
        .await
        .refused(404, "order_not_found");
    let anonymous = Buyer::at(&shop, "203.0.113.1");
    let refused = anonymous
        .post("/v1/orders/cancel-unpaid", None, json!({"all": true}))
        .await;
    refused.refused(401, "unauthenticated");
}

#[tokio::test]
async fn deletes_answers_of_carts_and_keeps_those_of_checkouts() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 100).await;
    let buyer = Buyer::at(&shop, "203.0.113.1");
    let cart = buyer.cart_with(&tea, 1).await;
    let placed = buyer.checkout(&cart).await.expect(201);
    let made = buyer.post("/v1/carts", Some("c"), json!({}));
    made.await.expect(201);
    let deleted = shop
        .write(|work| tillbox::platform::idempotency::delete_keyless(work, 100))
        .expect("deleted");
    assert_eq!(deleted, 1, "only a cart has a key of its own here");
    assert_eq!(buyer.checkout(&cart).await.expect(201).body, placed.body);
    shop.assert_integrity();
}
