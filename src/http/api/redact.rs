//! Redaction of secrets in documents that an operator sees: a payload may hold a token for its
//! receiver.

use serde_json::Value;

use crate::tenancy::keys;

/// The replacement of a secret.
const REDACTED: &str = "***";

/// A member is secret when its name contains one of these words, whatever its value.
const WORDS: &[&str] = &[
    "secret",
    "password",
    "passwd",
    "token",
    "authorization",
    "credential",
    "apikey",
    "privatekey",
    "cookie",
    "cardnumber",
    "cvc",
    "cvv",
    "iban",
    "signature",
];

/// Returns the document with its secrets redacted; text that is not JSON becomes a string.
pub fn redacted(text: &str) -> Value {
    let mut document =
        serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    redact(&mut document);
    document
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if is_secret(name) && !member.is_null() {
                    *member = Value::String(REDACTED.to_owned());
                } else {
                    redact(member);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(redact),
        Value::String(text) => {
            if text
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .any(is_key)
            {
                REDACTED.clone_into(text);
            } else if let Some(without) = without_password(text) {
                *text = without;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_secret(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    WORDS.iter().any(|word| plain.contains(word))
}

fn is_key(word: &str) -> bool {
    keys::prefix_of(word).is_some()
}

/// Returns the URL with its password redacted (`https://user:***@host`), if it has one.
fn without_password(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (user_info, _) = rest[..end].rsplit_once('@')?;
    let (user, _) = user_info.split_once(':')?;
    Some(format!(
        "{scheme}://{user}:{REDACTED}{}",
        &rest[user_info.len()..]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn redacts_secrets_at_any_depth() {
        let payload = json!({
            "order_id": "o-1", "Password": "p", "client_secret": {"a": 1}, "api-key": "k",
                "access_token": null,
            "deep": [{"X-Authorization": "Bearer x", "card_number": 4242}],
            "url": "https://bob:hunter2@example.org/hook?a=b@c",
                "plain": "https://example.org/a:b@c", "mail": "bob@example.org",
        });
        let shown = redacted(&payload.to_string());
        let expected = json!({
            "order_id": "o-1", "Password": "***", "client_secret": "***", "api-key": "***",
                "access_token": null,
            "deep": [{"X-Authorization": "***", "card_number": "***"}],
            "url": "https://bob:***@example.org/hook?a=b@c", "plain": "https://example.org/a:b@c",
                "mail": "bob@example.org",
        });
        assert_eq!(shown, expected);
        assert_eq!(redacted("no JSON"), json!("no JSON"));
    }

    #[test]
    fn redacts_api_key_under_any_name() {
        let key = keys::generate(&crate::primitives::SeededEntropy::new(1)).secret;
        assert_eq!(
            redacted(&json!({"note": format!("use {key}.")}).to_string()),
            json!({"note": "***"})
        );
    }
}
