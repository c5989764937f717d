//! Three tenants sell at once with the same numbers, keys and ids, each with a canary word in every
//! text. No answer, log line or file of another tenant ever contains that word.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Answer, TestApp, TestShop, logs};

/// Requests of all tenants together, unless `CANARY_REQUESTS` sets another number.
const REQUESTS: usize = 2_000;
/// Concurrent tills of each tenant.
const TILLS: usize = 2;
const SLUGS: [&str; 3] = ["north", "south", "west"];

/// The tenant's canary, a word that occurs nowhere by chance. Lower case, because some texts are
/// folded.
fn canary(slug: &str) -> String {
    format!("canary{slug}zq")
}

fn canaries_of_others(slug: &str) -> Vec<String> {
    SLUGS
        .iter()
        .filter(|other| **other != slug)
        .map(|other| canary(other))
        .collect()
}

/// Pseudorandom numbers that repeat on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A till of a tenant. Its dice choose its actions, with names that the other tenants' tills use
/// too.
struct Till {
    shop: TestShop,
    canary: String,
    others: Vec<String>,
    dice: Dice,
    number: usize,
    products: Vec<String>,
    asked: usize,
    /// The number of answers that contained the own canary.
    heard: usize,
}

impl Till {
    fn new(shop: &TestShop, number: usize) -> Self {
        Self {
            shop: shop.clone(),
            canary: canary(shop.slug.as_str()),
            others: canaries_of_others(shop.slug.as_str()),
            // The same seed for all tenants, so that they do the same things at about the same
            // time.
            dice: Dice(number as u64 + 1),
            number,
            products: Vec::new(),
            asked: 0,
            heard: 0,
        }
    }

    /// Checks an answer of any status.
    fn hear(&mut self, answer: Answer) -> Answer {
        self.asked += 1;
        let all = format!("{:?} {}", answer.headers, answer.text()).to_lowercase();
        for other in &self.others {
            assert!(
                !all.contains(other),
                "{} hears of {other}: {all}",
                self.canary
            );
        }
        assert!(answer.status < 500, "{all}");
        self.heard += usize::from(all.contains(&self.canary));
        answer
    }

    async fn get(&mut self, path: &str) -> Answer {
        let answer = self.shop.get(path).send().await;
        self.hear(answer)
    }

    /// Posts under a key that the other tenants' tills use for their own requests.
    async fn post(&mut self, path: &str, body: Value) -> Answer {
        let key = format!("{}-{}", self.number, self.asked);
        let call = self.shop.post(path).key(&key).json(body);
        let answer = call.send().await;
        self.hear(answer)
    }

    fn any_product(&mut self) -> String {
        let index = self.dice.roll(self.products.len() as u64);
        self.products[usize::try_from(index).expect("small")].clone()
    }

    async fn take_in(&mut self) {
        // Two tills of one tenant pick the same number now and then: a conflict has an answer too.
        let sku = format!("SKU-{}", self.dice.roll(1_000_000));
        let body = json!({"sku": sku, "name": format!("Tea {}", self.canary), "price_minor": 450,
            "track_stock": true});
        let answer = self.post("/v1/catalog/products", body).await;
        if answer.status == 201 {
            let id = answer.string("/id");
            let path = format!("/v1/inventory/stock/{id}");
            let body = json!({"on_hand": 1_000, "reason": format!("counted {}", self.canary)});
            let counted = self.shop.patch(&path).json(body).send().await;
            self.hear(counted).expect(200);
            self.products.push(id);
        }
    }

    async fn sell(&mut self) {
        let product = self.any_product();
        // The client chooses the id, and the other tenants' tills choose the same.
        let id = format!(
            "0199{:04x}-{:04x}-7000-8000-{:012x}",
            self.number,
            self.asked,
            self.dice.roll(1 << 30)
        );
        let body = json!({"id": id, "lines": [{"product_id": product, "quantity": 1}],
            "payments": [{"method": "cash", "amount_minor": 450}],
                "email": format!("{}@example.org", self.canary)});
        let key = format!("{}-{}", self.number, self.asked);
        let sale = self.shop.sale(&key, body.clone()).await;
        let first = self.hear(sale).expect(201);
        let again = self.shop.sale(&key, body).await;
        assert_eq!(
            self.hear(again).text(),
            first.text(),
            "the stored answer is the own one"
        );
    }

    async fn buy(&mut self) {
        let product = self.any_product();
        let cart = self
            .post("/v1/carts", json!({}))
            .await
            .expect(201)
            .string("/id");
        let item = json!({"product_id": product, "quantity": 1});
        self.post(&format!("/v1/carts/{cart}/items"), item)
            .await
            .expect(201);
        let body = json!({"cart_id": cart, "email": format!("{}@example.org", self.canary),
            "payment_method": "cash"});
        let placed = self.post("/v1/checkout", body).await.expect(201);
        let payment = placed.string("/payment/id");
        if self.dice.roll(3) == 0 {
            let body = json!({"reason": format!("changed my mind {}", self.canary)});
            self.post(&format!("/v1/payments/{payment}/cancel"), body)
                .await
                .expect(200);
        } else {
            let body = json!({"payment_id": payment, "provider_reference": self.canary});
            self.post("/v1/checkout/confirm-payment", body)
                .await
                .expect(200);
        }
    }

    /// Sends requests that are refused. The errors must not leak either.
    async fn err(&mut self) {
        let canary = self.canary.clone();
        let product = self.any_product();
        match self.dice.roll(4) {
            0 => self
                .get(&format!("/v1/catalog/products/{canary}"))
                .await
                .refused(400, "malformed_id"),
            1 => {
                let body = json!({"sku": canary, "name": canary, "price_minor": canary});
                self.post("/v1/catalog/products", body)
                    .await
                    .refused(422, "validation_failed")
            }
            2 => {
                let body =
                    json!({"product_id": product, "quantity_delta": -1_000_000, "reason": canary});
                self.post("/v1/inventory/adjustments", body)
                    .await
                    .refused(409, "stock_too_low")
            }
            _ => self
                .get(&format!("/v1/{canary}"))
                .await
                .refused(404, "route_not_found"),
        };
    }

    async fn look(&mut self) {
        let paths = [
            "/v1/catalog/products?limit=5",
            "/v1/orders?limit=5",
            "/v1/payments?limit=5",
            "/v1/invoices?limit=5",
            "/v1/financial-orders?limit=5",
            "/v1/financial-transactions?limit=5",
            "/v1/inventory/movements?limit=5",
            "/v1/audit-logs?limit=5",
            "/v1/settings/shop",
            "/v1/ledger/trial-balance",
        ];
        let index = usize::try_from(self.dice.roll(paths.len() as u64)).expect("small");
        self.get(paths[index]).await.expect(200);
    }

    /// Runs until `requests` requests were answered.
    async fn run(mut self, requests: usize) -> Self {
        while self.asked < requests {
            if self.products.is_empty() {
                self.take_in().await;
                continue;
            }
            match self.dice.roll(10) {
                0 => self.take_in().await,
                1..=3 => self.sell().await,
                4..=5 => self.buy().await,
                6 => self.err().await,
                _ => self.look().await,
            }
        }
        self
    }
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("is read");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files_in(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// The tenants whose canaries occur in the bytes.
fn owners(bytes: &[u8]) -> Vec<&'static str> {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    SLUGS
        .into_iter()
        .filter(|slug| text.contains(&canary(slug)))
        .collect()
}

/// Asserts that each log line with a canary belongs to that tenant. Returns the number of lines
/// about a tenant.
fn assert_log_lines(lines: &[Value], shops: &[TestShop]) -> usize {
    for line in lines {
        for slug in owners(line.to_string().as_bytes()) {
            let shop = shops
                .iter()
                .find(|shop| shop.slug.as_str() == slug)
                .expect("one of them");
            assert_eq!(
                line["tenant_id"],
                shop.id.to_string(),
                "the log tells of {slug}: {line}"
            );
        }
    }
    let is_ours = |line: &&Value| {
        shops
            .iter()
            .any(|shop| line["tenant_id"] == shop.id.to_string())
    };
    lines.iter().filter(is_ours).count()
}

/// Asserts that each file contains the canary of one tenant at most. Returns the number of files
/// per tenant.
fn assert_files(app: &TestApp, shops: &[TestShop]) -> Vec<usize> {
    let mut counts = vec![0; shops.len()];
    for path in files_in(app.scratch()) {
        let found = owners(&std::fs::read(&path).expect("is read"));
        assert!(
            found.len() <= 1,
            "{} holds words of {found:?}",
            path.display()
        );
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        for (shop, count) in shops.iter().zip(&mut counts) {
            let is_theirs = found.contains(&shop.slug.as_str());
            *count += usize::from(is_theirs);
            if name.starts_with(&shop.id.to_string()) {
                let others = found.iter().any(|slug| *slug != shop.slug.as_str());
                assert!(!others, "{} holds words of {found:?}", path.display());
            }
        }
        assert!(
            !name.starts_with("landlord") || found.is_empty(),
            "the landlord's file holds words of {found:?}"
        );
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaks_no_text_of_one_tenant_to_another() {
    let requests = std::env::var("CANARY_REQUESTS").map_or(REQUESTS, |text| {
        text.parse().expect("CANARY_REQUESTS is a number")
    });
    let app = TestApp::start();
    let shops = SLUGS.map(|slug| app.tenant(slug));
    for shop in &shops {
        let body = json!({"name": format!("Shop {}", canary(shop.slug.as_str()))});
        shop.patch("/v1/settings/shop")
            .json(body)
            .send()
            .await
            .expect(200);
    }
    let each = requests.div_ceil(SLUGS.len() * TILLS);
    let tills = shops
        .iter()
        .flat_map(|shop| (0..TILLS).map(|number| Till::new(shop, number)));
    let running: Vec<_> = tills.map(|till| tokio::spawn(till.run(each))).collect();
    let mut asked = 0;
    for till in running {
        let till = till.await.expect("the till has done its work");
        assert!(
            till.heard * 4 > till.asked,
            "{} of {} answers hold the own word",
            till.heard,
            till.asked
        );
        asked += till.asked;
    }
    assert!(asked >= requests, "{asked}");
    app.work_off();
    for shop in &shops {
        shop.assert_integrity();
    }
    let lines = assert_log_lines(logs().lines(), &shops);
    assert!(lines >= asked, "{lines} lines of {asked} requests");
    let while_open = assert_files(&app, &shops);
    app.stop();
    let closed = assert_files(&app, &shops);
    // Its file, and the mail that it sent.
    assert!(
        while_open.iter().chain(&closed).all(|count| *count > 1),
        "{while_open:?} {closed:?}"
    );
}

/// The search must be able to find a canary.
#[test]
#[should_panic(expected = "hears of canarysouthzq")]
fn detects_foreign_text_in_answer() {
    let app = TestApp::start();
    let mut till = Till::new(&app.tenant("north"), 0);
    till.hear(Answer {
        status: 200,
        headers: http::HeaderMap::new(),
        body: br#"{"name": "CanarySouthZQ"}"#.to_vec(),
    });
}

#[test]
#[should_panic(expected = "the log tells of south")]
fn detects_foreign_text_in_log_line() {
    let app = TestApp::start();
    let shops = [app.tenant("north"), app.tenant("south")];
    let line = json!({"tenant_id": shops[0].id.to_string(), "message": "planted",
        "error": canary("south")});
    assert_log_lines(&[line], &shops);
}

#[test]
#[should_panic(expected = "holds words of")]
fn detects_foreign_text_in_file() {
    let app = TestApp::start();
    let shops = [app.tenant("north"), app.tenant("south")];
    let wal = app
        .data_dir()
        .join(format!("tenants/{}.db-planted", shops[0].id));
    std::fs::write(wal, canary("south")).expect("written");
    assert_files(&app, &shops);
}
