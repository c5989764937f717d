//! The command line of the laboratory: which parts run, and how many trials.

use std::ops::Range;
use std::process::ExitCode;

use tillbox::primitives::Stopwatch;

use crate::table::{self, Row};

/// The name, the trials in the short form and in the long one, and the function, which turns a seed
/// and a range of cases into rows of the table.
pub struct Part(
    pub &'static str,
    pub usize,
    pub usize,
    pub fn(u64, Range<usize>) -> Vec<Row>,
);

/// The parsed command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    is_long: bool,
    seed: Option<u64>,
    trials: Option<usize>,
    case: Option<usize>,
    /// Arguments that are not options: names of parts, or a filter for other tests.
    words: Vec<String>,
}

/// Parses the arguments. Ignores options of the standard test harness, which may be meant for other
/// tests.
fn parse(args: impl Iterator<Item = String>) -> Options {
    let mut options = Options::default();
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().and_then(|value| value.parse::<u64>().ok());
            value.unwrap_or_else(|| panic!("{arg} needs a number"))
        };
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        match arg.as_str() {
            "--ci" => options.is_long = true,
            "--seed" => options.seed = Some(number()),
            "--trials" => options.trials = Some(size(number())),
            "--case" => options.case = Some(size(number())),
            option if option.starts_with('-') => {}
            word => options.words.push(word.to_owned()),
        }
    }
    options
}

/// Runs the named parts, or all of them, and prints the results.
pub fn all(parts: &[Part], args: impl Iterator<Item = String>) -> ExitCode {
    let args: Vec<String> = args.collect();
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let options = parse(args.into_iter());
    let selected: Vec<&Part> = parts
        .iter()
        .filter(|part| options.words.is_empty() || options.words.iter().any(|word| word == part.0))
        .collect();
    if selected.is_empty() {
        let names: Vec<&str> = parts.iter().map(|part| part.0).collect();
        println!(
            "no part {:?}; the parts are {}",
            options.words,
            names.join(", ")
        );
        return ExitCode::SUCCESS;
    }
    let seed = options.seed.unwrap_or(1);
    let mut rows = Vec::new();
    for &&Part(name, short, long, run) in &selected {
        let trials = options
            .trials
            .unwrap_or(if options.is_long { long } else { short });
        let cases = options
            .case
            .map_or(0..trials, |case| case..case.saturating_add(1));
        let watch = Stopwatch::start();
        let found = run(seed, cases);
        for row in &found {
            println!("{}", table::summary(row, name, seed));
        }
        println!("{name} took {} s", watch.read().as_secs());
        rows.extend(found);
    }
    table::print(&rows);
    if rows.iter().all(Row::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
