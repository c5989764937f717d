//! Tests of `/v1/landlord`: tenants, domains and keys.

use http::Method;
use serde_json::{Value, json};

use crate::support::answer::pointers;
use crate::support::shop::Call;
use crate::support::{TestApp, logs};

struct Landlord {
    app: TestApp,
    key: String,
}

impl Landlord {
    fn start() -> Self {
        let app = TestApp::start();
        let key = app.landlord_key();
        Self { app, key }
    }

    fn call(&self, method: Method, path: &str) -> Call {
        self.app
            .call(method, &format!("/v1/landlord{path}"))
            .bearer(&self.key)
    }

    fn post(&self, path: &str, body: Value) -> Call {
        self.call(Method::POST, path).json(body)
    }

    fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }
}

#[tokio::test]
async fn creates_tenant_with_working_key() {
    let landlord = Landlord::start();
    let body = json!({"slug": "kiosk", "name": "Kiosk", "currency": "CHF",
        "domains": ["Kiosk.Example.org"]});
    let made = landlord
        .post("/tenants", body)
        .send()
        .await
        .expect(201)
        .json();
    assert_eq!(made["status"], "active");
    assert_eq!(
        (&made["slug"], &made["currency"]),
        (&json!("kiosk"), &json!("CHF"))
    );
    assert_eq!(made["domains"], json!(["kiosk.example.org"]));
    let key = made["api_key"].as_str().expect("a key");
    let product = json!({"sku": "A", "name": "A", "price_minor": 1});
    let call = landlord
        .app
        .call(Method::POST, "/v1/catalog/products")
        .bearer(key)
        .json(product);
    assert_eq!(call.send().await.expect(201).json()["currency"], "CHF");
    let mut shown = landlord
        .get("/tenants/kiosk")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(shown["id"], made["id"]);
    let disk = shown["disk"].take();
    assert!(disk["parts"]["other_bytes"].is_i64(), "{disk}");
    shown.as_object_mut().expect("an object").remove("disk");
    assert!(shown.get("api_key").is_none(), "{shown}");
    let listed = landlord.get("/tenants").send().await.expect(200).json();
    assert_eq!(listed["data"], json!([shown]));
    assert!(!logs().contain(key), "the log has the key");
}

#[tokio::test]
async fn accepts_tenant_id_in_paths() {
    let landlord = Landlord::start();
    let made = landlord
        .post("/tenants", json!({"slug": "kiosk", "name": "Kiosk"}))
        .send()
        .await
        .expect(201);
    let path = format!("/tenants/{}", made.string("/id"));
    assert_eq!(
        landlord.get(&path).send().await.expect(200).string("/slug"),
        "kiosk"
    );
    let suspended = landlord
        .call(Method::POST, &format!("{path}/suspend"))
        .send()
        .await
        .expect(200);
    assert_eq!(suspended.string("/status"), "suspended");
    landlord
        .get(&format!("{path}/api-keys"))
        .send()
        .await
        .expect(200);
    landlord
        .call(Method::DELETE, &path)
        .send()
        .await
        .expect(204);
    landlord
        .get(&path)
        .send()
        .await
        .refused(404, "tenant_not_found");
}

#[tokio::test]
async fn defaults_currency_to_euro() {
    let landlord = Landlord::start();
    let made = landlord
        .post("/tenants", json!({"slug": "a", "name": "A"}))
        .send()
        .await
        .expect(201);
    assert_eq!(made.json()["currency"], "EUR");
}

#[tokio::test]
async fn reports_all_faults_of_a_tenant() {
    let landlord = Landlord::start();
    let body = json!({"slug": "../x", "name": "", "currency": "eur", "domains": ["ok.example",
        "http://no"]});
    let problem = landlord
        .post("/tenants", body)
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(
        pointers(&problem),
        ["/slug", "/name", "/currency", "/domains/1"]
    );
    let body = json!({"slug": "a", "name": "A", "plan": "gold"});
    landlord
        .post("/tenants", body)
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(
        landlord.app.landlord_rows("SELECT count(*) FROM tenant"),
        ["0"]
    );
}

#[tokio::test]
async fn rejects_duplicate_slugs_and_domains() {
    let landlord = Landlord::start();
    landlord.app.tenant("corner");
    let body = json!({"slug": "corner", "name": "Again"});
    landlord
        .post("/tenants", body)
        .send()
        .await
        .refused(409, "slug_taken");
    let body = json!({"slug": "other", "name": "Other", "domains": ["corner.shop.test"]});
    landlord
        .post("/tenants", body)
        .send()
        .await
        .refused(409, "domain_taken");
    landlord
        .get("/tenants/other")
        .send()
        .await
        .refused(404, "tenant_not_found");
    landlord.app.tenant("third");
    let host = json!({"host": "corner.shop.test"});
    landlord
        .post("/tenants/third/domains", host.clone())
        .send()
        .await
        .refused(409, "domain_taken");
    // Setting its own domain again is not a change.
    landlord
        .post("/tenants/corner/domains", host)
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn resolves_new_domain_at_once() {
    let landlord = Landlord::start();
    let shop = landlord.app.tenant("corner");
    shop.product("A", 100).await;
    let list = || {
        landlord
            .app
            .get("/v1/catalog/products")
            .header("host", "new.example.org")
            .send()
    };
    list().await.refused(404, "tenant_not_found");
    let added = landlord.post(
        "/tenants/corner/domains",
        json!({"host": "new.example.org"}),
    );
    let domains = added.send().await.expect(200).json()["domains"].clone();
    assert_eq!(domains, json!(["corner.shop.test", "new.example.org"]));
    assert_eq!(list().await.expect(200).json()["data"][0]["sku"], "A");
}

#[tokio::test]
async fn rejects_sales_while_tenant_is_suspended() {
    let landlord = Landlord::start();
    let shop = landlord.app.tenant("corner");
    for _ in 0..2 {
        let suspended = landlord
            .call(Method::POST, "/tenants/corner/suspend")
            .send()
            .await
            .expect(200);
        assert_eq!(suspended.json()["status"], "suspended");
    }
    shop.get("/v1/catalog/products")
        .send()
        .await
        .refused(403, "tenant_suspended");
    let resumed = landlord
        .call(Method::POST, "/tenants/corner/resume")
        .send()
        .await
        .expect(200);
    assert_eq!(resumed.json()["status"], "active");
    shop.get("/v1/catalog/products").send().await.expect(200);
    landlord
        .call(Method::POST, "/tenants/none/suspend")
        .send()
        .await
        .refused(404, "tenant_not_found");
    landlord
        .call(Method::POST, "/tenants/NO%20SLUG/resume")
        .send()
        .await
        .refused(404, "tenant_not_found");
}

#[tokio::test]
async fn deletes_tenant_with_file_and_keys() {
    let landlord = Landlord::start();
    let shop = landlord.app.tenant("corner");
    shop.product("A", 100).await;
    let path = shop.path();
    landlord
        .call(Method::DELETE, "/tenants/corner")
        .send()
        .await
        .expect(204);
    assert!(!path.exists());
    shop.get("/v1/catalog/products")
        .send()
        .await
        .refused(401, "invalid_api_key");
    landlord
        .call(Method::DELETE, "/tenants/corner")
        .send()
        .await
        .refused(404, "tenant_not_found");
    assert_eq!(
        landlord
            .app
            .landlord_rows("SELECT count(*) FROM api_key WHERE tenant_id IS NOT NULL"),
        ["0"]
    );
}

#[tokio::test]
async fn limits_key_to_its_scopes() {
    let landlord = Landlord::start();
    landlord.app.tenant("corner");
    let body = json!({"name": "Reader", "scopes": ["reports", "catalog:read"]});
    let made = landlord
        .post("/tenants/corner/api-keys", body)
        .send()
        .await
        .expect(201)
        .json();
    assert_eq!(made["scopes"], json!(["catalog:read", "reports"]));
    let key = made["api_key"].as_str().expect("a key");
    assert!(key.starts_with(made["prefix"].as_str().expect("a prefix")));
    landlord
        .app
        .get("/v1/catalog/products")
        .bearer(key)
        .send()
        .await
        .expect(200);
    let product = json!({"sku": "A", "name": "A", "price_minor": 1});
    let create = landlord
        .app
        .call(Method::POST, "/v1/catalog/products")
        .bearer(key)
        .json(product);
    create.send().await.refused(403, "insufficient_scope");
    landlord
        .app
        .get("/v1/landlord/tenants")
        .bearer(key)
        .send()
        .await
        .refused(403, "insufficient_scope");
}

#[tokio::test]
async fn names_invalid_scopes() {
    let landlord = Landlord::start();
    landlord.app.tenant("corner");
    let body = json!({"name": "", "scopes": ["pos", "everything"]});
    let problem = landlord
        .post("/tenants/corner/api-keys", body)
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers(&problem), ["/name", "/scopes/1"]);
    assert!(
        problem["errors"][1]["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("catalog:write")),
        "{problem}"
    );
    for scopes in [json!([]), json!(["landlord"])] {
        let body = json!({"name": "K", "scopes": scopes});
        landlord
            .post("/tenants/corner/api-keys", body)
            .send()
            .await
            .refused(422, "validation_failed");
    }
    let body = json!({"name": "K", "scopes": ["landlord", "pos"]});
    let problem = landlord
        .post("/api-keys", body)
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers(&problem), ["/scopes/1"]);
    let body = json!({"name": "K", "scopes": ["pos"]});
    landlord
        .post("/tenants/none/api-keys", body)
        .send()
        .await
        .refused(404, "tenant_not_found");
}

#[tokio::test]
async fn lists_keys_with_last_use_but_without_secrets() {
    let landlord = Landlord::start();
    let shop = landlord.app.tenant("corner");
    let list = || landlord.get("/tenants/corner/api-keys").send();
    let keys = list().await.expect(200).json();
    assert_eq!(keys["data"][0]["name"], "first key");
    assert_eq!(keys["data"][0]["last_used_at"], Value::Null);
    shop.get("/v1/catalog/products").send().await.expect(200);
    let answer = list().await.expect(200);
    assert_eq!(
        answer.json()["data"][0]["last_used_at"],
        "2026-01-15T10:00:00Z"
    );
    assert!(!answer.text().contains(&shop.key));
}

#[tokio::test]
async fn rejects_revoked_key() {
    let landlord = Landlord::start();
    let shop = landlord.app.tenant("corner");
    let keys = landlord
        .get("/tenants/corner/api-keys")
        .send()
        .await
        .expect(200);
    let path = format!("/api-keys/{}", keys.string("/data/0/id"));
    shop.get("/v1/catalog/products").send().await.expect(200);
    landlord
        .call(Method::DELETE, &path)
        .send()
        .await
        .expect(204);
    shop.get("/v1/catalog/products")
        .send()
        .await
        .refused(401, "invalid_api_key");
    landlord
        .call(Method::DELETE, &path)
        .send()
        .await
        .refused(404, "api_key_not_found");
    landlord
        .call(Method::DELETE, "/api-keys/7")
        .send()
        .await
        .refused(400, "malformed_id");
    let keys = landlord
        .get("/tenants/corner/api-keys")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(keys["data"][0]["revoked_at"], "2026-01-15T10:00:00Z");
}

#[tokio::test]
async fn creates_landlord_key_with_landlord_key() {
    let landlord = Landlord::start();
    let made = landlord
        .post("/api-keys", json!({"name": "Provisioning"}))
        .send()
        .await
        .expect(201)
        .json();
    assert_eq!(made["scopes"], json!(["landlord"]));
    let key = made["api_key"].as_str().expect("a key");
    let listed = landlord
        .app
        .get("/v1/landlord/api-keys")
        .bearer(key)
        .send()
        .await
        .expect(200)
        .json();
    let names: Vec<&Value> = listed["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|key| &key["name"])
        .collect();
    assert_eq!(names, ["Provisioning", "test key"]);
    let refused = landlord.app.get("/v1/catalog/products").bearer(key);
    refused.send().await.refused(403, "insufficient_scope");
}

#[tokio::test]
async fn rejects_tenants_and_strangers_on_landlord_routes() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for path in [
        "/v1/landlord/tenants",
        "/v1/landlord/tenants/corner",
        "/v1/landlord/api-keys",
    ] {
        app.get(path).send().await.refused(401, "unauthenticated");
        shop.get(path)
            .send()
            .await
            .refused(403, "insufficient_scope");
        app.get(path).local().send().await.expect(200);
    }
    // Routes for the operator only do not exist for others, whatever their key.
    let import = || {
        app.call(Method::POST, "/v1/admin/catalog/import")
            .json(json!({"rows": []}))
    };
    import()
        .bearer(&app.landlord_key())
        .send()
        .await
        .refused(404, "route_not_found");
    import()
        .bearer(&shop.key)
        .send()
        .await
        .refused(404, "route_not_found");
}
