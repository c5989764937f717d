//! Calls to the system that fail: the disk is full, or it fails, at any call of a kind, once or a
//! few times. What was acknowledged is there; what was not can be sent again, to the same process;
//! and after a restart all is as it should be.

use std::fs;
use std::ops::Range;

use http::Method;
use libc::{EIO, EMFILE, ENOSPC};
use serde_json::json;
use tillbox::storage::DataDir;

use crate::dice::Dice;
use crate::disk::{self, Call, Fault};
use crate::house::{self, House};
use crate::oracle;
use crate::power::scratch;
use crate::table::{Finding, Row};
use crate::workload::{Diary, Till, settled};

/// Which errors a kind of call can have.
fn errors(call: Call) -> &'static [i32] {
    match call {
        Call::Open => &[EMFILE, EIO],
        Call::Write | Call::Truncate => &[ENOSPC, EIO],
        Call::Sync => &[EIO, ENOSPC],
        Call::Unlink | Call::Rename => &[EIO],
    }
}

/// Lets calls fail, in as many shops as there are cases.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let mut failures = Vec::<Finding>::new();
    let mut struck = 0;
    let trials = cases.len();
    for case in cases {
        let mut dice = Dice::new(seed, case as u64);
        let call = *dice.pick(Call::ALL);
        let fault = Fault {
            call,
            after: dice.below(if call == Call::Write { 120 } else { 12 }),
            times: 1 + dice.below(3),
            errno: *dice.pick(errors(call)),
        };
        match try_fault(fault, seed ^ case as u64) {
            Ok(hits) => struck += usize::from(hits > 0),
            Err(found) => failures.push(found.at(format_args!("case {case}, {fault:?}"))),
        }
    }
    // One case alone may be one that strikes nothing.
    if trials > 1 && struck * 4 < trials {
        failures.push(format!("only {struck} of {trials} faults struck: nothing was tried").into());
    }
    vec![
        Row::new("failing calls", trials, failures),
        Row::new("disk that fails twice", 1, fails_twice(seed).err()),
    ]
}

/// One shop, one fault. Gives how many calls it hit.
fn try_fault(fault: Fault, seed: u64) -> Result<u64, Finding> {
    let dir = scratch();
    DataDir::prepare(dir.path()).expect("the directory is prepared");
    fs::create_dir(dir.path().join("outbox")).expect("a directory");
    let runtime = house::runtime(2);
    disk::watch(dir.path(), false);
    let house = House::start(dir.path(), seed).expect("the day begins");
    let diary = Diary::default();
    let hits = runtime.block_on(async {
        let till = Till::open(&house, &diary, "corner").await;
        let tea = till.stocked().await;
        disk::strike(Some(fault));
        tokio::join!(
            till.serve(&tea, 0),
            till.serve(&tea, 2),
            till.serve(&tea, 3)
        );
        tokio::task::block_in_place(|| {
            tillbox::worker::run_until_idle(&house.app);
            house.app.registry.close_all();
        });
        let hits = disk::strike(None);
        till.serve(&tea, 6).await;
        hits
    });
    house.stop();
    disk::take();
    // Who gave up comes again: what was answered by a fault is a call whose answer was lost.
    let sent = settled(diary.into_lines());
    oracle::examine(dir.path(), &sent, usize::MAX, &runtime).map(|()| hits)
}

/// After one failure the file is opened, checked and goes on; after a second one it is held, whole
/// and in its place, until the operator has a word.
fn fails_twice(seed: u64) -> Result<(), Finding> {
    let dir = scratch();
    DataDir::prepare(dir.path()).expect("the directory is prepared");
    let runtime = house::runtime(2);
    disk::watch(dir.path(), false);
    let house = House::start(dir.path(), seed).expect("the day begins");
    let found = runtime.block_on(async {
        let diary = Diary::default();
        let till = Till::open(&house, &diary, "corner").await;
        let tea = till.stocked().await;
        let sale = async |number: usize| till.sell_once(&tea, number).await;
        let failed_sync = || {
            disk::strike(Some(Fault {
                call: Call::Sync,
                after: 0,
                times: 1,
                errno: EIO,
            }))
        };
        let mut statuses = vec![sale(0).await.status];
        failed_sync();
        statuses.extend([sale(1).await.status, sale(1).await.status]);
        failed_sync();
        statuses.extend([
            sale(2).await.status,
            sale(2).await.status,
            sale(3).await.status,
        ]);
        disk::strike(None);
        let held = house.app.registry.list_unavailable();
        // Opening the whole fleet lets it go as little as a sale does; naming it does.
        let migrate = async |release: bool| {
            let call = house::Call {
                method: Method::POST,
                path: "/v1/admin/tenants/corner/migrate".to_owned(),
                secret: None,
                idempotency_key: None,
                body: json!({"release": release}),
            };
            let reply = house.send_as_operator(&call).await;
            (reply.status, reply.body["released"] == true)
        };
        let migrated = [
            migrate(false).await,
            migrate(true).await,
            migrate(true).await,
        ];
        statuses.extend([sale(2).await.status, sale(3).await.status]);
        let expected = [201, 503, 201, 503, 503, 503, 201, 201];
        if statuses != expected
            || held.len() != 1
            || migrated != [(503, false), (200, true), (200, false)]
        {
            return Err(Finding::from(format!(
                "the sales were answered {statuses:?}, {} file(s) held, and migrating it \
                 {migrated:?}",
                held.len()
            )));
        }
        Ok(())
    });
    house.stop();
    disk::take();
    found
}
