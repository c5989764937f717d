//! The workload of the shops while the disk is recorded: sales, carts, checkouts, confirmations,
//! cancellations, stock, jobs, and shops that are created and removed.

use std::sync::{Mutex, PoisonError};

use http::Method;
use serde_json::{Value, json};
use tillbox::platform::retention;
use tillbox::primitives::Origin;
use tillbox::tenant::retention::{CutOffs, Table};
use tillbox::worker;

use crate::instance::{Call, Instance, Reply, Transport};
use crate::{disk, oracle};

/// Attempts before a till gives up.
const TRIES: usize = 8;

/// A call and its answer.
#[derive(Clone, Debug)]
pub struct Sent {
    pub call: Call,
    /// Position of the disk history when the call was sent.
    pub at: usize,
    /// Position when it was answered, and the answer.
    pub answered: Option<(usize, Reply)>,
    /// Position from which another call may have undone it.
    pub until: Option<usize>,
}

impl Sent {
    /// Returns the answer if it was given by position `at`.
    pub fn answer_by(&self, at: usize) -> Option<&Reply> {
        self.answered
            .as_ref()
            .filter(|(when, _)| *when <= at)
            .map(|(_, reply)| reply)
    }
}

/// All calls of a run, in the order of sending.
#[derive(Default)]
pub struct CallLog(Mutex<Vec<Sent>>);

impl CallLog {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the last answer, if there is one.
    pub fn last_answer(&self) -> Option<Reply> {
        let lines = self.lines();
        lines
            .last()?
            .answered
            .as_ref()
            .map(|(_, reply)| reply.clone())
    }

    pub fn into_sent(self) -> Vec<Sent> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a call, and repeats it after 5xx answers, as a till does.
    async fn call(&self, instance: &impl Transport, call: Call) -> Reply {
        let index = {
            let mut lines = self.lines();
            lines.push(Sent {
                call: call.clone(),
                at: disk::position(),
                answered: None,
                until: None,
            });
            lines.len() - 1
        };
        let mut reply = instance.send(&call).await;
        for _ in 1..TRIES {
            if reply.status < 500 || call.idempotency_key.is_none() {
                break;
            }
            reply = instance.send(&call).await;
        }
        self.lines()[index].answered = Some((disk::position(), reply.clone()));
        reply
    }
}

/// Drops 5xx answers: after a fault the outcome of a call is unknown.
pub fn settled(sent: Vec<Sent>) -> Vec<Sent> {
    let settle = |mut line: Sent| {
        line.answered = line.answered.filter(|(_, reply)| reply.status < 500);
        line
    };
    sent.into_iter().map(settle).collect()
}

/// A till of one shop, with the shop's API key.
pub struct Till<'a, P = Instance> {
    instance: &'a P,
    call_log: &'a CallLog,
    secret: String,
    name: String,
}

impl<'a, P: Transport> Till<'a, P> {
    /// Creates a shop.
    pub async fn open(instance: &'a P, call_log: &'a CallLog, slug: &str) -> Self {
        let made = call_log
            .call(
                instance,
                landlord(
                    Method::POST,
                    "/v1/landlord/tenants",
                    json!({"slug": slug, "name": slug, "no_tax": true}),
                ),
            )
            .await;
        Self::of(instance, call_log, slug, &made.text("/api_key"))
    }

    /// Creates a till of an existing shop. Its name separates its idempotency keys from those of
    /// other tills.
    pub fn of(instance: &'a P, call_log: &'a CallLog, name: &str, secret: &str) -> Self {
        Self {
            instance,
            call_log,
            secret: secret.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Sends a request. Returns the answer only if it succeeded: dependent requests are skipped
    /// otherwise.
    async fn post(&self, path: &str, key: &str, body: Value) -> Option<Reply> {
        let call = Call {
            method: Method::POST,
            path: path.to_owned(),
            secret: Some(self.secret.clone()),
            idempotency_key: Some(format!("{} {key}", self.name)),
            body,
        };
        let reply = self.call_log.call(self.instance, call).await;
        (200..300).contains(&reply.status).then_some(reply)
    }

    /// Creates a product with stock. Returns its id, or an empty text when it could not be created.
    pub async fn create_product(&self) -> String {
        let body = json!({"sku": "TEA", "name": "Tea", "price_minor": 450, "track_stock": true});
        let made = self.post("/v1/catalog/products", "product", body).await;
        let product = made.map_or_else(String::new, |made| made.text("/id"));
        if !product.is_empty() {
            let delivery =
                json!({"product_id": product, "quantity_delta": 1_000_000, "reason": "delivery"});
            self.post("/v1/inventory/adjustments", "delivery", delivery)
                .await;
        }
        product
    }

    /// Sells one piece by one attempt, whatever the answer is.
    pub async fn sell_once(&self, product: &str, number: usize) -> Reply {
        let call = Call {
            method: Method::POST,
            path: "/v1/sales".to_owned(),
            secret: Some(self.secret.clone()),
            idempotency_key: Some(format!("{} once {number}", self.name)),
            body: json!({"lines": [{"product_id": product, "quantity": 1}],
                "payments": [{"method": "cash", "amount_minor": 450}]}),
        };
        self.instance.send(&call).await
    }

    /// Serves one customer: a sale at the till, and a cart that is checked out and paid, cancelled,
    /// or left.
    pub async fn serve_customer(&self, product: &str, number: usize) {
        self.sell(product, number).await;
        // A refusal ends the visit.
        let _done = self.check_out(product, number).await;
    }

    /// Sells at the till.
    pub async fn sell(&self, product: &str, number: usize) -> Option<Reply> {
        let lines = json!([{"product_id": product, "quantity": 1 + number % 3}]);
        let amount = 450 * (1 + number % 3);
        let sale = json!({"lines": lines, "payments": [{"method": "cash", "amount_minor": amount}],
            "email": "ada@example.org"});
        self.post("/v1/sales", &format!("sale {number}"), sale)
            .await
    }

    async fn check_out(&self, product: &str, number: usize) -> Option<()> {
        let key = |what: &str| format!("{what} {number}");
        let cart = self
            .post("/v1/carts", &key("cart"), json!({}))
            .await?
            .text("/id");
        let item = json!({"product_id": product, "quantity": 1});
        self.post(&format!("/v1/carts/{cart}/items"), &key("item"), item)
            .await?;
        let checkout =
            json!({"cart_id": cart, "payment_method": "cash", "email": "bob@example.org"});
        let placed = self
            .post("/v1/checkout", &key("checkout"), checkout)
            .await?;
        let (order, payment) = (placed.text("/order/id"), placed.text("/payment/id"));
        match number % 4 {
            0 => drop(
                self.post(
                    &format!("/v1/orders/{order}/cancel"),
                    &key("cancel"),
                    Value::Null,
                )
                .await,
            ),
            1 => {}
            _ => drop(
                self.post(
                    "/v1/checkout/confirm-payment",
                    &key("confirm"),
                    json!({"payment_id": payment}),
                )
                .await,
            ),
        }
        Some(())
    }
}

fn landlord(method: Method, path: &str, body: Value) -> Call {
    Call {
        method,
        path: path.to_owned(),
        secret: None,
        idempotency_key: None,
        body,
    }
}

/// Creates a shop and removes it again. No other till uses the call log meanwhile.
pub async fn create_and_remove<P: Transport>(instance: &P, call_log: &CallLog) {
    let made = call_log.lines().len();
    let till = Till::open(instance, call_log, "temporary").await;
    if till.secret.is_empty() || till.create_product().await.is_empty() {
        return;
    }
    let position = disk::position();
    call_log.lines()[made..]
        .iter_mut()
        .filter(|sent| {
            sent.call.path.ends_with("/tenants") && sent.call.body["slug"] == "temporary"
                || sent.call.secret.is_some()
        })
        .for_each(|sent| sent.until = Some(position));
    call_log
        .call(
            instance,
            landlord(
                Method::DELETE,
                "/v1/landlord/tenants/temporary",
                Value::Null,
            ),
        )
        .await;
}

/// Prunes what retention would delete after a year, except the idempotency keys, which are needed
/// later. A failed run is repeated by the next one.
fn prune(instance: &Instance) {
    let cut_offs = CutOffs::at(
        instance
            .app
            .ports
            .clock
            .now()
            .plus_millis(400 * 24 * 60 * 60 * 1000),
        365,
        365,
    );
    let tables = [
        Table::AuditLog,
        Table::InventoryMovement,
        Table::Reservation,
    ];
    for access in oracle::tenants(instance).unwrap_or_default() {
        let Ok(db) = instance.app.stores.registry.open(&access) else {
            continue;
        };
        let origin = Origin::system();
        let pruned = retention::prune(&db, &origin, &tables, &cut_offs, None, || true)
            .and_then(|ran| ran.record(&db, &origin));
        if let Err(error) = pruned {
            println!("not pruned: {error}");
        }
    }
}

/// Serves a number of customers, several at a time so that they share commits. Jobs run and files
/// are closed in between.
pub async fn run(instance: &Instance, call_log: &CallLog, customers: usize) {
    create_and_remove(instance, call_log).await;
    let (corner, kiosk) = (
        Till::open(instance, call_log, "corner").await,
        Till::open(instance, call_log, "kiosk").await,
    );
    let (tea, mug) = (corner.create_product().await, kiosk.create_product().await);
    for round in 0..customers.div_ceil(4) {
        let number = round * 4;
        tokio::join!(
            corner.serve_customer(&tea, number),
            corner.serve_customer(&tea, number + 1),
            corner.serve_customer(&tea, number + 2),
            kiosk.serve_customer(&mug, number + 3),
        );
        tokio::task::block_in_place(|| {
            worker::run_until_idle(&instance.app);
            instance
                .app
                .stores
                .registry
                .write_checkpoints()
                .expect("written");
            if round % 3 == 1 {
                prune(instance);
            }
            if round % 2 == 1 {
                // As after a long idle time: the WAL goes into the file, and the next customer
                // creates a new one.
                instance.app.stores.registry.close_all();
            }
        });
    }
}
