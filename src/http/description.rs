//! What the API's description says besides its routes: how callers prove who they are, and what every error looks like. The routes tell
//! the rest themselves; what holds for all of them is put in here, once.

use http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

use super::problem::MEDIA_TYPE;
use crate::primitives::limits::SLUG_CHARS_MAX;
use crate::tenancy::Scope;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The whole description.
///
/// # Panics
/// Never: a description is JSON.
pub fn complete(document: &OpenApi) -> Value {
    let mut document = serde_json::to_value(document).expect("a description is JSON");
    document["components"]["schemas"]["Problem"] = problem();
    document["components"]["securitySchemes"] = json!({"api_key": api_key()});
    document["components"]["parameters"] = json!({"Tenant": tenant()});
    document["security"] = json!([{"api_key": []}]);
    for item in document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method) {
                complete_operation(operation);
            }
        }
    }
    document
}

fn complete_operation(operation: &mut Value) {
    let content = json!({MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}});
    if let Some(responses) = operation["responses"].as_object_mut() {
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
        }
        let default = json!({"description": "what is refused, and what fails", "content": content});
        responses.insert("default".to_owned(), default);
    }
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
        let is_id = parameter["name"].as_str().is_some_and(|name| name.ends_with("id"));
        if is_id && parameter["schema"]["type"] == "string" {
            parameter["schema"]["format"] = json!("uuid");
        }
    }
    let is_public = operation["security"]
        .as_array()
        .is_some_and(|all| all.len() > 1 && all.contains(&json!({})));
    if is_public {
        let tenant = json!({"$ref": "#/components/parameters/Tenant"});
        match operation.get_mut("parameters").and_then(Value::as_array_mut) {
            Some(parameters) => parameters.push(tenant),
            None => operation["parameters"] = json!([tenant]),
        }
    }
}

fn api_key() -> Value {
    let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let description = format!(
        "A key of a store, or of the landlord for `/v1/landlord`. It has scopes: {}. What it lacks is refused with 403 `insufficient_scope`.",
        scopes.join(", ")
    );
    json!({"type": "http", "scheme": "bearer", "description": description})
}

fn tenant() -> Value {
    json!({
        "name": "X-Tillbox-Tenant", "in": "header", "required": false,
        "description": "The store's slug, for callers without a key whose `Host` is no store's domain.",
        "schema": {"type": "string", "maxLength": SLUG_CHARS_MAX}
    })
}

fn problem() -> Value {
    let fault = json!({
        "type": "object", "required": ["pointer", "code", "detail"],
        "properties": {
            "pointer": {"type": "string", "description": "a JSON pointer (RFC 6901) into the body, or `?name` for a query parameter"},
            "code": {"type": "string"},
            "detail": {"type": "string"}
        }
    });
    json!({
        "type": "object", "description": "RFC 9457. `code` is stable; some codes come with facts as further members.",
        "required": ["type", "title", "status", "detail", "code", "request_id", "errors"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "what is wrong and what to do, for a person"},
            "code": {"type": "string", "example": "out_of_stock"},
            "request_id": {"type": "string", "description": "as in `X-Request-Id`; the log has its lines under it"},
            "errors": {"type": "array", "items": fault}
        }
    })
}
