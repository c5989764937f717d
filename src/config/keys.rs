//! The known keys, taken from what the defaults serialise to, and the nearest one to a key that is
//! not known.

use toml::{Table, Value};

/// The prefix of the variables that override keys.
pub(super) const ENV_PREFIX: &str = "TILLBOX_";

/// Keys whose value may be a table, and is one value all the same: whoever reads it names what is
/// wrong inside.
const WHOLE: &[&str] = &["backoff"];

/// Keys whose values may be secrets, or hold one: no message shows what stands there, whatever it
/// is.
pub(super) const SECRETS: &[&str] = &[
    "alerts.webhook_secret",
    "alerts.webhook_url",
    "exchange_rates.url",
    "mail.smtp_url",
];

/// The key of a secret that `key` is, or is a part of: a list's element, a table's member.
pub(super) fn secret_of(key: &str) -> Option<&'static str> {
    let is_part = |secret: &&str| {
        key.strip_prefix(*secret)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
    };
    SECRETS.iter().copied().find(is_part)
}

/// All dotted keys that have a value in `table`, an empty table counting as one.
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

/// How alike two keys are, of 1, for one to be a slip of the other: `foo` is none of `mail.from`.
const LIKE: f64 = 0.6;

/// The known key or section most like `key`.
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

/// The variable that overrides `key`: `server.listen` → `TILLBOX_SERVER__LISTEN`.
pub(super) fn env_name(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// The key that a variable overrides. `None` for variables that are none of ours, which is every
/// one without a `__`, except where it is a known one but for that: a `TILLBOX_SERVER_LISTEN`
/// ignored would be a trap.
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
    fn names_go_both_ways() {
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
    fn sections_are_known_and_halves_of_words_are_not() {
        assert!(is_known(&known(), "queue.low"));
        assert!(is_known(&known(), "server.listen"));
        assert!(!is_known(&known(), "server.lis"));
        assert!(!is_known(&known(), "server.listen.port"));
    }
}
