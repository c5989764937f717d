//! Small rules: modules that own a library, and forbidden constructs.

use super::source::{Source, places, words};
use super::{Offence, bites, enforce, enforce_everywhere};

/// Names without meaning.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "misc", "manager", "service", "services",
];

/// A word that is used in one part of the tree only.
fn at_home(word: &'static str, home: &'static str) -> impl Fn(&Source) -> Vec<Offence> {
    move |source| {
        if source.path.starts_with(home) {
            return Vec::new();
        }
        let found = words(&source.code).filter(|(_, found)| *found == word);
        found
            .map(|(place, _)| format!("{}: {word} belongs in {home}", source.at(place)))
            .collect()
    }
}

/// `rusqlite::Connection`, named in full or in a `use`.
fn no_connection(source: &Source) -> Vec<Offence> {
    if source.path.starts_with("storage/") {
        return Vec::new();
    }
    let mut offences = Vec::new();
    for place in places(&source.code, "rusqlite::") {
        let rest = &source.code[place..];
        let end = rest.find([';', '(', ')', '\n']).unwrap_or(rest.len());
        let end = if rest["rusqlite::".len()..].starts_with('{') {
            rest.find('}').unwrap_or(end)
        } else {
            end
        };
        if words(&rest[..end]).any(|(_, word)| word == "Connection") {
            offences.push(format!(
                "{}: rusqlite::Connection belongs in storage/",
                source.at(place)
            ));
        }
    }
    offences
}

/// Reads of the ambient clock or of ambient randomness.
fn no_ambient_time_or_randomness(source: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    for text in [
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "Uuid::new_v4",
        "Uuid::now_v7",
        "getrandom::",
    ] {
        offences.extend(
            places(&source.product, text).map(|place| format!("{}: {text}", source.at(place))),
        );
    }
    offences
}

fn no_unwrap(source: &Source) -> Vec<Offence> {
    places(&source.product, ".unwrap()")
        .map(|place| format!("{}: .unwrap() outside of tests", source.at(place)))
        .collect()
}

fn no_allow(source: &Source) -> Vec<Offence> {
    let found = places(&source.code, "#[allow").chain(places(&source.code, "#![allow"));
    found
        .map(|place| format!("{}: write #[expect(…, reason)]", source.at(place)))
        .collect()
}

/// Threads never sleep. Timers are for deadlines of the program; a test waits for an event or steps
/// the clock.
fn no_sleep(source: &Source) -> Vec<Offence> {
    let banned: &[&str] = if source.root == "src/" {
        &["thread::sleep"]
    } else {
        &["thread::sleep", "time::sleep"]
    };
    let found = banned.iter().flat_map(|text| places(&source.code, text));
    found
        .map(|place| format!("{}: wait for an event, not for time", source.at(place)))
        .collect()
}

fn begins_with_doc(source: &Source) -> Vec<Offence> {
    let begins = source.text.starts_with("//! ");
    if begins {
        Vec::new()
    } else {
        vec![format!(
            "{}{}: does not begin with //!",
            source.root, source.path
        )]
    }
}

fn has_specific_name(source: &Source) -> Vec<Offence> {
    let parts = source
        .path
        .split('/')
        .map(|part| part.trim_end_matches(".rs"));
    let empty = parts.filter(|part| EMPTY_NAMES.contains(part));
    empty
        .map(|part| {
            format!(
                "{}{}: {part} is too general a name",
                source.root, source.path
            )
        })
        .collect()
}

#[test]
fn uses_libraries_only_in_their_modules() {
    bites(
        no_connection,
        "tenant/a.rs",
        "use rusqlite::Connection;",
        "use rusqlite::Result;",
    );
    bites(
        no_connection,
        "tenant/a.rs",
        "use rusqlite::{\n    Connection, Row};",
        "use hyper::{Connection};",
    );
    enforce(no_connection, &[]);
    let homes = [
        ("r2d2", "storage/"),
        ("r2d2_sqlite", "storage/"),
        ("rusqlite_migration", "storage/"),
        ("StatusCode", "http/"),
        ("ureq", "outbound/"),
        ("tokio_cron_scheduler", "maintenance/scheduler.rs"),
    ];
    for (word, home) in homes {
        let bad = format!("use {word}::x;");
        bites(at_home(word, home), "tenant/a.rs", &bad, "use other::x;");
        assert!(at_home(word, home)(&Source::new(&format!("{home}a.rs"), &bad)).is_empty());
        enforce(at_home(word, home), &[]);
    }
    bites(
        at_home("lettre", "outbound/"),
        "tenant/a.rs",
        "use lettre::x;",
        "use other::x;",
    );
    enforce(
        at_home("lettre", "outbound/"),
        &[
            "config/mail.rs",
            // parses the sender's address, so that a bad one is rejected at the start
        ],
    );
}

/// The caches: tenants, open files, exchange rates, and the currencies of a shop. No amount, no
/// sum, no stock.
#[test]
fn caches_only_in_listed_files() {
    let keeps = |source: &Source| {
        let is_cache = |word: &(usize, &str)| matches!(word.1, "moka" | "TimedCache");
        let offences = words(&source.product).filter(is_cache);
        offences
            .map(|(place, word)| {
                format!("{} keeps something in a cache ({word})", source.at(place))
            })
            .collect()
    };
    bites(
        keeps,
        "tenant/reports.rs",
        "use moka::sync::Cache;",
        "use std::sync::Arc;",
    );
    bites(
        keeps,
        "tenant/reports.rs",
        "let sums: TimedCache<K, V>;",
        "let sums: Vec<Money>;",
    );
    enforce(
        keeps,
        &[
            "app.rs",                      // the cache of the currencies of a shop
            "platform/cache.rs",           // the cache itself
            "tenancy/directory.rs",        // tenants
            "landlord/published_rates.rs", // exchange rates
        ],
    );
}

#[test]
fn injects_time_and_randomness() {
    bites(
        no_ambient_time_or_randomness,
        "tenant/a.rs",
        "let t = Instant::now();",
        "let t = work.now();",
    );
    enforce(
        no_ambient_time_or_randomness,
        &[
            "http/layers.rs",         // the duration of a request, for the log and the metrics
            "http/wire/deadlines.rs", // deadlines for the head and for reading an answer
            "primitives/clock.rs",    // the port itself
            "primitives/entropy.rs",  // the port itself
            "storage/database.rs",    // the deadline of a long read
            "storage/writer.rs",      // the bound of a batch, and the duration of its commit
        ],
    );
}

#[test]
fn unwraps_only_in_tests() {
    bites(
        no_unwrap,
        "tenant/a.rs",
        "fn f() { g().unwrap() }",
        "#[cfg(test)]\nfn f() {\n    g().unwrap()\n}\n",
    );
    enforce(no_unwrap, &[]);
}

#[test]
fn expects_lints_with_reason() {
    bites(
        no_allow,
        "tenant/a.rs",
        "#[allow(dead_code)]",
        "#[expect(dead_code, reason = \"\")]",
    );
    enforce_everywhere(no_allow);
}

#[test]
fn never_sleeps() {
    bites(
        no_sleep,
        "tenant/a.rs",
        "std::thread::sleep(d);",
        "receiver.recv();",
    );
    enforce_everywhere(no_sleep);
}

#[test]
fn documents_every_file() {
    bites(
        begins_with_doc,
        "tenant/a.rs",
        "use x;",
        "//! Because.\nuse x;",
    );
    enforce_everywhere(begins_with_doc);
}

#[test]
fn gives_modules_specific_names() {
    assert!(!has_specific_name(&Source::new("tenant/utils.rs", "")).is_empty());
    assert!(!has_specific_name(&Source::new("tenant/common/mod.rs", "")).is_empty());
    enforce_everywhere(has_specific_name);
}
