//! Bit rot: flipped bits, lost sectors and pages, and truncated files, in a tenant's database and
//! in its WAL. Every change of a row of the books and every dropped acknowledged sale must be
//! detected: the file is not opened, or the integrity check reports it. Damage that changes no row
//! may pass.
//!
//! The control is SQLite alone, which opens most of these files and reports nothing.

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

use crate::instance::{self, Instance};
use crate::power::scratch;
use crate::rng::Rng;
use crate::table::{Finding, Kind, Row};
use crate::workload::{CallLog, Till};

const THREADS: usize = 2;
/// Customers of the workload. The files are small, so most bytes matter.
const CUSTOMERS: usize = 16;

/// The books: the columns that must never change. Columns that may change by themselves are left
/// out (an order's email address, update times), and an unpaid order only counts with its amounts.
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

/// A data directory as `kill -9` leaves it, with the books of its first tenant.
struct IntactShop {
    dir: tempfile::TempDir,
    shop: TenantAccess,
    books: Vec<String>,
}

impl IntactShop {
    /// Returns the path of the tenant's file in a directory.
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

fn intact() -> IntactShop {
    let (busy, dir) = (scratch(), scratch());
    DataDir::prepare(busy.path()).expect("the directory is prepared");
    fs::create_dir(busy.path().join("outbox")).expect("a directory");
    let instance = Instance::start(busy.path(), 0).expect("the process starts");
    instance::runtime(THREADS).block_on(async {
        let call_log = CallLog::default();
        let till = Till::open(&instance, &call_log, "rotting").await;
        let tea = till.create_product().await;
        for number in 0..CUSTOMERS {
            till.serve_customer(&tea, number).await;
        }
        tokio::task::block_in_place(|| {
            tillbox::worker::run_until_idle(&instance.app);
            // The first half of the sales is in the database, the rest in the WAL.
            instance.app.stores.registry.close_all();
        });
        for number in CUSTOMERS..2 * CUSTOMERS {
            till.serve_customer(&tea, number).await;
        }
        tokio::task::block_in_place(|| {
            tillbox::worker::run_until_idle(&instance.app);
            instance
                .app
                .stores
                .registry
                .write_checkpoints()
                .expect("written");
        });
    });
    let listed = instance
        .app
        .stores
        .directory
        .read(list_with_file)
        .wait()
        .expect("the shops");
    let shop = listed
        .into_iter()
        .find(|access| access.slug().as_str() == "rotting")
        .expect("it was made");
    copy(busy.path(), dir.path());
    instance.stop();
    let mut intact = IntactShop {
        dir,
        shop,
        books: Vec::new(),
    };
    intact.books = books(&intact.file(busy.path())).expect("the books");
    intact
}

/// Reads all rows of the books, as text.
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

/// Damages a file and returns a description of the damage.
fn damage(file: &Path, rng: &mut Rng) -> String {
    let mut bytes = fs::read(file).expect("the file");
    let len = bytes.len() as u64;
    let at = rng.below(len) as usize;
    let description = match rng.below(10) {
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
                .for_each(|byte| *byte = rng.next() as u8);
            format!("garbage in the sector at {sector}")
        }
        _ => {
            let bit = rng.below(8);
            bytes[at] ^= 1 << bit;
            format!("flipped bit {bit} of byte {at}")
        }
    };
    fs::write(file, bytes).expect("the file");
    description
}

/// Reports whether the process detects the damage: it does not open the tenant's file, or its check
/// reports something.
fn is_detected(intact: &IntactShop, dir: &Path) -> bool {
    let Ok(instance) = Instance::start(dir, 1) else {
        return true;
    };
    let passes = instance
        .app
        .stores
        .registry
        .open(&intact.shop)
        .is_ok_and(|db| {
            let checkpoint = instance
                .app
                .stores
                .registry
                .find_checkpoint(intact.shop.id())
                .ok()
                .flatten();
            let report = db.read_long(move |view| {
                let mut report = integrity::check(view)?;
                integrity::check_checkpoint(view, checkpoint.as_ref(), &mut report)?;
                Ok::<_, tillbox::storage::StorageError>(report)
            });
            report.wait().is_ok_and(|report| report.passes())
        });
    instance.stop();
    !passes
}

/// Reports whether SQLite alone detects it: by a plain open and its own check.
fn is_detected_by_sqlite(file: &Path) -> bool {
    let check = || {
        let conn = Connection::open(file)?;
        conn.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
    };
    check() != Ok("ok".to_owned())
}

/// The counts and findings of all cases.
#[derive(Default)]
struct Counts {
    detected: usize,
    missed: Vec<Finding>,
    missed_by_sqlite: Vec<Finding>,
}

fn run_case(intact: &IntactShop, suffix: &str, seed: u64, case: usize, counts: &Mutex<Counts>) {
    let mut rng = Rng::new(seed, case as u64);
    let dir = scratch();
    copy(intact.dir.path(), dir.path());
    let file = intact.file(dir.path());
    let damaged = PathBuf::from(format!("{}{suffix}", file.display()));
    let description = damage(&damaged, &mut rng);
    let alone = scratch();
    copy(dir.path(), alone.path());
    let alone = intact.file(alone.path());
    let (sqlite_detected, detected) = (
        is_detected_by_sqlite(&alone),
        is_detected(intact, dir.path()),
    );
    let finding = |difference| {
        let text = format!(
            "case {case}: {description} of the file{suffix}, and no check reports {difference}"
        );
        Finding::new(Kind::Undetected, text)
    };
    let by_sqlite = difference(intact, &alone).filter(|_| !sqlite_detected);
    let missed = difference(intact, &file).filter(|_| !detected);
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    counts.detected += usize::from(detected);
    counts.missed_by_sqlite.extend(by_sqlite.map(finding));
    counts.missed.extend(missed.map(finding));
}

/// Returns the first difference between the books of a file and the intact ones.
fn difference(intact: &IntactShop, file: &Path) -> Option<String> {
    let books = match books(file) {
        Ok(books) => books,
        Err(error) => return Some(error.to_string()),
    };
    let pairs = intact.books.iter().zip(&books);
    let first = pairs.into_iter().find(|(was, is)| was != is);
    match first {
        Some((was, is)) => Some(format!("{was} changed to {is}")),
        None if books.len() != intact.books.len() => Some(format!(
            "{} of {} rows left",
            books.len(),
            intact.books.len()
        )),
        None => None,
    }
}

/// Damages the database in half of the cases and the WAL in the others.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let intact = intact();
    let mut rows = Vec::new();
    for (part, suffix) in ["", "-wal"].into_iter().enumerate() {
        let cases: Vec<usize> = cases.clone().filter(|case| case % 2 == part).collect();
        if cases.is_empty() {
            continue;
        }
        let counts = Mutex::new(Counts::default());
        std::thread::scope(|scope| {
            for share in cases.chunks(cases.len().div_ceil(THREADS)) {
                let (intact, counts) = (&intact, &counts);
                scope.spawn(move || {
                    share
                        .iter()
                        .for_each(|number| run_case(intact, suffix, seed, *number, counts))
                });
            }
        });
        let mut counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        if counts.detected == 0 && cases.len() > 10 {
            counts
                .missed
                .push("no damage was detected: the trials tested nothing".into());
        }
        let (name, control) = match suffix {
            "" => ("bit rot: database", "control: SQLite alone, database"),
            _ => ("bit rot: WAL", "control: SQLite alone, WAL"),
        };
        let trials = cases.len();
        rows.push(Row::new(name, trials, counts.missed));
        // SQLite alone misses a few in a thousand for a database; too few trials find none.
        if suffix == "-wal" || trials >= 500 {
            rows.push(Row::new(control, trials, counts.missed_by_sqlite).must_find());
        }
    }
    rows
}
