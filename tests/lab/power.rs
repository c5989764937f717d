//! Power cuts: at any point of the shops' day the disk keeps what was synced and any part of the
//! rest; then the process starts again.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;
use tillbox::storage::DataDir;

use crate::dice::Dice;
use crate::disk::states::{Disk, Survives};
use crate::disk::{self, Op};
use crate::house::{self, House};
use crate::oracle;
use crate::table::{Finding, Row};
use crate::workload::{self, Diary, Sent};

/// How many customers come in the day that is cut.
const CUSTOMERS: usize = 8;
/// Two for each core of a small machine: a trial often waits for its own writer or readers.
const THREADS: usize = 4;

/// A day: what happened on the disk, and what was answered.
struct Day {
    root: PathBuf,
    history: Vec<Op>,
    sent: Vec<Sent>,
}

/// A directory whose syncs cost nothing, where there is one: no power is really cut.
pub fn scratch() -> TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() {
        TempDir::with_prefix_in("tillbox-lab-", shm).expect("a directory")
    } else {
        TempDir::with_prefix("tillbox-lab-").expect("a directory")
    }
}

fn record(syncs_are_lies: bool) -> Day {
    let dir = scratch();
    let root = dir.path().to_owned();
    DataDir::prepare(&root).expect("the directory is prepared");
    fs::create_dir(root.join("outbox")).expect("a directory");
    disk::watch(&root, syncs_are_lies);
    let house = House::start(&root, 0).expect("the day begins");
    let diary = Diary::default();
    house::runtime(THREADS).block_on(async {
        tokio::spawn(async {}).await.expect("it runs");
        workload::run(&house, &diary, CUSTOMERS).await;
    });
    house.stop();
    Day {
        root,
        history: disk::take(),
        sent: diary.into_lines(),
    }
}

/// One cut: where, what survives, and what comes of it.
fn cut(
    day: &Day,
    disk: &Disk<'_>,
    at: usize,
    survives: Survives,
    dice: &mut Dice,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Finding> {
    let image = disk.image(survives, dice);
    let dir = scratch();
    lay_out(&image, &day.root, dir.path());
    oracle::examine(dir.path(), &day.sent, at, runtime).inspect_err(|_| keep(&image, day, at))
}

pub fn lay_out(image: &BTreeMap<PathBuf, Vec<u8>>, from: &Path, to: &Path) {
    DataDir::prepare(to).expect("the directory is prepared");
    for (path, bytes) in image {
        let path = to.join(path.strip_prefix(from).expect("below the root"));
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        fs::write(path, bytes).expect("a file");
    }
}

/// Keeps the first disk that was found wrong, for whoever looks into it.
fn keep(image: &BTreeMap<PathBuf, Vec<u8>>, day: &Day, at: usize) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("power-cut-{at}"));
    if !kept.exists() && !day.sent.is_empty() {
        lay_out(image, &day.root, &kept);
    }
}

/// How many cuts there are for each one on the disk that lies, and how many of those there are at
/// least.
const CUTS_PER_CONTROL: usize = 20;
const CONTROLS_MIN: usize = 20;

/// Cuts the power. In the same run the control: on a disk that only claims to sync, the same cuts
/// must be found to lose something.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let power = Row::new(
        "power cut",
        cases.len(),
        cut_many(&record(false), seed, cases.clone()),
    );
    let (what, controls) = (
        "control: syncs that are lies",
        (cases.len() / CUTS_PER_CONTROL).max(CONTROLS_MIN),
    );
    if cases.len() == 1 {
        return vec![power, Row::skipped(what, controls, "one case is run again")];
    }
    let control = Row::new(what, controls, cut_many(&record(true), seed, 0..controls)).must_find();
    vec![power, control]
}

fn cut_many(day: &Day, seed: u64, cases: Range<usize>) -> Vec<Finding> {
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for part in 0..THREADS {
            let (failures, cases) = (&failures, cases.clone());
            scope.spawn(move || {
                let runtime = house::runtime(1);
                let mut disk = Disk::default();
                // Each thread has its stretch of the day, and goes through it in order.
                let mut cases: Vec<(usize, usize)> = cases
                    .skip(part)
                    .step_by(THREADS)
                    .map(|case| {
                        (
                            Dice::new(seed, case as u64).below(day.history.len() as u64 + 1)
                                as usize,
                            case,
                        )
                    })
                    .collect();
                cases.sort_unstable();
                for (at, case) in cases {
                    disk.advance(&day.history, at);
                    let mut dice = Dice::new(seed, case as u64);
                    dice.next();
                    let survives = *dice.pick(Survives::ALL);
                    if let Err(found) = cut(day, &disk, at, survives, &mut dice, &runtime) {
                        let found =
                            found.at(format_args!("case {case} at {at}, {survives:?} survives"));
                        failures
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(found);
                    }
                }
            });
        }
    });
    failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}
