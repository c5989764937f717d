//! Power cuts: at any point of the workload the disk keeps synced data and any part of the rest.
//! Then the process starts again.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;
use tillbox::storage::DataDir;

use crate::disk::states::{Disk, Survives};
use crate::disk::{self, Op};
use crate::instance::{self, Instance};
use crate::oracle;
use crate::rng::Rng;
use crate::table::{Finding, Row};
use crate::workload::{self, CallLog, Sent};

/// Customers in the recorded workload.
const CUSTOMERS: usize = 8;
/// Two for each core of a small machine: a trial often waits for its own writer or readers.
const THREADS: usize = 4;

/// A recorded workload: the disk operations, and the calls with their answers.
struct Recording {
    root: PathBuf,
    history: Vec<Op>,
    sent: Vec<Sent>,
}

/// Creates a temporary directory, in memory where possible. Syncs cost nothing there, and no power
/// is really cut.
pub fn scratch() -> TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() {
        TempDir::with_prefix_in("tillbox-lab-", shm).expect("a directory")
    } else {
        TempDir::with_prefix("tillbox-lab-").expect("a directory")
    }
}

fn record(ignores_syncs: bool) -> Recording {
    let dir = scratch();
    let root = dir.path().to_owned();
    DataDir::prepare(&root).expect("the directory is prepared");
    fs::create_dir(root.join("outbox")).expect("a directory");
    disk::watch(&root, ignores_syncs);
    let instance = Instance::start(&root, 0).expect("the process starts");
    let call_log = CallLog::default();
    instance::runtime(THREADS).block_on(async {
        tokio::spawn(async {}).await.expect("it runs");
        workload::run(&instance, &call_log, CUSTOMERS).await;
    });
    instance.stop();
    Recording {
        root,
        history: disk::stop(),
        sent: call_log.into_sent(),
    }
}

/// Cuts the power at a position and examines the result.
fn cut(
    recording: &Recording,
    disk: &Disk<'_>,
    at: usize,
    survives: Survives,
    rng: &mut Rng,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Finding> {
    let image = disk.image(survives, rng);
    let dir = scratch();
    write_image(&image, &recording.root, dir.path());
    oracle::examine(dir.path(), &recording.sent, at, runtime)
        .inspect_err(|_| keep(&image, recording, at))
}

pub fn write_image(image: &BTreeMap<PathBuf, Vec<u8>>, from: &Path, to: &Path) {
    DataDir::prepare(to).expect("the directory is prepared");
    for (path, bytes) in image {
        let path = to.join(path.strip_prefix(from).expect("below the root"));
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        fs::write(path, bytes).expect("a file");
    }
}

/// Keeps the first failed disk for inspection.
fn keep(image: &BTreeMap<PathBuf, Vec<u8>>, recording: &Recording, at: usize) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("power-cut-{at}"));
    if !kept.exists() && !recording.sent.is_empty() {
        write_image(image, &recording.root, &kept);
    }
}

/// Cuts for each control on a disk that ignores syncs, and the least number of controls.
const CUTS_PER_CONTROL: usize = 20;
const CONTROLS_MIN: usize = 20;

/// Cuts the power. The control in the same run: on a disk that only reports syncs, the same cuts
/// must lose something.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let power = Row::new(
        "power cut",
        cases.len(),
        run_cuts(&record(false), seed, cases.clone()),
    );
    let (what, controls) = (
        "control: ignored syncs",
        (cases.len() / CUTS_PER_CONTROL).max(CONTROLS_MIN),
    );
    if cases.len() == 1 {
        return vec![power, Row::skipped(what, controls, "a single case runs")];
    }
    let control = Row::new(what, controls, run_cuts(&record(true), seed, 0..controls)).must_find();
    vec![power, control]
}

fn run_cuts(recording: &Recording, seed: u64, cases: Range<usize>) -> Vec<Finding> {
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for part in 0..THREADS {
            let (failures, cases) = (&failures, cases.clone());
            scope.spawn(move || {
                let runtime = instance::runtime(1);
                let mut disk = Disk::default();
                // Each thread replays the history in order, for its share of the cases.
                let mut cases: Vec<(usize, usize)> = cases
                    .skip(part)
                    .step_by(THREADS)
                    .map(|case| {
                        (
                            Rng::new(seed, case as u64).below(recording.history.len() as u64 + 1)
                                as usize,
                            case,
                        )
                    })
                    .collect();
                cases.sort_unstable();
                for (at, case) in cases {
                    disk.advance(&recording.history, at);
                    let mut rng = Rng::new(seed, case as u64);
                    rng.next();
                    let survives = *rng.pick(Survives::ALL);
                    if let Err(found) = cut(recording, &disk, at, survives, &mut rng, &runtime) {
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
