//! L5: a configuration that is read again while the process runs: who takes which part of it, and
//! what has to wait for a restart.
//!
//! A part of the program that can change its ways says for which keys, once, when it is put
//! together; what nobody takes is told to the operator by its key. The configuration as a whole was
//! checked before it comes here: one that is wrong changes nothing.

use std::sync::{Mutex, PoisonError};

use crate::config::Config;

type Take = Box<dyn Fn(&Config) -> Result<(), String> + Send + Sync>;

struct Taker {
    keys: &'static str,
    take: Take,
}

impl Taker {
    /// Whether a key is the one that it takes, or in the section that it takes.
    fn has(&self, key: &str) -> bool {
        let rest = key.strip_prefix(self.keys);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Who takes what.
pub struct Reloads {
    takers: Mutex<Vec<Taker>>,
    begun_with: Config,
    last: Mutex<Config>,
}

/// What became of a new configuration, by keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// They have changed, and are in force.
    pub applied: Vec<String>,
    /// They are not what the process began with; the next start takes them.
    pub needs_restart: Vec<String>,
    /// They have changed and could not be taken, and why: what was before holds, and the next
    /// reload tries them again.
    pub failed: Vec<(&'static str, String)>,
}

impl Reloads {
    /// For a process that begins with `config`.
    pub fn new(config: Config) -> Self {
        Self {
            takers: Mutex::default(),
            last: Mutex::new(config.clone()),
            begun_with: config,
        }
    }

    /// A part that could not be taken at the start counts as one that has changed since: `undo`
    /// makes it another in what is taken to be in force.
    pub fn owe(&self, undo: impl FnOnce(&mut Config)) {
        undo(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// From now on `take` is given the new configuration when a key has changed that is `keys`,
    /// such as `logging.level`, or stands in the section of that name.
    pub fn take(
        &self,
        keys: &'static str,
        take: impl Fn(&Config) -> Result<(), String> + Send + Sync + 'static,
    ) {
        let take = Box::new(take);
        self.takers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Taker { keys, take });
    }

    /// Puts a configuration that was checked into force, as far as that can be done.
    pub fn reload(&self, config: Config) -> Reloaded {
        let takers = self.takers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_taken = |key: &String| takers.iter().any(|taker| taker.has(key));
        let mut applied = last.differing(&config);
        applied.retain(is_taken);
        let mut needs_restart = self.begun_with.differing(&config);
        needs_restart.retain(|key| !is_taken(key));
        let mut failed = Vec::new();
        for taker in takers
            .iter()
            .filter(|taker| applied.iter().any(|key| taker.has(key)))
        {
            if let Err(error) = (taker.take)(&config) {
                failed.push((taker.keys, error));
            }
        }
        let has_failed = |key: &String| {
            let mut of_key = takers.iter().filter(|taker| taker.has(key));
            of_key.any(|taker| failed.iter().any(|(keys, _)| *keys == taker.keys))
        };
        applied.retain(|key| !has_failed(key));
        // What was before is kept whole when a part could not be taken: then all of it counts as
        // changed the next time, and taking it twice changes nothing.
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
    fn what_is_taken_is_applied_and_the_rest_waits_until_it_is_as_before() {
        let reloads = Reloads::new(Config::default());
        let seen = Arc::new(Mutex::new(Vec::new()));
        for keys in ["logging.level", "mail"] {
            let seen = seen.clone();
            reloads.take(keys, move |config| {
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
        // What was taken is in force and no news; what was not is said as long as it waits.
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
    fn a_section_is_no_beginning_of_another_ones_name() {
        let reloads = Reloads::new(Config::default());
        reloads.take("log", |_| panic!("not its key"));
        let reloaded = reloads.reload(config(|config| config.logging.level = "debug".to_owned()));
        assert_eq!(
            (reloaded.applied.len(), reloaded.needs_restart.len()),
            (0, 1)
        );
    }

    #[test]
    fn what_could_not_be_taken_is_said_and_tried_again() {
        let reloads = Reloads::new(Config::default());
        let works = Arc::new(Mutex::new(false));
        let looked = works.clone();
        reloads.take("mail", move |_| {
            if *looked.lock().unwrap() {
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
