//! API keys and their scopes; suspended shops.

use serde_json::json;
use tillbox::platform::page::PageRequest;
use tillbox::primitives::Origin;
use tillbox::tenancy::{Scope, commands};

use crate::support::{TestApp, TestShop, blocking, logs};

const PRODUCTS: &str = "/v1/catalog/products";

fn product(sku: &str) -> serde_json::Value {
    json!({"sku": sku, "name": sku, "price_minor": 1})
}

fn set_suspended(shop: &TestShop, suspended: bool) {
    let (app, slug) = (shop.app.app(), shop.slug.clone());
    let change = || {
        app.stores
            .directory
            .change(Origin::operator(), move |work| {
                commands::set_suspended(work, &slug, suspended)
            })
            .wait()
    };
    blocking(change).expect("changed");
}

#[tokio::test]
async fn refuses_sales_and_keeps_data_of_suspended_shop() {
    let app = TestApp::start();
    let (shop, other) = (app.tenant("corner"), app.tenant("other"));
    shop.product("A", 1).await;
    set_suspended(&shop, true);
    shop.get(PRODUCTS)
        .send()
        .await
        .refused(403, "tenant_suspended");
    shop.post(PRODUCTS)
        .json(product("B"))
        .send()
        .await
        .refused(403, "tenant_suspended");
    app.get(PRODUCTS)
        .header("host", "corner.shop.test")
        .send()
        .await
        .refused(403, "tenant_suspended");
    app.get("/health/live").send().await.expect(200);
    other.product("A", 1).await;
    set_suspended(&shop, false);
    let list = shop.get(PRODUCTS).send().await.expect(200).json();
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn rejects_revoked_key_from_next_request() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let spare = shop.key_with(&[Scope::CatalogRead]);
    shop.get(PRODUCTS).bearer(&spare).send().await.expect(200);
    let (running, id) = (app.app(), shop.id);
    blocking(|| {
        let keys = running
            .stores
            .directory
            .read(move |view| {
                commands::list_keys(
                    view,
                    PageRequest::parse(None, None).expect("the first"),
                    Some(id),
                )
            })
            .wait()
            .expect("reads");
        let key = keys
            .data
            .iter()
            .find(|key| spare.starts_with(&key.prefix))
            .expect("is listed")
            .id;
        running
            .stores
            .directory
            .change(Origin::operator(), move |work| {
                commands::revoke_key(work, key)
            })
            .wait()
            .expect("revoked");
        let again = running
            .stores
            .directory
            .change(Origin::operator(), move |work| {
                commands::revoke_key(work, key)
            })
            .wait();
        assert!(again.is_err(), "a key is revoked once");
    });
    shop.get(PRODUCTS)
        .bearer(&spare)
        .send()
        .await
        .refused(401, "invalid_api_key");
    shop.get(PRODUCTS).send().await.expect(200);
}

#[tokio::test]
async fn rejects_malformed_keys_with_reason() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let mut forged = shop.key.clone();
    let last = if forged.ends_with('a') { "b" } else { "a" };
    forged.replace_range(forged.len() - 1.., last);
    for key in [
        "x",
        "tb_abc",
        &forged,
        &shop.key.to_uppercase(),
        &"a".repeat(5_000),
        "Bearer x",
        &shop.key[..12],
    ] {
        let answer = shop.get(PRODUCTS).bearer(key).send().await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{key}");
        answer.refused(401, "invalid_api_key");
    }
    for header in ["", "Bearer", "Basic dXNlcjpwYXNz", &shop.key] {
        shop.get(PRODUCTS)
            .header("authorization", header)
            .send()
            .await
            .refused(401, "unauthenticated");
    }
    shop.get(PRODUCTS)
        .header("authorization", b"Bearer \xff")
        .send()
        .await
        .refused(401, "unauthenticated");
    // Also on storefront routes, which need no key: a wrong key is never treated as a missing one.
    app.get(PRODUCTS)
        .header("host", "corner.shop.test")
        .bearer("x")
        .send()
        .await
        .refused(401, "invalid_api_key");
    assert!(
        !logs().contain(&shop.key) && !logs().contain(&forged),
        "no key in a log"
    );
}

#[tokio::test]
async fn rejects_requests_without_key() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let call = app
        .call(http::Method::POST, PRODUCTS)
        .header("host", "corner.shop.test")
        .json(product("A"));
    call.send().await.refused(401, "unauthenticated");
    shop.post(PRODUCTS)
        .anonymous()
        .json(product("A"))
        .send()
        .await
        .refused(401, "unauthenticated");
    assert_eq!(shop.count("SELECT count(*) FROM product"), 0);
}

#[tokio::test]
async fn allows_only_scopes_of_key() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let reading = shop.key_with(&[Scope::CatalogRead]);
    let writing = shop.key_with(&[Scope::CatalogWrite]);
    let others: Vec<Scope> = Scope::ALL
        .iter()
        .copied()
        .filter(|scope| !scope.as_str().starts_with("catalog"))
        .collect();
    let (selling, others): (Vec<Scope>, Vec<Scope>) = others
        .into_iter()
        .partition(|scope| matches!(scope, Scope::Checkout | Scope::Pos));
    let (selling, other) = (shop.key_with(&selling), shop.key_with(&others));
    let none = shop.key_with(&[]);
    for (key, may_read, may_write) in [
        (&reading, true, false),
        (&writing, true, true),
        (&selling, true, false),
        (&other, false, false),
        (&none, false, false),
    ] {
        let read = shop.get(PRODUCTS).bearer(key).send().await;
        let write = shop
            .post(PRODUCTS)
            .bearer(key)
            .json(product("A"))
            .send()
            .await;
        if may_read {
            read.expect(200);
        } else {
            read.refused(403, "insufficient_scope");
        }
        if may_write {
            write.expect(201);
        } else {
            write.refused(403, "insufficient_scope");
        }
    }
}

#[tokio::test]
async fn rejects_landlord_key_for_tenant_routes() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let key = app.landlord_key();
    app.get(PRODUCTS)
        .bearer(&key)
        .send()
        .await
        .refused(403, "insufficient_scope");
    app.get(PRODUCTS)
        .bearer(&key)
        .header("x-tillbox-tenant", "corner")
        .send()
        .await
        .refused(403, "insufficient_scope");
    app.get(PRODUCTS)
        .bearer(&key)
        .header("host", "corner.shop.test")
        .send()
        .await
        .refused(403, "insufficient_scope");
    shop.get(PRODUCTS).send().await.expect(200);
}

#[tokio::test]
async fn accepts_operator_without_key_but_requires_name() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let call = |app: &TestApp| app.call(http::Method::POST, PRODUCTS).local();
    call(&app)
        .header("x-tillbox-tenant", "corner")
        .json(product("A"))
        .send()
        .await
        .expect(201);
    call(&app)
        .json(product("B"))
        .send()
        .await
        .refused(404, "tenant_not_found");
    let actors = shop.rows(
        "SELECT payload ->> '$.actor' FROM job WHERE payload ->> '$.action' = 'product.created'",
    );
    assert_eq!(actors, ["operator"]);
}

#[tokio::test]
async fn stores_keys_as_hashes_and_records_their_use() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.get(PRODUCTS).send().await.expect(200);
    app.stop();
    let rows = app.landlord_rows("SELECT prefix, scopes, last_used_at FROM api_key");
    assert_eq!(rows.len(), 1);
    let cells: Vec<&str> = rows[0].split('|').collect();
    assert!(shop.key.starts_with(cells[0]) && !cells[0].is_empty());
    assert_eq!(cells[2], app.now().as_millis().to_string());
    let secret = shop
        .key
        .rsplit_once('_')
        .expect("a prefix and a secret")
        .1
        .to_owned();
    for entry in std::fs::read_dir(app.data_dir())
        .expect("reads")
        .chain(std::fs::read_dir(app.data_dir().join("tenants")).expect("reads"))
    {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let bytes = std::fs::read(&path).expect("reads");
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "the key is in {}", path.display());
        }
    }
    app.resume();
}

#[tokio::test]
async fn hides_tenant_being_created_or_deleted() {
    for status in ["creating", "deleting"] {
        let app = TestApp::start();
        let shop = app.tenant("corner");
        app.landlord_raw(&format!("UPDATE tenant SET status = '{status}'"))
            .expect("marked");
        shop.post(PRODUCTS)
            .json(product("A"))
            .send()
            .await
            .refused(404, "tenant_not_found");
        app.get(PRODUCTS)
            .header("host", "corner.shop.test")
            .send()
            .await
            .refused(404, "tenant_not_found");
        app.get(PRODUCTS)
            .header("x-tillbox-tenant", "corner")
            .send()
            .await
            .refused(404, "tenant_not_found");
        assert_eq!(shop.count("SELECT count(*) FROM product"), 0);
    }
}

#[tokio::test]
async fn separates_idempotency_keys_of_storefront_and_till() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let product = shop.product("A", 100).await;
    let storefront = |path: &str| {
        app.call(http::Method::POST, path)
            .header("host", "corner.shop.test")
    };
    let cart = storefront("/v1/carts")
        .json(json!({}))
        .send()
        .await
        .expect(201)
        .string("/id");
    let item = json!({"product_id": product, "quantity": 1});
    storefront(&format!("/v1/carts/{cart}/items"))
        .json(item)
        .send()
        .await;
    let order = json!({"cart_id": cart, "email": "ada@example.org", "payment_method": "manual"});
    let placed = storefront("/v1/checkout")
        .key("till-1-0042")
        .json(order.clone())
        .send()
        .await
        .expect(201);
    let sale = json!({"lines": [{"product_id": product, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": 100}]});
    shop.post("/v1/sales")
        .key("till-1-0042")
        .json(sale)
        .send()
        .await
        .expect(201);
    let again = storefront("/v1/checkout")
        .key("till-1-0042")
        .json(order)
        .send()
        .await
        .expect(201);
    assert_eq!(
        (again.header("idempotent-replayed"), &again.body),
        (Some("true"), &placed.body)
    );
}
