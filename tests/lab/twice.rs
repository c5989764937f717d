//! A kill, and a power cut soon after it. The killed process left data that was written and not
//! synced. The next process reads it, acknowledges it to a till that asks again, and records it as
//! a checkpoint in the landlord's file. The data must be on disk before that.

use std::fs;
use std::ops::Range;

use libc::EIO;
use tillbox::storage::DataDir;
use tillbox::worker;

use crate::disk::states::{Disk, Survives};
use crate::disk::{self, Fault, Syscall};
use crate::instance::{self, Instance};
use crate::oracle::{self, Verdict};
use crate::power::{scratch, write_image};
use crate::rng::Rng;
use crate::table::{Finding, Row};
use crate::workload::{CallLog, Till, settled};

/// The most syncs that the killed process still makes.
const SYNCS: u64 = 20;
const CUSTOMERS: usize = 4;

/// Runs one shop for each case: its process is killed, and the power is cut after the next process
/// read the file.
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
    let mut rng = Rng::new(seed, case as u64);
    let dir = scratch();
    DataDir::prepare(dir.path()).expect("the directory is prepared");
    fs::create_dir(dir.path().join("outbox")).expect("a directory");
    disk::watch(dir.path(), false);
    let (runtime, call_log) = (instance::runtime(2), CallLog::default());
    let first = Instance::start(dir.path(), 0).map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let till = Till::open(&first, &call_log, "corner").await;
        let tea = till.create_product().await;
        // Killed between a write and its sync: no later sync reaches the disk.
        disk::inject(Some(Fault {
            call: Syscall::Sync,
            after: rng.below(SYNCS),
            times: u64::MAX,
            errno: EIO,
        }));
        for number in 0..CUSTOMERS {
            till.serve_customer(&tea, number).await;
        }
        tokio::task::block_in_place(|| worker::run_until_idle(&first.app));
    });
    first.stop();
    disk::inject(None);
    let second = Instance::start(dir.path(), 1).map_err(|error| error.to_string())?;
    let mut sent = settled(call_log.into_sent());
    // Only the till whose answer was lost asks again: a later write would bring the unsynced data
    // to disk.
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
        tokio::task::block_in_place(|| second.app.stores.registry.write_checkpoints())
            .map_err(|error| error.to_string())
    })?;
    let at = disk::position();
    second.stop();
    let history = disk::stop();
    let mut disk = Disk::default();
    disk.advance(&history, at);
    let image = disk.image(Survives::Nothing, &mut rng);
    let left = scratch();
    write_image(&image, dir.path(), left.path());
    oracle::examine(left.path(), &sent, at, &runtime)
}
