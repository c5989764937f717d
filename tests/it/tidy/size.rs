//! Limits on the length of files and functions.

use super::source::{self, Source};
use super::{Offence, bites, enforce_everywhere};

const FILE_LINES_MAX: usize = 800;
const MEDIAN_FILE_LINES_MAX: usize = 150;
const FUNCTION_LINES_MAX: usize = 70;

fn fits_in_a_file(source: &Source) -> Vec<Offence> {
    let lines = source.text.lines().count();
    let offence = || {
        format!(
            "{}{}: {lines} lines, {FILE_LINES_MAX} are the most",
            source.root, source.path
        )
    };
    (lines > FILE_LINES_MAX).then(offence).into_iter().collect()
}

/// Whether a line begins a function.
fn begins_function(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| {
        matches!(
            *word,
            "pub" | "async" | "const" | "unsafe" | "default" | "extern"
        ) || word.starts_with("pub(")
            || word.ends_with(')') && !word.contains('(')
    });
    words.next() == Some("fn")
}

/// Functions by rustfmt's layout: from the line with `fn` to the `}` at the same indentation.
fn fits_in_a_function(source: &Source) -> Vec<Offence> {
    let lines: Vec<&str> = source.code.lines().collect();
    let mut offences = Vec::new();
    for (start, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| begins_function(line))
    {
        let indent = &line[..line.len() - line.trim_start().len()];
        let (close, end_of_declaration) = (format!("{indent}}}"), format!("{indent})"));
        let is_end = |line: &&str| {
            **line == *close || (line.starts_with(&end_of_declaration) && line.ends_with(';'))
        };
        if line.trim_end().ends_with([';', '}']) {
            continue;
        }
        let length = 1 + lines[start..].iter().position(is_end).unwrap_or(0);
        if length > FUNCTION_LINES_MAX {
            offences.push(format!(
                "{}{}:{}: a function of {length} lines, {FUNCTION_LINES_MAX} are the most",
                source.root,
                source.path,
                start + 1
            ));
        }
    }
    offences
}

#[test]
fn limits_length_of_files() {
    bites(
        fits_in_a_file,
        "a.rs",
        &"x\n".repeat(801),
        &"x\n".repeat(800),
    );
    enforce_everywhere(fits_in_a_file);
    let mut lengths: Vec<usize> = source::all()
        .iter()
        .map(|source| source.text.lines().count())
        .collect();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(
        median <= MEDIAN_FILE_LINES_MAX,
        "the median file has {median} lines"
    );
}

#[test]
fn limits_length_of_functions() {
    let function =
        |head: &str, lines: usize| format!("{head} {{\n{}    }}\n", "        x();\n".repeat(lines));
    for head in [
        "    fn f()",
        "    pub async fn f()",
        "    pub(super) const fn f()",
    ] {
        bites(
            fits_in_a_function,
            "a.rs",
            &function(head, 69),
            &function(head, 68),
        );
    }
    enforce_everywhere(fits_in_a_function);
}
