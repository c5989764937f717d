//! Power cuts while a tenant's file is migrated to the schema of the next version. Whatever
//! survives, the file opens with the next version and has all its rows. A migrated file has its
//! snapshot beside it. An existing snapshot is complete: this version opens it in the file's place
//! without a loss.
//!
//! The next version is made up here: this version's schema and one more migration with typical
//! changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use tillbox::primitives::id::TenantId;
use tillbox::storage::{Check, DataDir, FileKind, Migration, Rebuild, Tenant, file};
use tokio::runtime::Runtime;

use crate::disk::states::{Disk, Survives};
use crate::disk::{self, Op};
use crate::instance::{self, Instance};
use crate::oracle;
use crate::power::{scratch, write_image};
use crate::rng::Rng;
use crate::table::{Finding, Kind, Row};
use crate::workload::{self, CallLog, Sent};

/// Customers before the migration.
const CUSTOMERS: usize = 4;

/// Stages: no snapshot yet, a snapshot, a migrated file. The second constant is the number of cuts
/// that is enough to reach them all.
const STAGES: usize = 3;
const TRIALS_FOR_ALL_STAGES: usize = 60;

/// The schema version of this program.
const CURRENT: usize = Tenant::MIGRATIONS.len();
const NEXT: i64 = CURRENT as i64 + 2;

/// The tenant's file of the next version.
enum Next {}

impl FileKind for Next {
    const NAME: &'static str = "tenant";
    const APPLICATION_ID: i32 = Tenant::APPLICATION_ID;
    const MIGRATIONS: &'static [Migration] = &with_next();
}

const NEXT_MIGRATION: Migration = Migration::Sql(
    "ALTER TABLE product ADD COLUMN weight_g INTEGER NOT NULL DEFAULT 0;
         CREATE TABLE gift_card (seq INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE) STRICT;
         CREATE INDEX order_line_by_product ON order_line (product_id);",
);
/// The table has triggers, and those of other tables name it.
const NEXT_REBUILD: Migration = Migration::Rebuild(Rebuild {
    table: "financial_transaction",
    definition: "(seq INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
        financial_order_id BLOB NOT NULL REFERENCES financial_order (id),
        kind TEXT NOT NULL,
        status TEXT NOT NULL,
        amount_minor INTEGER NOT NULL CHECK (amount_minor >= 0),
        currency TEXT NOT NULL CHECK (length(currency) = 3),
        completed_at INTEGER NOT NULL) STRICT",
    columns: &[
        ("seq", "seq"),
        ("id", "id"),
        ("financial_order_id", "financial_order_id"),
        ("kind", "kind"),
        ("status", "status"),
        ("amount_minor", "amount_minor"),
        ("currency", "currency"),
        ("completed_at", "completed_at"),
    ],
});

const fn with_next() -> [Migration; CURRENT + 2] {
    let mut all = [NEXT_MIGRATION; CURRENT + 2];
    all[CURRENT + 1] = NEXT_REBUILD;
    let mut step = 0;
    while step < CURRENT {
        all[step] = Tenant::MIGRATIONS[step];
        step += 1;
    }
    all
}

/// A recorded workload and the migration after it.
struct MigrationHistory {
    root: PathBuf,
    /// The tenant's file.
    path: PathBuf,
    id: TenantId,
    ops: Vec<Op>,
    sent: Vec<Sent>,
    /// Positions in `ops`: the start of the migration, its acknowledgement, and the first row of
    /// the next version.
    begins: usize,
    migrated: usize,
    written: usize,
    rows: Dump,
}

/// The rows of each table.
type Dump = BTreeMap<String, Vec<Vec<Value>>>;

fn dump(conn: &Connection, known: Option<&Dump>) -> rusqlite::Result<Dump> {
    let mut names = conn.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT \
        LIKE 'sqlite_%' ORDER BY name",
    )?;
    let names = names
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut dump = Dump::new();
    for name in names
        .into_iter()
        .filter(|name| known.is_none_or(|known| known.contains_key(name)))
    {
        let mut rows = conn.prepare(&format!("SELECT * FROM {name} ORDER BY 1"))?;
        // New columns of the next version come after the old ones.
        let added = usize::from(known.is_some() && name == "product");
        let columns = rows.column_count() - added;
        let rows = rows.query_map([], |row| {
            (0..columns).map(|at| row.get::<_, Value>(at)).collect()
        })?;
        dump.insert(name, rows.collect::<rusqlite::Result<_>>()?);
    }
    Ok(dump)
}

fn record() -> Result<MigrationHistory, String> {
    let dir = scratch();
    let root = dir.path().to_owned();
    DataDir::prepare(&root).expect("the directory is prepared");
    fs::create_dir(root.join("outbox")).expect("a directory");
    disk::watch(&root, false);
    let instance = Instance::start(&root, 0).map_err(|error| error.to_string())?;
    let call_log = CallLog::default();
    instance::runtime(2).block_on(async {
        tokio::spawn(async {}).await.expect("it runs");
        workload::run(&instance, &call_log, CUSTOMERS).await;
    });
    let tenants = oracle::tenants(&instance).map_err(|error| error.to_string())?;
    let id = tenants.first().ok_or("no tenant")?.id();
    instance.stop();
    let path = root.join("tenants").join(format!("{id}.db"));
    let read = |error: rusqlite::Error| error.to_string();
    let conn =
        Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(read)?;
    let rows = dump(&conn, None).map_err(read)?;
    drop(conn);
    let begins = disk::position();
    let conn = file::open_writer::<Next>(&path, *id.as_bytes(), Check::AfterUncleanStop)
        .map_err(|error| error.to_string())?;
    let migrated = disk::position();
    conn.execute_batch("INSERT INTO gift_card (code) VALUES ('GIFT')")
        .map_err(read)?;
    let written = disk::position();
    drop(conn);
    Ok(MigrationHistory {
        root,
        path,
        id,
        ops: disk::stop(),
        sent: call_log.into_sent(),
        begins,
        migrated,
        written,
        rows,
    })
}

/// Reads the schema version of a file without a checkpoint at the end.
fn version(path: &Path) -> rusqlite::Result<i64> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Checks the files that a cut left. Returns the stage of the migration: whether there was a
/// snapshot, and whether the file was migrated.
fn check(
    history: &MigrationHistory,
    image: &BTreeMap<PathBuf, Vec<u8>>,
    at: usize,
    runtime: &Runtime,
) -> Result<(bool, bool), Finding> {
    let dir = scratch();
    write_image(image, &history.root, dir.path());
    let path = dir.path().join(
        history
            .path
            .strip_prefix(&history.root)
            .expect("below the root"),
    );
    let snapshot = PathBuf::from(format!("{}.pre-v{NEXT}", history.path.display()));
    let version = version(&path).map_err(|error| format!("the file cannot be read: {error}"))?;
    if version < NEXT && at >= history.migrated {
        return Err(Finding::new(
            Kind::Lost,
            "the acknowledged migration is missing".to_owned(),
        ));
    }
    match image.get(&snapshot) {
        None if version == NEXT => {
            return Err(Finding::new(
                Kind::Lost,
                "the migrated file has no snapshot".to_owned(),
            ));
        }
        None => {}
        Some(bytes) => check_snapshot(history, image, bytes, runtime)
            .map_err(|found| found.at("with the snapshot in its place"))?,
    }
    let conn = file::open_writer::<Next>(&path, *history.id.as_bytes(), Check::AfterUncleanStop);
    let conn = conn.map_err(|error| format!("the next version does not open the file: {error}"))?;
    let read = |error: rusqlite::Error| error.to_string();
    if dump(&conn, Some(&history.rows)).map_err(read)? != history.rows {
        return Err(Finding::new(
            Kind::Lost,
            "the rows differ from those before the migration".to_owned(),
        ));
    }
    let cards: i64 = conn
        .query_row("SELECT count(*) FROM gift_card", [], |row| row.get(0))
        .map_err(read)?;
    if cards == 0 && at >= history.written {
        return Err(Finding::new(
            Kind::Lost,
            "the first row of the next version is missing".to_owned(),
        ));
    }
    Ok((image.contains_key(&snapshot), version == NEXT))
}

/// Checks this version over the same disk with the snapshot in the file's place.
fn check_snapshot(
    history: &MigrationHistory,
    image: &BTreeMap<PathBuf, Vec<u8>>,
    snapshot: &[u8],
    runtime: &Runtime,
) -> Result<(), Finding> {
    let prefix = format!("{}", history.path.display());
    let is_other = |path: &&PathBuf| !path.to_string_lossy().starts_with(&prefix);
    let mut image: BTreeMap<PathBuf, Vec<u8>> = image
        .keys()
        .filter(is_other)
        .map(|path| (path.clone(), image[path].clone()))
        .collect();
    image.insert(history.path.clone(), snapshot.to_vec());
    let dir = scratch();
    write_image(&image, &history.root, dir.path());
    oracle::examine(dir.path(), &history.sent, usize::MAX, runtime)
}

/// Cuts the power during migrations.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let (what, trials) = ("power cut in a migration", cases.len());
    let history = match record() {
        Ok(history) => history,
        Err(error) => {
            disk::stop();
            return vec![Row::new(what, trials, [error])];
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
    let runtime = instance::runtime(1);
    let (mut disk, mut found, mut seen) = (Disk::default(), Vec::<Finding>::new(), BTreeSet::new());
    for (at, case) in cuts {
        disk.advance(&history.ops, at);
        let mut rng = Rng::new(seed, case as u64);
        rng.next();
        let survives = *rng.pick(Survives::ALL);
        let image = disk.image(survives, &mut rng);
        match check(&history, &image, at, &runtime) {
            Ok(stage) => drop(seen.insert(stage)),
            Err(finding) => {
                found.push(finding.at(format_args!("case {case} at {at}, {survives:?} survives")))
            }
        }
    }
    if trials >= TRIALS_FOR_ALL_STAGES && seen.len() < STAGES {
        found.push(format!("the cuts only left {seen:?}: not every stage was tested").into());
    }
    vec![Row::new(what, trials, found)]
}
