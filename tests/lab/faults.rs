//! Failing system calls: the disk is full or fails, at any call of a kind, once or a few times.
//! Acknowledged work is there, other work can be sent again to the same process, and after a
//! restart everything is consistent.

use std::fs;
use std::ops::Range;

use http::Method;
use libc::{EIO, EMFILE, ENOSPC};
use serde_json::json;
use tillbox::storage::DataDir;

use crate::disk::{self, Fault, Syscall};
use crate::instance::{self, Instance};
use crate::oracle;
use crate::power::scratch;
use crate::rng::Rng;
use crate::table::{Finding, Row};
use crate::workload::{CallLog, Till, settled};

/// Returns the possible errors of a call.
fn errors(call: Syscall) -> &'static [i32] {
    match call {
        Syscall::Open => &[EMFILE, EIO],
        Syscall::Write | Syscall::Truncate => &[ENOSPC, EIO],
        Syscall::Sync => &[EIO, ENOSPC],
        Syscall::Unlink | Syscall::Rename => &[EIO],
    }
}

/// Makes calls fail, in one shop for each case.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let mut failures = Vec::<Finding>::new();
    let mut hits = 0;
    let trials = cases.len();
    for case in cases {
        let mut rng = Rng::new(seed, case as u64);
        let call = *rng.pick(Syscall::ALL);
        let fault = Fault {
            call,
            after: rng.below(if call == Syscall::Write { 120 } else { 12 }),
            times: 1 + rng.below(3),
            errno: *rng.pick(errors(call)),
        };
        match try_fault(fault, seed ^ case as u64) {
            Ok(failed) => hits += usize::from(failed > 0),
            Err(found) => failures.push(found.at(format_args!("case {case}, {fault:?}"))),
        }
    }
    // The fault of a single case may hit nothing.
    if trials > 1 && hits * 4 < trials {
        failures.push(
            format!("only {hits} of {trials} faults hit a call: the trials tested nothing").into(),
        );
    }
    vec![
        Row::new("failing calls", trials, failures),
        Row::new("disk that fails twice", 1, fails_twice(seed).err()),
    ]
}

/// Runs one shop with one fault. Returns the number of calls that failed.
fn try_fault(fault: Fault, seed: u64) -> Result<u64, Finding> {
    let dir = scratch();
    DataDir::prepare(dir.path()).expect("the directory is prepared");
    fs::create_dir(dir.path().join("outbox")).expect("a directory");
    let runtime = instance::runtime(2);
    disk::watch(dir.path(), false);
    let instance = Instance::start(dir.path(), seed).expect("the process starts");
    let call_log = CallLog::default();
    let hits = runtime.block_on(async {
        let till = Till::open(&instance, &call_log, "corner").await;
        let tea = till.create_product().await;
        disk::inject(Some(fault));
        tokio::join!(
            till.serve_customer(&tea, 0),
            till.serve_customer(&tea, 2),
            till.serve_customer(&tea, 3)
        );
        tokio::task::block_in_place(|| {
            tillbox::worker::run_until_idle(&instance.app);
            instance.app.stores.registry.close_all();
        });
        let hits = disk::inject(None);
        till.serve_customer(&tea, 6).await;
        hits
    });
    instance.stop();
    disk::stop();
    // A till that gave up comes back: after a 5xx answer the outcome is unknown.
    let sent = settled(call_log.into_sent());
    oracle::examine(dir.path(), &sent, usize::MAX, &runtime).map(|()| hits)
}

/// Checks that a file is reopened and verified after one failure, and held after a second one,
/// intact and in its place, until the operator releases it.
fn fails_twice(seed: u64) -> Result<(), Finding> {
    let dir = scratch();
    DataDir::prepare(dir.path()).expect("the directory is prepared");
    let runtime = instance::runtime(2);
    disk::watch(dir.path(), false);
    let instance = Instance::start(dir.path(), seed).expect("the process starts");
    let found = runtime.block_on(async {
        let call_log = CallLog::default();
        let till = Till::open(&instance, &call_log, "corner").await;
        let tea = till.create_product().await;
        let sale = async |number: usize| till.sell_once(&tea, number).await;
        let failed_sync = || {
            disk::inject(Some(Fault {
                call: Syscall::Sync,
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
        disk::inject(None);
        let held = instance.app.stores.registry.list_unavailable();
        // Migrating without `release` leaves the file held; with it, the file is released.
        let migrate = async |release: bool| {
            let call = instance::Call {
                method: Method::POST,
                path: "/v1/admin/tenants/corner/migrate".to_owned(),
                secret: None,
                idempotency_key: None,
                body: json!({"release": release}),
            };
            let reply = instance.send_as_operator(&call).await;
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
                "sales: {statuses:?}; held files: {}; migrations: {migrated:?}",
                held.len()
            )));
        }
        Ok(())
    });
    instance.stop();
    disk::stop();
    found
}
