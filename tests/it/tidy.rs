//! The rules of style, as tests. A rule is a function from a source file to its offences. Each is
//! also tested with a bad snippet, to prove that it bites. Lists of exceptions may only shrink: an
//! exception that excuses nothing fails too.

mod circles;
mod domain;
mod language;
mod layers;
mod rows;
mod rules;
mod size;
pub mod source;
mod sql;

use source::Source;

/// The place of an offence and its description.
type Offence = String;

/// Applies a rule to the sources of the program, except for the files in `exceptions`. Each
/// exception must still be needed.
#[track_caller]
fn enforce(rule: impl Fn(&Source) -> Vec<Offence>, exceptions: &[&str]) {
    enforce_in(source::all(), rule, exceptions);
}

/// Applies a rule to the sources of the program and of the tests.
#[track_caller]
fn enforce_everywhere(rule: impl Fn(&Source) -> Vec<Offence>) {
    enforce_in(source::all().into_iter().chain(source::tests()), rule, &[]);
}

/// Applies a rule to some sources. An exception is a file, or a directory that ends with `/`.
#[track_caller]
fn enforce_in(
    sources: impl IntoIterator<Item = Source>,
    rule: impl Fn(&Source) -> Vec<Offence>,
    exceptions: &[&str],
) {
    let mut offences = Vec::new();
    let mut unused: Vec<&str> = exceptions.to_vec();
    for source in sources {
        let found = rule(&source);
        let place = format!("{}{}", source.root, source.path);
        let excuses = |exception: &&str| {
            **exception == *source.path
                || **exception == *place
                || exception.ends_with('/') && place.starts_with(*exception)
        };
        if !exceptions.iter().any(excuses) {
            offences.extend(found);
        } else if !found.is_empty() {
            unused.retain(|exception| !excuses(exception));
        }
    }
    assert!(
        offences.is_empty(),
        "{} offences:\n{}",
        offences.len(),
        offences.join("\n")
    );
    assert!(
        unused.is_empty(),
        "these exceptions excuse nothing any more; take them out: {unused:?}"
    );
}

/// Asserts that the rule finds something in the bad snippet and nothing in the good one.
#[track_caller]
fn bites(rule: impl Fn(&Source) -> Vec<Offence>, path: &str, bad: &str, good: &str) {
    assert!(
        !rule(&Source::new(path, bad)).is_empty(),
        "not found in {path}: {bad}"
    );
    let found = rule(&Source::new(path, good));
    assert!(found.is_empty(), "found in {good}: {found:?}");
}
