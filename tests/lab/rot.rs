//! Rotten bits: flips, lost sectors and pages, files that were cut, in a shop's database and in its
//! WAL. Whatever changes a row of the books or drops an acknowledged sale has to be noticed: the
//! file is not opened, or the integrity check names it. Damage that changes no row may pass.
//!
//! The control is SQLite by itself, which opens most of these files and finds nothing wrong with
//! them.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tillbox::storage::DataDir;
use tillbox::tenancy::TenantAccess;
use tillbox::tenancy::commands::list_with_file;
use tillbox::tenant::integrity;

use crate::dice::Dice;
use crate::house::{self, House};
use crate::power::scratch;
use crate::table::{Finding, Kind, Row};
use crate::workload::{Diary, Till};

const THREADS: usize = 2;
/// Customers of the day whose files rot: small files, in which most bytes mean something.
const CUSTOMERS: usize = 16;

/// What the books are: the columns that must never be other than they were. What may change by
/// itself (an order's address, when a row was last touched) is not in it, and of an order that
/// nobody has paid only what it is over.
const BOOKS: &[&str] = &[
    "SELECT seq, id, number, status, currency, subtotal_minor, discount_minor, tax_minor, \
     total_minor FROM sales_order ORDER BY seq",
    "SELECT seq, channel, prices_include_tax, tax_lines, placed_at FROM sales_order WHERE status \
     IN ('paid', 'confirmed', 'shipped') ORDER BY seq",
    "SELECT seq, order_id, quantity, unit_price_minor, net_minor, tax_minor, total_minor FROM \
     order_line ORDER BY seq",
    "SELECT l.* FROM order_line l JOIN sales_order o ON o.id = l.order_id WHERE o.status IN \
     ('paid', 'confirmed', 'shipped') ORDER BY l.seq",
    "SELECT seq, id, order_id, method, amount_minor, tendered_minor, currency, provider_reference, \
     created_at, succeeded_at FROM payment WHERE status = 'succeeded' ORDER BY seq",
    "SELECT * FROM financial_order ORDER BY seq",
    "SELECT * FROM invoice ORDER BY seq",
    "SELECT * FROM financial_transaction ORDER BY seq",
    "SELECT * FROM ledger_entry ORDER BY seq",
    "SELECT * FROM ledger_transfer ORDER BY seq",
    "SELECT * FROM ledger_account ORDER BY code, currency",
    "SELECT * FROM series ORDER BY name",
    "SELECT * FROM audit_log ORDER BY seq",
    "SELECT product_id, on_hand, reserved FROM stock ORDER BY product_id",
    "SELECT seq, product_id, kind, quantity_delta, on_hand_after, order_id FROM inventory_movement \
     ORDER BY seq",
];

/// A data directory as a `kill -9` leaves it, with what is in the books of its first shop.
struct Sound {
    dir: tempfile::TempDir,
    shop: TenantAccess,
    books: Vec<String>,
}

impl Sound {
    /// Where the shop's file is in a directory.
    fn file(&self, dir: &Path) -> PathBuf {
        dir.join("tenants").join(format!("{}.db", self.shop.id()))
    }
}

fn copy(from: &Path, to: &Path) {
    DataDir::prepare(to).expect("the directory is prepared");
    for part in ["", "tenants"] {
        for entry in fs::read_dir(from.join(part))
            .expect("a directory")
            .flatten()
        {
            let name = entry.file_name();
            let is_data = [".db", ".db-wal"]
                .iter()
                .any(|end| name.to_string_lossy().ends_with(end));
            if is_data {
                fs::copy(entry.path(), to.join(part).join(name)).expect("a copy");
            }
        }
    }
}

fn sound() -> Sound {
    let (busy, dir) = (scratch(), scratch());
    DataDir::prepare(busy.path()).expect("the directory is prepared");
    fs::create_dir(busy.path().join("outbox")).expect("a directory");
    let house = House::start(busy.path(), 0).expect("the day begins");
    house::runtime(THREADS).block_on(async {
        let diary = Diary::default();
        let till = Till::open(&house, &diary, "rotting").await;
        let tea = till.stocked().await;
        for number in 0..CUSTOMERS {
            till.serve(&tea, number).await;
        }
        tokio::task::block_in_place(|| {
            tillbox::worker::run_until_idle(&house.app);
            // The first half is in the database, the rest in the WAL.
            house.app.registry.close_all();
        });
        for number in CUSTOMERS..2 * CUSTOMERS {
            till.serve(&tea, number).await;
        }
        tokio::task::block_in_place(|| {
            tillbox::worker::run_until_idle(&house.app);
            house.app.registry.write_checkpoints().expect("written");
        });
    });
    let listed = house
        .app
        .directory
        .read(list_with_file)
        .wait()
        .expect("the shops");
    let shop = listed
        .into_iter()
        .find(|access| access.slug().as_str() == "rotting")
        .expect("it was made");
    copy(busy.path(), dir.path());
    house.stop();
    let mut sound = Sound {
        dir,
        shop,
        books: Vec::new(),
    };
    sound.books = books(&sound.file(busy.path())).expect("the books");
    sound
}

/// All rows of the books, as text.
fn books(file: &Path) -> rusqlite::Result<Vec<String>> {
    let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut rows = Vec::new();
    for sql in BOOKS {
        let mut prepared = conn.prepare(sql)?;
        let columns = prepared.column_count();
        let read = prepared.query_map([], |row| {
            let cells = (0..columns).map(|column| {
                Ok(match row.get_ref(column)? {
                    ValueRef::Blob(bytes) => {
                        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
                    }
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    other => format!("{other:?}"),
                })
            });
            cells.collect::<rusqlite::Result<Vec<String>>>()
        });
        for row in read? {
            rows.push(row?.join("|"));
        }
    }
    Ok(rows)
}

/// What happens to a file; gives it in words.
fn rot(file: &Path, dice: &mut Dice) -> String {
    let mut bytes = fs::read(file).expect("the file");
    let len = bytes.len() as u64;
    let at = dice.below(len) as usize;
    let what = match dice.below(10) {
        0 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        1 => {
            let page = at / 4096 * 4096;
            let end = (page + 4096).min(bytes.len());
            bytes[page..end].fill(0);
            format!("zeroed page at {page}")
        }
        2 => {
            let sector = at / 512 * 512;
            let end = (sector + 512).min(bytes.len());
            bytes[sector..end]
                .iter_mut()
                .for_each(|byte| *byte = dice.next() as u8);
            format!("garbage in the sector at {sector}")
        }
        _ => {
            let bit = dice.below(8);
            bytes[at] ^= 1 << bit;
            format!("flipped bit {bit} of byte {at}")
        }
    };
    fs::write(file, bytes).expect("the file");
    what
}

/// Whether the process notices: the shop is not opened, or its check finds something.
fn is_noticed(sound: &Sound, dir: &Path) -> bool {
    let Ok(house) = House::start(dir, 1) else {
        return true;
    };
    let is_sound = house.app.registry.open(&sound.shop).is_ok_and(|db| {
        let mark = house
            .app
            .registry
            .find_checkpoint(sound.shop.id())
            .ok()
            .flatten();
        let report = db.read_long(move |view| {
            let mut report = integrity::check(view)?;
            integrity::check_checkpoint(view, mark.as_ref(), &mut report)?;
            Ok::<_, tillbox::storage::StorageError>(report)
        });
        report.wait().is_ok_and(|report| report.passes())
    });
    house.stop();
    !is_sound
}

/// Whether SQLite by itself would: a plain open, and its own check.
fn sqlite_notices(file: &Path) -> bool {
    let check = || {
        let conn = Connection::open(file)?;
        conn.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
    };
    check() != Ok("ok".to_owned())
}

/// What one case came to.
#[derive(Default)]
struct Tally {
    noticed: usize,
    missed: Vec<Finding>,
    missed_by_sqlite: Vec<Finding>,
}

fn case(sound: &Sound, suffix: &str, seed: u64, case: usize, tally: &Mutex<Tally>) {
    let mut dice = Dice::new(seed, case as u64);
    let dir = scratch();
    copy(sound.dir.path(), dir.path());
    let file = sound.file(dir.path());
    let rotten = PathBuf::from(format!("{}{suffix}", file.display()));
    let what = rot(&rotten, &mut dice);
    let alone = scratch();
    copy(dir.path(), alone.path());
    let alone = sound.file(alone.path());
    let (sqlite_noticed, noticed) = (sqlite_notices(&alone), is_noticed(sound, dir.path()));
    let finding = |difference| {
        let text = format!(
            "case {case}: {what} of the file{suffix}, and nobody complains of {difference}"
        );
        Finding::new(Kind::Undetected, text)
    };
    let by_sqlite = difference(sound, &alone).filter(|_| !sqlite_noticed);
    let missed = difference(sound, &file).filter(|_| !noticed);
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    tally.noticed += usize::from(noticed);
    tally.missed_by_sqlite.extend(by_sqlite.map(finding));
    tally.missed.extend(missed.map(finding));
}

/// In what the books of a file are not what they were.
fn difference(sound: &Sound, file: &Path) -> Option<String> {
    let books = match books(file) {
        Ok(books) => books,
        Err(error) => return Some(error.to_string()),
    };
    let pairs = sound.books.iter().zip(&books);
    let first = pairs.into_iter().find(|(was, is)| was != is);
    match first {
        Some((was, is)) => Some(format!("{was} having become {is}")),
        None if books.len() != sound.books.len() => Some(format!(
            "{} rows of {} being left",
            books.len(),
            sound.books.len()
        )),
        None => None,
    }
}

/// Lets the database and the WAL of a shop rot, half of the cases each.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let sound = sound();
    let mut rows = Vec::new();
    for (part, suffix) in ["", "-wal"].into_iter().enumerate() {
        let cases: Vec<usize> = cases.clone().filter(|case| case % 2 == part).collect();
        if cases.is_empty() {
            continue;
        }
        let tally = Mutex::new(Tally::default());
        std::thread::scope(|scope| {
            for share in cases.chunks(cases.len().div_ceil(THREADS)) {
                let (sound, tally) = (&sound, &tally);
                scope.spawn(move || {
                    share
                        .iter()
                        .for_each(|number| case(sound, suffix, seed, *number, tally))
                });
            }
        });
        let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        if tally.noticed == 0 && cases.len() > 10 {
            tally
                .missed
                .push("nothing rotted that anybody noticed: nothing was tried".into());
        }
        let (name, control) = match suffix {
            "" => ("rotten bits: database", "control: SQLite alone, database"),
            _ => ("rotten bits: WAL", "control: SQLite alone, WAL"),
        };
        let trials = cases.len();
        rows.push(Row::new(name, trials, tally.missed));
        // What SQLite misses of a database is a handful in a thousand; too few trials find none.
        if suffix == "-wal" || trials >= 500 {
            rows.push(Row::new(control, trials, tally.missed_by_sqlite).must_find());
        }
    }
    rows
}
