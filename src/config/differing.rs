//! Which keys two configurations differ in: what a reload has to tell of.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Config;
use super::keys::dotted;

impl Config {
    /// The dotted keys whose values differ, in alphabetical order; of a secret that differs, its key.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let (mine, theirs) = (table(self), table(other));
        let keys: BTreeSet<String> = dotted(&mine).into_iter().chain(dotted(&theirs)).collect();
        let mut differing: Vec<String> = keys.into_iter().filter(|key| find(&mine, key) != find(&theirs, key)).collect();
        // Secrets are masked in the tables.
        let smtp_url = "mail.smtp_url".to_owned();
        if self.mail.smtp_url != other.mail.smtp_url && !differing.contains(&smtp_url) {
            differing.push(smtp_url);
        }
        if differing.is_empty() && self != other {
            differing.push("a secret".to_owned());
        }
        differing.sort();
        differing
    }
}

fn table(config: &Config) -> Table {
    Table::try_from(config).expect("the configuration consists of tables, texts and numbers")
}

fn find<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let mut parts = key.split('.');
    let first = table.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Config {
        crate::config::load::load_text(text, &[]).unwrap()
    }

    #[test]
    fn what_differs_is_named_secrets_included() {
        let plain = Config::default();
        assert_eq!(plain.differing(&plain), [""; 0]);
        let other = with("[server]\nlisten = '[::1]:1'\n[queue.low]\nbackoff = ['1s']\n[logging]\nlevel = 'debug'");
        assert_eq!(plain.differing(&other), ["logging.level", "queue.low.backoff", "server.listen"]);
        assert_eq!(other.differing(&plain), plain.differing(&other));
        let secret = |password: &str| with(&format!("[mail]\nsmtp_url = 'smtp://u:{password}@mx.example'"));
        assert_eq!(secret("a").differing(&secret("b")), ["mail.smtp_url"]);
        assert_eq!(secret("a").differing(&secret("a")), [""; 0]);
    }
}
