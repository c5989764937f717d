//! The keys in which two configurations differ, for the log line of a reload.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Config;
use super::keys::dotted;

impl Config {
    /// Lists the dotted keys whose values differ, in alphabetical order, secrets included.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let (mine, theirs) = (table(self), table(other));
        let keys: BTreeSet<String> = dotted(&mine).into_iter().chain(dotted(&theirs)).collect();
        let mut differing: Vec<String> = keys
            .into_iter()
            .filter(|key| find(&mine, key) != find(&theirs, key))
            .collect();
        // The tables have redacted secrets.
        let redacted = [
            (
                "alerts.webhook_secret",
                self.alerts.webhook_secret != other.alerts.webhook_secret,
            ),
            (
                "alerts.webhook_url",
                self.alerts.webhook_url != other.alerts.webhook_url,
            ),
            (
                "exchange_rates.url",
                self.exchange_rates.url != other.exchange_rates.url,
            ),
            ("mail.smtp_url", self.mail.smtp_url != other.mail.smtp_url),
        ];
        differing.extend(
            redacted
                .iter()
                .filter(|(_, differs)| *differs)
                .map(|(key, _)| (*key).to_owned()),
        );
        differing.sort();
        differing.dedup();
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
    fn lists_differing_keys_with_secrets() {
        let plain = Config::default();
        assert_eq!(plain.differing(&plain), [""; 0]);
        let other = with(
            "[server]\nlisten = '[::1]:1'\n[queue.low]\nbackoff = ['1s']\n[logging]\nlevel = \
             'debug'",
        );
        assert_eq!(
            plain.differing(&other),
            ["logging.level", "queue.low.backoff", "server.listen"]
        );
        assert_eq!(other.differing(&plain), plain.differing(&other));
        let secret = |password: &str| {
            with(&format!(
                "[mail]\nsmtp_url = 'smtp://u:{password}@mx.example'"
            ))
        };
        assert_eq!(secret("a").differing(&secret("b")), ["mail.smtp_url"]);
        assert_eq!(secret("a").differing(&secret("a")), [""; 0]);
        let mirror = |key: &str| {
            with(&format!(
                "[exchange_rates]\nurl = 'https://mirror.example/?key={key}'"
            ))
        };
        assert_eq!(mirror("a").differing(&mirror("b")), ["exchange_rates.url"]);
        let alerts = |path: &str, key: &str| {
            with(&format!(
                "[alerts]\nwebhook_url = 'https://hooks.example/{path}'\nwebhook_secret = \
                 'whsec_{key}'"
            ))
        };
        let (one, two) = (
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "AfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        );
        assert_eq!(
            alerts("a", one).differing(&alerts("b", one)),
            ["alerts.webhook_url"]
        );
        assert_eq!(
            alerts("a", one).differing(&alerts("a", two)),
            ["alerts.webhook_secret"]
        );
    }
}
