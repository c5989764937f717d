//! (c): the daemon as a process of its own, over HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;

use crate::client::{Client, request};
use crate::harness::process::{self, limit_rates, tillbox};
use crate::harness::shop::Shop;
use crate::library::{ANSWER_BYTES, key as key_of};
use crate::metric::{Metric, now, since_us};

pub struct Daemon {
    daemon: process::Daemon,
    pub address: SocketAddr,
    pub runtime: Runtime,
}

/// A tenant of the daemon, ready to sell.
pub struct DaemonShop {
    pub key: String,
    pub products: [String; 2],
}

impl Daemon {
    pub fn start(dir: &Path) -> Self {
        let mut serve = tillbox(dir, &["serve", "--listen", "127.0.0.1:0"]);
        limit_rates(&mut serve);
        let daemon = process::Daemon::launch(&mut serve, dir).unwrap_or_else(|end| panic!("{end}"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            address: daemon.address(),
            daemon,
            runtime,
        }
    }

    pub fn shop(&self, dir: &Path, number: usize) -> DaemonShop {
        let shop = Shop::create(dir, &format!("shop-{number}"), &[]);
        let mut client = self.daemon.client().with_key(&shop.key);
        client.add_tax_rate(190_000);
        let products = ["APPLE-1", "BREAD-2"].map(|sku| {
            let id = client.create_product(sku, "A thing that is sold", true);
            client.set_stock(&id, 100_000_000);
            id
        });
        DaemonShop {
            key: shop.key,
            products,
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    pub fn round(
        &self,
        clients: usize,
        round: Duration,
        next: impl Fn(usize, u64) -> Vec<u8> + Clone + Send + 'static,
    ) -> Metric {
        let start = now();
        let tasks: Vec<_> = (0..clients)
            .map(|number| {
                let (address, next) = (self.address, next.clone());
                self.runtime.spawn(async move {
                    let (mut client, mut latencies) = (Client::connect(address).await, Vec::new());
                    while start.elapsed() < round {
                        let request = next(number, latencies.len() as u64);
                        let began = now();
                        let (status, body) = client.call(&request).await;
                        assert!(status < 300, "{status}: {}", String::from_utf8_lossy(&body));
                        latencies.push(since_us(began));
                    }
                    latencies
                })
            })
            .collect();
        let latencies = tasks
            .into_iter()
            .flat_map(|task| self.runtime.block_on(task).expect("runs"))
            .collect();
        Metric::new(latencies, start.elapsed())
    }
}

/// Measures sales by `clients`, spread over `tenants`.
pub fn sales(dir: &Path, clients: usize, tenants: usize, round: Duration) -> Metric {
    let daemon = Daemon::start(dir);
    let shops: Vec<(String, String)> = (0..tenants)
        .map(|number| daemon.shop(dir, number))
        .map(|shop| (shop.key, sale(&shop.products)))
        .collect();
    let (key, body) = &shops[0];
    let answer = daemon.runtime.block_on(async {
        let mut client = Client::connect(daemon.address).await;
        client
            .call(&request("POST", "/v1/sales", key, Some("the-first"), body))
            .await
            .1
    });
    let as_assumed = answer.len().abs_diff(ANSWER_BYTES) < ANSWER_BYTES / 20;
    assert!(
        as_assumed,
        "an answer has {} bytes; update ANSWER_BYTES in library.rs",
        answer.len()
    );
    let shops = std::sync::Arc::new(shops);
    daemon.round(clients, round, move |client, count| {
        let (key, body) = &shops[client % shops.len()];
        request("POST", "/v1/sales", key, Some(&key_of(client, count)), body)
    })
}

pub fn sale(products: &[String; 2]) -> String {
    let lines = products
        .iter()
        .map(|id| json!({"product_id": id, "quantity": 1}))
        .collect::<Vec<_>>();
    json!({"lines": lines, "payments": [{"method": "cash", "amount_minor": 595}]}).to_string()
}

/// Measures reads of a product by id, and a constant answer of the same server.
pub fn reads(dir: &Path, clients: usize, round: Duration) -> (Metric, Metric) {
    let daemon = Daemon::start(dir);
    let shop = daemon.shop(dir, 0);
    let path = format!("/v1/catalog/products/{}", shop.products[0]);
    let key = shop.key.clone();
    let product = daemon.round(clients, round, move |_, _| {
        request("GET", &path, &key, None, "")
    });
    let constant = daemon.round(clients, round, move |_, _| {
        request("GET", "/health/live", &shop.key, None, "")
    });
    (product, constant)
}

/// The load of another tenant in the same daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    Idle,
    /// Sells as fast as its clients can send.
    Busy,
    /// Has a damaged file, and clients that still send requests.
    Damaged,
}

/// Measures sales of one tenant by `clients` beside a neighbour.
pub fn sales_beside_neighbour(
    dir: &Path,
    neighbour: Neighbour,
    clients: usize,
    round: Duration,
) -> Metric {
    let mut daemon = Daemon::start(dir);
    let [ours, theirs] = [0, 1].map(|number| daemon.shop(dir, number));
    if neighbour == Neighbour::Damaged {
        drop(daemon);
        let newest = std::fs::read_dir(dir.join("tenants"))
            .expect("a directory")
            .flatten();
        let file = newest
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
            // Ids are sorted by time: the newest file is the neighbour's.
            .max()
            .expect("two shops");
        std::fs::write(file, [0; 64 * 1024]).expect("writes");
        daemon = Daemon::start(dir);
    }
    let (start, length) = (now(), round + Duration::from_millis(200));
    let callers = if neighbour == Neighbour::Idle {
        0
    } else {
        clients
    };
    let (key, body) = (theirs.key.clone(), sale(&theirs.products));
    let load: Vec<_> = (0..callers)
        .map(|number| {
            let (address, key, body) = (daemon.address, key.clone(), body.clone());
            daemon.runtime.spawn(async move {
                let (mut client, mut count) = (Client::connect(address).await, 0);
                while start.elapsed() < length {
                    let (status, _) = client
                        .call(&request(
                            "POST",
                            "/v1/sales",
                            &key,
                            Some(&key_of(number, count)),
                            &body,
                        ))
                        .await;
                    assert!(matches!(status, 201 | 503), "{status}");
                    count += 1;
                }
            })
        })
        .collect();
    let (key, body) = (ours.key.clone(), sale(&ours.products));
    let metric = daemon.round(clients, round, move |client, count| {
        request(
            "POST",
            "/v1/sales",
            &key,
            Some(&key_of(client, count)),
            &body,
        )
    });
    load.into_iter()
        .for_each(|task| daemon.runtime.block_on(task).expect("runs"));
    metric
}
