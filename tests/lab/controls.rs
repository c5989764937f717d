//! Controls for the power cuts: a small workload of plain SQLite connections over the same recorder
//! and the same model of the disk. With the settings of the tenant files it loses nothing. With
//! `synchronous=NORMAL` it loses acknowledged commits. One transaction over two files by ATTACH
//! leaves them inconsistent, because in WAL mode each file commits by itself. A laboratory that
//! finds neither of the last two is blind; one that finds a loss in the first is too strict.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::disk::states::{Disk, Survives};
use crate::disk::{self, Op};
use crate::power::{scratch, write_image};
use crate::rng::Rng;
use crate::table::{Finding, Kind, Row};

/// Commits in one history.
const COMMITS: i64 = 120;
/// Small, so that a history has many checkpoints and WAL restarts.
const CHECKPOINT_PAGES: u32 = 24;

/// The way in which the small workload writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteMode {
    /// One file, with the settings of the tenant files.
    Full,
    /// One file, whose WAL is synced only at a checkpoint.
    Normal,
    /// Two files, one transaction over both.
    Attach,
    /// Two files, one transaction each. The first file holds the work for the second, which is done
    /// again after a crash.
    Outbox,
}

impl WriteMode {
    const fn has_two_files(self) -> bool {
        matches!(self, Self::Attach | Self::Outbox)
    }
}

/// A recorded workload: the disk operations, the position where cuts begin, and the position at
/// which each number was acknowledged.
struct ControlHistory {
    root: PathBuf,
    ops: Vec<Op>,
    begins: usize,
    acknowledged: Vec<(i64, usize)>,
}

fn open(path: &Path, mode: WriteMode) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    )?;
    let synchronous = if mode == WriteMode::Normal {
        "NORMAL"
    } else {
        "FULL"
    };
    conn.execute_batch(&format!(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}; PRAGMA \
         wal_autocheckpoint={CHECKPOINT_PAGES};
         CREATE TABLE IF NOT EXISTS sale (number INTEGER PRIMARY KEY, note BLOB NOT NULL);"
    ))?;
    Ok(conn)
}

fn record(mode: WriteMode) -> rusqlite::Result<ControlHistory> {
    let dir = scratch();
    let root = dir.path().to_owned();
    let (first, second) = (root.join("first.db"), root.join("second.db"));
    disk::watch(&root, false);
    let conn = open(&first, mode)?;
    let other = mode
        .has_two_files()
        .then(|| open(&second, mode))
        .transpose()?;
    for path in [&first, &second].into_iter().filter(|path| path.exists()) {
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced
            .and_then(|()| File::open(&root)?.sync_all())
            .expect("it can be synced");
    }
    if mode == WriteMode::Attach {
        conn.execute("ATTACH ?1 AS second", [second.to_string_lossy()])?;
        conn.execute_batch(&format!(
            "PRAGMA second.synchronous=FULL; PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES};"
        ))?;
    }
    let begins = disk::position();
    let mut acknowledged = Vec::new();
    for number in 1..=COMMITS {
        let insert = |schema: &str| {
            format!(
                "INSERT INTO {schema}.sale VALUES ({number}, zeroblob({}));",
                1 + number * 53 % 3_000
            )
        };
        match (mode, &other) {
            (WriteMode::Attach, _) => conn.execute_batch(&format!(
                "BEGIN IMMEDIATE; {} {} COMMIT;",
                insert("main"),
                insert("second")
            ))?,
            (WriteMode::Outbox, Some(other)) => {
                conn.execute_batch(&insert("main"))?;
                other.execute_batch(&insert("main"))?;
            }
            _ => conn.execute_batch(&insert("main"))?,
        }
        acknowledged.push((number, disk::position()));
    }
    drop((conn, other));
    Ok(ControlHistory {
        root,
        ops: disk::stop(),
        begins,
        acknowledged,
    })
}

/// Reads the numbers in a file after its recovery.
fn numbers(path: &Path) -> Result<BTreeSet<i64>, Finding> {
    let read = || {
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let verdict: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        let mut prepared = conn.prepare("SELECT number FROM sale")?;
        let found = prepared
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok::<_, rusqlite::Error>((verdict, found))
    };
    match read() {
        Ok((verdict, found)) if verdict == "ok" => Ok(found),
        Ok((verdict, _)) => Err(verdict.into()),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Checks the files that a power cut left.
fn check(dir: &Path, mode: WriteMode, history: &ControlHistory, at: usize) -> Result<(), Finding> {
    let first = numbers(&dir.join("first.db"))?;
    let acknowledged = history.acknowledged.iter().filter(|(_, when)| *when <= at);
    if let Some((number, _)) = acknowledged
        .clone()
        .find(|(number, _)| !first.contains(number))
    {
        return Err(Finding::new(
            Kind::Lost,
            format!("number {number} was acknowledged and is missing"),
        ));
    }
    if !mode.has_two_files() {
        return Ok(());
    }
    let mut second = numbers(&dir.join("second.db"))?;
    if mode == WriteMode::Outbox {
        // The outbox is processed after the restart.
        second.extend(&first);
    }
    if first == second {
        Ok(())
    } else {
        let differing: Vec<i64> = first.symmetric_difference(&second).copied().collect();
        Err(Finding::new(
            Kind::Other,
            format!("the two files differ in {differing:?}"),
        ))
    }
}

fn run_cuts(mode: WriteMode, seed: u64, cases: Range<usize>) -> Vec<Finding> {
    let history = match record(mode) {
        Ok(history) => history,
        Err(error) => {
            disk::stop();
            return vec![format!("the control workload does not run: {error}").into()];
        }
    };
    let span = (history.ops.len() - history.begins) as u64;
    let cuts = cases.map(|case| {
        (
            history.begins + Rng::new(seed, case as u64).below(span + 1) as usize,
            case,
        )
    });
    let mut cuts: Vec<(usize, usize)> = cuts.collect();
    cuts.sort_unstable();
    let (mut disk, mut found) = (Disk::default(), Vec::new());
    for (at, case) in cuts {
        disk.advance(&history.ops, at);
        let mut rng = Rng::new(seed, case as u64);
        rng.next();
        let survives = *rng.pick(Survives::ALL);
        let dir = scratch();
        write_image(&disk.image(survives, &mut rng), &history.root, dir.path());
        if let Err(finding) = check(dir.path(), mode, &history, at) {
            found.push(finding.at(format_args!("case {case} at {at}, {survives:?} survives")));
        }
    }
    found
}

/// Runs the power cuts for each of the four modes.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let row = |what: &str, mode: WriteMode| {
        Row::new(what, cases.len(), run_cuts(mode, seed, cases.clone()))
    };
    let mut rows = vec![
        row("power cut: one plain file, FULL", WriteMode::Full),
        row("power cut: two files by outbox", WriteMode::Outbox),
    ];
    let controls = [
        row("control: synchronous=NORMAL", WriteMode::Normal),
        row("control: ATTACH over two files", WriteMode::Attach),
    ];
    // A single case may lose nothing.
    rows.extend(controls.into_iter().map(|control| {
        if cases.len() == 1 {
            control
        } else {
            control.must_find()
        }
    }));
    rows
}
