//! Plain English and the width of lines: the rules that a program can check.

use super::source::{self, Source, words};
use super::{Offence, bites, enforce_in};

/// Words of an old dialect, which no identifier and no comment uses.
const DIALECT: &[&str] = &[
    "house", "houses", "errand", "errands", "agenda", "agendas", "duty", "duties", "roster",
    "rosters", "pulse", "pulses", "upkeep", "whoever", "told",
];

/// Words that begin no doc comment: it begins with a noun for a thing, with a verb for a function.
const WEAK_STARTS: &[&str] = &["What", "Who", "Whose", "Whoever", "How", "By what", "Since"];

/// Names of libraries that contain such a word.
const FOREIGN: &[&str] = &["run_upkeep"];

const COLUMNS_MAX: usize = 100;

/// Parts of the tree that are still to be rewritten. The lists may only shrink.
const DIALECT_EXCEPTIONS: &[&str] = &[];
const START_EXCEPTIONS: &[&str] = &[];
const COLUMN_EXCEPTIONS: &[&str] = &[];

/// The lower-case words of an identifier: `a` and `word` of `a_word` and `AWord`.
fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in identifier.chars() {
        if c == '_' || c.is_uppercase() {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.extend(c.to_lowercase().filter(|c| *c != '_'));
        }
    }
    parts
}

fn uses_plain_words(source: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    let all = words(&source.code).chain(words(&source.comments));
    for (place, word) in all {
        let is_dialect = |part: &String| DIALECT.contains(&part.as_str());
        if !FOREIGN.contains(&word) && parts(word).iter().any(is_dialect) {
            offences.push(format!("{}: {word} is dialect", source.at(place)));
        }
    }
    offences
}

/// The mark of a line of a doc comment, and the text behind it.
fn doc_line(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (mark, text) = line.split_at_checked(3)?;
    let is_doc = matches!(mark, "///" | "//!") && !text.starts_with('/');
    is_doc.then(|| (mark, text.trim_start()))
}

fn begins_with(text: &str, start: &str) -> bool {
    let rest = text.strip_prefix(start);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

fn begins_docs_with_noun_or_verb(source: &Source) -> Vec<Offence> {
    let (mut offences, mut previous) = (Vec::new(), None);
    for (line, text) in source.comments.lines().enumerate() {
        let doc = doc_line(text);
        if let Some((mark, text)) = doc
            && previous != Some(mark)
            && let Some(start) = WEAK_STARTS.iter().find(|start| begins_with(text, start))
        {
            let (root, path, line) = (source.root, &source.path, line + 1);
            offences.push(format!(
                "{root}{path}:{line}: a doc comment begins with {start}"
            ));
        }
        previous = doc.map(|(mark, _)| mark);
    }
    offences
}

/// The contents of raw strings are data and may be wider.
fn fits_in_columns(source: &Source) -> Vec<Offence> {
    let (mut offences, mut start) = (Vec::new(), 0);
    for line in source.text.split_inclusive('\n') {
        let bytes = start..start + line.len();
        let columns = line.trim_end().chars().count();
        if columns > COLUMNS_MAX && !source.is_raw(&bytes) {
            offences.push(format!("{}: {columns} columns", source.at(start)));
        }
        start = bytes.end;
    }
    offences
}

fn all() -> impl Iterator<Item = Source> {
    let sources = source::all().into_iter();
    sources.chain(source::tests()).chain(source::lab())
}

#[test]
fn uses_no_dialect() {
    let good = "fn warehouse() { f(\"house\") }";
    for bad in [
        "let house = 1;",
        "struct OpenErrand;",
        "/// Whoever sells.",
        "// was told",
    ] {
        bites(uses_plain_words, "a.rs", bad, good);
    }
    enforce_in(source::all(), uses_plain_words, DIALECT_EXCEPTIONS);
}

#[test]
fn begins_doc_comments_with_noun_or_verb() {
    let good = "/// Sells.\n/// What else.\nfn f() {}\n// What?\n/// Whatever.\n";
    for start in WEAK_STARTS {
        let bad = format!("    /// {start} is sold.\n    fn f() {{}}\n");
        bites(begins_docs_with_noun_or_verb, "a.rs", &bad, good);
    }
    bites(
        begins_docs_with_noun_or_verb,
        "a.rs",
        "//! What it is.\n",
        good,
    );
    enforce_in(all(), begins_docs_with_noun_or_verb, START_EXCEPTIONS);
}

#[test]
fn keeps_lines_within_100_columns() {
    let good = format!("// {}\nlet a = r\"{}\";\n", "é".repeat(97), "a".repeat(200));
    bites(
        fits_in_columns,
        "a.rs",
        &format!("// {}\n", "é".repeat(98)),
        &good,
    );
    bites(
        fits_in_columns,
        "a.rs",
        &format!("f(\"{}\");\n", "a".repeat(97)),
        &good,
    );
    enforce_in(all(), fits_in_columns, COLUMN_EXCEPTIONS);
}
