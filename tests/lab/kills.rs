//! `kill -9` of the real program, at any instant of its life, its start included. Eight tills send
//! each call under its key until it is answered, through as many kills as that takes; afterwards
//! everything is there, once.

use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::daemon::{
    Caller, Daemon, Line, NO_ANSWER, Patience, Shop, command, keep, pause, serve, within_a_minute,
};
use crate::dice::Dice;
use crate::house;
use crate::oracle::{self, Verdict};
use crate::table::{Finding, Row};
use crate::workload::{Diary, Sent, Till, settled};

const TILLS: usize = 8;
/// How many kills one directory lives through before it is looked at.
const KILLS_PER_HOUSE: usize = 25;
/// The longest that a daemon lives, from when it listens: several customers of each till.
const LIFE_US: u64 = 60_000;
/// The longest that one lives which is killed while it starts.
const START_US: u64 = 40_000;

/// Kills the daemon as often as there are cases. In the same run the control: a shop's file that is
/// put back to what it was before must be missed.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let shop = Shop::found();
    let (mut failures, mut calls, mut lost) = (Vec::<Finding>::new(), 0, Vec::<Finding>::new());
    let (trials, mut from) = (cases.len(), cases.start);
    while from < cases.end {
        let kills = from..cases.end.min(from.saturating_add(KILLS_PER_HOUSE));
        let dir = shop.copy();
        let lived = live_and_die(&shop, dir.path(), seed, kills.clone()).and_then(|sent| {
            calls += sent.len();
            examine(dir.path(), &sent).map(|()| sent)
        });
        match lived {
            Ok(sent) if kills.end == cases.end => {
                lost.extend(put_back(&shop, dir.path(), &sent).err())
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
        rows.push(Row::new("control: a file from before", 1, lost).must_find());
    }
    rows
}

/// Eight tills sell while one daemon after the other is killed; gives all that was sent, and what
/// was answered.
fn live_and_die(
    shop: &Shop,
    dir: &Path,
    seed: u64,
    kills: Range<usize>,
) -> Result<Vec<Sent>, Finding> {
    let (line, diary, closed, served) = (
        Line::default(),
        Diary::default(),
        AtomicBool::new(false),
        AtomicUsize::new(0),
    );
    let all_went_on = thread::scope(|scope| {
        let line = &line;
        // Whatever happens here, nobody waits for an answer for ever.
        let _end = line.hang_up_at_the_end();
        for till in 0..TILLS {
            let (diary, closed, served) = (&diary, &closed, &served);
            scope.spawn(move || {
                let caller = Caller::new(line, dir, Patience::Endless);
                let till = Till::of(&caller, diary, &format!("till {till}"), &shop.secret);
                house::runtime(1).block_on(async {
                    for customer in (0..).take_while(|_| !closed.load(Ordering::SeqCst)) {
                        till.serve(&shop.product, customer).await;
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                });
            });
        }
        for kill in kills {
            let mut dice = Dice::new(seed, kill as u64);
            live_once(dir, line, &mut dice);
        }
        // The last one lives until every till has been answered all that it sent, and dies with
        // some at work.
        let mut daemon = Daemon::start(dir, &[]);
        line.connect(daemon.address());
        let enough = served.load(Ordering::SeqCst) + 2 * TILLS;
        let all_went_on = within_a_minute(|| served.load(Ordering::SeqCst) >= enough);
        closed.store(true, Ordering::SeqCst);
        daemon.kill();
        all_went_on
    });
    if !all_went_on {
        return Err("the tills are not served any more".into());
    }
    let sent = diary.into_lines();
    let is_fault = |line: &&Sent| {
        let status = line
            .answered
            .as_ref()
            .map_or(NO_ANSWER, |(_, reply)| reply.status);
        (500..NO_ANSWER).contains(&status) && status != 503
    };
    match sent.iter().find(is_fault) {
        Some(fault) => Err(format!("a fault was answered: {fault:?}").into()),
        None => Ok(settled(sent)),
    }
}

/// One life: of every four daemons one is killed before it is known to listen.
fn live_once(dir: &Path, line: &Line, dice: &mut Dice) {
    if dice.below(4) == 0 {
        let mut child = serve(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        pause(Duration::from_micros(dice.below(START_US)));
        child.kill().expect("it runs");
        child.wait().expect("it has ended");
    } else {
        let mut daemon = Daemon::start(dir, &[]);
        line.connect(daemon.address());
        pause(Duration::from_micros(dice.below(LIFE_US)));
        daemon.kill();
    }
}

fn examine(dir: &Path, sent: &[Sent]) -> Verdict {
    oracle::examine_real(dir, sent, &house::runtime(2))?;
    command(dir, &["integrity", "check"]).map_err(|error| format!("integrity check: {error}"))?;
    Ok(())
}

/// Puts the shop's file of the first day back, as an operator might, and asks for what was
/// acknowledged since.
fn put_back(shop: &Shop, dir: &Path, sent: &[Sent]) -> Verdict {
    std::fs::remove_dir_all(dir.join("tenants")).expect("it is there");
    shop.copy_to(dir);
    examine(dir, sent)
}
