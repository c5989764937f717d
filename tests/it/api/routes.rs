//! Rules of all routes: their list, the answers to unknown paths, and the request id.
//!
//! After a new route: `INSTA_UPDATE=always cargo test --test it routes`.

use http::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, logs};

fn document() -> Value {
    tillbox::http::openapi()
}

/// Lists `METHOD path` of every route.
pub fn routes() -> Vec<String> {
    let document = document();
    let paths = document["paths"].as_object().expect("paths");
    let methods = |(path, item): (&String, &Value)| -> Vec<String> {
        let item = item.as_object().expect("operations");
        item.keys()
            .map(|method| format!("{path} {}", method.to_uppercase()))
            .collect()
    };
    let mut routes: Vec<String> = paths.iter().flat_map(methods).collect();
    routes.sort();
    routes
}

#[test]
fn lists_every_route() {
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true,
        snapshot_path => "."}, {
        insta::assert_snapshot!("routes", routes().join("\n"));
    });
}

#[tokio::test]
async fn describes_every_route_completely() {
    let app = TestApp::start();
    let served = app.get("/openapi.json").send().await.expect(200);
    assert_eq!(served.header("content-type"), Some("application/json"));
    let document = served.json();
    assert_eq!(document, self::document());
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1"))
    );
    // Every reference has a target.
    let text = document.to_string();
    for (place, _) in text.match_indices("\"$ref\":\"#/components/schemas/") {
        let name = text[place + 29..].split('"').next().unwrap_or_default();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name} has no description"
        );
    }
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            check_description(path, method, operation);
        }
    }
}

/// Checks that an operation describes its answers, its path parameters and its pages.
fn check_description(path: &str, method: &str, operation: &Value) {
    let responses = operation["responses"].as_object().expect("responses");
    assert!(!responses.is_empty(), "{method} {path}");
    for (status, response) in responses {
        let says = response["description"].as_str().unwrap_or_default();
        assert!(
            !says.is_empty(),
            "{method} {path} {status}: OpenAPI 3.1 wants a description"
        );
    }
    let parameters = operation
        .get("parameters")
        .map_or_else(Vec::new, |all| all.as_array().cloned().expect("a list"));
    let of = |place: &str| -> Vec<&str> {
        let named = parameters.iter().filter(|one| one["in"] == place);
        named.filter_map(|one| one["name"].as_str()).collect()
    };
    let in_path: Vec<&str> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .collect();
    assert_eq!(of("path"), in_path, "{method} {path}");
    assert_eq!(
        operation["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"],
        "#/components/schemas/Problem",
        "{method} {path}"
    );
    let answers = &operation["responses"]["200"]["content"]["application/json"]["schema"];
    let is_page = answers["$ref"]
        .as_str()
        .is_some_and(|name| name.contains("PageView"));
    assert_eq!(
        of("query").contains(&"cursor") && of("query").contains(&"limit"),
        is_page,
        "{method} {path}"
    );
}

#[test]
fn describes_headers_and_keys() {
    let document = document();
    let header = |path: &str, method: &str| -> Vec<(String, bool)> {
        let parameters = document["paths"][path][method]["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let headers = parameters.iter().filter(|one| one["in"] == "header");
        headers
            .map(|one| {
                (
                    one["name"].as_str().unwrap_or_default().to_owned(),
                    one["required"] == true,
                )
            })
            .collect()
    };
    assert_eq!(
        header("/v1/sales", "post"),
        [("Idempotency-Key".to_owned(), true)]
    );
    assert_eq!(
        header("/v1/inventory/adjustments", "post"),
        [("Idempotency-Key".to_owned(), false)]
    );
    assert_eq!(
        header("/v1/catalog/products/{id}", "patch"),
        [("If-Match".to_owned(), false)]
    );
    assert_eq!(document["paths"]["/health"]["get"]["security"], json!([{}]));
    assert_eq!(
        document["paths"]["/v1/carts"]["post"]["security"],
        json!([{}, {"api_key": []}])
    );
    assert!(
        document["paths"]["/v1/orders"]["get"]["security"].is_null(),
        "a key is required by default"
    );
}

/// Calls of one kind describe the same possible rejections. Optional fields are not described as
/// required.
#[test]
fn describes_parameters_and_refusals_of_calls() {
    let document = document();
    let operation = |path: &str, method: &str| document["paths"][path][method].clone();
    let statuses = |path: &str, method: &str| -> Vec<String> {
        let responses = operation(path, method)["responses"]
            .as_object()
            .cloned()
            .expect("responses");
        responses.keys().cloned().collect()
    };
    assert_eq!(statuses("/health/live", "get"), ["200", "default"]);
    assert_eq!(
        statuses("/v1/settings/shop", "get"),
        ["200", "401", "403", "404", "429", "default"]
    );
    assert_eq!(
        statuses("/v1/landlord/tenants", "get"),
        ["200", "401", "403", "422", "429", "default"]
    );
    assert_eq!(
        statuses("/v1/orders/{id}", "get"),
        ["200", "400", "401", "403", "404", "429", "default"]
    );
    assert_eq!(
        statuses("/v1/carts", "post"),
        [
            "201", "400", "401", "403", "404", "409", "413", "415", "422", "429", "default"
        ]
    );
    let sale = operation("/v1/sales", "post");
    let says = |status: &str| {
        sale["responses"][status]["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        says("400"),
        "`idempotency_key_missing`, `idempotency_key_invalid`, `malformed_json`, `malformed_utf8`"
    );
    assert!(
        says("422").starts_with("`validation_failed`, `product_not_found`")
            && says("422").matches("`validation_failed`").count() == 1,
        "each code is named once: {}",
        says("422")
    );
    for (path, method, required) in [
        ("/v1/sales", "post", true),
        ("/v1/carts", "post", false),
        ("/v1/orders/{id}/ship", "post", false),
        ("/v1/payments/{id}/confirm", "post", false),
    ] {
        assert_eq!(
            operation(path, method)["requestBody"]["required"],
            required,
            "{method} {path}"
        );
    }
}

#[test]
fn describes_nullable_fields_and_parameters() {
    let document = document();
    let change = &document["components"]["schemas"]["ChangeProductBody"]["properties"];
    assert_eq!(
        change["name"]["$ref"], "#/components/schemas/Name",
        "it is optional, but `null` is rejected"
    );
    assert!(change["barcode"]["oneOf"].is_array(), "`null` removes it");
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("operations").values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(
                    !parameter["schema"]["type"].is_array(),
                    "a parameter cannot be null: {parameter}"
                );
            }
        }
    }
}

/// Codes that only the command line sees: in the rejected rows of imports, and on the admin socket.
const CODES_OF_COMMANDS: &[&str] = &[
    "absurd_rate",
    "currency_fixed",
    "day_twice",
    "no_rates",
    "nothing_lost",
    "price_invalid",
    "total_mismatch",
    "unknown_sku",
    "wrong_day",
];

/// Finds quoted texts that look like a code.
fn codes_in(text: &str) -> Vec<String> {
    let quoted = text.split('"').skip(1).step_by(2);
    let is_code = |text: &&str| {
        text.contains('_')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    quoted.filter(is_code).map(str::to_owned).collect()
}

#[test]
fn describes_every_code() {
    let described = document().to_string();
    let mut codes = Vec::new();
    for source in crate::tidy::source::all() {
        let product = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        for (place, _) in product.match_indices("fn code(&self)") {
            codes.extend(codes_in(
                product[place..]
                    .split("\n    }\n")
                    .next()
                    .unwrap_or_default(),
            ));
        }
        for (place, _) in product.match_indices("refusals! {") {
            codes.extend(codes_in(
                product[place..].split("\n}\n").next().unwrap_or_default(),
            ));
        }
        for call in [
            "shop.find(",
            "Problem::new(",
            "Problem::of_status(",
            "Problem::not_found(",
        ] {
            for (place, _) in product.match_indices(call) {
                codes.extend(codes_in(
                    product[place..].split(')').next().unwrap_or_default(),
                ));
            }
        }
    }
    codes.retain(|code| !CODES_OF_COMMANDS.contains(&code.as_str()));
    assert!(codes.len() > 60, "{codes:?}");
    codes.retain(|code| !described.contains(&format!("`{code}`")));
    assert!(codes.is_empty(), "{codes:?} are returned but not described");
}

/// No route panics or answers with a bare status to a caller without a key.
#[tokio::test]
async fn answers_anonymous_calls_of_every_route_with_problem_documents() {
    let app = TestApp::start();
    app.tenant("corner");
    for route in routes() {
        let (path, method) = route.split_once(' ').expect("a path and a method");
        let path = path.replace("{id}", "018f3c9e-7b1a-7000-8000-000000000001");
        let path: String = path
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let method: Method = method.parse().expect("a method");
        let answer = app.call(method.clone(), &path).send().await;
        assert!(
            answer.status < 500 || path.starts_with("/health"),
            "{method} {path}: {}",
            answer.text()
        );
        if answer.status >= 400 && !path.starts_with("/health") {
            answer.problem();
        }
        // A method that the path does not support.
        app.call(Method::TRACE, &path)
            .send()
            .await
            .refused(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn answers_unknown_path_with_problem_document() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for path in [
        "/",
        "/v1",
        "/v1/nothing",
        "/v1/catalog/products/",
        "/v2/catalog/products",
        "/%00",
        "/v1/catalog/%ff",
        "/..%2f..",
        "//",
    ] {
        app.get(path).send().await.refused(404, "route_not_found");
    }
    let answer = shop.delete("/v1/catalog/products").send().await;
    assert!(
        answer
            .header("allow")
            .is_some_and(|allow| allow.contains("POST")),
        "RFC 9110 wants the list: {:?}",
        answer.headers
    );
    answer.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn accepts_valid_request_id() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let longest = "x".repeat(128);
    for id in ["a", "REQ-1_2.3:4", &longest] {
        let answer = shop
            .get("/v1/catalog/products")
            .header("x-request-id", id)
            .send()
            .await
            .expect(200);
        assert_eq!(answer.header("x-request-id"), Some(id));
        let problem = shop
            .get("/v1/nothing")
            .header("x-request-id", id)
            .send()
            .await
            .refused(404, "route_not_found");
        assert_eq!(problem["request_id"], id);
    }
    let body = json!({"sku": "A", "name": "A", "price_minor": 1});
    shop.post("/v1/catalog/products")
        .header("x-request-id", "till-7")
        .json(body)
        .send()
        .await
        .expect(201);
    let ids = shop.rows(
        "SELECT payload ->> '$.request_id' FROM job WHERE payload ->> '$.action' = \
        'product.created'",
    );
    assert_eq!(ids, ["till-7"], "the audit entry knows the request");
}

#[tokio::test]
async fn replaces_unsafe_request_id() {
    let app = TestApp::start();
    let too_long = "x".repeat(129);
    let mut seen = Vec::new();
    for id in [
        &b""[..],
        b"a b",
        b"a\tb",
        b"\"",
        b"<script>",
        b"\xc3\xa9",
        b"\xff",
        too_long.as_bytes(),
        b"a;b",
        b"a,b",
    ] {
        let answer = app
            .get("/health/live")
            .header("x-request-id", id)
            .send()
            .await
            .expect(200);
        let made = answer
            .header("x-request-id")
            .expect("one is made")
            .to_owned();
        assert!(made.starts_with("req_") && made.len() == 36, "{made}");
        assert!(!seen.contains(&made), "each is a new request");
        seen.push(made);
    }
}

/// The caller gets only the request id of a fault; the log has its cause with that id.
#[tokio::test]
async fn logs_cause_of_fault_with_request_id() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let id = shop.product("TEA", 450).await;
    shop.raw("UPDATE product SET currency = 'ÄÖÜ'")
        .expect("tampered");
    let path = format!("/v1/catalog/products/{id}");
    let sale = json!({"lines": [{"product_id": id, "quantity": 1}], "payments": [{"method": "cash",
        "amount_minor": 450}]});
    shop.get(&path)
        .header("x-request-id", "read-7")
        .send()
        .await
        .refused(500, "internal_error");
    let selling = shop
        .post("/v1/sales")
        .key("k")
        .json(sale)
        .header("x-request-id", "write-7");
    selling.send().await.refused(500, "internal_error");
    for request in ["read-7", "write-7"] {
        let lines = logs()
            .of_tenant(&shop.id.to_string())
            .saying("request failed");
        let lines = lines.only(|line| line["request_id"] == request);
        assert_eq!(lines.lines().len(), 1, "{request}: {lines:?}");
        assert!(
            lines.lines()[0]["error"]
                .as_str()
                .is_some_and(|error| error.contains(':')),
            "with its cause: {lines:?}"
        );
    }
}
