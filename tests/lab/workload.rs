//! What the shops do while the disk is watched: sales, carts, checkouts, confirmations,
//! cancellations, stock, jobs, shops that come and go.

use std::sync::{Mutex, PoisonError};

use http::Method;
use serde_json::{Value, json};
use tillbox::primitives::Origin;
use tillbox::tenant::retention::{self, CutOffs, Table};
use tillbox::worker;

use crate::house::{Call, House, Peer, Reply};
use crate::{disk, oracle};

/// How often a till sends a call before it gives up.
const TRIES: usize = 8;

/// A call, and what became of it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub call: Call,
    /// How much had happened on the disk when it was sent.
    pub at: usize,
    /// The same for when it was answered, and the answer.
    pub answered: Option<(usize, Reply)>,
    /// From when on another call may have undone it.
    pub until: Option<usize>,
}

impl Sent {
    /// The answer, if it was given by then.
    pub fn answer_by(&self, at: usize) -> Option<&Reply> {
        self.answered
            .as_ref()
            .filter(|(when, _)| *when <= at)
            .map(|(_, reply)| reply)
    }
}

/// All calls of a run, in the order in which they were sent.
#[derive(Default)]
pub struct Diary(Mutex<Vec<Sent>>);

impl Diary {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last answer, if one came.
    pub fn last_answer(&self) -> Option<Reply> {
        let lines = self.lines();
        lines
            .last()?
            .answered
            .as_ref()
            .map(|(_, reply)| reply.clone())
    }

    pub fn into_lines(self) -> Vec<Sent> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a call, again while the process says that it could not carry it out, as a till does.
    async fn call(&self, house: &impl Peer, call: Call) -> Reply {
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
        let mut reply = house.send(&call).await;
        for _ in 1..TRIES {
            if reply.status < 500 || call.idempotency_key.is_none() {
                break;
            }
            reply = house.send(&call).await;
        }
        self.lines()[index].answered = Some((disk::position(), reply.clone()));
        reply
    }
}

/// What was sent, for whoever comes again after a fault: a fault is no answer.
pub fn settled(sent: Vec<Sent>) -> Vec<Sent> {
    let settle = |mut line: Sent| {
        line.answered = line.answered.filter(|(_, reply)| reply.status < 500);
        line
    };
    sent.into_iter().map(settle).collect()
}

/// One shop and its key.
pub struct Till<'a, P = House> {
    house: &'a P,
    diary: &'a Diary,
    secret: String,
    name: String,
}

impl<'a, P: Peer> Till<'a, P> {
    /// Makes a shop.
    pub async fn open(house: &'a P, diary: &'a Diary, slug: &str) -> Self {
        let made = diary
            .call(
                house,
                landlord(
                    Method::POST,
                    "/v1/landlord/tenants",
                    json!({"slug": slug, "name": slug, "currency": "EUR"}),
                ),
            )
            .await;
        Self::of(house, diary, slug, &made.text("/api_key"))
    }

    /// A till of a shop that there is; its name tells its calls from those of the shop's other
    /// tills.
    pub fn of(house: &'a P, diary: &'a Diary, name: &str, secret: &str) -> Self {
        Self {
            house,
            diary,
            secret: secret.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The answer, if it was carried out: what depends on it is not asked for otherwise.
    async fn post(&self, path: &str, key: &str, body: Value) -> Option<Reply> {
        let call = Call {
            method: Method::POST,
            path: path.to_owned(),
            secret: Some(self.secret.clone()),
            idempotency_key: Some(format!("{} {key}", self.name)),
            body,
        };
        let reply = self.diary.call(self.house, call).await;
        (200..300).contains(&reply.status).then_some(reply)
    }

    /// A product with stock; its id, or nothing when it could not be made.
    pub async fn stocked(&self) -> String {
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

    /// A sale of one piece, sent once, whatever comes of it.
    pub async fn sell_once(&self, product: &str, number: usize) -> Reply {
        let call = Call {
            method: Method::POST,
            path: "/v1/sales".to_owned(),
            secret: Some(self.secret.clone()),
            idempotency_key: Some(format!("{} once {number}", self.name)),
            body: json!({"lines": [{"product_id": product, "quantity": 1}],
                "payments": [{"method": "cash", "amount_minor": 450}]}),
        };
        self.house.send(&call).await
    }

    /// One customer: a sale at the till, and a cart that is checked out and paid, called off, or
    /// left.
    pub async fn serve(&self, product: &str, number: usize) {
        self.sell(product, number).await;
        // What could not be done ends the visit.
        let _done = self.check_out(product, number).await;
    }

    /// A sale at the till.
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

/// A shop that is made and removed again. It has the diary to itself meanwhile.
pub async fn come_and_go<P: Peer>(house: &P, diary: &Diary) {
    let made = diary.lines().len();
    let till = Till::open(house, diary, "passing").await;
    if till.secret.is_empty() || till.stocked().await.is_empty() {
        return;
    }
    let position = disk::position();
    diary.lines()[made..]
        .iter_mut()
        .filter(|sent| {
            sent.call.path.ends_with("/tenants") && sent.call.body["slug"] == "passing"
                || sent.call.secret.is_some()
        })
        .for_each(|sent| sent.until = Some(position));
    diary
        .call(
            house,
            landlord(Method::DELETE, "/v1/landlord/tenants/passing", Value::Null),
        )
        .await;
}

/// Lets go what retention would in a year or so, but for the answers that are asked for again. What
/// cannot go now goes the next time.
fn prune(house: &House) {
    let cut_offs = CutOffs::at(
        house.app.clock.now().plus_millis(400 * 24 * 60 * 60 * 1000),
        365,
        365,
    );
    let tables = [
        Table::AuditLog,
        Table::InventoryMovement,
        Table::Reservation,
    ];
    for access in oracle::tenants(house).unwrap_or_default() {
        let Ok(db) = house.app.registry.open(&access) else {
            continue;
        };
        let origin = Origin::system();
        let pruned =
            retention::prune(&db, &origin, &tables, &cut_offs, None, || true).and_then(|ran| {
                db.write(origin, move |work| retention::record(work, &ran))
                    .wait()
            });
        if let Err(error) = pruned {
            println!("not pruned: {error}");
        }
    }
}

/// Runs the shops for so many customers in all, several at a time, so that they share commits; jobs
/// run and files are closed in between.
pub async fn run(house: &House, diary: &Diary, customers: usize) {
    come_and_go(house, diary).await;
    let (corner, kiosk) = (
        Till::open(house, diary, "corner").await,
        Till::open(house, diary, "kiosk").await,
    );
    let (tea, mug) = (corner.stocked().await, kiosk.stocked().await);
    for round in 0..customers.div_ceil(4) {
        let number = round * 4;
        tokio::join!(
            corner.serve(&tea, number),
            corner.serve(&tea, number + 1),
            corner.serve(&tea, number + 2),
            kiosk.serve(&mug, number + 3),
        );
        tokio::task::block_in_place(|| {
            worker::run_until_idle(&house.app);
            house.app.registry.write_checkpoints().expect("written");
            if round % 3 == 1 {
                prune(house);
            }
            if round % 2 == 1 {
                // As when they have been idle for long: the WAL goes into the file, and is made
                // anew by the next customer.
                house.app.registry.close_all();
            }
        });
    }
}
