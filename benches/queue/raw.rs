//! (a): the raw limit. Plain prepared statements on one connection to a file of the same schema: no
//! channel, no worker, no query for due jobs. Each commit holds a number of insertions and the
//! completions of the previous commit's jobs: fewer commits than a queue needs.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};
use tillbox::primitives::Timestamp;
use tillbox::storage::{Tenant, file};

use crate::metric::{Metric, now, since_us};

/// Writes `batch` jobs to a commit for one round.
pub fn run(dir: &Path, batch: usize, round: Duration) -> Metric {
    std::fs::create_dir_all(dir).expect("a directory");
    let path = dir.join("raw.db");
    file::create::<Tenant>(&path, [7; 16], Timestamp::from_millis_clamped(0))
        .expect("the file is made");
    let conn = Connection::open(path).expect("opens");
    conn.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA \
        wal_autocheckpoint=4000; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=ON",
    )
    .expect("settings");
    let mut insert = conn
        .prepare(
            "INSERT INTO job (id, queue, kind, payload, priority, state, attempt, rescues, \
             scheduled_at, unique_key, errors, epoch)
             VALUES (?1, 'default', 'bench.nothing', '{}', 0, 'available', 0, 0, ?2, NULL, '[]', \
             1)",
        )
        .expect("prepares");
    let mut complete = conn
        .prepare(
            "UPDATE job SET state = 'completed', attempt = 1, attempted_at = ?2, finalized_at = ?2 \
             WHERE seq = ?1 AND state = 'available'",
        )
        .expect("prepares");
    let (mut latencies, start, mut counter, mut last) = (Vec::new(), now(), 0_u64, Vec::new());
    while start.elapsed() < round {
        let began = now();
        conn.execute_batch("BEGIN IMMEDIATE").expect("begins");
        for seq in last.drain(..) {
            complete
                .execute(params![seq, counter as i64])
                .expect("completes");
        }
        for _ in 0..batch {
            counter += 1;
            // Time first, then pseudo-random bytes, as in the ids of jobs.
            let mut id = (counter << 16).to_be_bytes().to_vec();
            id.extend(counter.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
            insert
                .execute(params![id, counter as i64])
                .expect("inserts");
            last.push(conn.last_insert_rowid());
        }
        conn.execute_batch("COMMIT").expect("commits");
        let took = since_us(began);
        latencies.extend(std::iter::repeat_n(took, batch));
    }
    Metric::new(latencies, start.elapsed())
}
