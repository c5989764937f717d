//! `kill -9` of the real program at any instant, also during its start. Eight tills send each call
//! under its key until it is answered, through as many kills as that takes. Afterwards everything
//! is there exactly once.

use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::daemon::{
    Caller, Daemon, Endpoint, NO_ANSWER, Retry, ShopTemplate, command, keep, pause, serve,
    within_a_minute,
};
use crate::instance;
use crate::oracle::{self, Verdict};
use crate::rng::Rng;
use crate::table::{Finding, Row};
use crate::workload::{CallLog, Sent, Till, settled};

const TILLS: usize = 8;
/// Kills of one directory before it is examined.
const KILLS_PER_DIR: usize = 25;
/// Longest life of a daemon after it listens: several customers of each till.
const LIFE_US: u64 = 60_000;
/// Longest life of a daemon that is killed during its start.
const START_US: u64 = 40_000;

/// Kills the daemon once for each case. The control in the same run: a tenant's file that is
/// replaced by an older one must be detected.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let shop = ShopTemplate::create();
    let (mut failures, mut calls, mut lost) = (Vec::<Finding>::new(), 0, Vec::<Finding>::new());
    let (trials, mut from) = (cases.len(), cases.start);
    while from < cases.end {
        let kills = from..cases.end.min(from.saturating_add(KILLS_PER_DIR));
        let dir = shop.copy();
        let outcome = sell_through_kills(&shop, dir.path(), seed, kills.clone()).and_then(|sent| {
            calls += sent.len();
            examine(dir.path(), &sent).map(|()| sent)
        });
        match outcome {
            Ok(sent) if kills.end == cases.end => {
                lost.extend(restore_older_file(&shop, dir.path(), &sent).err())
            }
            Ok(_) => {}
            Err(found) => {
                failures.push(found.at(format_args!("kills {} to {}", kills.start, kills.end - 1)));
                keep(dir.path(), &format!("kills-{}", kills.start));
            }
        }
        from = kills.end;
    }
    let mut rows = vec![Row::new(
        format!("kill -9 ({calls} calls)"),
        trials,
        failures,
    )];
    if rows.iter().all(Row::is_good) {
        rows.push(Row::new("control: an older file", 1, lost).must_find());
    }
    rows
}

/// Sells with eight tills while one daemon after another is killed. Returns all calls with their
/// answers.
fn sell_through_kills(
    shop: &ShopTemplate,
    dir: &Path,
    seed: u64,
    kills: Range<usize>,
) -> Result<Vec<Sent>, Finding> {
    let (endpoint, call_log, closed, served) = (
        Endpoint::default(),
        CallLog::default(),
        AtomicBool::new(false),
        AtomicUsize::new(0),
    );
    let all_served = thread::scope(|scope| {
        let endpoint = &endpoint;
        // The guard ends all waits, whatever happens here.
        let _end = endpoint.stop_waiting_on_drop();
        for till in 0..TILLS {
            let (call_log, closed, served) = (&call_log, &closed, &served);
            scope.spawn(move || {
                let caller = Caller::new(endpoint, dir, Retry::Forever);
                let till = Till::of(&caller, call_log, &format!("till {till}"), &shop.secret);
                instance::runtime(1).block_on(async {
                    for customer in (0..).take_while(|_| !closed.load(Ordering::SeqCst)) {
                        till.serve_customer(&shop.product, customer).await;
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                });
            });
        }
        for kill in kills {
            let mut rng = Rng::new(seed, kill as u64);
            run_and_kill(dir, endpoint, &mut rng);
        }
        // The last daemon lives until every till got an answer to each call, and dies while some
        // are working.
        let mut daemon = Daemon::start(dir, &[]);
        endpoint.connect(daemon.address());
        let enough = served.load(Ordering::SeqCst) + 2 * TILLS;
        let all_served = within_a_minute(|| served.load(Ordering::SeqCst) >= enough);
        closed.store(true, Ordering::SeqCst);
        daemon.kill();
        all_served
    });
    if !all_served {
        return Err("the daemon stopped serving the tills".into());
    }
    let sent = call_log.into_sent();
    let is_fault = |line: &&Sent| {
        let status = line
            .answered
            .as_ref()
            .map_or(NO_ANSWER, |(_, reply)| reply.status);
        (500..NO_ANSWER).contains(&status) && status != 503
    };
    match sent.iter().find(is_fault) {
        Some(fault) => Err(format!("a call was answered with a fault: {fault:?}").into()),
        None => Ok(settled(sent)),
    }
}

/// Runs and kills one daemon. One in four is killed before it is known to listen.
fn run_and_kill(dir: &Path, endpoint: &Endpoint, rng: &mut Rng) {
    if rng.below(4) == 0 {
        let mut child = serve(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        pause(Duration::from_micros(rng.below(START_US)));
        child.kill().expect("it runs");
        child.wait().expect("it has ended");
    } else {
        let mut daemon = Daemon::start(dir, &[]);
        endpoint.connect(daemon.address());
        pause(Duration::from_micros(rng.below(LIFE_US)));
        daemon.kill();
    }
}

fn examine(dir: &Path, sent: &[Sent]) -> Verdict {
    oracle::examine_real(dir, sent, &instance::runtime(2))?;
    command(dir, &["integrity", "check"]).map_err(|error| format!("integrity check: {error}"))?;
    Ok(())
}

/// Restores the tenant's file of the first day, as an operator might, and asks for what was
/// acknowledged after it.
fn restore_older_file(shop: &ShopTemplate, dir: &Path, sent: &[Sent]) -> Verdict {
    std::fs::remove_dir_all(dir.join("tenants")).expect("it is there");
    shop.copy_to(dir);
    examine(dir, sent)
}
