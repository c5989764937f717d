//! Files of `src/` do not use each other in a circle.
//!
//! A `use` path counts for the file that defines the item, behind any number of re-exports. A
//! re-export itself is no use: the facade of a module may list what its files use from each other.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{self, Source};

/// The circles that are left. The list may only shrink, and so may each circle.
const EXCEPTIONS: &[&[&str]] = &[];

/// More re-exports than any path passes through.
const REEXPORTS_MAX: usize = 8;

/// The names of a module from the crate's root on.
pub(super) type Path = Vec<String>;

pub(super) struct Import {
    pub(super) path: Path,
    /// The name in the importing module.
    name: String,
    is_reexport: bool,
}

pub(super) struct Module {
    file: String,
    pub(super) imports: Vec<Import>,
}

type Circle = BTreeSet<String>;

pub(super) type Modules = BTreeMap<Path, Module>;

pub(super) fn path_of(file: &str) -> Path {
    let mut path: Path = file
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if matches!(path.last().map(String::as_str), Some("mod" | "lib")) {
        path.pop();
    }
    path
}

/// The `use` declarations of a file outside its tests: whether each is public, and its tree.
fn declarations(source: &Source) -> Vec<(bool, &str)> {
    let mut declarations = Vec::new();
    let mut rest = source.product.as_str();
    while let Some((before, after)) = rest.split_once("use ") {
        let line = before.rsplit('\n').next().unwrap_or_default().trim();
        if line.is_empty() || line == "pub" || line.starts_with("pub(") && line.ends_with(')') {
            let (tree, _) = after.split_once(';').unwrap_or((after, ""));
            declarations.push((!line.is_empty(), tree));
        }
        rest = after;
    }
    declarations
}

/// The single paths of a tree such as `a::{b, c::{self, d as e}}`.
fn expanded(tree: &str) -> Vec<String> {
    let Some((prefix, group)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
    let (mut members, mut depth) = (vec![String::new()], 0);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(String::new());
                continue;
            }
            _ => {}
        }
        members.last_mut().expect("there is a member").push(c);
    }
    members
        .iter()
        .filter(|member| !member.trim().is_empty())
        .flat_map(|member| expanded(member))
        .map(|path| format!("{}{path}", prefix.trim()))
        .collect()
}

/// An import of a module's own crate; `None` for one of another crate.
fn import(own: &Path, is_reexport: bool, text: &str, known: &BTreeSet<Path>) -> Option<Import> {
    let (path, alias) = text
        .split_once(" as ")
        .map_or((text, None), |(path, alias)| (path, Some(alias)));
    let mut names = path.split("::").map(str::trim).peekable();
    let mut base = own.clone();
    let child = [&base[..], &[names.peek()?.to_string()]].concat();
    match *names.peek()? {
        "crate" => {
            names.next();
            base.clear();
        }
        "self" | "super" => {
            while let Some(name) = names.next_if(|name| matches!(*name, "self" | "super")) {
                if name == "super" {
                    base.pop();
                }
            }
        }
        _ if known.contains(&child) => {}
        _ => return None,
    }
    base.extend(names.filter(|name| *name != "self").map(str::to_owned));
    let name = alias.map(str::trim).or(base.last().map(String::as_str))?;
    Some(Import {
        name: name.to_owned(),
        path: base,
        is_reexport,
    })
}

pub(super) fn modules(sources: &[Source]) -> Modules {
    let known: BTreeSet<Path> = sources.iter().map(|source| path_of(&source.path)).collect();
    let module = |source: &Source| {
        let own = path_of(&source.path);
        let imports = declarations(source)
            .into_iter()
            .flat_map(|(is_reexport, tree)| {
                let imports = expanded(tree).into_iter();
                let known = &known;
                let own = &own;
                imports.filter_map(move |text| import(own, is_reexport, &text, known))
            })
            .collect();
        let file = source.path.clone();
        (own.clone(), Module { file, imports })
    };
    sources.iter().map(module).collect()
}

/// The module that defines the item at a path.
pub(super) fn definition(modules: &Modules, path: &[String], reexports: usize) -> Option<Path> {
    let length = (0..=path.len())
        .rev()
        .find(|length| modules.contains_key(&path[..*length]))?;
    let (module, rest) = path.split_at(length);
    let Some(item) = rest.first() else {
        return Some(module.to_vec());
    };
    let imports = &modules[module].imports;
    let import = imports.iter().find(|import| import.name == *item);
    match import {
        Some(import) if reexports < REEXPORTS_MAX => {
            let path = [&import.path[..], &rest[1..]].concat();
            definition(modules, &path, reexports + 1)
        }
        _ => Some(module.to_vec()),
    }
}

/// Groups of files each of which reaches every other one.
fn circles(sources: &[Source]) -> BTreeSet<Circle> {
    let modules = modules(sources);
    let uses = |module: &Module| -> BTreeSet<Path> {
        let imports = module.imports.iter().filter(|import| !import.is_reexport);
        imports
            .filter_map(|import| definition(&modules, &import.path, 0))
            .collect()
    };
    let edges: BTreeMap<&Path, BTreeSet<Path>> = modules
        .iter()
        .map(|(path, module)| {
            let mut used = uses(module);
            used.remove(path);
            (path, used)
        })
        .collect();
    let reached = |start: &Path| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![start.clone()]);
        while let Some(path) = open.pop() {
            let next = edges[&path]
                .iter()
                .filter(|next| reached.insert((*next).clone()));
            open.extend(next.cloned());
        }
        reached
    };
    let reached: BTreeMap<&Path, BTreeSet<Path>> =
        modules.keys().map(|path| (path, reached(path))).collect();
    let circle = |path: &&Path| -> Circle {
        let mutual = reached[*path]
            .iter()
            .filter(|other| reached[other].contains(*path));
        mutual.map(|other| modules[other].file.clone()).collect()
    };
    let circles = modules.keys().map(|path| circle(&path));
    circles.filter(|circle| !circle.is_empty()).collect()
}

#[test]
fn finds_circle_through_reexport() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let facade = source(
        "b/mod.rs",
        "mod c;\nmod d;\npub use c::{C, E as F};\nuse std::fmt;\n",
    );
    let leaf = source("b/d.rs", "use super::C;\nuse crate::a::{self, A};\n");
    let in_tests = "#[cfg(test)]\nmod tests {\n    use super::super::a;\n}\n";
    let sources = [source("a.rs", "use crate::{b::{F}};\n"), facade, leaf];
    let with = |text: &str| {
        let mut all = vec![source("b/c.rs", text)];
        all.extend(
            sources
                .iter()
                .map(|source| Source::new(&source.path, &source.text)),
        );
        circles(&all)
    };
    let expected = |files: &[&str]| BTreeSet::from([files.iter().map(|f| f.to_string()).collect()]);
    assert_eq!(with(in_tests), BTreeSet::new());
    assert_eq!(with("use crate::a;\n"), expected(&["a.rs", "b/c.rs"]));
    assert_eq!(
        with("use super::d::D;\n"),
        expected(&["a.rs", "b/c.rs", "b/d.rs"])
    );
}

#[test]
fn has_no_circle_between_files() {
    let sources: Vec<Source> = source::all()
        .into_iter()
        .filter(|source| source.path != "main.rs")
        .collect();
    let exceptions: BTreeSet<Circle> = EXCEPTIONS
        .iter()
        .map(|files| files.iter().map(|file| (*file).to_owned()).collect())
        .collect();
    let circles = circles(&sources);
    let is_excused = |circle: &&Circle| {
        let covers = |exception: &Circle| circle.iter().all(|file| exception.contains(file));
        exceptions.iter().any(covers)
    };
    let new: Vec<_> = circles
        .iter()
        .filter(|circle| !is_excused(circle))
        .collect();
    assert!(new.is_empty(), "files use each other in a circle: {new:#?}");
    let outdated: Vec<_> = exceptions.difference(&circles).collect();
    assert!(
        outdated.is_empty(),
        "these circles are gone or smaller; shorten the list: {outdated:#?}"
    );
}
