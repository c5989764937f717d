//! Every route × every caller: the own key, another tenant's key with the first one's ids, no key,
//! a revoked key, a key without the scope. (Keys do not expire; the test must be extended when they
//! do.)
//!
//! A route without an entry fails the test, and so does an entry without a route. In a path and in
//! a body `{name}` stands for an id of the tenant whose resources are requested.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};
use tillbox::tenancy::Scope;

use crate::api::routes::routes;
use crate::support::shop::Call;
use crate::support::{Answer, TestApp, TestShop, jobs};

use Callers::{Anybody, Key, Landlord, Storefront};
use Other::{Refused, Unaware};

/// The callers that may use a route.
#[derive(Clone, Copy)]
enum Callers {
    /// Any caller, without a key.
    Anybody,
    /// A key with the scope `landlord`.
    Landlord,
    /// A key with one of these scopes.
    Key(&'static [Scope]),
    /// A key with one of these scopes, or a caller without a key.
    Storefront(&'static [Scope]),
}

/// The answer to another tenant's key.
#[derive(Clone, Copy)]
enum Other {
    /// The resources are not found.
    Refused(u16, &'static str),
    /// The request names no id, or only as a filter: the answer is about the caller's own tenant.
    Unaware(u16),
}

/// A route: operation, path, callers, body, the status for allowed callers, and the answer to
/// another tenant.
struct Row(
    &'static str,
    &'static str,
    Callers,
    &'static str,
    u16,
    Other,
);

const CATALOG: &[Scope] = &[
    Scope::CatalogRead,
    Scope::CatalogWrite,
    Scope::Checkout,
    Scope::Pos,
];
const WRITE: &[Scope] = &[Scope::CatalogWrite];
const CHECKOUT: &[Scope] = &[Scope::Checkout];
const CONFIRM: &[Scope] = &[Scope::Payments, Scope::Checkout];
const ORDERS: &[Scope] = &[Scope::Orders];
const PAYMENTS: &[Scope] = &[Scope::Payments];
const INVENTORY: &[Scope] = &[Scope::Inventory];
const FINANCE: &[Scope] = &[Scope::Finance];
const ADMIN: &[Scope] = &[Scope::Admin];

const NO_CART: Other = Refused(404, "cart_not_found");
const NO_PRODUCT: Other = Refused(404, "product_not_found");
const NO_RATE: Other = Refused(404, "tax_rate_not_found");
const NO_ORDER: Other = Refused(404, "order_not_found");
const NO_PAYMENT: Other = Refused(404, "payment_not_found");
/// Never requested: a tenant's key is refused before any lookup.
const NO_MATTER: Other = Unaware(0);

#[rustfmt::skip]
const MATRIX: &[Row] = &[
    // No worker runs here, and nothing has reported readiness.
    Row("/health GET", "/health", Anybody, "", 503, Unaware(503)),
    Row("/health/live GET", "/health/live", Anybody, "", 200, Unaware(200)),
    Row("/health/ready GET", "/health/ready", Anybody, "", 503, Unaware(503)),
    Row("/metrics GET", "/metrics", Anybody, "", 200, Unaware(200)),
    Row("/v1/audit-logs GET", "/v1/audit-logs", Key(ADMIN), "", 200, Unaware(200)),
    Row("/v1/carts POST", "/v1/carts", Storefront(CHECKOUT), "{}", 201, Unaware(201)),
    Row("/v1/carts/{id} GET", "/v1/carts/{cart}", Storefront(CHECKOUT), "", 200, NO_CART),
    Row("/v1/carts/{id}/abandon POST", "/v1/carts/{cart}/abandon", Storefront(CHECKOUT), "", 200,
        NO_CART),
    Row("/v1/carts/{id}/clear POST", "/v1/carts/{cart}/clear", Storefront(CHECKOUT), "", 200,
        NO_CART),
    Row("/v1/carts/{id}/items POST", "/v1/carts/{cart}/items", Storefront(CHECKOUT),
        r#"{"product_id": "{product}", "quantity": 1}"#, 201, NO_CART),
    Row("/v1/carts/{id}/items/{item_id} DELETE", "/v1/carts/{cart}/items/{item}",
        Storefront(CHECKOUT), "", 200, NO_CART),
    Row("/v1/carts/{id}/items/{item_id} PATCH", "/v1/carts/{cart}/items/{item}",
        Storefront(CHECKOUT), r#"{"quantity": 2}"#, 200, NO_CART),
    Row("/v1/catalog/categories GET", "/v1/catalog/categories", Storefront(CATALOG), "", 200,
        Unaware(200)),
    Row("/v1/catalog/categories POST", "/v1/catalog/categories", Key(WRITE), r#"{"name": "Anew"}"#,
        201, Unaware(201)),
    Row("/v1/catalog/products GET", "/v1/catalog/products", Storefront(CATALOG), "", 200,
        Unaware(200)),
    Row("/v1/catalog/products GET", "/v1/catalog/products?category_id={category}",
        Storefront(CATALOG), "", 200, Unaware(200)),
    Row("/v1/catalog/products POST", "/v1/catalog/products", Key(WRITE),
        r#"{"sku": "NEW", "name": "Anew", "price_minor": 1, "category_id": "{category}"}"#, 201,
        Refused(422, "category_not_found")),
    Row("/v1/catalog/products/{id} GET", "/v1/catalog/products/{product}", Storefront(CATALOG), "",
        200, NO_PRODUCT),
    Row("/v1/catalog/products/{id} PATCH", "/v1/catalog/products/{product}", Key(WRITE),
        r#"{"price_minor": 7}"#, 200, NO_PRODUCT),
    Row("/v1/catalog/products/{id}/activate POST", "/v1/catalog/products/{product}/activate",
        Key(WRITE), "", 200, NO_PRODUCT),
    Row("/v1/catalog/products/{id}/deactivate POST", "/v1/catalog/products/{product}/deactivate",
        Key(WRITE), "", 200, NO_PRODUCT),
    Row("/v1/checkout POST", "/v1/checkout", Storefront(CHECKOUT),
        r#"{"cart_id": "{cart}", "email": "eve@example.org", "payment_method": "cash"}"#, 201,
        NO_CART),
    Row("/v1/checkout/confirm-payment POST", "/v1/checkout/confirm-payment", Key(CONFIRM),
        r#"{"payment_id": "{payment}"}"#, 200, NO_PAYMENT),
    Row("/v1/currencies GET", "/v1/currencies", Storefront(CATALOG), "", 200, Unaware(200)),
    Row("/v1/currencies POST", "/v1/currencies", Key(ADMIN), r#"{"code": "USD"}"#, 201,
        Unaware(201)),
    Row("/v1/exchange-rates GET", "/v1/exchange-rates", Key(FINANCE), "", 200, Unaware(200)),
    Row("/v1/exchange-rates POST", "/v1/exchange-rates", Key(FINANCE),
        r#"{"base": "EUR", "quote": "USD", "rate": "1.1"}"#, 201, Unaware(201)),
    Row("/v1/financial-orders GET", "/v1/financial-orders", Key(FINANCE), "", 200, Unaware(200)),
    Row("/v1/financial-orders GET", "/v1/financial-orders?order_id={paid_order}", Key(FINANCE), "",
        200, Unaware(200)),
    Row("/v1/financial-orders/{id} GET", "/v1/financial-orders/{financial_order}", Key(FINANCE), "",
        200, Refused(404, "financial_order_not_found")),
    Row("/v1/financial-transactions GET", "/v1/financial-transactions", Key(FINANCE), "", 200,
        Unaware(200)),
    Row("/v1/inventory/adjustments POST", "/v1/inventory/adjustments", Key(INVENTORY),
        r#"{"product_id": "{product}", "quantity_delta": 1, "reason": "found"}"#, 201, NO_PRODUCT),
    Row("/v1/inventory/movements GET", "/v1/inventory/movements", Key(INVENTORY), "", 200,
        Unaware(200)),
    Row("/v1/inventory/movements GET", "/v1/inventory/movements?product_id={product}",
        Key(INVENTORY), "", 200, Unaware(200)),
    Row("/v1/inventory/stock/{product_id} GET", "/v1/inventory/stock/{product}", Key(INVENTORY), "",
        200, NO_PRODUCT),
    Row("/v1/inventory/stock/{product_id} PATCH", "/v1/inventory/stock/{product}", Key(INVENTORY),
        r#"{"on_hand": 99}"#, 200, NO_PRODUCT),
    Row("/v1/invoices GET", "/v1/invoices", Key(FINANCE), "", 200, Unaware(200)),
    Row("/v1/invoices GET", "/v1/invoices?order_id={paid_order}", Key(FINANCE), "", 200,
        Unaware(200)),
    Row("/v1/invoices/{id} GET", "/v1/invoices/{invoice}", Key(FINANCE), "", 200, Refused(404,
        "invoice_not_found")),
    Row("/v1/landlord/api-keys GET", "/v1/landlord/api-keys", Landlord, "", 200, NO_MATTER),
    Row("/v1/landlord/api-keys POST", "/v1/landlord/api-keys", Landlord, r#"{"name": "another"}"#,
        201, NO_MATTER),
    Row("/v1/landlord/api-keys/{id} DELETE", "/v1/landlord/api-keys/{api_key}", Landlord, "", 204,
        NO_MATTER),
    Row("/v1/landlord/queue/jobs GET", "/v1/landlord/queue/jobs?tenant=north&queue={queue}",
        Landlord, "", 200, NO_MATTER),
    Row("/v1/landlord/queue/jobs/{id} GET", "/v1/landlord/queue/jobs/{job}", Landlord, "", 200,
        NO_MATTER),
    Row("/v1/landlord/queue/jobs/{id} DELETE", "/v1/landlord/queue/jobs/{job}", Landlord, "", 200,
        NO_MATTER),
    Row("/v1/landlord/queue/jobs/{id}/retry POST", "/v1/landlord/queue/jobs/{job}/retry", Landlord,
        "", 200, NO_MATTER),
    Row("/v1/landlord/queue/release POST", "/v1/landlord/queue/release?tenant=north", Landlord, "",
        200, NO_MATTER),
    Row("/v1/landlord/queue/retry POST", "/v1/landlord/queue/retry?tenant=north", Landlord, "", 200,
        NO_MATTER),
    Row("/v1/landlord/queue/flush POST", "/v1/landlord/queue/flush?tenant=north", Landlord, "", 200,
        NO_MATTER),
    Row("/v1/landlord/queue/stats GET", "/v1/landlord/queue/stats", Landlord, "", 200, NO_MATTER),
    Row("/v1/landlord/queue/{name}/pause POST", "/v1/landlord/queue/{queue}/pause", Landlord, "",
        200, NO_MATTER),
    Row("/v1/landlord/queue/{name}/resume POST", "/v1/landlord/queue/{queue}/resume", Landlord, "",
        200, NO_MATTER),
    Row("/v1/landlord/retention GET", "/v1/landlord/retention", Landlord, "", 200, NO_MATTER),
    Row("/v1/landlord/retention/prune POST", "/v1/landlord/retention/prune", Landlord,
        r#"{"dry_run": true, "tenant": "north"}"#, 200, NO_MATTER),
    Row("/v1/landlord/tenants GET", "/v1/landlord/tenants", Landlord, "", 200, NO_MATTER),
    Row("/v1/landlord/tenants POST", "/v1/landlord/tenants", Landlord,
        r#"{"slug": "fresh", "name": "Fresh"}"#, 201, NO_MATTER),
    Row("/v1/landlord/tenants/{slug} GET", "/v1/landlord/tenants/{spare}", Landlord, "", 200,
        NO_MATTER),
    Row("/v1/landlord/tenants/{slug}/api-keys GET", "/v1/landlord/tenants/{spare}/api-keys",
        Landlord, "", 200, NO_MATTER),
    Row("/v1/landlord/tenants/{slug}/api-keys POST", "/v1/landlord/tenants/{spare}/api-keys",
        Landlord, r#"{"name": "k", "scopes": ["pos"]}"#, 201, NO_MATTER),
    Row("/v1/landlord/tenants/{slug}/domains POST", "/v1/landlord/tenants/{spare}/domains",
        Landlord, r#"{"host": "spare.example.org"}"#, 200, NO_MATTER),
    Row("/v1/landlord/tenants/{slug}/suspend POST", "/v1/landlord/tenants/{spare}/suspend",
        Landlord, "", 200, NO_MATTER),
    Row("/v1/landlord/tenants/{slug}/resume POST", "/v1/landlord/tenants/{spare}/resume", Landlord,
        "", 200, NO_MATTER),
    // The last entry of the landlord: it deletes the tenant.
    Row("/v1/landlord/tenants/{slug} DELETE", "/v1/landlord/tenants/{spare}", Landlord, "", 204,
        NO_MATTER),
    Row("/v1/ledger/accounts GET", "/v1/ledger/accounts", Key(FINANCE), "", 200, Unaware(200)),
    Row("/v1/ledger/transactions GET", "/v1/ledger/transactions", Key(FINANCE), "", 200,
        Unaware(200)),
    Row("/v1/ledger/trial-balance GET", "/v1/ledger/trial-balance", Key(FINANCE), "", 200,
        Unaware(200)),
    Row("/v1/orders GET", "/v1/orders", Key(ORDERS), "", 200, Unaware(200)),
    Row("/v1/orders/cancel-unpaid POST", "/v1/orders/cancel-unpaid", Key(ORDERS),
        r#"{"all": true}"#, 200, Unaware(200)),
    Row("/v1/orders/{id} GET", "/v1/orders/{order}", Key(ORDERS), "", 200, NO_ORDER),
    Row("/v1/orders/{id}/cancel POST", "/v1/orders/{order}/cancel", Key(ORDERS), "", 200, NO_ORDER),
    Row("/v1/orders/{id}/confirm POST", "/v1/orders/{paid_order}/confirm", Key(ORDERS), "", 200,
        NO_ORDER),
    Row("/v1/orders/{id}/ship POST", "/v1/orders/{packed_order}/ship", Key(ORDERS), "", 200,
        NO_ORDER),
    Row("/v1/payments GET", "/v1/payments", Key(PAYMENTS), "", 200, Unaware(200)),
    Row("/v1/payments GET", "/v1/payments?order_id={order}", Key(PAYMENTS), "", 200, Unaware(200)),
    Row("/v1/payments POST", "/v1/payments", Key(PAYMENTS),
        r#"{"order_id": "{unpaid_order}", "method": "cash"}"#, 201, NO_ORDER),
    Row("/v1/payments/{id} GET", "/v1/payments/{payment}", Key(PAYMENTS), "", 200, NO_PAYMENT),
    Row("/v1/payments/{id}/cancel POST", "/v1/payments/{payment}/cancel", Key(PAYMENTS), "{}", 200,
        NO_PAYMENT),
    Row("/v1/payments/{id}/confirm POST", "/v1/payments/{payment}/confirm", Key(PAYMENTS), "{}",
        200, NO_PAYMENT),
    Row("/v1/reports/revenue GET", "/v1/reports/revenue", Key(&[Scope::Reports]), "", 200,
        Unaware(200)),
    Row("/v1/sales POST", "/v1/sales", Key(&[Scope::Pos]),
        r#"{"lines": [{"product_id": "{product}", "quantity": 1}], "payments": [{"method": "cash", "amount_minor": 450}]}"#, 201, Refused(422, "product_not_found")),
    Row("/v1/settings/currency GET", "/v1/settings/currency", Key(ADMIN), "", 200, Unaware(200)),
    Row("/v1/settings/currency PATCH", "/v1/settings/currency", Key(ADMIN),
        r#"{"rate_max_age_days": 3}"#, 200, Unaware(200)),
    Row("/v1/settings/shop GET", "/v1/settings/shop", Key(ADMIN), "", 200, Unaware(200)),
    Row("/v1/settings/shop PATCH", "/v1/settings/shop", Key(ADMIN), r#"{"name": "Renamed"}"#, 200,
        Unaware(200)),
    Row("/v1/tax-rates GET", "/v1/tax-rates", Storefront(CATALOG), "", 200, Unaware(200)),
    Row("/v1/tax-rates/none POST", "/v1/tax-rates/none", Key(WRITE), "{}", 200, Unaware(200)),
    Row("/v1/tax-rates/{id} DELETE", "/v1/tax-rates/{tax_rate}", Key(WRITE), "", 204,
        NO_RATE),
    Row("/v1/tax-rates/{id} PATCH", "/v1/tax-rates/{tax_rate}", Key(WRITE), r#"{"name": "y"}"#, 200,
        NO_RATE),
    Row("/v1/tax-rates POST", "/v1/tax-rates", Key(WRITE),
        r#"{"tax_class": "new", "name": "New", "rate_ppm": 1, "valid_from": "1970-01-01T00:00:00Z"}"#, 201, Unaware(201)),
];

/// Part of every text of the first tenant.
const CANARY: &str = "marknorth";

/// Ids by their placeholder in the matrix.
type Ids = BTreeMap<&'static str, String>;

/// Two tenants with one resource of each kind, and the callers' keys.
struct Setup {
    app: TestApp,
    landlord: String,
    north: TestShop,
    south: TestShop,
    /// A key with all scopes of the first tenant, revoked.
    revoked: String,
    revoked_landlord: String,
}

impl Setup {
    async fn start() -> Self {
        let app = TestApp::start();
        let (north, south) = (app.tenant("north"), app.tenant("south"));
        let landlord = app.landlord_key();
        let mut setup = Self {
            app,
            landlord,
            north,
            south,
            revoked: String::new(),
            revoked_landlord: String::new(),
        };
        let scopes: Vec<&str> = of_tenants(&[]).iter().map(|scope| scope.as_str()).collect();
        let key = json!({"name": "gone", "scopes": scopes});
        setup.revoked = setup
            .revoked_key("/v1/landlord/tenants/north/api-keys", key)
            .await;
        setup.revoked_landlord = setup
            .revoked_key("/v1/landlord/api-keys", json!({"name": "gone"}))
            .await;
        setup
    }

    fn as_landlord(&self, method: Method, path: &str) -> Call {
        self.app.call(method, path).bearer(&self.landlord)
    }

    async fn new_key(&self, path: &str, body: Value) -> Answer {
        self.as_landlord(Method::POST, path)
            .json(body)
            .send()
            .await
            .expect(201)
    }

    /// A key that worked before it was revoked.
    async fn revoked_key(&self, path: &str, body: Value) -> String {
        let made = self.new_key(path, body).await;
        let key = made.string("/api_key");
        let works = if path.contains("/tenants/") {
            "/v1/orders"
        } else {
            "/v1/landlord/tenants"
        };
        self.app.get(works).bearer(&key).send().await.expect(200);
        let path = format!("/v1/landlord/api-keys/{}", made.string("/id"));
        self.as_landlord(Method::DELETE, &path)
            .send()
            .await
            .expect(204);
        key
    }

    /// Resources for the landlord's routes: a tenant, a key to revoke, and a discarded job.
    async fn spare(&self, ids: &mut Ids, number: usize) {
        self.north
            .raw(&jobs::insert(number, "low", "gone.kind", "discarded"))
            .expect("a job");
        ids.insert("job", jobs::id(number));
        ids.insert("queue", "low".to_owned());
        let key = self
            .new_key("/v1/landlord/api-keys", json!({"name": "spare"}))
            .await;
        ids.insert("api_key", key.string("/id"));
        ids.insert("spare", "spare".to_owned());
        let body = json!({"slug": "spare", "name": "Spare", "no_tax": true});
        let made = self
            .as_landlord(Method::POST, "/v1/landlord/tenants")
            .json(body)
            .send()
            .await;
        assert!(matches!(made.status, 201 | 409), "{}", made.text());
    }

    /// New resources of a tenant, one of each kind that a route needs. `number` makes their names
    /// unique.
    async fn ids(shop: &TestShop, number: usize) -> Ids {
        let name = |what: &str| format!("{what} {CANARY} {number}");
        let category = json!({"name": name("category")});
        let category = shop
            .post("/v1/catalog/categories")
            .json(category)
            .send()
            .await
            .expect(201);
        let product = shop.stocked(&format!("{CANARY}-{number}"), 450, 50).await;
        let body = json!({"name": name("product"), "category_id": category.string("/id")});
        shop.patch(&format!("/v1/catalog/products/{product}"))
            .json(body)
            .send()
            .await
            .expect(200);
        let rate = json!({"tax_class": format!("rate-{number}"), "name": "x", "rate_ppm": 1});
        let rate = shop.post("/v1/tax-rates").json(rate).send().await;
        let rate = rate.expect(201);
        let cart = shop.cart(&[(&product, 1)]).await;
        let shown = shop
            .get(&format!("/v1/carts/{cart}"))
            .send()
            .await
            .expect(200);
        let placed = shop.place(&[(&product, 1)], "cash").await;
        let unpaid = shop.place(&[(&product, 1)], "cash").await;
        shop.post(&format!("/v1/payments/{}/cancel", unpaid.payment))
            .send()
            .await
            .expect(200);
        let paid = shop.sell(&[(&product, 2)]).await;
        let packed = shop.sell(&[(&product, 3)]).await;
        let id = |of: &Value, pointer: &str| {
            of.pointer(pointer)
                .and_then(Value::as_str)
                .expect("an id")
                .to_owned()
        };
        let packed = id(&packed, "/order/id");
        let entries = shop
            .get("/v1/ledger/transactions?limit=1")
            .send()
            .await
            .expect(200);
        shop.move_order(&packed, "confirm").await.expect(200);
        BTreeMap::from([
            ("category", category.string("/id")),
            ("tax_rate", rate.string("/id")),
            ("product", product),
            ("item", shown.string("/items/0/id")),
            ("cart", cart),
            ("order", placed.order),
            ("payment", placed.payment),
            ("unpaid_order", unpaid.order),
            ("paid_order", id(&paid, "/order/id")),
            ("financial_order", id(&paid, "/financial_order/id")),
            ("invoice", id(&paid, "/invoice/id")),
            ("packed_order", packed),
            ("entry", entries.string("/data/0/id")),
        ])
    }
}

/// All scopes of a tenant's keys except these.
fn of_tenants(but: &[Scope]) -> Vec<Scope> {
    let all = Scope::ALL.iter().copied();
    all.filter(|scope| *scope != Scope::Landlord && !but.contains(scope))
        .collect()
}

/// Replaces the placeholders by ids.
fn filled(text: &str, ids: &Ids) -> String {
    ids.iter().fold(text.to_owned(), |text, (name, id)| {
        text.replace(&format!("{{{name}}}"), id)
    })
}

/// All rows of all tables of a tenant's file.
fn contents(shop: &TestShop) -> Vec<(String, Vec<String>)> {
    let tables = shop.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
    let rows = |table: String| {
        let rows = shop.rows(&format!("SELECT * FROM {table}"));
        (table, rows)
    };
    tables.into_iter().map(rows).collect()
}

impl Row {
    fn method(&self) -> Method {
        let (_, method) = self.0.split_once(' ').expect("a path and a method");
        method.parse().expect("a method")
    }

    /// The call, without a key.
    fn call(&self, app: &TestApp, ids: &Ids, caller: &str) -> Call {
        let path = filled(self.1, ids);
        assert!(!path.contains('{'), "{path}: an id is missing");
        let call = app
            .call(self.method(), &path)
            .key(&format!("{} {caller} {path}", self.0));
        if self.3.is_empty() {
            return call;
        }
        let body: Value = serde_json::from_str(&filled(self.3, ids)).expect("JSON");
        call.json(body)
    }

    /// Asserts a refusal with this status and code.
    async fn expect(&self, who: &str, call: Call, status: u16, code: &str) {
        let answer = call.send().await;
        let text = answer.text();
        assert_eq!(answer.status, status, "{} as {who}: {text}", self.0);
        assert_eq!(answer.problem()["code"], code, "{} as {who}", self.0);
        self.assert_no_canary(who, &answer);
    }

    /// Asserts that an answer contains nothing of the first tenant.
    fn assert_no_canary(&self, who: &str, answer: &Answer) {
        let all = format!("{:?} {}", answer.headers, answer.text());
        assert!(
            !all.to_lowercase().contains(CANARY),
            "{} as {who}: {all}",
            self.0
        );
    }

    /// Calls with the other tenant's key and the first tenant's ids.
    async fn expect_other(&self, who: &str, call: Call, ids: &Ids) {
        match self.5 {
            Refused(status, code) => self.expect(who, call, status, code).await,
            Unaware(status) => {
                let answer = call.send().await;
                let text = answer.text();
                assert_eq!(answer.status, status, "{} as {who}: {text}", self.0);
                self.assert_no_canary(who, &answer);
                for (name, id) in ids {
                    assert!(
                        !text.contains(id.as_str()),
                        "{} as {who} shows the {name}: {text}",
                        self.0
                    );
                }
            }
        }
    }

    /// Asserts the refusal of all other callers, on a route of a tenant.
    async fn refuse_on_shop(&self, setup: &Setup, ids: &Ids, scopes: &[Scope], is_public: bool) {
        let call = |caller| self.call(&setup.app, ids, caller);
        let (north, south) = (&setup.north, &setup.south);
        self.expect_other("other", call("other").bearer(&south.key), ids)
            .await;
        if is_public {
            let named = call("no key").header("x-tillbox-tenant", "south");
            self.expect_other("the other storefront", named, ids).await;
            let hosted = call("no key at a host").header("host", "south.shop.test");
            self.expect_other("the storefront at a host", hosted, ids)
                .await;
            self.expect("no key", call("no key"), 404, "tenant_not_found")
                .await;
        } else {
            let named = call("no key").header("x-tillbox-tenant", "north");
            self.expect("no key", named, 401, "unauthenticated").await;
            self.expect("no key", call("no key"), 401, "unauthenticated")
                .await;
        }
        let revoked = call("revoked").bearer(&setup.revoked);
        self.expect("revoked", revoked, 401, "invalid_api_key")
            .await;
        let few = call("too few scopes").bearer(&north.key_with(&of_tenants(scopes)));
        self.expect("too few scopes", few, 403, "insufficient_scope")
            .await;
        let landlord = call("landlord").bearer(&setup.landlord);
        self.expect("landlord", landlord, 403, "insufficient_scope")
            .await;
        let foreign = call("foreign")
            .bearer(&south.key)
            .header("x-tillbox-tenant", "north");
        self.expect("another tenant's key", foreign, 403, "tenant_mismatch")
            .await;
    }

    async fn refuse_on_landlord(&self, setup: &Setup, ids: &Ids) {
        let call = |caller| self.call(&setup.app, ids, caller);
        self.expect("no key", call("no key"), 401, "unauthenticated")
            .await;
        let revoked = call("revoked").bearer(&setup.revoked_landlord);
        self.expect("revoked", revoked, 401, "invalid_api_key")
            .await;
        let tenant = call("tenant").bearer(&setup.north.key);
        self.expect("a tenant's key", tenant, 403, "insufficient_scope")
            .await;
        let spare = call("spare").bearer(&setup.north.key_with(&[]));
        self.expect("a key without scopes", spare, 403, "insufficient_scope")
            .await;
    }

    /// Tries all callers. The allowed one is last.
    async fn run(&self, setup: &Setup, number: usize) {
        let mut ids = Setup::ids(&setup.north, number).await;
        if matches!(self.2, Landlord) {
            setup.spare(&mut ids, number).await;
        }
        let before = contents(&setup.north);
        let key = match self.2 {
            Anybody => {
                for key in [&setup.south.key, &setup.revoked] {
                    self.expect_other(
                        "anybody",
                        self.call(&setup.app, &ids, "any").bearer(key),
                        &ids,
                    )
                    .await;
                }
                None
            }
            Landlord => {
                self.refuse_on_landlord(setup, &ids).await;
                Some(setup.landlord.clone())
            }
            Key(scopes) | Storefront(scopes) => {
                let is_public = matches!(self.2, Storefront(_));
                self.refuse_on_shop(setup, &ids, scopes, is_public).await;
                Some(setup.north.key_with(&scopes[..1]))
            }
        };
        assert_eq!(
            contents(&setup.north),
            before,
            "{}: a refused caller changed something",
            self.0
        );
        let mut own = self.call(&setup.app, &ids, "own");
        if let Some(key) = &key {
            own = own.bearer(key);
        }
        let answer = own.send().await;
        assert_eq!(
            answer.status,
            self.4,
            "{} as its own: {}",
            self.0,
            answer.text()
        );
    }
}

/// `/v1/carts/{id}/items POST` for `/v1/carts/{cart}/items`: every placeholder becomes `id`.
fn skeleton(path: &str) -> String {
    let path = path.split(['?', ' ']).next().unwrap_or_default();
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn lists_every_route_and_no_other() {
    let known: BTreeSet<&str> = MATRIX.iter().map(|row| row.0).collect();
    let routes = routes();
    let there_are: BTreeSet<&str> = routes.iter().map(String::as_str).collect();
    let unknown: Vec<_> = there_are.difference(&known).collect();
    let gone: Vec<_> = known.difference(&there_are).collect();
    assert!(
        unknown.is_empty() && gone.is_empty(),
        "missing in the matrix: {unknown:?}; without a route: {gone:?}"
    );
    for row in MATRIX {
        assert_eq!(
            skeleton(row.0),
            skeleton(row.1),
            "{} is called at another path",
            row.0
        );
    }
    // The security requirements in the API description agree with the matrix.
    let document = tillbox::http::openapi();
    for row in MATRIX {
        let (path, method) = row.0.split_once(' ').expect("a path and a method");
        let security = &document["paths"][path][method.to_lowercase()]["security"];
        let wanted = match row.2 {
            Anybody => json!([{}]),
            Storefront(_) => json!([{}, {"api_key": []}]),
            Landlord | Key(_) => Value::Null,
        };
        assert_eq!(security, &wanted, "{}", row.0);
    }
}

#[tokio::test]
async fn answers_every_caller_on_every_route() {
    let setup = Setup::start().await;
    let expiry = setup
        .app
        .landlord_rows("SELECT name FROM pragma_table_info('api_key') WHERE name LIKE '%expir%'");
    assert!(
        !setup
            .app
            .landlord_rows("SELECT name FROM pragma_table_info('api_key')")
            .is_empty()
            && expiry.is_empty(),
        "keys expire now: add an expired key to the matrix"
    );
    for (number, row) in MATRIX.iter().enumerate() {
        row.run(&setup, number).await;
    }
    setup.app.work_off();
    for shop in [&setup.north, &setup.south] {
        shop.assert_integrity();
    }
}

/// Lists show the own resources. Otherwise a route that always answers with nothing would pass the
/// matrix.
#[tokio::test]
async fn shows_own_data_that_is_hidden_from_others() {
    let setup = Setup::start().await;
    let ids = Setup::ids(&setup.north, 0).await;
    setup.app.work_off();
    let mut shown = BTreeSet::new();
    for row in MATRIX
        .iter()
        .filter(|row| row.0.ends_with(" GET") && matches!(row.2, Key(_) | Storefront(_)))
    {
        let answer = row
            .call(&setup.app, &ids, "own")
            .bearer(&setup.north.key)
            .send()
            .await
            .expect(200);
        let text = answer.text();
        if text.to_lowercase().contains(CANARY) || ids.values().any(|id| text.contains(id.as_str()))
        {
            shown.insert(row.0);
        }
    }
    let silent: Vec<&str> = MATRIX
        .iter()
        .map(|row| row.0)
        .filter(|route| {
            route.ends_with(" GET")
                && route.starts_with("/v1/")
                && !route.contains("/landlord/")
                && !shown.contains(route)
        })
        .collect();
    // Sums, accounts, rates and settings contain no names. The tests of their routes compare the
    // sums.
    let wanted = [
        "/v1/currencies GET",
        "/v1/exchange-rates GET",
        "/v1/ledger/accounts GET",
        "/v1/ledger/trial-balance GET",
        "/v1/reports/revenue GET",
        "/v1/settings/currency GET",
        "/v1/settings/shop GET",
    ];
    assert_eq!(silent, wanted);
}
