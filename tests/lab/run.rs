//! Which parts of the laboratory run, and how large; the command line.

use std::ops::Range;
use std::process::ExitCode;

use tillbox::primitives::Stopwatch;

use crate::table::{self, Row};

/// Name, trials in the short form, trials in the long one, and what runs it: the seed and the
/// numbers of the cases to the rows of the table.
pub struct Part(
    pub &'static str,
    pub usize,
    pub usize,
    pub fn(u64, Range<usize>) -> Vec<Row>,
);

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Order {
    is_long: bool,
    seed: Option<u64>,
    trials: Option<usize>,
    case: Option<usize>,
    /// Words that are no option: names of parts, or a filter that is meant for the other tests.
    words: Vec<String>,
}

/// Options of the usual harness are passed over: whoever gives them means the other tests as well.
fn understand(args: impl Iterator<Item = String>) -> Order {
    let mut order = Order::default();
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().and_then(|value| value.parse::<u64>().ok());
            value.unwrap_or_else(|| panic!("{arg} takes a number"))
        };
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        match arg.as_str() {
            "--ci" => order.is_long = true,
            "--seed" => order.seed = Some(number()),
            "--trials" => order.trials = Some(size(number())),
            "--case" => order.case = Some(size(number())),
            option if option.starts_with('-') => {}
            word => order.words.push(word.to_owned()),
        }
    }
    order
}

/// Runs the parts that the arguments name, or all of them, and prints what was found.
pub fn all(parts: &[Part], args: impl Iterator<Item = String>) -> ExitCode {
    let args: Vec<String> = args.collect();
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let order = understand(args.into_iter());
    let wanted: Vec<&Part> = parts
        .iter()
        .filter(|part| order.words.is_empty() || order.words.iter().any(|word| word == part.0))
        .collect();
    if wanted.is_empty() {
        let names: Vec<&str> = parts.iter().map(|part| part.0).collect();
        println!(
            "the laboratory has no part {:?}; it has {}",
            order.words,
            names.join(", ")
        );
        return ExitCode::SUCCESS;
    }
    let seed = order.seed.unwrap_or(1);
    let mut rows = Vec::new();
    for &&Part(name, short, long, run) in &wanted {
        let trials = order
            .trials
            .unwrap_or(if order.is_long { long } else { short });
        let cases = order
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
