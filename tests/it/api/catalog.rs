//! Tests of `/v1/catalog`: products and categories.

use serde_json::{Value, json};
use tillbox::primitives::limits::PRICE_MINOR_MAX;

use crate::support::answer::pointers;
use crate::support::{Answer, TestApp, TestShop};

const PRODUCTS: &str = "/v1/catalog/products";
const CATEGORIES: &str = "/v1/catalog/categories";
const NOBODY: &str = "018f3c9e-7b1a-7000-8000-000000000001";

fn apple() -> Value {
    json!({"sku": "A-1", "name": "Apple", "price_minor": 120})
}

/// Changes members of `body`; `null` members stay `null`.
fn with(mut body: Value, changes: Value) -> Value {
    let members = body.as_object_mut().expect("an object");
    members.extend(changes.as_object().expect("an object").clone());
    body
}

async fn create(shop: &TestShop, body: Value) -> Answer {
    shop.post(PRODUCTS).json(body).send().await
}

#[tokio::test]
async fn creates_product_and_keeps_it_over_a_restart() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let category = shop
        .post(CATEGORIES)
        .json(json!({"name": "Fruit"}))
        .send()
        .await
        .expect(201)
        .string("/id");
    let body = with(
        apple(),
        json!({"track_stock": true, "barcode": "4006381333931", "category_id": category}),
    );
    let created = create(&shop, body).await.expect(201);
    let id = created.string("/id");
    let expected = json!({
        "id": id, "sku": "A-1", "barcode": "4006381333931", "name": "Apple", "price_minor": 120,
            "currency": "EUR",
        "tax_class": "standard", "track_stock": true, "category_id": category, "active": true,
        "unit": "C62", "quantity_scale": 0, "updated_at": "2026-01-15T10:00:00Z"
    });
    assert_eq!(created.json(), expected);
    assert_eq!(created.header("etag"), Some("\"v1\""));
    app.restart();
    let shown = shop
        .get(&format!("{PRODUCTS}/{id}"))
        .send()
        .await
        .expect(200);
    assert_eq!(shown.json(), expected);
    assert_eq!(shown.header("etag"), Some("\"v1\""));
    assert_eq!(
        shop.count(
            "SELECT count(*) FROM job WHERE queue = 'audit' AND payload ->> '$.action' = \
            'product.created'"
        ),
        1
    );
}

#[tokio::test]
async fn uses_defaults_for_omitted_fields() {
    let shop = TestApp::start().tenant_in("corner", "JPY");
    let product = create(&shop, apple()).await.expect(201).json();
    assert_eq!(
        (
            &product["currency"],
            &product["tax_class"],
            &product["track_stock"]
        ),
        (&json!("JPY"), &json!("standard"), &json!(false))
    );
    assert!(product["barcode"].is_null() && product["category_id"].is_null());
    let free = create(
        &shop,
        json!({"sku": "0", "name": "Free", "price_minor": 0, "currency": "USD"}),
    )
    .await
    .expect(201);
    assert_eq!(free.json()["currency"], "USD");
}

#[tokio::test]
async fn reports_all_faults_of_a_body_with_pointers() {
    let shop = TestApp::start().tenant("corner");
    let body = json!({
        "sku": "", "name": " ", "price_minor": -1, "currency": "EURO", "tax_class": "",
            "barcode": "\n", "category_id": "1"
    });
    let problem = create(&shop, body).await.refused(422, "validation_failed");
    assert_eq!(
        pointers(&problem),
        [
            "/sku",
            "/name",
            "/price_minor",
            "/currency",
            "/tax_class",
            "/barcode",
            "/category_id"
        ]
    );
    let details = problem["errors"].as_array().expect("faults");
    assert!(
        details
            .iter()
            .all(|fault| fault["detail"].as_str().is_some_and(|text| text.len() > 8)),
        "{problem}"
    );
    assert_eq!(shop.count("SELECT count(*) FROM product"), 0);
}

#[tokio::test]
async fn rejects_invalid_value_with_its_pointer() {
    let shop = TestApp::start().tenant("corner");
    let max = PRICE_MINOR_MAX;
    for (change, pointer) in [
        (json!({"price_minor": -1}), "/price_minor"),
        (json!({"price_minor": max + 1}), "/price_minor"),
        (json!({"price_minor": i64::MIN}), "/price_minor"),
        (json!({"price_minor": u64::MAX}), "/price_minor"),
        (json!({"price_minor": 1.5}), "/price_minor"),
        (json!({"price_minor": 1.0}), "/price_minor"),
        (json!({"price_minor": "120"}), "/price_minor"),
        (json!({"price_minor": null}), "/price_minor"),
        (json!({"price_minor": [1]}), "/price_minor"),
        (json!({"sku": 1}), "/sku"),
        (json!({"sku": "x".repeat(65)}), "/sku"),
        (json!({"sku": "a\u{0}b"}), "/sku"),
        (json!({"sku": " A"}), "/sku"),
        (json!({"name": "x".repeat(201)}), "/name"),
        (json!({"name": "a\nb"}), "/name"),
        (json!({"name": {"en": "Apple"}}), "/name"),
        (json!({"currency": "eur"}), "/currency"),
        (json!({"currency": "ZZZ"}), "/currency"),
        (json!({"currency": 978}), "/currency"),
        (json!({"track_stock": "yes"}), "/track_stock"),
        (json!({"track_stock": 1}), "/track_stock"),
        (
            json!({"category_id": "00000000-0000-0000-0000-000000000000"}),
            "/category_id",
        ),
        (json!({"barcode": "x".repeat(81)}), "/barcode"),
        (json!({"price": 1}), ""),
        (json!({"id": NOBODY}), ""),
        (json!({"Name": "Apple"}), ""),
    ] {
        let problem = create(&shop, with(apple(), change.clone()))
            .await
            .refused(422, "validation_failed");
        let found = pointers(&problem);
        assert_eq!(found.len(), 1, "{change}: {problem}");
        if !pointer.is_empty() {
            assert_eq!(found[0], pointer, "{change}");
        }
    }
    for missing in ["sku", "name", "price_minor"] {
        let mut body = apple();
        body.as_object_mut().expect("an object").remove(missing);
        let problem = create(&shop, body).await.refused(422, "validation_failed");
        assert!(
            problem["errors"][0]["detail"]
                .as_str()
                .is_some_and(|text| text.contains(missing)),
            "{problem}"
        );
    }
    assert_eq!(shop.count("SELECT count(*) FROM product"), 0);
    create(&shop, with(apple(), json!({"price_minor": max})))
        .await
        .expect(201);
}

#[tokio::test]
async fn names_unknown_field() {
    let shop = TestApp::start().tenant("corner");
    let problem = create(&shop, with(apple(), json!({"colour": "red"})))
        .await
        .refused(422, "validation_failed");
    assert_eq!(problem["errors"][0]["code"], "unknown_field");
    assert!(
        problem["errors"][0]["detail"]
            .as_str()
            .is_some_and(|text| text.contains("colour")),
        "{problem}"
    );
}

#[tokio::test]
async fn rejects_duplicate_field() {
    let shop = TestApp::start().tenant("corner");
    let body = r#"{"sku": "A", "name": "A", "price_minor": 1, "price_minor": 2}"#;
    let call = shop
        .post(PRODUCTS)
        .header("content-type", "application/json")
        .bytes(body);
    call.send().await.refused(422, "validation_failed");
}

#[tokio::test]
async fn rejects_invalid_json() {
    let shop = TestApp::start().tenant("corner");
    let good = apple().to_string();
    let deep = "[".repeat(10_000);
    // An empty body is an empty object, whatever its content type.
    let nothing = shop
        .post(PRODUCTS)
        .header("content-type", "application/json");
    nothing.send().await.refused(422, "validation_failed");
    for body in [
        " ",
        "{",
        "nonsense",
        "{'sku': 1}",
        "{\"sku\": \"A\",}",
        &good[..good.len() - 1],
        &format!("{good}{good}"),
        &format!("{good} x"),
        &deep,
    ] {
        let call = shop
            .post(PRODUCTS)
            .header("content-type", "application/json")
            .bytes(body);
        let answer = call.send().await;
        // A truncated body of another type is reported by its type.
        let (status, code) = if body == deep {
            (422, "validation_failed")
        } else {
            (400, "malformed_json")
        };
        answer.refused(status, code);
    }
    for body in ["null", "[]", "1", "\"text\"", "true"] {
        let call = shop
            .post(PRODUCTS)
            .header("content-type", "application/json")
            .bytes(body);
        call.send().await.refused(422, "validation_failed");
    }
    for body in [
        &b"{\"sku\": \"\xff\"}"[..],
        b"\xff\xfe{\x00}\x00",
        b"{\"sku\": \"\xed\xa0\x80\"}",
    ] {
        let call = shop
            .post(PRODUCTS)
            .header("content-type", "application/json")
            .bytes(body);
        call.send().await.refused(400, "malformed_utf8");
    }
    let lone = r#"{"sku": "A", "name": "\ud800", "price_minor": 1}"#;
    let call = shop
        .post(PRODUCTS)
        .header("content-type", "application/json")
        .bytes(lone);
    call.send().await.refused(400, "malformed_json");
    assert_eq!(shop.count("SELECT count(*) FROM product"), 0);
}

#[tokio::test]
async fn rejects_body_of_another_content_type() {
    let shop = TestApp::start().tenant("corner");
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
        "json",
        "multipart/form-data; boundary=x",
    ] {
        let call = shop
            .post(PRODUCTS)
            .header("content-type", media_type)
            .bytes(apple().to_string());
        call.send().await.refused(415, "unsupported_media_type");
    }
    shop.post(PRODUCTS)
        .bytes(apple().to_string())
        .send()
        .await
        .refused(415, "unsupported_media_type");
    for (index, media_type) in [
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/vnd.shop+json",
    ]
    .into_iter()
    .enumerate()
    {
        let body = with(apple(), json!({"sku": format!("A-{index}")})).to_string();
        shop.post(PRODUCTS)
            .header("content-type", media_type)
            .bytes(body)
            .send()
            .await
            .expect(201);
    }
}

#[tokio::test]
async fn accepts_body_at_the_limit_and_rejects_one_above() {
    let shop = TestApp::start().tenant("corner");
    let limit = 1 << 20;
    let padded = |bytes: usize| {
        let body = apple().to_string();
        let blanks = " ".repeat(bytes - body.len());
        format!("{body}{blanks}")
    };
    let call = |body: String| {
        shop.post(PRODUCTS)
            .header("content-type", "application/json")
            .bytes(body)
    };
    call(padded(limit + 1))
        .send()
        .await
        .refused(413, "body_too_large");
    call(padded(20 * limit))
        .send()
        .await
        .refused(413, "body_too_large");
    assert_eq!(shop.count("SELECT count(*) FROM product"), 0);
    call(padded(limit)).send().await.expect(201);
}

#[tokio::test]
async fn rejects_duplicate_sku_and_barcode() {
    let shop = TestApp::start().tenant("corner");
    create(&shop, with(apple(), json!({"barcode": "123"})))
        .await
        .expect(201);
    create(&shop, apple()).await.refused(409, "sku_taken");
    create(
        &shop,
        with(apple(), json!({"sku": "A-2", "barcode": "123"})),
    )
    .await
    .refused(409, "barcode_taken");
    let other = create(&shop, with(apple(), json!({"sku": "A-2"})))
        .await
        .expect(201)
        .string("/id");
    let path = format!("{PRODUCTS}/{other}");
    shop.patch(&path)
        .json(json!({"sku": "A-1"}))
        .send()
        .await
        .refused(409, "sku_taken");
    shop.patch(&path)
        .json(json!({"barcode": "123"}))
        .send()
        .await
        .refused(409, "barcode_taken");
    // A product may keep its own SKU and barcode.
    shop.patch(&path)
        .json(json!({"sku": "A-2", "name": "Other"}))
        .send()
        .await
        .expect(200);
    assert_eq!(shop.count("SELECT count(*) FROM product"), 2);
    create(
        &shop,
        with(apple(), json!({"sku": "A-3", "tax_class": "luxury"})),
    )
    .await
    .refused(422, "unknown_tax_class");
    create(
        &shop,
        with(apple(), json!({"sku": "A-3", "category_id": NOBODY})),
    )
    .await
    .refused(422, "category_not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creates_one_product_when_many_request_the_same_sku() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let shop = shop.clone();
        calls.spawn(async move { create(&shop, apple()).await.status });
    }
    let mut statuses = calls.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(
        statuses[1..].iter().all(|status| *status == 409),
        "{statuses:?}"
    );
    assert_eq!(shop.count("SELECT count(*) FROM product"), 1);
    assert_eq!(
        shop.count("SELECT count(*) FROM job"),
        1,
        "rejected requests log nothing"
    );
}

#[tokio::test]
async fn keeps_unnamed_fields_when_changed() {
    let shop = TestApp::start().tenant("corner");
    let created = create(&shop, with(apple(), json!({"barcode": "123"})))
        .await
        .expect(201);
    let path = format!("{PRODUCTS}/{}", created.string("/id"));
    let changed = shop
        .patch(&path)
        .json(json!({"price_minor": 150}))
        .send()
        .await
        .expect(200);
    assert_eq!(
        changed.json(),
        with(created.json(), json!({"price_minor": 150}))
    );
    assert_eq!(changed.header("etag"), Some("\"v2\""));
    let bare = shop
        .patch(&path)
        .json(json!({"barcode": null}))
        .send()
        .await
        .expect(200);
    assert!(bare.json()["barcode"].is_null());
    let same = shop.patch(&path).json(json!({})).send().await.expect(200);
    assert_eq!(same.json(), bare.json());
    assert_eq!(
        same.header("etag"),
        bare.header("etag"),
        "equal values are not a change"
    );
    for (change, pointer) in [
        (json!({"price_minor": -5}), "/price_minor"),
        (json!({"sku": ""}), "/sku"),
        (json!({"name": null}), "/name"),
        (json!({"track_stock": null}), "/track_stock"),
    ] {
        let problem = shop
            .patch(&path)
            .json(change)
            .send()
            .await
            .refused(422, "validation_failed");
        assert_eq!(pointers(&problem), [pointer]);
    }
    for change in [
        json!({"currency": "USD"}),
        json!({"active": false}),
        json!({"id": NOBODY}),
    ] {
        shop.patch(&path)
            .json(change)
            .send()
            .await
            .refused(422, "validation_failed");
    }
    assert_eq!(shop.get(&path).send().await.expect(200).json(), bare.json());
}

#[tokio::test]
async fn detects_lost_update() {
    let shop = TestApp::start().tenant("corner");
    let created = create(&shop, apple()).await.expect(201);
    let path = format!("{PRODUCTS}/{}", created.string("/id"));
    let tag = created.header("etag").expect("a tag").to_owned();
    let change = |tag: &str, price: i64| {
        shop.patch(&path)
            .header("if-match", tag)
            .json(json!({"price_minor": price}))
    };
    change(&tag, 1).send().await.expect(200);
    change(&tag, 2).send().await.refused(412, "stale_version");
    for foreign in [
        "\"abc\"",
        "W/\"v2\"",
        "v2",
        "\"v\"",
        "\"v99999999999999999999\"",
        "",
    ] {
        change(foreign, 3)
            .send()
            .await
            .refused(412, "stale_version");
    }
    shop.post(&format!("{path}/deactivate"))
        .header("if-match", &tag)
        .send()
        .await
        .refused(412, "stale_version");
    assert_eq!(
        shop.get(&path).send().await.expect(200).json()["price_minor"],
        1
    );
    change("\"v2\"", 4).send().await.expect(200);
    change("*", 5).send().await.expect(200);
}

#[tokio::test]
async fn deactivates_and_reactivates_product() {
    let shop = TestApp::start().tenant("corner");
    let path = format!("{PRODUCTS}/{}", shop.product("A", 1).await);
    for (step, active, tag) in [
        ("deactivate", false, "\"v2\""),
        ("deactivate", false, "\"v2\""),
        ("activate", true, "\"v3\""),
        ("activate", true, "\"v3\""),
    ] {
        let answer = shop
            .post(&format!("{path}/{step}"))
            .send()
            .await
            .expect(200);
        assert_eq!(answer.json()["active"], active);
        assert_eq!(
            answer.header("etag"),
            Some(tag),
            "equal values are not a change"
        );
    }
    let actions = shop.rows("SELECT payload ->> '$.action' FROM job ORDER BY seq");
    assert_eq!(
        actions,
        [
            "product.created",
            "product.deactivated",
            "product.activated"
        ]
    );
}

#[tokio::test]
async fn rejects_malformed_and_unknown_ids() {
    let shop = TestApp::start().tenant("corner");
    for id in [
        "1",
        "x",
        "A-1",
        "00000000-0000-0000-0000-000000000000",
        "%20",
        "018f3c9e7b1a70008000000000000001",
        "..",
        "%00",
        "'; DROP TABLE product",
    ] {
        let path = format!("{PRODUCTS}/{}", id.replace(' ', "%20"));
        shop.get(&path).send().await.refused(400, "malformed_id");
        shop.patch(&path)
            .json(json!({}))
            .send()
            .await
            .refused(400, "malformed_id");
    }
    shop.get(&format!("{PRODUCTS}/%ff"))
        .send()
        .await
        .expect(400)
        .problem();
    let path = format!("{PRODUCTS}/{NOBODY}");
    shop.get(&path)
        .send()
        .await
        .refused(404, "product_not_found");
    shop.patch(&path)
        .json(json!({}))
        .send()
        .await
        .refused(404, "product_not_found");
    shop.post(&format!("{path}/activate"))
        .send()
        .await
        .refused(404, "product_not_found");
}

#[tokio::test]
async fn keeps_pages_stable_while_rows_are_inserted() {
    let shop = TestApp::start().tenant("corner");
    for index in 0..7 {
        shop.product(&format!("A-{index}"), 1).await;
    }
    let (mut seen, mut path) = (Vec::new(), format!("{PRODUCTS}?limit=3"));
    loop {
        let page = shop.get(&path).send().await.expect(200).json();
        let rows = page["data"].as_array().expect("rows");
        seen.extend(
            rows.iter()
                .map(|row| row["sku"].as_str().unwrap_or_default().to_owned()),
        );
        shop.product(&format!("NEW-{}", seen.len()), 1).await;
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{PRODUCTS}?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(
        seen,
        ["A-6", "A-5", "A-4", "A-3", "A-2", "A-1", "A-0"],
        "each once, newest first, without new rows"
    );
}

#[tokio::test]
async fn rejects_invalid_page_parameters() {
    let shop = TestApp::start().tenant("corner");
    shop.product("A", 1).await;
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1e2",
        "limit=99999999999999999999",
        "cursor=",
        "cursor=1",
        "cursor=c",
        "cursor=c0",
        "cursor=cfffffffffffffffff",
        "cursor=c-1",
        "cursor=%00",
    ] {
        let problem = shop
            .get(&format!("{PRODUCTS}?{query}"))
            .send()
            .await
            .refused(422, "validation_failed");
        let (name, _) = query.split_once('=').expect("a name and a value");
        assert_eq!(pointers(&problem), [format!("?{name}")], "{query}");
    }
    let exact = shop
        .get(&format!("{PRODUCTS}?limit=1"))
        .send()
        .await
        .expect(200)
        .json();
    assert!(
        exact["next_cursor"].is_null(),
        "a full last page has no next one"
    );
    shop.get(&format!("{PRODUCTS}?limit=200"))
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn filters_lists() {
    let shop = TestApp::start().tenant("corner");
    let category = shop
        .post(CATEGORIES)
        .json(json!({"name": "Fruit"}))
        .send()
        .await
        .expect(201)
        .string("/id");
    create(&shop, with(apple(), json!({"category_id": category})))
        .await
        .expect(201);
    shop.product("B", 1).await;
    let skus = async |query: &str| -> Vec<Value> {
        let list = shop
            .get(&format!("{PRODUCTS}?{query}"))
            .send()
            .await
            .expect(200)
            .json();
        list["data"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["sku"].clone())
            .collect()
    };
    assert_eq!(skus(&format!("category_id={category}")).await, ["A-1"]);
    assert_eq!(skus("sku=B").await, ["B"]);
    assert!(skus("sku=C").await.is_empty());
    assert!(skus(&format!("category_id={NOBODY}")).await.is_empty());
    let problem = shop
        .get(&format!("{PRODUCTS}?category_id=x&sku="))
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers(&problem), ["?category_id", "?sku"]);
    shop.get(&format!("{PRODUCTS}?colour=red"))
        .send()
        .await
        .refused(422, "validation_failed");
}

#[tokio::test]
async fn requires_unique_category_names() {
    let shop = TestApp::start().tenant("corner");
    let category = shop
        .post(CATEGORIES)
        .json(json!({"name": "Fruit"}))
        .send()
        .await
        .expect(201)
        .json();
    shop.post(CATEGORIES)
        .json(json!({"name": "Fruit"}))
        .send()
        .await
        .refused(409, "category_taken");
    for body in [
        json!({}),
        json!({"name": ""}),
        json!({"name": 1}),
        json!({"name": "x".repeat(201)}),
        json!({"name": "A", "parent": 1}),
    ] {
        shop.post(CATEGORIES)
            .json(body)
            .send()
            .await
            .refused(422, "validation_failed");
    }
    let list = shop.get(CATEGORIES).send().await.expect(200).json();
    assert_eq!(list, json!({"data": [category], "next_cursor": null}));
}

#[tokio::test]
async fn finds_product_by_sku_or_barcode() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop
        .product_with("TEA", 450, json!({"barcode": "4006381333931"}))
        .await;
    let mug = shop.product("MUG", 900).await;
    shop.post(&format!("/v1/catalog/products/{mug}/deactivate"))
        .send()
        .await
        .expect(200);
    let ids = |answer: crate::support::Answer| -> Vec<String> {
        let data = answer.expect(200).json()["data"]
            .as_array()
            .cloned()
            .expect("a list");
        data.iter()
            .map(|product| product["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    for (query, found) in [
        ("barcode=4006381333931", vec![&tea]),
        ("barcode=1", vec![]),
        ("sku=MUG", vec![&mug]),
        ("sku=MUG&active=true", vec![]),
        ("active=true", vec![&tea]),
        ("active=false", vec![&mug]),
        ("", vec![&mug, &tea]),
    ] {
        let answer = shop
            .get(&format!("/v1/catalog/products?{query}"))
            .send()
            .await;
        assert_eq!(ids(answer).iter().collect::<Vec<_>>(), found, "{query}");
    }
    let storefront = app
        .get("/v1/catalog/products")
        .header("x-tillbox-tenant", "corner")
        .send()
        .await;
    assert_eq!(
        ids(storefront),
        std::slice::from_ref(&tea),
        "inactive products are hidden from the storefront"
    );
    for (product, status) in [(&tea, 200), (&mug, 404)] {
        let path = format!("/v1/catalog/products/{product}");
        let shown = app
            .get(&path)
            .header("x-tillbox-tenant", "corner")
            .send()
            .await;
        assert_eq!(shown.status, status, "{}", shown.text());
        shop.get(&path).send().await.expect(200);
    }
    let unknown = shop
        .get("/v1/catalog/products?colour=red")
        .send()
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers(&unknown), ["?colour"]);
    let detail = unknown["errors"][0]["detail"].as_str().unwrap_or_default();
    assert!(detail.starts_with("unknown field"), "in a word: {detail}");
    let both = shop
        .get("/v1/catalog/products?sku=TEA&barcode=1")
        .send()
        .await;
    both.refused(422, "validation_failed");
}
