//! A whole process without its sockets: the real router over real files in a temporary directory,
//! at 2026-01-15T10:00:00Z until the test moves the clock.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt as _;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;
use tillbox::app::{App, Ports};
use tillbox::config::{Config, RateLimits};
use tillbox::http::extract::Local;
use tillbox::http::wire::peer::Peer;
use tillbox::primitives::id::TenantId;
use tillbox::primitives::{
    Clock, Currency, Entropy, HostName, ManualClock, Name, Origin, SeededEntropy, Slug, Timestamp,
};
use tillbox::storage::{Database, StorageError, Tenant};
use tillbox::tenancy::provision::CreateTenant;
use tillbox::tenancy::{Scope, Scopes, TenantAccess, commands, keys};
use tillbox::tenant::new_shop::NewShop;
use tower::ServiceExt as _;

use super::{Answer, World, blocking, logs};

/// The time at which every test begins.
pub const START: &str = "2026-01-15T10:00:00Z";

/// A running process. Dropping it (and the shops that came from it) closes its files and removes
/// its directory.
#[derive(Clone)]
pub struct TestApp {
    inner: Arc<Inner>,
}

struct Inner {
    running: Mutex<Option<Running>>,
    config: Config,
    dev: bool,
    clock: Arc<ManualClock>,
    entropy: Arc<SeededEntropy>,
    outbound: Arc<World>,
    dir: TempDir,
}

#[derive(Clone)]
struct Running {
    app: Arc<App>,
    router: Router,
}

impl Running {
    fn stop(self) {
        blocking(|| self.app.close());
        let gone = Arc::downgrade(&self.app);
        drop(self);
        // A request's task may still be finishing. The lock is free when the last task has ended.
        for _ in 0..50_000_000 {
            if gone.strong_count() == 0 {
                return;
            }
            std::thread::yield_now();
        }
        panic!("the app is still in use; drop every clone of it before stopping it");
    }
}

impl Inner {
    fn start(&self, config: Config) {
        let ports = Ports {
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            outbound: self.outbound.clone(),
        };
        let (config, dev) = (config, self.dev);
        let app = blocking(|| App::start(config, dev, ports)).expect("the app starts");
        let router = tillbox::http::router(&app);
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Running { app, router });
    }

    fn stop(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(running) = running {
            running.stop();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // After a failed test the app may still be in use. Its directory is removed all the same.
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// Rates that no test reaches. Tests of the rate limits set their own.
fn no_limits() -> RateLimits {
    let rate = "1000000/s".parse().expect("a rate");
    RateLimits::all(rate)
}

/// A seed that depends on the running test, so that its ids differ from other tests and repeat on
/// every run.
fn seed_of_this_test() -> u64 {
    thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });
    let count = COUNT.replace(COUNT.get() + 1);
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("main").bytes();
    let hash = name.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let own = hash.wrapping_add(count);
    std::env::var("TEST_SEED").map_or(own, |text| text.parse().expect("TEST_SEED is a number"))
}

impl TestApp {
    /// Starts it as `tillbox serve` does.
    pub fn start() -> Self {
        Self::with(false, |_| {})
    }

    /// Starts it as `tillbox serve --dev` does: with the payment method `test`.
    pub fn start_dev() -> Self {
        Self::with(true, |_| {})
    }

    /// Starts it with other settings.
    pub fn with(dev: bool, settings: impl FnOnce(&mut Config)) -> Self {
        logs::install();
        tillbox::observe::telemetry::install();
        let seed = seed_of_this_test();
        println!("TEST_SEED={seed}");
        let dir = tempfile::tempdir().expect("a directory for the test");
        let mut config = Config::default();
        config.storage.data_dir = dir.path().join("data");
        config.rate_limits = no_limits();
        settings(&mut config);
        config.validate().expect("good settings");
        let inner = Inner {
            running: Mutex::new(None),
            config,
            dev,
            clock: Arc::new(ManualClock::new(
                Timestamp::parse(START).expect("an instant"),
            )),
            entropy: Arc::new(SeededEntropy::new(seed)),
            outbound: Arc::new(World::default()),
            dir,
        };
        inner.start(inner.config.clone());
        Self {
            inner: Arc::new(inner),
        }
    }

    pub fn app(&self) -> Arc<App> {
        self.running().app
    }

    /// The scripted remote servers.
    pub fn world(&self) -> &World {
        &self.inner.outbound
    }

    fn running(&self) -> Running {
        let running = self
            .inner
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        running.clone().expect("the app runs")
    }

    /// Closes everything in an orderly way.
    pub fn stop(&self) {
        self.inner.stop();
    }

    /// Starts again after [`stop`](Self::stop), over the same files and the same clock.
    pub fn resume(&self) {
        self.inner.start(self.inner.config.clone());
    }

    /// Replaces a part of the running process.
    pub fn refit(&self, change: impl FnOnce(App) -> App) {
        let mut running = self
            .inner
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Running { mut app, router } = running.take().expect("the app runs");
        drop(router);
        let app = loop {
            // A request's task may still be finishing.
            match Arc::try_unwrap(app) {
                Ok(app) => break app,
                Err(shared) => app = shared,
            }
            std::thread::yield_now();
        };
        let app = Arc::new(change(app));
        let router = tillbox::http::router(&app);
        *running = Some(Running { app, router });
    }

    /// Stops and starts, as an update or the next morning would.
    pub fn restart(&self) {
        self.stop();
        self.resume();
    }

    /// As [`restart`](Self::restart), with other settings until the next stop.
    pub fn restart_with(&self, settings: impl FnOnce(&mut Config)) {
        self.stop();
        let mut config = self.inner.config.clone();
        settings(&mut config);
        self.inner.start(config);
    }

    /// The clock of the whole process.
    pub fn clock(&self) -> &ManualClock {
        &self.inner.clock
    }

    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    pub fn advance(&self, by: Duration) {
        self.clock().advance(by);
    }

    pub fn data_dir(&self) -> &Path {
        &self.inner.config.storage.data_dir
    }

    /// A directory beside the data, for files of the test.
    pub fn scratch(&self) -> &Path {
        self.inner.dir.path()
    }

    /// Creates a shop that sells in EUR, with the host `SLUG.shop.test`.
    pub fn tenant(&self, slug: &str) -> TestShop {
        self.tenant_in(slug, "EUR")
    }

    /// Creates a shop that sells in another currency.
    pub fn tenant_in(&self, slug: &str, currency: &str) -> TestShop {
        self.tenant_with(slug, currency, NewShop::untaxed())
    }

    /// Creates a shop with other settings.
    pub fn tenant_with(&self, slug: &str, currency: &str, shop: NewShop) -> TestShop {
        let command = CreateTenant {
            slug: Slug::parse(slug).expect("a slug"),
            name: Name::parse(&format!("Shop {slug}")).expect("a name"),
            currency: Currency::parse(currency).expect("a currency"),
            domains: vec![HostName::parse(&format!("{slug}.shop.test")).expect("a host")],
        };
        let app = self.app();
        let created = blocking(|| app.create_tenant(&Origin::operator(), &command, shop))
            .expect("the tenant is made");
        TestShop {
            app: self.clone(),
            id: created.tenant.id,
            slug: created.tenant.slug,
            key: created.key.secret,
        }
    }

    /// Creates a key with the scope `landlord`.
    pub fn landlord_key(&self) -> String {
        self.new_key(None, &[Scope::Landlord])
    }

    fn new_key(&self, tenant: Option<TenantId>, scopes: &[Scope]) -> String {
        let key = keys::generate(self.inner.entropy.as_ref() as &dyn Entropy);
        let (app, secret) = (self.app(), key.secret.clone());
        let scopes: Scopes = scopes.iter().copied().collect();
        let name = Name::parse("test key").expect("a name");
        let change = move || {
            app.stores
                .directory
                .change(Origin::operator(), move |work| {
                    commands::insert_key(work, tenant, &name, scopes, &key)
                })
                .wait()
        };
        blocking(change).expect("the key is stored");
        secret
    }

    /// A call without credentials.
    pub fn call(&self, method: Method, path: &str) -> Call {
        Call {
            router: self.running().router,
            request: Request::builder()
                .method(method)
                .uri(path)
                .body(Vec::new())
                .expect("a request"),
        }
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// A POST over the admin socket, which also serves the operator's routes.
    pub fn admin(&self, path: &str) -> Call {
        Call {
            router: tillbox::http::admin_router(&self.app()),
            request: Request::builder()
                .method(Method::POST)
                .uri(path)
                .body(Vec::new())
                .expect("a request"),
        }
    }

    /// Runs SQL on the landlord's file, past all rules of the program.
    pub fn landlord_raw(&self, sql: &str) -> rusqlite::Result<()> {
        Connection::open(self.data_dir().join("landlord.db"))?.execute_batch(sql)
    }

    /// A call to another router.
    pub fn call_to(&self, router: &Router, method: Method, path: &str) -> Call {
        Call {
            router: router.clone(),
            ..self.call(method, path)
        }
    }

    /// Rows of the landlord's file, as the `sqlite3` shell prints them.
    pub fn landlord_rows(&self, sql: &str) -> Vec<String> {
        rows(&self.data_dir().join("landlord.db"), sql)
    }
}

/// A shop of a running process.
#[derive(Clone)]
pub struct TestShop {
    pub app: TestApp,
    pub id: TenantId,
    pub slug: Slug,
    /// A key with every scope of a tenant.
    pub key: String,
}

impl TestShop {
    /// A call with the shop's key.
    pub fn call(&self, method: Method, path: &str) -> Call {
        self.app.call(method, path).bearer(&self.key)
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// Creates a key of this shop with only these scopes.
    pub fn key_with(&self, scopes: &[Scope]) -> String {
        self.app.new_key(Some(self.id), scopes)
    }

    /// Creates a product without tracked stock, and returns its id.
    pub async fn product(&self, sku: &str, price_minor: i64) -> String {
        let body =
            json!({"sku": sku, "name": format!("Product {sku}"), "price_minor": price_minor});
        self.post("/v1/catalog/products")
            .json(body)
            .send()
            .await
            .expect(201)
            .string("/id")
    }

    /// The access proof that opens this shop's file.
    pub fn access(&self) -> TenantAccess {
        let (app, slug) = (self.app.app(), self.slug.clone());
        let found = blocking(|| app.stores.directory.tenant_of_slug(&slug).wait());
        found
            .expect("the directory reads")
            .expect("the tenant is there")
    }

    /// The shop's open file, as the program holds it.
    pub fn db(&self) -> Database<Tenant> {
        let (app, access) = (self.app.app(), self.access());
        blocking(|| app.stores.registry.open(&access)).expect("the file opens")
    }

    /// Writes through the program's writer.
    pub fn write<R, F>(&self, f: F) -> Result<R, StorageError>
    where
        R: Send + 'static,
        F: FnMut(&mut tillbox::storage::TenantWork) -> Result<R, StorageError> + Send + 'static,
    {
        let db = self.db();
        blocking(|| db.write(Origin::system(), f).wait())
    }

    /// The path of the shop's file.
    pub fn path(&self) -> PathBuf {
        self.app
            .data_dir()
            .join("tenants")
            .join(format!("{}.db", self.id))
    }

    /// The result of a `SELECT count(*)`, over a connection of the test.
    #[track_caller]
    pub fn count(&self, sql: &str) -> i64 {
        let rows = self.rows(sql);
        rows.first()
            .and_then(|row| row.parse().ok())
            .unwrap_or_else(|| panic!("{sql}: {rows:?}"))
    }

    /// Rows as the `sqlite3` shell prints them: columns between `|`, blobs in hexadecimal digits.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.path(), sql)
    }

    /// Runs SQL past all rules of the program, as the `sqlite3` shell could.
    ///
    /// # Errors
    ///
    /// When SQLite, the schema or a trigger refuses it.
    pub fn raw(&self, sql: &str) -> rusqlite::Result<()> {
        let conn = Connection::open_with_flags(self.path(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        conn.execute_batch(sql)
    }
}

/// The landlord's file of a directory that no process has open, past all rules of the program.
pub fn landlord_file(data_dir: &Path) -> Connection {
    Connection::open(data_dir.join("landlord.db")).expect("opens")
}

/// Rows of a file, as the `sqlite3` shell prints them.
#[track_caller]
pub fn rows(path: &Path, sql: &str) -> Vec<String> {
    let read = || {
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        let mut prepared = conn.prepare(sql)?;
        let columns = prepared.column_count();
        let line = |row: &rusqlite::Row<'_>| -> rusqlite::Result<String> {
            let cells: rusqlite::Result<Vec<String>> = (0..columns)
                .map(|column| Ok(cell(row.get_ref(column)?)))
                .collect();
            Ok(cells?.join("|"))
        };
        prepared
            .query_map([], line)?
            .collect::<rusqlite::Result<Vec<String>>>()
    };
    read().unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn cell(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// A request under construction.
pub struct Call {
    router: Router,
    request: Request<Vec<u8>>,
}

impl Call {
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a header's value");
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Adds a header, beside any of the same name.
    pub fn header_too(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a header's value");
        self.request
            .headers_mut()
            .append(HeaderName::from_static(name), value);
        self
    }

    /// Sets the API key.
    pub fn bearer(self, key: &str) -> Self {
        self.header("authorization", format!("Bearer {key}"))
    }

    /// Removes the API key.
    pub fn anonymous(mut self) -> Self {
        self.request.headers_mut().remove("authorization");
        self
    }

    /// Sets the `Idempotency-Key`.
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Marks the request as one from the admin socket.
    pub fn local(mut self) -> Self {
        self.request.extensions_mut().insert(Local);
        self
    }

    /// Sets the client's IP address.
    pub fn at_address(mut self, address: &str) -> Self {
        let address = address.parse().expect("an address");
        self.request
            .extensions_mut()
            .insert(Peer(Some(SocketAddr::new(address, 40_000))));
        // A request over the network names its host.
        self.header("host", "127.0.0.1")
    }

    /// Sets a JSON body.
    pub fn json(self, body: Value) -> Self {
        self.header("content-type", "application/json")
            .bytes(body.to_string())
    }

    /// Sets a body without a content type.
    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    /// Sends the request through the router.
    pub async fn send(self) -> Answer {
        let request = self.request.map(Body::from);
        let response = self
            .router
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {});
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .expect("the body comes whole")
            .to_bytes()
            .to_vec();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }
}
