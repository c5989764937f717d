//! Concurrent checkouts, confirmations, repeated confirmations, repeated keys, and races for the
//! last unit.

use serde_json::{Value, json};
use tillbox::primitives::{Entropy as _, SeededEntropy};
use tokio::task::JoinSet;

use crate::support::sale::Placed;
use crate::support::{Answer, TestApp, TestShop, logs};

/// Concurrent buyers.
const BUYERS: usize = 48;
/// Units of the product that every buyer wants.
const LAST_UNITS: i64 = 7;

/// Runs all tasks concurrently, and returns their answers in the order of `tasks`.
async fn all<T: Send + 'static>(tasks: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let mut set = JoinSet::new();
    for (place, task) in tasks.into_iter().enumerate() {
        set.spawn(async move { (place, task.await) });
    }
    let mut answers = set.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn placed(answer: &Answer) -> Placed {
    Placed {
        order: answer.string("/order/id"),
        payment: answer.string("/payment/id"),
    }
}

/// Each buyer checks out twice under one key: both get the same answer, and one order exists.
async fn check_out_in_pairs(shop: &TestShop, product: &str) -> Vec<Placed> {
    let mut carts = Vec::new();
    for _ in 0..BUYERS {
        carts.push(shop.cart(&[(product, 1)]).await);
    }
    let twins = carts.iter().flat_map(|cart| [cart.clone(), cart.clone()]);
    let tasks = twins.map(|cart| {
        let shop = shop.clone();
        async move {
            shop.checkout(&format!("checkout {cart}"), &cart, "cash")
                .await
        }
    });
    let answers = all(tasks.collect()).await;
    let mut orders = Vec::new();
    for pair in answers.chunks(2) {
        assert_eq!(
            pair[0].clone().expect(201).body,
            pair[1].clone().expect(201).body,
            "both requests get one answer"
        );
        let replayed = pair
            .iter()
            .filter(|answer| answer.header("idempotent-replayed").is_some())
            .count();
        assert_eq!(replayed, 1, "one request was carried out");
        orders.push(placed(&pair[0]));
    }
    orders
}

/// Confirms each payment four times in a shuffled order: twice under one key, twice under other
/// keys.
async fn confirm_over_and_over(shop: &TestShop, orders: &[Placed], seed: u64) {
    let entropy = SeededEntropy::new(seed);
    let mut calls: Vec<(String, String)> = Vec::new();
    for order in orders {
        for key in ["twin", "twin", "double", "path"] {
            calls.push((format!("{key} {}", order.payment), order.payment.clone()));
        }
    }
    for place in (1..calls.len()).rev() {
        let other = entropy.below(place as u64 + 1) as usize;
        calls.swap(place, other);
    }
    let tasks = calls.iter().cloned().map(|(key, payment)| {
        let shop = shop.clone();
        async move {
            if key.starts_with("path") {
                let path = format!("/v1/payments/{payment}/confirm");
                shop.post(&path).key(&key).json(json!({})).send().await
            } else {
                shop.confirm(&key, &payment).await
            }
        }
    });
    let answers = all(tasks.collect()).await;
    for order in orders {
        let of_order: Vec<&Answer> = calls
            .iter()
            .zip(&answers)
            .filter(|((_, payment), _)| *payment == order.payment)
            .map(|(_, answer)| answer)
            .collect();
        let (done, refused): (Vec<&Answer>, Vec<&Answer>) = of_order
            .into_iter()
            .partition(|answer| answer.status == 200);
        assert!(
            matches!(done.len(), 1 | 2),
            "one was carried out, and its repetition at most got its answer"
        );
        assert!(done.iter().all(|answer| answer.body == done[0].body));
        assert_eq!(
            done.iter()
                .filter(|answer| answer.header("idempotent-replayed").is_none())
                .count(),
            1
        );
        for answer in refused {
            answer.clone().refused(409, "payment_already_processed");
        }
    }
}

/// All buyers want one of the last units, half by a sale and half by a checkout.
async fn race_for_the_last(shop: &TestShop, product: &str) {
    let mut tasks = Vec::new();
    for number in 0..BUYERS {
        let cart = shop.cart(&[(product, 1)]).await;
        let (shop, product) = (shop.clone(), product.to_owned());
        tasks.push(async move {
            if number % 2 == 0 {
                return shop
                    .checkout(&format!("race {number}"), &cart, "cash")
                    .await;
            }
            let body: Value = json!({"lines": [{"product_id": product, "quantity": 1}],
                    "payments": [{"method": "cash", "amount_minor": 100}]});
            shop.sale(&format!("race {number}"), body).await
        });
    }
    let answers = all(tasks).await;
    let (won, lost): (Vec<Answer>, Vec<Answer>) =
        answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(won.len() as i64, LAST_UNITS);
    for answer in lost {
        let refused = answer.refused(409, "out_of_stock");
        assert_eq!(
            refused["available"], 0,
            "no buyer is refused while one is left"
        );
    }
    let [on_hand, reserved, available] = shop.stock(product).await;
    assert_eq!((available, on_hand), (0, reserved), "the rest is reserved");
    let sold = shop.count("SELECT count(*) FROM sales_order WHERE channel = 'sale'");
    assert_eq!(sold + reserved, LAST_UNITS);
}

/// A till sends its offline sales from two threads under different keys: the sale's id makes it one
/// sale.
async fn send_twice(shop: &TestShop, product: &str) {
    let sale = move |number: usize, product: &str| {
        let id = |kind: usize| format!("018a0000-0000-7000-800{kind}-{number:012}");
        json!({"id": id(1), "lines": [{"id": id(2), "product_id": product, "quantity": 1}],
               "payments": [{"id": id(3), "method": "cash", "amount_minor": 450}]})
    };
    let calls = (0..BUYERS).flat_map(|number| [(number, "a"), (number, "b")]);
    let tasks = calls.map(|(number, thread)| {
        let (shop, body) = (shop.clone(), sale(number, product));
        async move { shop.sale(&format!("till {thread} {number}"), body).await }
    });
    let answers = all(tasks.collect()).await;
    for pair in answers.chunks(2) {
        assert_eq!(
            pair[0].clone().expect(201).body,
            pair[1].clone().expect(201).body
        );
    }
}

fn assert_gapless(shop: &TestShop, sql: &str) {
    let numbers: Vec<i64> = shop
        .rows(sql)
        .iter()
        .map(|number| number.parse().expect("a number"))
        .collect();
    assert_eq!(
        numbers,
        (1..=numbers.len() as i64).collect::<Vec<_>>(),
        "{sql}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sells_exactly_once_under_concurrent_checkouts() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let seed = app.app().ports.entropy.below(u64::MAX);
    println!("the calls are shuffled by {seed}");
    let (tea, rare) = (
        shop.stocked("TEA", 450, 10_000).await,
        shop.stocked("RARE", 100, LAST_UNITS).await,
    );
    let orders = check_out_in_pairs(&shop, &tea).await;
    confirm_over_and_over(&shop, &orders, seed).await;
    race_for_the_last(&shop, &rare).await;
    send_twice(&shop, &tea).await;

    let left = 10_000 - 2 * BUYERS as i64;
    assert_eq!(shop.stock(&tea).await, [left, 0, left]);
    let paid = shop.count("SELECT count(*) FROM sales_order WHERE status = 'paid'");
    for table in [
        "invoice",
        "financial_order",
        "financial_transaction",
        "ledger_entry",
    ] {
        assert_eq!(
            shop.count(&format!("SELECT count(*) FROM {table}")),
            paid,
            "{table}"
        );
    }
    assert_eq!(
        shop.count("SELECT count(DISTINCT order_id) FROM invoice"),
        paid,
        "one invoice for each"
    );
    assert_gapless(
        &shop,
        "SELECT series_number FROM invoice ORDER BY series_number",
    );
    assert_gapless(
        &shop,
        "SELECT CAST(substr(number, 5) AS INTEGER) FROM sales_order ORDER BY number",
    );
    let lines = logs().of_tenant(&shop.id.to_string());
    assert!(
        !lines.contain("\"level\":\"ERROR\""),
        "{:#?}",
        lines.lines()
    );
    assert_eq!(lines.saying("payment succeeded").lines().len() as i64, paid);
    app.work_off();
    shop.assert_integrity();
}

/// An order is cancelled while it is paid: one of the two requests is too late and is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn either_pays_or_cancels_order_when_both_are_requested() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10_000).await;
    let mut tasks = Vec::new();
    for number in 0..BUYERS {
        let order = shop.place(&[(&tea, 1)], "cash").await;
        for is_paid in [number % 2 == 0, number % 2 != 0] {
            let (shop, order) = (shop.clone(), order.clone());
            tasks.push(async move {
                if is_paid {
                    (
                        true,
                        shop.confirm(&format!("confirm {}", order.payment), &order.payment)
                            .await,
                    )
                } else {
                    (false, shop.move_order(&order.order, "cancel").await)
                }
            });
        }
    }
    let mut paid = 0;
    for pair in all(tasks).await.chunks(2) {
        let (won, lost): (Vec<_>, Vec<_>) =
            pair.iter().partition(|(_, answer)| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 1));
        let (is_paid, answer) = lost[0].clone();
        let code = answer.refused(
            409,
            if is_paid {
                "payment_over"
            } else {
                "illegal_transition"
            },
        );
        assert!(code["detail"].is_string());
        paid += i64::from(won[0].0);
    }
    for table in [
        "invoice",
        "financial_order",
        "ledger_entry",
        "inventory_movement WHERE kind = 'sale'",
    ] {
        assert_eq!(
            shop.count(&format!("SELECT count(*) FROM {table}")),
            paid,
            "{table}"
        );
    }
    assert_eq!(shop.stock(&tea).await, [10_000 - paid, 0, 10_000 - paid]);
    app.work_off();
    shop.assert_integrity();
}
