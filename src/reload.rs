//! L5: configuration reload: which parts of the program apply which sections, and which changes
//! need a restart.
//!
//! At start, each part of the program that supports reloading subscribes to its keys. A changed key
//! without a subscriber is reported to the operator. The configuration is validated before it
//! arrives here: an invalid one changes nothing.

use std::sync::Mutex;

use crate::config::Config;
use crate::primitives::sync;

type Apply = Box<dyn Fn(&Config) -> Result<(), String> + Send + Sync>;

struct Subscriber {
    keys: &'static str,
    apply: Apply,
}

impl Subscriber {
    /// Whether a key is the subscribed one, or in the subscribed section.
    fn has(&self, key: &str) -> bool {
        let rest = key.strip_prefix(self.keys);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The subscribers to configuration changes.
pub struct Reloads {
    subscribers: Mutex<Vec<Subscriber>>,
    at_start: Config,
    last: Mutex<Config>,
}

/// The result of a reload, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Changed keys that are in effect.
    pub applied: Vec<String>,
    /// Keys that differ from the start of the process; they take effect at the next start.
    pub needs_restart: Vec<String>,
    /// Subscriptions that failed, and why. The old values stay in effect, and the next reload tries
    /// again.
    pub failed: Vec<(&'static str, String)>,
}

impl Reloads {
    /// Starts with the configuration of the process.
    pub fn new(config: Config) -> Self {
        Self {
            subscribers: Mutex::default(),
            last: Mutex::new(config.clone()),
            at_start: config,
        }
    }

    /// Marks a section that could not be applied at the start as changed: `undo` alters it in the
    /// configuration that counts as applied, so that the next reload applies it.
    pub fn mark_unapplied(&self, undo: impl FnOnce(&mut Config)) {
        undo(&mut sync::lock(&self.last));
    }

    /// Calls `apply` with the new configuration when `keys` has changed: a key such as
    /// `logging.level`, or a whole section.
    pub fn subscribe(
        &self,
        keys: &'static str,
        apply: impl Fn(&Config) -> Result<(), String> + Send + Sync + 'static,
    ) {
        let apply = Box::new(apply);
        sync::lock(&self.subscribers).push(Subscriber { keys, apply });
    }

    /// Applies a validated configuration as far as possible.
    pub fn reload(&self, config: Config) -> Reloaded {
        let subscribers = sync::lock(&self.subscribers);
        let mut last = sync::lock(&self.last);
        let is_subscribed = |key: &String| subscribers.iter().any(|subscriber| subscriber.has(key));
        let mut applied = last.differing(&config);
        applied.retain(is_subscribed);
        let mut needs_restart = self.at_start.differing(&config);
        needs_restart.retain(|key| !is_subscribed(key));
        let mut failed = Vec::new();
        for subscriber in subscribers
            .iter()
            .filter(|subscriber| applied.iter().any(|key| subscriber.has(key)))
        {
            if let Err(error) = (subscriber.apply)(&config) {
                failed.push((subscriber.keys, error));
            }
        }
        let has_failed = |key: &String| {
            let mut of_key = subscribers.iter().filter(|subscriber| subscriber.has(key));
            of_key.any(|subscriber| failed.iter().any(|(keys, _)| *keys == subscriber.keys))
        };
        applied.retain(|key| !has_failed(key));
        // The old configuration is kept when a part failed: everything then counts as changed the
        // next time, and applying a section twice has no further effect.
        if failed.is_empty() {
            *last = config;
        }
        Reloaded {
            applied,
            needs_restart,
            failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        change(&mut config);
        config
    }

    #[test]
    fn applies_subscribed_keys_and_reports_restart_for_others() {
        let reloads = Reloads::new(Config::default());
        let seen = Arc::new(Mutex::new(Vec::new()));
        for keys in ["logging.level", "mail"] {
            let seen = seen.clone();
            reloads.subscribe(keys, move |config| {
                seen.lock()
                    .unwrap()
                    .push((keys, config.logging.level.clone()));
                Ok(())
            });
        }
        assert_eq!(reloads.reload(Config::default()), Reloaded::default());
        let louder = |config: &mut Config| config.logging.level = "debug".to_owned();
        let reloaded = reloads.reload(config(|config| {
            louder(config);
            config.logging.keep_days = 3;
            config.server.max_connections = 9;
        }));
        assert_eq!(reloaded.applied, ["logging.level"]);
        assert_eq!(
            reloaded.needs_restart,
            ["logging.keep_days", "server.max_connections"]
        );
        // An applied key is not reported again; a key that needs a restart is reported until it
        // does not differ.
        let again = reloads.reload(config(|config| {
            louder(config);
            config.logging.keep_days = 3;
            config.mail.from = "a@b.example".to_owned();
        }));
        assert_eq!(again.applied, ["mail.from"]);
        assert_eq!(again.needs_restart, ["logging.keep_days"]);
        let seen = seen.lock().unwrap();
        assert_eq!(
            *seen,
            [
                ("logging.level", "debug".to_owned()),
                ("mail", "debug".to_owned())
            ]
        );
    }

    #[test]
    fn ignores_key_prefix_that_is_no_section() {
        let reloads = Reloads::new(Config::default());
        reloads.subscribe("log", |_| panic!("not its key"));
        let reloaded = reloads.reload(config(|config| config.logging.level = "debug".to_owned()));
        assert_eq!(
            (reloaded.applied.len(), reloaded.needs_restart.len()),
            (0, 1)
        );
    }

    #[test]
    fn reports_failed_section_and_retries_it() {
        let reloads = Reloads::new(Config::default());
        let works = Arc::new(Mutex::new(false));
        let works_now = works.clone();
        reloads.subscribe("mail", move |_| {
            if *works_now.lock().unwrap() {
                Ok(())
            } else {
                Err("not today".to_owned())
            }
        });
        let other = || config(|config| config.mail.from = "a@b.example".to_owned());
        let reloaded = reloads.reload(other());
        assert_eq!(
            (reloaded.applied.len(), reloaded.failed),
            (0, vec![("mail", "not today".to_owned())])
        );
        *works.lock().unwrap() = true;
        assert_eq!(reloads.reload(other()).applied, ["mail.from"]);
        assert_eq!(reloads.reload(other()), Reloaded::default());
    }
}
