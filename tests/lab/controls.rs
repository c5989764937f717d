//! What the power cuts have to find, and what they must not: a small workload of plain SQLite
//! connections over the same recorder and the same model of the disk. With the settings of the
//! shops it loses nothing; with `synchronous=NORMAL` it loses what was acknowledged; and one
//! transaction over two files by ATTACH leaves them disagreeing, for in WAL mode each file commits
//! by itself. A laboratory that finds neither of the latter is blind, and one that finds something
//! in the former is too strict.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::dice::Dice;
use crate::disk::states::{Disk, Survives};
use crate::disk::{self, Op};
use crate::power::{lay_out, scratch};
use crate::table::{Finding, Kind, Row};

/// How many commits a history has.
const COMMITS: i64 = 120;
/// Small, so that a history has many checkpoints and WALs that begin anew.
const CHECKPOINT_PAGES: u32 = 24;

/// How the small workload writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// One file, as the shops write theirs.
    Full,
    /// One file, whose WAL is synced only when it is checkpointed.
    Normal,
    /// Two files, one transaction over both.
    Attach,
    /// Two files, a transaction each: what the second has to do stands in the first, and is done
    /// again after a crash.
    Outbox,
}

impl Setting {
    const fn is_of_two_files(self) -> bool {
        matches!(self, Self::Attach | Self::Outbox)
    }
}

/// What happened on the disk, from where on it counts, and when which number was acknowledged.
struct History {
    root: PathBuf,
    ops: Vec<Op>,
    begins: usize,
    acknowledged: Vec<(i64, usize)>,
}

fn open(path: &Path, setting: Setting) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    )?;
    let synchronous = if setting == Setting::Normal {
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

fn record(setting: Setting) -> rusqlite::Result<History> {
    let dir = scratch();
    let root = dir.path().to_owned();
    let (first, second) = (root.join("first.db"), root.join("second.db"));
    disk::watch(&root, false);
    let conn = open(&first, setting)?;
    let other = setting
        .is_of_two_files()
        .then(|| open(&second, setting))
        .transpose()?;
    for path in [&first, &second].into_iter().filter(|path| path.exists()) {
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced
            .and_then(|()| File::open(&root)?.sync_all())
            .expect("it can be synced");
    }
    if setting == Setting::Attach {
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
        match (setting, &other) {
            (Setting::Attach, _) => conn.execute_batch(&format!(
                "BEGIN IMMEDIATE; {} {} COMMIT;",
                insert("main"),
                insert("second")
            ))?,
            (Setting::Outbox, Some(other)) => {
                conn.execute_batch(&insert("main"))?;
                other.execute_batch(&insert("main"))?;
            }
            _ => conn.execute_batch(&insert("main"))?,
        }
        acknowledged.push((number, disk::position()));
    }
    drop((conn, other));
    Ok(History {
        root,
        ops: disk::take(),
        begins,
        acknowledged,
    })
}

/// The numbers in a file after its recovery.
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

/// Looks at what one cut left.
fn look(dir: &Path, setting: Setting, history: &History, at: usize) -> Result<(), Finding> {
    let first = numbers(&dir.join("first.db"))?;
    let acknowledged = history.acknowledged.iter().filter(|(_, when)| *when <= at);
    if let Some((number, _)) = acknowledged
        .clone()
        .find(|(number, _)| !first.contains(number))
    {
        return Err(Finding::new(
            Kind::Lost,
            format!("{number} was acknowledged, and is gone"),
        ));
    }
    if !setting.is_of_two_files() {
        return Ok(());
    }
    let mut second = numbers(&dir.join("second.db"))?;
    if setting == Setting::Outbox {
        // What the first file says and the second has not done is done now.
        second.extend(&first);
    }
    if first == second {
        Ok(())
    } else {
        let apart: Vec<i64> = first.symmetric_difference(&second).copied().collect();
        Err(Finding::new(
            Kind::Other,
            format!("the two files disagree about {apart:?}"),
        ))
    }
}

fn cut_many(setting: Setting, seed: u64, cases: Range<usize>) -> Vec<Finding> {
    let history = match record(setting) {
        Ok(history) => history,
        Err(error) => {
            disk::take();
            return vec![format!("the small workload cannot run: {error}").into()];
        }
    };
    let span = (history.ops.len() - history.begins) as u64;
    let places = cases.map(|case| {
        (
            history.begins + Dice::new(seed, case as u64).below(span + 1) as usize,
            case,
        )
    });
    let mut places: Vec<(usize, usize)> = places.collect();
    places.sort_unstable();
    let (mut disk, mut found) = (Disk::default(), Vec::new());
    for (at, case) in places {
        disk.advance(&history.ops, at);
        let mut dice = Dice::new(seed, case as u64);
        dice.next();
        let survives = *dice.pick(Survives::ALL);
        let dir = scratch();
        lay_out(&disk.image(survives, &mut dice), &history.root, dir.path());
        if let Err(finding) = look(dir.path(), setting, &history, at) {
            found.push(finding.at(format_args!("case {case} at {at}, {survives:?} survives")));
        }
    }
    found
}

/// Cuts the power of each of the four.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let row = |what: &str, setting: Setting| {
        Row::new(what, cases.len(), cut_many(setting, seed, cases.clone()))
    };
    let mut rows = vec![
        row("power cut: one plain file, FULL", Setting::Full),
        row("power cut: two files by outbox", Setting::Outbox),
    ];
    let controls = [
        row("control: synchronous=NORMAL", Setting::Normal),
        row("control: ATTACH over two files", Setting::Attach),
    ];
    // One case alone may be one that loses nothing.
    rows.extend(controls.into_iter().map(|control| {
        if cases.len() == 1 {
            control
        } else {
            control.must_find()
        }
    }));
    rows
}
