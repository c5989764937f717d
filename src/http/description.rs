//! What the API's description says besides its routes: how callers prove who they are, and what
//! every error looks like. The routes tell the rest themselves; what holds for all of them is put
//! in here, once.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

use super::limit;
use super::problem::MEDIA_TYPE;
use crate::primitives::limits::{IDEMPOTENCY_KEY_CHARS_MAX, SLUG_CHARS_MAX};
use crate::rate_limit::Policy;
use crate::tenancy::Scope;

/// An `Idempotency-Key`, bare or between two quotes.
const IDEMPOTENCY_KEY: &str = r#"^(?:[!#-~](?:[ !#-~]*[!#-~])?|"[ !#-~]*[!#-~][ !#-~]*")$"#;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The codes that any call may be refused with, beside those that stand at its route, and what to
/// do about each.
const GENERAL_CODES: &[(&str, &str)] = &[
    (
        "body_timeout",
        "408: the body took too long to arrive; send it again",
    ),
    ("body_too_large", "413: send less at once"),
    ("body_unreadable", "400: the body broke off; send it again"),
    (
        "head_timeout",
        "408: the first line and the header fields took too long to arrive; send them in one piece",
    ),
    (
        "headers_too_large",
        "431: send fewer or shorter header fields",
    ),
    (
        "idempotency_key_invalid",
        "400: send one `Idempotency-Key` of 1 to 255 printable ASCII characters",
    ),
    (
        "idempotency_key_missing",
        "400: this call moves money; send an `Idempotency-Key`",
    ),
    (
        "insufficient_scope",
        "403: the key is good, and lacks the scope",
    ),
    (
        "internal_error",
        "500: a fault of ours; nothing was written, and the log has the cause under the \
         `request_id`",
    ),
    ("invalid_api_key", "401: the key is unknown or revoked"),
    ("malformed_id", "400: an id in the path is no UUID"),
    ("malformed_json", "400: the body is no JSON"),
    ("malformed_utf8", "400: the body is not UTF-8"),
    (
        "malformed_request",
        "400: this is not HTTP/1.1, or it does not say in one way which host it is for, how long \
         it is, and whose key or store it names",
    ),
    (
        "method_not_allowed",
        "405: the path does not have that method",
    ),
    (
        "overloaded",
        "503: too many wait for this store; try again after `Retry-After` seconds, with the same \
         key",
    ),
    (
        "rate_limited",
        "429: too many requests of this kind from one caller, or with wrong keys from one address; \
         nothing was done; try again after `Retry-After` seconds, with the same key",
    ),
    (
        "read_timeout",
        "503: a report took too long; ask for less at once",
    ),
    ("request_failed", "what no other code says"),
    (
        "request_timeout",
        "503: it may have been done; send it again with the same key",
    ),
    ("route_not_found", "404: there is no such path"),
    (
        "server_busy",
        "503: too many connections, or too many large bodies at once; send it again in a second",
    ),
    (
        "storage_full",
        "507: the disk is full; nothing was written, reading goes on",
    ),
    (
        "storage_read_only",
        "503: the file or its file system cannot be written",
    ),
    (
        "tenant_mismatch",
        "403: the key, the host and `X-Tillbox-Tenant` name different stores",
    ),
    ("tenant_not_found", "404: no store has that host or slug"),
    ("tenant_status", "409: the store is being made or removed"),
    (
        "tenant_storage_full",
        "507: the store uses up its share of the disk; nothing was written; sales, payments and \
         checkouts by key go on",
    ),
    (
        "tenant_suspended",
        "403: the store sells nothing at present",
    ),
    (
        "tenant_unavailable",
        "503: the store's file cannot be used; others are not affected, and the log has the cause",
    ),
    (
        "too_many_connections",
        "429: there are too many connections from this address; close some, and keep one for many \
         requests",
    ),
    (
        "unauthenticated",
        "401: send a key: `Authorization: Bearer KEY`",
    ),
    (
        "unsupported_content_encoding",
        "415: send the body as it is",
    ),
    (
        "unsupported_media_type",
        "415: send `Content-Type: application/json`, in UTF-8",
    ),
    (
        "unsupported_transfer_coding",
        "501: the only transfer coding is `chunked`",
    ),
    ("uri_too_long", "414: send a shorter path and query"),
    (
        "validation_failed",
        "422: `errors` has a pointer, a code (`invalid`, `wrong_type`, `missing_field`, \
         `unknown_field`) and a sentence for each fault",
    ),
];

/// The whole description.
///
/// # Panics
/// Never: a description is JSON.
pub fn complete(document: &OpenApi) -> Value {
    let mut document = serde_json::to_value(document).expect("a description is JSON");
    document["components"]["schemas"]["Problem"] = problem();
    document["components"]["securitySchemes"] = json!({"api_key": api_key()});
    document["components"]["parameters"] = json!({"Tenant": tenant()});
    let codes = GENERAL_CODES
        .iter()
        .map(|(code, meaning)| format!("- `{code}` {meaning}\n"));
    let about = document["info"]["description"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let codes: String = codes.collect();
    document["info"]["description"] = json!(
        format!(
            "{about}\n\nBeside the codes at its route, any call may be refused with:\n\n{codes}"
        )
        .trim_start()
    );
    document["security"] = json!([{"api_key": []}]);
    let bodies = document["components"]["schemas"].clone();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method) {
                complete_operation(path, operation, &bodies);
            }
        }
    }
    document
}

fn complete_operation(path: &str, operation: &mut Value, bodies: &Value) {
    let is_public = operation["security"]
        .as_array()
        .is_some_and(|all| all.contains(&json!({})));
    let is_storefront = is_public && operation["security"] != json!([{}]);
    complete_parameters(operation, is_storefront);
    if let Some(body) = operation.get_mut("requestBody") {
        let named = body["content"]["application/json"]["schema"]["$ref"]
            .as_str()
            .unwrap_or_default();
        let form = &bodies[named.rsplit('/').next().unwrap_or_default()];
        // What may leave out everything may be left out itself.
        body["required"] = json!(form.get("required").is_some());
    }
    let refusals = refusals(path, operation);
    let content = json!({MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}});
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, codes) in refusals {
        let response = responses.entry(status).or_insert_with(|| json!({}));
        let mut says: Vec<String> = Vec::from_iter(
            response["description"]
                .as_str()
                .filter(|says| !says.is_empty())
                .map(str::to_owned),
        );
        for code in codes {
            let code = format!("`{code}`");
            if !says.iter().any(|said| said.contains(&code)) {
                says.push(code);
            }
        }
        response["description"] = json!(says.join(", "));
    }
    for (status, response) in responses.iter_mut() {
        if response.get("description").is_none_or(|says| says == "") {
            let phrase = status
                .parse()
                .ok()
                .and_then(|status| StatusCode::from_u16(status).ok()?.canonical_reason());
            response["description"] = json!(phrase.unwrap_or("an answer"));
        }
        if status.as_str() >= "400" && response.get("content").is_none() {
            response["content"] = content.clone();
        }
        let is_limited = is_public || Policy::of_path(path).is_some();
        if !Policy::is_probe(path) && (is_limited || status == "429") {
            response["headers"] = limit::described();
            if status == "429" {
                response["headers"]["Retry-After"] = json!({"description": "in seconds; so long is \
                    enough", "schema": {"type": "integer"}});
            }
        }
    }
    let default = json!({"description": "what is refused, and what fails", "content": content});
    responses.insert("default".to_owned(), default);
}

fn complete_parameters(operation: &mut Value, is_storefront: bool) {
    if is_storefront && operation.get("parameters").is_none() {
        operation["parameters"] = json!([]);
    }
    let Some(parameters) = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    for parameter in parameters.iter_mut() {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        let schema = &mut parameter["schema"];
        // A parameter that is not sent is not there; `null` cannot be written in it.
        if let Some(one) = schema["oneOf"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one.get("$ref").is_some()))
            .cloned()
        {
            *schema = one;
        } else if schema["type"].is_array() {
            schema["type"] = schema["type"][0].take();
        }
        if name == "Idempotency-Key" {
            *schema = json!({"type": "string", "minLength": 1,
                "maxLength": IDEMPOTENCY_KEY_CHARS_MAX, "pattern": IDEMPOTENCY_KEY});
        } else if name.ends_with("id") && schema["type"] == "string" {
            schema["format"] = json!("uuid");
        }
    }
    if is_storefront {
        parameters.push(json!({"$ref": "#/components/parameters/Tenant"}));
    }
}

/// What an operation may be refused with because of its form: who may call it, and what is read
/// from it before any rule is asked.
fn refusals(path: &str, operation: &Value) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut refusals: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut add =
        |status, codes: &[&'static str]| refusals.entry(status).or_default().extend(codes);
    let parameters = || operation["parameters"].as_array().into_iter().flatten();
    if operation["security"] != json!([{}]) {
        add("401", &["invalid_api_key", "unauthenticated"]);
        add("403", &["insufficient_scope"]);
        if !path.starts_with("/v1/landlord/") {
            add("403", &["tenant_mismatch", "tenant_suspended"]);
            add("404", &["tenant_not_found"]);
        }
    }
    if !Policy::is_probe(path) {
        add("429", &["rate_limited"]);
    }
    if parameters().any(|one| one["in"] == "path" && one["schema"]["format"] == "uuid") {
        add("400", &["malformed_id"]);
    }
    if parameters().any(|one| one["in"] == "query") {
        add("422", &["validation_failed"]);
    }
    if let Some(key) = parameters().find(|one| one["name"] == "Idempotency-Key") {
        add(
            "400",
            if key["required"] == true {
                &["idempotency_key_missing"]
            } else {
                &[]
            },
        );
        add("400", &["idempotency_key_invalid"]);
        add("422", &["idempotency_key_reused"]);
    }
    if operation.get("requestBody").is_some() {
        add("400", &["malformed_json", "malformed_utf8"]);
        add("413", &["body_too_large"]);
        add("415", &["unsupported_media_type"]);
        add("422", &["validation_failed"]);
    }
    refusals
}

fn api_key() -> Value {
    let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let description = format!(
        "A key of a store, or of the landlord for `/v1/landlord`. It has scopes: {}. What it lacks \
         is refused with 403 `insufficient_scope`.",
        scopes.join(", ")
    );
    json!({"type": "http", "scheme": "bearer", "description": description})
}

fn tenant() -> Value {
    json!({
        "name": "X-Tillbox-Tenant", "in": "header", "required": false,
        "description": "The store's slug, for callers without a key whose `Host` is no store's \
         domain.",
        "schema": {"type": "string", "maxLength": SLUG_CHARS_MAX}
    })
}

fn problem() -> Value {
    let fault = json!({
        "type": "object", "required": ["pointer", "code", "detail"],
        "properties": {
            "pointer": {"type": "string", "description": "a JSON pointer (RFC 6901) into the body, \
             or `?name` for a query parameter"},
            "code": {"type": "string"},
            "detail": {"type": "string"}
        }
    });
    json!({
        "type": "object", "description": "RFC 9457. `code` is stable; some codes come with facts \
         as further members.",
        "required": ["type", "title", "status", "detail", "code", "request_id", "errors"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string",
                "description": "what is wrong and what to do, for a person"},
            "code": {"type": "string", "example": "out_of_stock"},
            "request_id": {"type": "string", "description": "as in `X-Request-Id`; the log has its \
             lines under it"},
            "errors": {"type": "array", "items": fault}
        }
    })
}
