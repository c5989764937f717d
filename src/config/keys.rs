//! The known keys (derived from the serialised defaults), and the nearest known key for an unknown
//! one.

use toml::{Table, Value};

/// The prefix of the environment variables that override keys.
pub(super) const ENV_PREFIX: &str = "TILLBOX_";

/// Keys whose value may be a table but counts as one value: their deserialiser reports faults
/// inside.
const WHOLE: &[&str] = &["backoff"];

/// Keys whose values may be or contain secrets: no message shows their values, whatever the type.
pub(super) const SECRETS: &[&str] = &[
    "alerts.webhook_secret",
    "alerts.webhook_url",
    "exchange_rates.url",
    "mail.smtp_url",
];

/// Finds the secret's key for `key`: the key itself, an element of its list or a member of its
/// table.
pub(super) fn secret_of(key: &str) -> Option<&'static str> {
    let is_part = |secret: &&str| {
        key.strip_prefix(*secret)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
    };
    SECRETS.iter().copied().find(is_part)
}

/// Lists the dotted keys of all values in `table`. An empty table counts as a value.
pub(super) fn dotted(table: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    collect(table, "", &mut keys);
    keys
}

fn collect(table: &Table, prefix: &str, keys: &mut Vec<String>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(inner) if !inner.is_empty() && !WHOLE.contains(&name.as_str()) => {
                collect(inner, &format!("{key}."), keys)
            }
            _ => keys.push(key),
        }
    }
}

/// Whether `key` is a known key or a section of known keys.
pub(super) fn is_known(known: &[String], key: &str) -> bool {
    known.iter().any(|candidate| {
        candidate
            .strip_prefix(key)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// The lowest similarity (of 1) at which a key counts as a misspelling: `foo` is not suggested as
/// `mail.from`.
const LIKE: f64 = 0.6;

/// Finds the known key or section most similar to `key`.
pub(super) fn nearest<'a>(known: &'a [String], key: &str) -> Option<&'a str> {
    let likeness = |candidate: &&str| strsim::normalized_damerau_levenshtein(candidate, key);
    let sections = known.iter().filter_map(|key| Some(key.rsplit_once('.')?.0));
    known
        .iter()
        .map(String::as_str)
        .chain(sections)
        .filter(|candidate| likeness(candidate) >= LIKE)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// Names the variable that overrides `key`: `server.listen` → `TILLBOX_SERVER__LISTEN`.
pub(super) fn env_name(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// Names the key that a variable overrides. `None` for foreign variables: those without a `__`,
/// except a known name with single underscores. Ignoring `TILLBOX_SERVER_LISTEN` silently would be
/// a trap.
pub(super) fn env_key(known: &[String], variable: &str) -> Option<String> {
    let name = variable.strip_prefix(ENV_PREFIX)?;
    let misspelt = |key: &&String| env_name(key).replace("__", "_") == variable;
    if name.contains("__") || known.iter().any(|key| misspelt(&key)) {
        Some(name.replace("__", ".").to_lowercase())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        ["server.listen", "server.body_limit", "queue.low.tries"]
            .map(String::from)
            .to_vec()
    }

    #[test]
    fn converts_between_keys_and_variables() {
        for key in known() {
            assert_eq!(env_key(&known(), &env_name(&key)), Some(key));
        }
        assert_eq!(env_name("server.body_limit"), "TILLBOX_SERVER__BODY_LIMIT");
        assert_eq!(env_key(&known(), "TILLBOX_HOME"), None);
        assert_eq!(env_key(&known(), "HOME__X"), None);
        let slip = env_key(&known(), "TILLBOX_SERVER_BODY_LIMIT").unwrap();
        assert_eq!(slip, "server_body_limit");
        assert_eq!(nearest(&known(), &slip), Some("server.body_limit"));
    }

    #[test]
    fn knows_sections_but_not_partial_words() {
        assert!(is_known(&known(), "queue.low"));
        assert!(is_known(&known(), "server.listen"));
        assert!(!is_known(&known(), "server.lis"));
        assert!(!is_known(&known(), "server.listen.port"));
    }
}
