//! The whole system against a small model. One seed decides everything: the actions of the shops,
//! repeated calls, clock jumps, full and failing disks, locked files, mails whose answer is lost,
//! and the death of the process between any two calls that change something. A call whose answer
//! was lost is sent again under its key, as a till does. After each recovery, and at the end, the
//! files match the model.
//!
//! Effects of time alone are left out: `clocks` tests whether an expired idempotency key is still
//! valid.
//!
//! Cases run in processes of their own, several at once, because a process has one disk recorder.

mod generate;
mod mails;
mod world;

use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use crate::table::{Finding, Kind, Row};
use world::{FaultCounts, World};

/// The first argument of a process that runs cases.
const CHILD: &str = "simulation-cases";
/// Two for each core of a small machine: a case often waits for its own writer.
const PROCESSES: usize = 4;
/// Last steps shown for a failed case. Its log file has all of them.
const STEPS_SHOWN: usize = 4;

/// Cases for each case of the control, and the least number of those.
const CASES_PER_CONTROL: usize = 20;
const CONTROLS_MIN: usize = 12;

/// Runs the cases. The control in the same run: tills that repeat a call under a new key must sell
/// twice.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let (what, control) = ("simulation against a model", "control: tills with new keys");
    let controls = (cases.len() / CASES_PER_CONTROL).max(CONTROLS_MIN);
    if cases.len() == 1 {
        let (verdict, _) = run_case(seed, cases.start, false, true);
        return vec![
            Row::new(what, 1, verdict.err()),
            Row::skipped(control, controls, "a single case runs"),
        ];
    }
    let (mut failures, faults) = in_processes(seed, &cases, false);
    if (faults.lost as usize) < cases.len() || (faults.failed as usize) < cases.len() / 2 {
        failures.push(
            format!(
                "{faults:?} in {} cases: the trials tested too little",
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

fn in_processes(
    seed: u64,
    cases: &Range<usize>,
    forgets_keys: bool,
) -> (Vec<Finding>, FaultCounts) {
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
        .map(|child| std::thread::spawn(move || read_output(child)));
    let readers: Vec<_> = readers.collect();
    let mut all = (Vec::new(), FaultCounts::default());
    for reader in readers {
        let (findings, faults) = reader.join().expect("it only reads");
        all.0.extend(findings);
        all.1.lost += faults.lost;
        all.1.failed += faults.failed;
    }
    all
}

/// Reads the output of a child: one line for each failed case, and the fault counts at the end.
fn read_output(mut child: Child) -> (Vec<Finding>, FaultCounts) {
    let (mut findings, mut faults) = (Vec::new(), None);
    for line in BufReader::new(child.stdout.take().expect("it is piped"))
        .lines()
        .map_while(Result::ok)
    {
        if let Ok((kind, text)) = serde_json::from_str::<(String, String)>(&line) {
            findings.push(Finding::new(kind_of(&kind), text));
        } else if let Ok((lost, failed)) = serde_json::from_str(&line) {
            faults = Some(FaultCounts { lost, failed });
        }
    }
    let ended = child.wait();
    if faults.is_none() {
        findings.push(format!("a child ended before its last case: {ended:?}").into());
    }
    (findings, faults.unwrap_or_default())
}

const KINDS: [Kind; 4] = [Kind::Lost, Kind::Doubled, Kind::Undetected, Kind::Other];

fn kind_of(name: &str) -> Kind {
    KINDS
        .into_iter()
        .find(|kind| format!("{kind:?}") == name)
        .unwrap_or(Kind::Other)
}

/// Runs the cases named by the command line of a child. Returns [`None`] in any other process.
pub fn child(mut args: impl Iterator<Item = String>) -> Option<ExitCode> {
    if args.next().as_deref() != Some(CHILD) {
        return None;
    }
    let numbers: Vec<u64> = args.map(|arg| arg.parse().expect("a number")).collect();
    let &[seed, first, end, step, forgets_keys] = numbers.as_slice() else {
        panic!("a child has five numbers");
    };
    let mut all = FaultCounts::default();
    for case in (first..end).step_by(step as usize) {
        let (verdict, faults) = run_case(seed, case as usize, forgets_keys == 1, false);
        all.lost += faults.lost;
        all.failed += faults.failed;
        if let Err(found) = verdict {
            let line = serde_json::to_string(&(format!("{:?}", found.kind), found.text()))
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

/// Runs one case. Its steps are kept in a file when it fails, and printed when it is the only one.
fn run_case(
    seed: u64,
    case: usize,
    forgets_keys: bool,
    prints_steps: bool,
) -> (Result<(), Finding>, FaultCounts) {
    let mut world = World::new(seed, case, forgets_keys);
    let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let (steps, faults) = world.end();
    if prints_steps {
        steps.iter().for_each(|step| println!("{step}"));
    }
    let found = match verdict {
        Ok(Ok(())) => return (Ok(()), faults),
        Ok(Err(found)) => found,
        Err(panic) => tillbox::storage::writer::panic_text(panic.as_ref())
            .to_owned()
            .into(),
    };
    if forgets_keys {
        return (Err(found), faults);
    }
    let path = keep(seed, case, &steps);
    let last = &steps[steps.len().saturating_sub(STEPS_SHOWN)..];
    let found = found.at(format_args!(
        "case {case}, steps in {}, the last ones: {last:#?}",
        path.display()
    ));
    (Err(found), faults)
}

fn keep(seed: u64, case: usize, steps: &[String]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("simulation-{seed}-{case}.log"));
    std::fs::write(&path, steps.join("\n")).expect("the steps can be kept");
    path
}
