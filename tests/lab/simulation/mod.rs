//! The whole system against a small model. One seed decides about everything: what the shops do,
//! calls that come twice, the clock that is set, the disk that is full or fails, the file that
//! somebody else has locked, the mail that goes out although no answer comes, and the process that
//! dies between any two calls that change something. A call whose answer was lost is sent again
//! under its key, as a till does. After each recovery, and at the end, the files hold what the
//! model says.
//!
//! What time alone decides is left out: whether a key that is older than its day still stands
//! (`clocks` has that).
//!
//! Cases run in processes of their own, two at once: there is one recorder of the disk in a
//! process.

mod chance;
mod mails;
mod world;

use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use crate::table::{Finding, Kind, Row};
use world::{Struck, World};

/// The first word of the command line of a process that runs cases.
const CHILD: &str = "simulation-cases";
/// Two for each core of a small machine: a case often waits for its own writer.
const PROCESSES: usize = 4;
/// How many of its last steps are shown with a case that failed; all of them are in its file.
const STEPS_SHOWN: usize = 4;

/// How many cases there are for each one of the control, and how many of those there are at least.
const CASES_PER_CONTROL: usize = 20;
const CONTROLS_MIN: usize = 12;

/// Runs the cases. In the same run the control: tills that send again under a new key must be found
/// to sell twice.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let (what, control) = ("simulation against a model", "control: tills with new keys");
    let controls = (cases.len() / CASES_PER_CONTROL).max(CONTROLS_MIN);
    if cases.len() == 1 {
        let (verdict, _) = one(seed, cases.start, false, true);
        return vec![
            Row::new(what, 1, verdict.err()),
            Row::skipped(control, controls, "one case is run again"),
        ];
    }
    let (mut failures, struck) = in_processes(seed, &cases, false);
    if (struck.lost as usize) < cases.len() || (struck.failed as usize) < cases.len() / 2 {
        failures.push(
            format!(
                "{struck:?} in {} cases: hardly anything was tried",
                cases.len()
            )
            .into(),
        );
    }
    let (found, _) = in_processes(seed, &(0..controls), true);
    vec![
        Row::new(what, cases.len(), failures),
        Row::new(control, controls, found).must_find(),
    ]
}

fn in_processes(seed: u64, cases: &Range<usize>, forgets_keys: bool) -> (Vec<Finding>, Struck) {
    let program = std::env::current_exe().expect("a program knows where it is");
    let start = |part: usize| {
        let numbers = [
            cases.start + part,
            cases.end,
            PROCESSES,
            usize::from(forgets_keys),
        ];
        Command::new(&program)
            .arg(CHILD)
            .arg(seed.to_string())
            .args(numbers.map(|number| number.to_string()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process can be started")
    };
    let children: Vec<_> = (0..PROCESSES).map(start).collect();
    let readers = children
        .into_iter()
        .map(|child| std::thread::spawn(move || listen(child)));
    let readers: Vec<_> = readers.collect();
    let mut all = (Vec::new(), Struck::default());
    for reader in readers {
        let (findings, struck) = reader.join().expect("it only reads");
        all.0.extend(findings);
        all.1.lost += struck.lost;
        all.1.failed += struck.failed;
    }
    all
}

/// Reads what a child has to say: a line for each case that failed, and at the end how often
/// something went wrong.
fn listen(mut child: Child) -> (Vec<Finding>, Struck) {
    let (mut findings, mut struck) = (Vec::new(), None);
    for line in BufReader::new(child.stdout.take().expect("it is piped"))
        .lines()
        .map_while(Result::ok)
    {
        if let Ok((kind, text)) = serde_json::from_str::<(String, String)>(&line) {
            findings.push(Finding::new(kind_of(&kind), text));
        } else if let Ok((lost, failed)) = serde_json::from_str(&line) {
            struck = Some(Struck { lost, failed });
        }
    }
    let ended = child.wait();
    if struck.is_none() {
        findings.push(
            format!("a process that ran cases ended before they were through: {ended:?}").into(),
        );
    }
    (findings, struck.unwrap_or_default())
}

const KINDS: [Kind; 4] = [Kind::Lost, Kind::Doubled, Kind::Undetected, Kind::Other];

fn kind_of(name: &str) -> Kind {
    KINDS
        .into_iter()
        .find(|kind| format!("{kind:?}") == name)
        .unwrap_or(Kind::Other)
}

/// Runs the cases that the command line of a child names; nothing, in any other process.
pub fn child(mut args: impl Iterator<Item = String>) -> Option<ExitCode> {
    if args.next().as_deref() != Some(CHILD) {
        return None;
    }
    let numbers: Vec<u64> = args.map(|arg| arg.parse().expect("a number")).collect();
    let &[seed, first, end, step, forgets_keys] = numbers.as_slice() else {
        panic!("a child has five numbers");
    };
    let mut all = Struck::default();
    for case in (first..end).step_by(step as usize) {
        let (verdict, struck) = one(seed, case as usize, forgets_keys == 1, false);
        all.lost += struck.lost;
        all.failed += struck.failed;
        if let Err(found) = verdict {
            let line = serde_json::to_string(&(format!("{:?}", found.kind), found.bare()))
                .expect("two texts");
            println!("{line}");
        }
    }
    println!(
        "{}",
        serde_json::to_string(&(all.lost, all.failed)).expect("two numbers")
    );
    Some(ExitCode::SUCCESS)
}

/// One case. What it did is kept in a file when it fails, and shown when it is the only one.
fn one(
    seed: u64,
    case: usize,
    forgets_keys: bool,
    is_shown: bool,
) -> (Result<(), Finding>, Struck) {
    let mut world = World::new(seed, case, forgets_keys);
    let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let (steps, struck) = world.end();
    if is_shown {
        steps.iter().for_each(|step| println!("{step}"));
    }
    let found = match verdict {
        Ok(Ok(())) => return (Ok(()), struck),
        Ok(Err(found)) => found,
        Err(panic) => tillbox::storage::writer::panic_text(panic.as_ref())
            .to_owned()
            .into(),
    };
    if forgets_keys {
        return (Err(found), struck);
    }
    let path = keep(seed, case, &steps);
    let last = &steps[steps.len().saturating_sub(STEPS_SHOWN)..];
    let found = found.at(format_args!(
        "case {case}, whose steps are in {}, the last of them {last:#?}",
        path.display()
    ));
    (Err(found), struck)
}

fn keep(seed: u64, case: usize, steps: &[String]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("simulation-{seed}-{case}.log"));
    std::fs::write(&path, steps.join("\n")).expect("the steps can be kept");
    path
}
