//! (b): sales through the library, without a socket and without JSON. Also the template: the rows
//! of one sale, which (a) writes repeatedly.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tillbox::app::{App, Ports};
use tillbox::config::Config;
use tillbox::platform::idempotency::{self, IdempotencyKey, KeyExpiry, KeyOutcome, StoredAnswer};
use tillbox::primitives::id::ProductId;
use tillbox::primitives::{
    Currency, Measure, Name, Note, Origin, Quantity, QuantityDelta, Sku, Slug, TaxClass, TaxRate,
};
use tillbox::storage::{Database, StorageError, Tenant, TenantWork};
use tillbox::tenancy::provision::CreateTenant;
use tillbox::tenant::Policy;
use tillbox::tenant::catalog::{CreateProduct, create_product};
use tillbox::tenant::inventory::{AdjustStock, adjust_stock};
use tillbox::tenant::new_shop::NewShop;
use tillbox::tenant::payments::Method;
use tillbox::tenant::sales::{self, RecordSale, SaleLine, SalePayment};
use tillbox::tenant::tax::{AddRate, add_rate};

use crate::metric::{Metric, now, since_us};

/// A tenant with two products, tax and plenty of stock.
pub struct BenchShop {
    pub app: Arc<App>,
    pub db: Database<Tenant>,
    pub products: [ProductId; 2],
}

impl BenchShop {
    /// Creates one in `dir`.
    pub fn open(dir: &Path) -> Self {
        let mut config = Config::default();
        config.storage.data_dir = dir.to_owned();
        let app = App::start(config, true, Ports::default()).expect("starts");
        let command = CreateTenant {
            slug: Slug::parse("bench").expect("good"),
            name: Name::parse("Bench").expect("good"),
            currency: Currency::parse("EUR").expect("known"),
            domains: Vec::new(),
        };
        app.create_tenant(&Origin::system(), &command, NewShop::untaxed())
            .expect("creates");
        let slug = command.slug;
        let access = app
            .stores
            .directory
            .tenant_of_slug(&slug)
            .wait()
            .expect("reads")
            .expect("is there");
        let db = app.stores.registry.open(&access).expect("opens");
        let products = db
            .write(Origin::system(), |work| {
                Ok::<_, StorageError>(stock_up(work))
            })
            .wait()
            .expect("stocks up");
        Self { app, db, products }
    }
}

fn stock_up(work: &mut TenantWork) -> [ProductId; 2] {
    let tax_class = TaxClass::parse("standard").expect("good");
    let rate = AddRate {
        tax_class,
        name: Name::parse("VAT 19 %").expect("good"),
        rate: TaxRate::from_ppm(190_000).expect("good"),
        valid_from: None,
    };
    add_rate(work, &rate).expect("adds");
    ["APPLE-1", "BREAD-2"].map(|sku| {
        let command = CreateProduct {
            sku: Sku::parse(sku).expect("good"),
            barcode: None,
            name: Name::parse("A thing that is sold").expect("good"),
            price_minor: 250,
            currency: None,
            tax_class: None,
            track_stock: true,
            category_id: None,
            measure: Measure::default(),
        };
        let product = create_product(work, &command).expect("creates");
        for _ in 0..100 {
            let adjustment = AdjustStock {
                product_id: product.id,
                quantity_delta: QuantityDelta::new(1_000_000).expect("good"),
                reason: Note::parse("delivery").expect("good"),
            };
            adjust_stock(work, &adjustment).expect("adjusts");
        }
        product.id
    })
}

/// A sale of one piece of each product, paid in cash.
pub fn sale(products: [ProductId; 2]) -> RecordSale {
    let line = |product_id| SaleLine {
        id: None,
        product_id,
        quantity: Quantity::new(1).expect("good"),
        unit_price_minor: None,
        price_reason: None,
        discount_minor: None,
        discount_reason: None,
    };
    let payment = SalePayment {
        id: None,
        method: Method::Cash,
        amount_minor: 595,
    };
    RecordSale {
        id: None,
        sold_at: None,
        lines: products.map(line).into(),
        discount_minor: None,
        discount_reason: None,
        payments: vec![payment],
        email: None,
        buyer: None,
    }
}

/// Bytes of the stored answer to the sale. `daemon.rs` checks it against `POST /v1/sales`.
pub const ANSWER_BYTES: usize = 4_400;

/// Records a sale under a key, as the daemon does, but with an answer that is not JSON.
fn sell(
    work: &mut TenantWork,
    policy: &Policy,
    command: &RecordSale,
    number: &str,
) -> Result<(), Failed> {
    let key = IdempotencyKey::parse(number, "POST", "/v1/sales", b"").expect("a good key");
    idempotency::once(work, &key, KeyExpiry::Active, |work| {
        sales::record(work, policy, &Default::default(), command)?;
        let body = vec![b'x'; ANSWER_BYTES];
        Ok::<_, Failed>(KeyOutcome::<_, ()>::Keep(StoredAnswer {
            status: 201,
            body,
        }))
    })
    .map(drop)
}

/// Error of a sale. No sale fails in this bench.
#[derive(Debug)]
struct Failed;

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        panic!("a sale failed: {error}")
    }
}

/// Returns a client's idempotency key: unordered, like a UUID of version 4.
pub fn key(client: usize, count: u64) -> String {
    let mixed = ((client as u64) << 40 | count).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!(
        "{:08x}-{:04x}-4e5f-8a6b-{client:04x}{count:08x}",
        mixed >> 32,
        mixed >> 16 & 0xFFFF
    )
}

/// Returns the closed file of a tenant with one sale.
pub fn template(dir: &Path) -> PathBuf {
    let shop = BenchShop::open(dir);
    let (policy, command) = (shop.app.policy.clone(), sale(shop.products));
    shop.db
        .write(Origin::system(), move |work| {
            sell(work, &policy, &command, "template")
        })
        .wait()
        .expect("writes");
    let path = shop.db.path().to_owned();
    drop(shop.db);
    shop.app.close();
    path
}

/// Measures `clients` that each record the next sale when the last one is on disk.
pub fn run(dir: &Path, clients: usize, round: Duration) -> Metric {
    let shop = BenchShop::open(dir);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let start = now();
    let tasks: Vec<_> = (0..clients)
        .map(|caller| {
            let (db, policy, products) = (shop.db.clone(), shop.app.policy.clone(), shop.products);
            runtime.spawn(async move {
                let mut latencies = Vec::new();
                while start.elapsed() < round {
                    let (began, policy, command) = (now(), policy.clone(), sale(products));
                    let number = key(caller, latencies.len() as u64);
                    let sold = db.write(Origin::system(), move |work| {
                        sell(work, &policy, &command, &number)
                    });
                    sold.await.expect("writes");
                    latencies.push(since_us(began));
                }
                latencies
            })
        })
        .collect();
    let latencies = tasks
        .into_iter()
        .flat_map(|task| runtime.block_on(task).expect("runs"))
        .collect();
    let metric = Metric::new(latencies, start.elapsed());
    let stats = shop.db.stats();
    let sales = stats.requests().max(1) as f64;
    println!(
        "    {clients:>3}: {:.1} statements a sale, {:.1} sales a commit",
        stats.statements() as f64 / sales,
        sales / stats.commits().max(1) as f64
    );
    drop(shop.db);
    shop.app.close();
    metric
}
