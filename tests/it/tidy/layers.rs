//! A layer uses only the layers below it.

use super::source::{Source, places, words};
use super::{Offence, bites, enforce};

/// The modules of the crate with their heights. Modules of one height do not use each other.
const HEIGHTS: &[(&str, u32)] = &[
    ("primitives", 0),
    ("storage", 10),
    ("platform", 20),
    ("tenancy", 30),
    ("tenant", 40),
    ("landlord", 40),
    ("outbound", 40),
    ("config", 50),
    ("body_memory", 50),
    ("reload", 51),
    ("app", 55),
    ("observe", 51),
    ("maintenance", 58),
    ("alerts", 51),
    ("rate_limit", 51),
    ("http", 60),
    ("worker", 60),
    ("cli", 70),
];

/// Modules below this height may not be asynchronous.
const SYNCHRONOUS_BELOW: u32 = 60;

fn module_of(path: &str) -> &str {
    path.split('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".rs")
}

fn height(module: &str) -> Option<u32> {
    HEIGHTS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, height)| *height)
}

/// The modules that a file names through `crate::`, with their offsets.
fn used(source: &Source) -> Vec<(usize, &str)> {
    let mut used = Vec::new();
    for place in places(&source.code, "crate::") {
        if source.code[..place].ends_with('$') {
            continue;
        }
        let after = place + "crate::".len();
        let rest = &source.code[after..];
        if rest.starts_with('{') {
            used.extend(firsts_of_group(rest).map(|(offset, word)| (after + offset, word)));
        } else if let Some((offset, word)) = words(rest).next() {
            used.push((after + offset, word));
        }
    }
    used
}

/// The first word of each member of `{a::b, c}`.
fn firsts_of_group(group: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut depth, mut members) = (0, Vec::new());
    for (offset, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(c, '{' | ',') {
            members.push(offset + 1);
        }
    }
    let first = |start: usize| {
        words(&group[start..])
            .next()
            .map(|(offset, word)| (start + offset, word))
    };
    members.into_iter().filter_map(first)
}

fn uses_lower_layers(source: &Source) -> Vec<Offence> {
    let own = module_of(&source.path);
    if own == "lib" {
        return Vec::new();
    }
    let Some(own_height) = height(own).or((own == "main").then_some(u32::MAX)) else {
        return vec![format!(
            "src/{}: the module {own} has no height; add it to HEIGHTS",
            source.path
        )];
    };
    let mut offences = Vec::new();
    for (place, module) in used(source) {
        if module != own && height(module).is_some_and(|height| height >= own_height) {
            offences.push(format!(
                "{}: {own} uses {module}, which is not below it",
                source.at(place)
            ));
        }
    }
    // Two steps up could leave the layer without naming the crate.
    let escapes = places(&source.code, "super::super").map(|place| {
        format!(
            "{}: write crate:: instead of super::super",
            source.at(place)
        )
    });
    offences.extend(escapes);
    offences
}

fn is_synchronous(source: &Source) -> Vec<Offence> {
    let may_wait = |path: &str| path == "maintenance/scheduler.rs";
    let is_above = |path| height(module_of(path)).is_none_or(|height| height >= SYNCHRONOUS_BELOW);
    if may_wait(&source.path) || is_above(&source.path) {
        return Vec::new();
    }
    places(&source.product, "async fn")
        .map(|place| format!("{}: async below http and worker", source.at(place)))
        .collect()
}

#[test]
fn uses_only_lower_layers() {
    bites(
        uses_lower_layers,
        "storage/a.rs",
        "use crate::tenant::x;",
        "use crate::primitives::x;",
    );
    bites(
        uses_lower_layers,
        "tenant/a.rs",
        "use crate::{primitives::b, http::{c, d}};",
        "use crate::{platform::{b, c}, storage};",
    );
    bites(
        uses_lower_layers,
        "worker/a.rs",
        "fn f() { crate::http::g() }",
        "fn f() { crate::app::g() }",
    );
    assert_eq!(uses_lower_layers(&Source::new("novelty.rs", "")).len(), 1);
    bites(
        uses_lower_layers,
        "http/api/a.rs",
        "use super::super::b;",
        "use super::b;",
    );
    enforce(uses_lower_layers, &[]);
}

#[test]
fn keeps_lower_layers_synchronous() {
    bites(
        is_synchronous,
        "tenant/a.rs",
        "pub async fn f() {}",
        "pub fn f() {}",
    );
    bites(
        is_synchronous,
        "tenant/a.rs",
        "async fn f() {}",
        "#[cfg(test)]\nmod tests {\n    async fn f() {}\n}\n",
    );
    enforce(is_synchronous, &[]);
}
