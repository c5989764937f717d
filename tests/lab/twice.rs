//! A kill, and a power cut soon after it: what the killed process had written and not synced is
//! there for the next one, which reads it, acknowledges it to whoever asks again, and checkpoints
//! it in the landlord's file. It has to be on disk before.

use std::fs;
use std::ops::Range;

use libc::EIO;
use tillbox::storage::DataDir;
use tillbox::worker;

use crate::dice::Dice;
use crate::disk::states::{Disk, Survives};
use crate::disk::{self, Call, Fault};
use crate::house::{self, House};
use crate::oracle::{self, Verdict};
use crate::power::{lay_out, scratch};
use crate::table::{Finding, Row};
use crate::workload::{Diary, Till, settled};

/// Syncs that the killed process still makes, at most.
const SYNCS: u64 = 20;
const CUSTOMERS: usize = 4;

/// So many shops whose process is killed, and whose power goes when the next one has read what
/// there was.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let trials = cases.len();
    let found = cases.filter_map(|case| {
        let found = kill_and_cut(seed, case).err()?;
        Some(found.at(format_args!("case {case}")))
    });
    let found: Vec<Finding> = found.collect();
    vec![Row::new("kill, and a power cut soon after", trials, found)]
}

fn kill_and_cut(seed: u64, case: usize) -> Verdict {
    let mut dice = Dice::new(seed, case as u64);
    let dir = scratch();
    DataDir::prepare(dir.path()).expect("the directory is prepared");
    fs::create_dir(dir.path().join("outbox")).expect("a directory");
    disk::watch(dir.path(), false);
    let (runtime, diary) = (house::runtime(2), Diary::default());
    let first = House::start(dir.path(), 0).map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let till = Till::open(&first, &diary, "corner").await;
        let tea = till.stocked().await;
        // Killed between a write and its sync: none reaches the disk any more.
        disk::strike(Some(Fault {
            call: Call::Sync,
            after: dice.below(SYNCS),
            times: u64::MAX,
            errno: EIO,
        }));
        for number in 0..CUSTOMERS {
            till.serve(&tea, number).await;
        }
        tokio::task::block_in_place(|| worker::run_until_idle(&first.app));
    });
    first.stop();
    disk::strike(None);
    let second = House::start(dir.path(), 1).map_err(|error| error.to_string())?;
    let mut sent = settled(diary.into_lines());
    // Whose answer was lost asks again and nobody else comes: what is written now would bring to
    // disk what was not.
    let lost = sent.iter().position(|line| line.answered.is_none());
    sent.truncate(lost.map_or(sent.len(), |lost| lost + 1));
    runtime.block_on(async {
        for line in sent
            .iter_mut()
            .filter(|line| line.call.idempotency_key.is_some())
        {
            let reply = second.send(&line.call).await;
            line.answered = (reply.status < 500).then(|| (disk::position(), reply));
        }
        tokio::task::block_in_place(|| second.app.registry.write_checkpoints())
            .map_err(|error| error.to_string())
    })?;
    let at = disk::position();
    second.stop();
    let history = disk::take();
    let mut disk = Disk::default();
    disk.advance(&history, at);
    let image = disk.image(Survives::Nothing, &mut dice);
    let left = scratch();
    lay_out(&image, dir.path(), left.path());
    oracle::examine(left.path(), &sent, at, &runtime)
}
