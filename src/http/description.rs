//! Additions to the OpenAPI document that hold for all routes: authentication, error documents, and
//! general error codes.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

use super::limit;
use super::problem::MEDIA_TYPE;
use crate::primitives::limits::{IDEMPOTENCY_KEY_CHARS_MAX, SLUG_CHARS_MAX};
use crate::rate_limit::Policy;
use crate::tenancy::Scope;

/// The pattern of an `Idempotency-Key`, bare or in double quotes.
const IDEMPOTENCY_KEY: &str = r#"^(?:[!#-~](?:[ !#-~]*[!#-~])?|"[ !#-~]*[!#-~][ !#-~]*")$"#;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The codes that any call may be refused with, beside those of its route, and what to do about
/// each.
const GENERAL_CODES: &[(&str, &str)] = &[
    (
        "body_timeout",
        "408: the body took too long to arrive; send it again",
    ),
    ("body_too_large", "413: send less at once"),
    ("body_unreadable", "400: the body broke off; send it again"),
    (
        "head_timeout",
        "408: the request line and the header fields took too long to arrive; send them in one \
        piece",
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
        "403: the key is valid, but lacks the scope",
    ),
    (
        "internal_error",
        "500: internal error; nothing was written, and the log has the cause under the \
        `request_id`",
    ),
    ("invalid_api_key", "401: the key is unknown or revoked"),
    ("malformed_id", "400: an id in the path is not a UUID"),
    ("malformed_json", "400: the body is not valid JSON"),
    ("malformed_utf8", "400: the body is not UTF-8"),
    (
        "malformed_request",
        "400: the request is not HTTP/1.1, or its host, its length, its key or its tenant is \
        ambiguous",
    ),
    (
        "method_not_allowed",
        "405: the path does not support this method",
    ),
    (
        "overloaded",
        "503: too many requests wait for this shop; try again after `Retry-After` seconds, with \
        the same key",
    ),
    (
        "rate_limited",
        "429: too many requests of this kind from one caller, or with invalid keys from one \
        address; nothing was changed; try again after `Retry-After` seconds, with the same key",
    ),
    (
        "read_timeout",
        "503: a report took too long; ask for less at once",
    ),
    (
        "request_failed",
        "the request failed for a reason without a code of its own",
    ),
    (
        "request_timeout",
        "503: the request may have been carried out; send it again with the same key",
    ),
    ("route_not_found", "404: no such path"),
    (
        "server_busy",
        "503: too many connections, or too many large bodies at once; send it again in a second",
    ),
    (
        "storage_full",
        "507: the disk is full; nothing was written, reads still work",
    ),
    (
        "storage_read_only",
        "503: the file or its file system is read-only",
    ),
    (
        "tenant_mismatch",
        "403: the key, the host and `X-Tillbox-Tenant` name different tenants",
    ),
    ("tenant_not_found", "404: no tenant has that host or slug"),
    (
        "tenant_status",
        "409: the tenant is being created or deleted",
    ),
    (
        "tenant_storage_full",
        "507: the tenant uses up its share of the disk; nothing was written; sales, payments and \
        checkouts by key still work",
    ),
    ("tenant_suspended", "403: the tenant is suspended"),
    (
        "tenant_unavailable",
        "503: the tenant's file cannot be used; others are not affected, and the log has the cause",
    ),
    (
        "too_many_connections",
        "429: too many connections from this address; close some, and reuse one for many requests",
    ),
    (
        "unauthenticated",
        "401: send a key: `Authorization: Bearer KEY`",
    ),
    (
        "unsupported_content_encoding",
        "415: send the body uncompressed",
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

/// Completes the OpenAPI document.
pub fn complete(document: &OpenApi) -> Value {
    let mut document = serde_json::to_value(document).expect("an OpenAPI document is JSON");
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
            "{about}\n\nBeside the codes of its route, any call may be refused with:\n\n{codes}"
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
        let reference = body["content"]["application/json"]["schema"]["$ref"]
            .as_str()
            .unwrap_or_default();
        let schema = &bodies[reference.rsplit('/').next().unwrap_or_default()];
        // A body whose fields are all optional is optional itself.
        body["required"] = json!(schema.get("required").is_some());
    }
    let refusals = refusals(path, operation);
    let content = json!({MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}});
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, codes) in refusals {
        let response = responses.entry(status).or_insert_with(|| json!({}));
        let mut texts: Vec<String> = Vec::from_iter(
            response["description"]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
        );
        for code in codes {
            let code = format!("`{code}`");
            if !texts.iter().any(|text| text.contains(&code)) {
                texts.push(code);
            }
        }
        response["description"] = json!(texts.join(", "));
    }
    for (status, response) in responses.iter_mut() {
        if response.get("description").is_none_or(|text| text == "") {
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
            response["headers"] = limit::header_schemas();
            if status == "429" {
                response["headers"]["Retry-After"] =
                    json!({"description": "seconds to wait", "schema": {"type": "integer"}});
            }
        }
    }
    let default = json!({"description": "an error", "content": content});
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
        // A parameter cannot be `null`; it is left out instead.
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

/// Returns the refusals that follow from an operation's form: its security, its parameters and its
/// body.
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
        "A tenant's key, or a landlord key for `/v1/landlord`. A key has scopes: {}. A call \
        outside its scopes is refused with 403 `insufficient_scope`.",
        scopes.join(", ")
    );
    json!({"type": "http", "scheme": "bearer", "description": description})
}

fn tenant() -> Value {
    json!({
        "name": "X-Tillbox-Tenant", "in": "header", "required": false,
        "description": "The tenant's slug, for callers without a key whose `Host` is not a \
        tenant's domain.",
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
            "request_id": {"type": "string", "description": "as in `X-Request-Id`; find the log \
            lines by it"},
            "errors": {"type": "array", "items": fault}
        }
    })
}
