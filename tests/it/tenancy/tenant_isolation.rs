//! Isolation of two shops with the same numbers, against every route by which one could reach the
//! other.

use serde_json::{Value, json};

use crate::cli::run::run;
use crate::support::process::Daemon;
use crate::support::{TestApp, TestShop, logs};

const PRODUCTS: &str = "/v1/catalog/products";

fn skus(list: &Value) -> Vec<String> {
    let rows = list["data"].as_array().expect("a list");
    rows.iter()
        .map(|row| format!("{} {}", row["sku"], row["price_minor"]))
        .collect()
}

/// The id of another tenant's resource is 404, never 403, in every call that accepts one.
async fn assert_ids_are_not_found(north: &TestShop, south: &TestShop, path: &str) {
    south
        .get(path)
        .send()
        .await
        .refused(404, "product_not_found");
    south
        .patch(path)
        .json(json!({"price_minor": 1}))
        .send()
        .await
        .refused(404, "product_not_found");
    south
        .post(&format!("{path}/activate"))
        .send()
        .await
        .refused(404, "product_not_found");
    south
        .post(&format!("{path}/deactivate"))
        .send()
        .await
        .refused(404, "product_not_found");
    let category = north
        .post("/v1/catalog/categories")
        .json(json!({"name": "Fruit"}))
        .send()
        .await
        .expect(201)
        .string("/id");
    let body = json!({"sku": "A-2", "name": "Two", "price_minor": 1, "category_id": category});
    south
        .post(PRODUCTS)
        .json(body)
        .send()
        .await
        .refused(422, "category_not_found");
    let filtered = south
        .get(&format!("{PRODUCTS}?category_id={category}"))
        .send()
        .await
        .expect(200);
    assert!(skus(&filtered.json()).is_empty());
}

#[tokio::test]
async fn hides_every_resource_of_other_tenant() {
    let app = TestApp::start();
    let (north, south) = (app.tenant("north"), app.tenant("south"));
    let of_north = north.product("A-1", 100).await;
    let of_south = south.product("A-1", 999).await;

    // The same SKU twice, each with its own price, and each list shows only the own product.
    assert_eq!(
        skus(&north.get(PRODUCTS).send().await.expect(200).json()),
        ["\"A-1\" 100"]
    );
    assert_eq!(
        skus(&south.get(PRODUCTS).send().await.expect(200).json()),
        ["\"A-1\" 999"]
    );

    let path = format!("{PRODUCTS}/{of_north}");
    assert_ids_are_not_found(&north, &south, &path).await;

    // A cursor is a position in a list, and gives no access to another tenant's.
    for index in 2..5 {
        north.product(&format!("A-{index}"), 100).await;
    }
    let cursor = north
        .get(&format!("{PRODUCTS}?limit=1"))
        .send()
        .await
        .expect(200)
        .string("/next_cursor");
    let rest = south
        .get(&format!("{PRODUCTS}?cursor={cursor}"))
        .send()
        .await
        .expect(200);
    assert_eq!(skus(&rest.json()), ["\"A-1\" 999"]);

    // The other tenant's file contains nothing of it.
    assert_eq!(
        north.get(&path).send().await.expect(200).json()["price_minor"],
        100
    );
    let other = format!("{PRODUCTS}/{of_south}");
    assert_eq!(
        south.get(&other).send().await.expect(200).json()["price_minor"],
        999
    );
    assert_eq!(
        (
            north.count("SELECT count(*) FROM product"),
            south.count("SELECT count(*) FROM product")
        ),
        (4, 1)
    );
    assert_eq!(
        south.count("SELECT count(*) FROM job WHERE payload LIKE '%product.changed%'"),
        0
    );
}

#[tokio::test]
async fn rejects_and_logs_key_and_host_of_different_tenants() {
    let app = TestApp::start();
    let (north, south) = (app.tenant("north"), app.tenant("south"));
    south.product("A", 1).await;
    for (name, value) in [
        ("host", "south.shop.test"),
        ("host", "SOUTH.shop.test:8080"),
        ("x-tillbox-tenant", "south"),
    ] {
        north
            .get(PRODUCTS)
            .header(name, value)
            .send()
            .await
            .refused(403, "tenant_mismatch");
        let body = json!({"sku": "B", "name": "B", "price_minor": 1});
        north
            .post(PRODUCTS)
            .header(name, value)
            .json(body)
            .send()
            .await
            .refused(403, "tenant_mismatch");
    }
    let lines = logs()
        .security()
        .of_tenant(&north.id.to_string())
        .saying("tenant mismatch");
    assert_eq!(lines.lines().len(), 6);
    let line = &lines.lines()[0];
    assert_eq!(line["named_tenant_id"], south.id.to_string());
    assert_eq!(line["path"], PRODUCTS);
    assert!(line["request_id"].is_string(), "{line}");
    assert!(!lines.contain(&north.key), "no key in a log");
    assert_eq!(
        north.count("SELECT count(*) FROM product") + south.count("SELECT count(*) FROM product"),
        1
    );

    // Host and header that disagree, without a key.
    let both = app
        .get(PRODUCTS)
        .header("host", "north.shop.test")
        .header("x-tillbox-tenant", "south");
    both.send().await.refused(403, "tenant_mismatch");
}

#[tokio::test]
async fn accepts_key_and_host_of_same_tenant() {
    let app = TestApp::start();
    let shop = app.tenant("north");
    shop.product("A", 1).await;
    shop.get(PRODUCTS)
        .header("host", "north.shop.test")
        .header("x-tillbox-tenant", "north")
        .send()
        .await
        .expect(200);
    // An unknown host is ignored: a till behind localhost calls that way.
    shop.get(PRODUCTS)
        .header("host", "127.0.0.1:8080")
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn finds_storefront_by_host_or_header() {
    let app = TestApp::start();
    let shop = app.tenant("north");
    app.tenant("south");
    shop.product("A", 1).await;
    for (name, value) in [
        ("host", "north.shop.test"),
        ("host", "NORTH.shop.test"),
        ("host", "north.shop.test:443"),
        ("x-tillbox-tenant", "north"),
    ] {
        let list = app
            .get(PRODUCTS)
            .header(name, value)
            .send()
            .await
            .expect(200)
            .json();
        assert_eq!(skus(&list), ["\"A\" 1"], "{name}: {value}");
    }
}

#[tokio::test]
async fn answers_404_for_unknown_tenant() {
    let app = TestApp::start();
    let shop = app.tenant("north");
    app.get(PRODUCTS)
        .send()
        .await
        .refused(404, "tenant_not_found");
    for (name, value) in [
        ("host", "west.shop.test"),
        ("host", "not a host"),
        ("host", "[::1]:80"),
        ("x-tillbox-tenant", "west"),
        ("x-tillbox-tenant", "NOT A SLUG"),
        ("x-tillbox-tenant", ""),
        ("x-tillbox-tenant", "../north"),
        ("x-tillbox-tenant", "north'--"),
    ] {
        app.get(PRODUCTS)
            .header(name, value)
            .send()
            .await
            .refused(404, "tenant_not_found");
    }
    app.get(PRODUCTS)
        .header("x-tillbox-tenant", b"\xff\xfe")
        .send()
        .await
        .refused(404, "tenant_not_found");
    // With a valid key, a header that names no tenant is still wrong.
    shop.get(PRODUCTS)
        .header("x-tillbox-tenant", "west")
        .send()
        .await
        .refused(404, "tenant_not_found");
}

/// The host selects the tenant, so a request with two hosts or none is rejected (RFC 9112 §3.2).
#[test]
fn rejects_requests_without_exactly_one_host() {
    use std::io::{Read as _, Write as _};
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), &[]);
    for slug in ["one", "two"] {
        let domain = format!("{slug}.example.org");
        run(
            dir.path(),
            &[
                "tenant", "create", "--no-tax", slug, "--name", slug, "--domain", &domain,
            ],
        )
        .code(0);
    }
    let ask = |target: &str, headers: &str| -> String {
        let mut stream = std::net::TcpStream::connect(daemon.address()).expect("it listens");
        write!(
            stream,
            "GET {target} HTTP/1.1\r\n{headers}connection: close\r\n\r\n"
        )
        .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text.get(9..12).unwrap_or_default().to_owned()
    };
    for (target, headers, status) in [
        (PRODUCTS, "host: one.example.org\r\n", "200"),
        (PRODUCTS, "host: ONE.example.org.:80\r\n", "200"),
        (PRODUCTS, "host: evil.example.org\r\n", "404"),
        (
            PRODUCTS,
            "host: one.example.org\r\nhost: two.example.org\r\n",
            "400",
        ),
        (
            PRODUCTS,
            "host: one.example.org\r\nhost: one.example.org\r\n",
            "400",
        ),
        (PRODUCTS, "", "400"),
        // The request target overrides the header.
        (
            "http://one.example.org/v1/catalog/products",
            "host: evil.example.org\r\n",
            "200",
        ),
        (
            "http://evil.example.org/v1/catalog/products",
            "host: one.example.org\r\n",
            "404",
        ),
    ] {
        assert_eq!(ask(target, headers), status, "{target} {headers}");
    }
}
