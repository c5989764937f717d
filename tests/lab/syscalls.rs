//! The unmodified program under `strace`, which kills it, or has a call fail, at the Nth call of a kind: while it starts, brings an older file up
//! to date, sells, makes and removes a shop, and ends. Then it starts again without, and everything has to hold.
//!
//! The number is counted in each thread by itself, as strace counts. Errors of `write` are left out: sockets and pipes have them too, which no disk does.

use std::fs;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use libc::SIGKILL;

use crate::daemon::{Caller, Daemon, Line, Patience, Shop, command, keep, serve, under, within_a_minute};
use crate::dice::Dice;
use crate::table::{Finding, Row};
use crate::workload::{self, Diary, Sent, Till, settled};
use crate::{house, older, oracle};

const TILLS: usize = 3;
const CUSTOMERS: usize = 2;
const THREADS: usize = 2;

/// A kind of call: its names on this system and on others, the highest number that is tried, and the errors that a disk can give.
struct Calls(&'static str, u64, &'static [&'static str]);

const CALLS: &[Calls] = &[
    Calls("?fsync,?fdatasync", 24, &["EIO", "ENOSPC"]),
    Calls("?pwrite64", 160, &["ENOSPC", "EIO"]),
    Calls("?write", 6, &[]),
    Calls("?open,?openat", 40, &["EMFILE", "EIO"]),
    Calls("?rename,?renameat,?renameat2", 2, &["EIO", "ENOSPC"]),
    Calls("?ftruncate", 5, &["EIO", "ENOSPC"]),
    Calls("?unlink,?unlinkat", 8, &["EIO"]),
];

/// What is done to which calls, as strace has it.
struct Injection {
    calls: &'static str,
    what: String,
}

impl Injection {
    fn kill(dice: &mut Dice) -> Self {
        let Calls(calls, most, _) = dice.pick(CALLS);
        let what = format!("signal=KILL:when={}", nth(dice, *most));
        Self { calls, what }
    }

    fn error(dice: &mut Dice) -> Self {
        let calls = loop {
            let calls = dice.pick(CALLS);
            if !calls.2.is_empty() {
                break calls;
            }
        };
        let (first, error) = (nth(dice, calls.1), dice.pick(calls.2));
        // Once, a few times, or until it is started again.
        let until = match dice.below(3) {
            0 => format!("..{first}"),
            1 => format!("..{}", first + 2),
            _ => "+".to_owned(),
        };
        Self {
            calls: calls.0,
            what: format!("error={error}:when={first}{until}"),
        }
    }
}

/// Low numbers more often: they are what most threads reach.
const fn nth(dice: &mut Dice, most: u64) -> u64 {
    let below = 1 + dice.below(most);
    1 + dice.below(below)
}

/// Half of the cases are kills, the others errors.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let (kills, errors): (Vec<usize>, Vec<usize>) = cases.partition(|case| case % 2 == 0);
    let what = ["kill at a system call", "a system call fails"];
    if let Err(why) = probe() {
        return vec![Row::skipped(what[0], kills.len(), &why), Row::skipped(what[1], errors.len(), &why)];
    }
    let shop = Shop::found();
    let elder = older::put(shop.dir());
    [
        (what[0], kills, Injection::kill as Throw),
        (what[1], errors, Injection::error as Throw),
    ]
    .into_iter()
    .filter(|(_, cases, _)| !cases.is_empty())
    .map(|(what, cases, throw)| {
        let (struck, mut failures) = try_all(&shop, &elder, seed, &cases, throw);
        // One case alone may be one that strikes nothing.
        if cases.len() > 1 && struck * 4 < cases.len() {
            failures.push(format!("only {struck} of {} struck: nothing was tried", cases.len()).into());
        }
        Row::new(format!("{what} ({struck} struck)"), cases.len(), failures)
    })
    .collect()
}

type Throw = fn(&mut Dice) -> Injection;

/// Tries several at a time: most of a trial is waiting. Gives how often a fault struck, and what was found.
fn try_all(shop: &Shop, elder: &str, seed: u64, cases: &[usize], throw: Throw) -> (usize, Vec<Finding>) {
    let (struck, failures) = (AtomicUsize::new(0), Mutex::new(Vec::<Finding>::new()));
    thread::scope(|scope| {
        for part in 0..THREADS {
            let (struck, failures) = (&struck, &failures);
            scope.spawn(move || {
                for &case in cases.iter().skip(part).step_by(THREADS) {
                    let mut dice = Dice::new(seed, case as u64);
                    let injection = throw(&mut dice);
                    let dir = shop.copy();
                    match try_one(shop, elder, dir.path(), &injection, dice.below(2) == 0) {
                        Ok(hit) => {
                            struck.fetch_add(usize::from(hit), Ordering::SeqCst);
                        }
                        Err(found) => {
                            let found = found.at(format_args!("case {case}, {} {}", injection.calls, injection.what));
                            failures.lock().unwrap_or_else(PoisonError::into_inner).push(found);
                            keep(dir.path(), &format!("syscalls-{seed}-{case}"));
                        }
                    }
                }
            });
        }
    });
    (struck.into_inner(), failures.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Whether there is a strace that can do this here.
fn probe() -> Result<(), String> {
    let ran = Command::new("strace")
        .args([
            "-D",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "inject=?rename:error=EIO:when=1..2",
            "true",
        ])
        .stdin(Stdio::null())
        .output();
    match ran {
        Err(error) => Err(format!("strace: {error}")),
        Ok(output) if !output.status.success() => Err(format!("strace: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Ok(_) => Ok(()),
    }
}

/// One trial; whether the fault struck.
fn try_one(shop: &Shop, elder: &str, dir: &Path, injection: &Injection, is_orderly: bool) -> Result<bool, Finding> {
    let trace = dir.join("strace");
    let mut strace = Command::new("strace");
    // The tracer is a grandchild (-D): the child is the program itself, whose end we see and cause. All calls are stopped at (no --seccomp-bpf):
    // where only those that matter are, the signals of strace 6.1 go astray.
    strace.args(["-D", "-f", "-o"]).arg(&trace);
    strace.args(["-e", &format!("trace={}", injection.calls)]);
    strace.args(["-e", &format!("inject={}:{}", injection.calls, injection.what)]);
    under(&mut strace, &serve(dir));
    let (mut sent, mut was_killed) = (Vec::new(), false);
    match Daemon::launch(&mut strace, dir) {
        Ok(mut daemon) => {
            sent = trade(shop, dir, &daemon);
            if is_orderly && daemon.ended().is_none() {
                daemon.ask_to_end();
                if !within_a_minute(|| daemon.ended().is_some()) {
                    return Err("it does not end when it is asked to".into());
                }
            }
            match daemon.ended() {
                Some(status) => was_killed = status.signal() == Some(SIGKILL),
                None => daemon.kill(),
            }
        }
        // It did not get as far as that: killed, or refused to go on.
        Err(ended) => was_killed |= ended.contains("signal: 9 "),
    }
    let traced = || fs::read_to_string(&trace).unwrap_or_default();
    // The tracer notes the end of its last thread, and is done.
    let is_told = within_a_minute(|| traced().lines().last().is_some_and(|line| line.contains(" +++ ")));
    if !is_told {
        return Err(format!("strace has not ended: {:?}", traced().lines().last()).into());
    }
    let struck = was_killed || traced().contains("(INJECTED)");
    older::examine(dir, elder)?;
    command(dir, &["integrity", "check"]).map_err(|error| format!("integrity check: {error}"))?;
    oracle::examine_real(dir, &sent, &house::runtime(2))?;
    Ok(struck)
}

/// Tills sell, and a shop comes and goes, as far as that is answered.
fn trade(shop: &Shop, dir: &Path, daemon: &Daemon) -> Vec<Sent> {
    let (line, diary, passing) = (Line::default(), Diary::default(), Diary::default());
    line.connect(daemon.address());
    thread::scope(|scope| {
        for till in 0..TILLS {
            let (line, diary) = (&line, &diary);
            scope.spawn(move || {
                let caller = Caller::new(line, dir, Patience::None);
                let till = Till::of(&caller, diary, &format!("till {till}"), &shop.secret);
                house::runtime(1).block_on(async {
                    for customer in 0..CUSTOMERS {
                        till.serve(&shop.product, customer).await;
                    }
                });
            });
        }
        let caller = Caller::new(&line, dir, Patience::None);
        house::runtime(1).block_on(workload::come_and_go(&caller, &passing));
    });
    let mut sent = settled(diary.into_lines());
    sent.extend(settled(passing.into_lines()));
    sent
}
