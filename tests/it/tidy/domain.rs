//! Modules of `tenant/` use only modules listed before them, and only those of their own entry.

use std::collections::{BTreeMap, BTreeSet};

use super::circles::{self, Path};
use super::source::{self, Source, places, words};

/// The modules of `tenant/`, each with the modules that it may use. An entry names only entries
/// above it, so there is no circle.
const USES: &[Entry] = &[
    ("currency", &[]),
    ("disk_usage", &[]),
    ("jobs", &[]),
    ("ledger", &[]),
    ("chain_ends", &["ledger"]),
    ("policy", &[]),
    ("reports", &["ledger"]),
    ("party", &[]),
    ("settings", &["party"]),
    ("tax", &["settings"]),
    ("tax_presets", &[]),
    ("new_shop", &["currency", "settings", "tax"]),
    ("catalog", &["tax", "settings"]),
    ("inventory", &["policy", "catalog"]),
    ("cart", &["currency", "policy", "settings", "catalog"]),
    ("pricing", &["tax", "catalog"]),
    ("orders", &["party", "tax", "pricing"]),
    ("payments", &["ledger", "policy", "orders"]),
    ("cancellation", &["inventory", "orders", "payments"]),
    (
        "checkout",
        &[
            "currency",
            "policy",
            "inventory",
            "party",
            "settings",
            "catalog",
            "cart",
            "pricing",
            "orders",
            "payments",
        ],
    ),
    ("retention", &["inventory", "cart"]),
    ("prune_now", &["cart"]),
    ("snapshot", &["pricing", "orders"]),
    (
        "invoices",
        &[
            "policy", "party", "settings", "pricing", "orders", "snapshot",
        ],
    ),
    ("confirmation", &["settings", "orders", "invoices"]),
    (
        "finance",
        &[
            "currency",
            "ledger",
            "policy",
            "inventory",
            "orders",
            "payments",
            "snapshot",
            "invoices",
            "confirmation",
        ],
    ),
    (
        "confirm_payment",
        &["policy", "inventory", "orders", "payments", "finance"],
    ),
    (
        "integrity",
        &[
            "currency",
            "ledger",
            "chain_ends",
            "inventory",
            "orders",
            "payments",
            "finance",
        ],
    ),
    (
        "sales",
        &[
            "currency",
            "policy",
            "inventory",
            "party",
            "settings",
            "catalog",
            "pricing",
            "orders",
            "payments",
            "checkout",
            "finance",
        ],
    ),
];

/// An entry of [`USES`]: a module and the modules that it may use.
type Entry = (&'static str, &'static [&'static str]);

type Uses = BTreeMap<String, BTreeSet<String>>;

/// The module of `tenant/` that a path of names belongs to.
fn module(path: &[String]) -> Option<&str> {
    match path {
        [first, module, ..] if first == "tenant" => Some(module),
        _ => None,
    }
}

/// The modules that each module of `tenant/` names, in `use` declarations or in paths.
fn uses(sources: &[Source]) -> Uses {
    let modules = circles::modules(sources);
    let names: BTreeSet<&str> = modules.keys().filter_map(|path| module(path)).collect();
    let mut uses: Uses = names
        .iter()
        .map(|name| ((*name).to_owned(), BTreeSet::new()))
        .collect();
    let mut add = |own: &str, used: &str| {
        if used != own && names.contains(used) {
            uses.entry(own.to_owned())
                .or_default()
                .insert(used.to_owned());
        }
    };
    for (path, found) in &modules {
        let Some(own) = module(path) else { continue };
        for import in &found.imports {
            let used: Option<Path> = circles::definition(&modules, &import.path, 0);
            for used in [module(&import.path), used.as_deref().and_then(module)] {
                used.into_iter().for_each(|used| add(own, used));
            }
        }
    }
    for source in sources {
        let path = circles::path_of(&source.path);
        let Some(own) = module(&path) else { continue };
        // `super` of a file or a facade directly below `tenant/` is `tenant` itself.
        let prefixes: &[&str] = match path.len() {
            2 => &["crate::tenant::", "super::"],
            _ => &["crate::tenant::"],
        };
        for prefix in prefixes {
            for place in places(&source.product, prefix) {
                let named = words(&source.product[place + prefix.len()..]).next();
                let named = named.filter(|(offset, _)| *offset == 0);
                named.into_iter().for_each(|(_, used)| add(own, used));
            }
        }
    }
    uses
}

/// Differences between the uses found and those allowed.
fn offences(found: &Uses, allowed: &[Entry]) -> Vec<String> {
    let mut offences = Vec::new();
    let mut above = BTreeSet::new();
    for (module, used) in allowed {
        let mut not_above = used.iter().filter(|used| !above.contains(*used));
        offences.extend(
            not_above
                .by_ref()
                .map(|used| format!("USES: {module} lists {used}, which is not above it")),
        );
        above.insert(*module);
        let Some(found) = found.get(*module) else {
            offences.push(format!("USES: there is no module {module}"));
            continue;
        };
        let unused = used.iter().filter(|used| !found.contains(**used));
        offences.extend(
            unused.map(|used| format!("USES: {module} does not use {used} any more; take it out")),
        );
        let unlisted = found.iter().filter(|found| !used.contains(&found.as_str()));
        offences.extend(
            unlisted.map(|found| {
                format!("src/tenant/{module} uses {found}, which USES does not allow")
            }),
        );
    }
    let new = found
        .keys()
        .filter(|module| !above.contains(module.as_str()));
    offences.extend(new.map(|module| format!("src/tenant/{module} is not in USES")));
    offences
}

#[test]
fn finds_unlisted_and_unused_edge() {
    let sources = [
        Source::new("tenant/mod.rs", "pub mod a;\npub use c::C;\n"),
        Source::new("tenant/a.rs", "use super::{C, b::B};\n"),
        Source::new("tenant/b/mod.rs", "mod d;\npub use d::B;\n"),
        Source::new("tenant/b/d.rs", "fn f() { crate::tenant::c::g() }\n"),
        Source::new("tenant/c.rs", "use crate::primitives::Id;\n"),
    ];
    let uses = uses(&sources);
    let right: &[Entry] = &[("c", &[]), ("b", &["c"]), ("a", &["b", "c"])];
    assert_eq!(offences(&uses, right), [""; 0]);
    let wrong: &[(&[Entry], &str)] = &[
        (&[("c", &[]), ("b", &["c"]), ("a", &["b"])], "a uses c"),
        (
            &[("c", &[]), ("b", &["c"]), ("a", &["b", "c"]), ("d", &[])],
            "no module d",
        ),
        (&[("c", &[]), ("b", &["c"])], "a is not in USES"),
        (
            &[("b", &["c"]), ("c", &[]), ("a", &["b", "c"])],
            "b lists c, which is not above it",
        ),
    ];
    for (allowed, expected) in wrong {
        let found = offences(&uses, allowed);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{expected}: {found:?}"
        );
    }
    let unused: &[Entry] = &[("c", &[]), ("b", &["c"]), ("a", &["c", "b"])];
    let without_b = self::uses(&[
        Source::new("tenant/a.rs", "fn f() { super::c::g() }\n"),
        Source::new("tenant/b.rs", "use super::c::C;\n"),
        Source::new("tenant/c.rs", ""),
    ]);
    assert_eq!(
        offences(&without_b, unused),
        ["USES: a does not use b any more; take it out"]
    );
}

#[test]
fn uses_only_listed_modules() {
    let offences = offences(&uses(&source::all()), USES);
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}
