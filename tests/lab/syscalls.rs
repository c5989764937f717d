//! The unmodified program under `strace`, which kills it, or has a call fail, at the Nth call of a
//! kind: while it starts, brings an older file up to date, sells, makes and removes a shop, and
//! ends. Then it starts again without, and everything has to hold.
//!
//! The number is counted in each thread by itself, as strace counts. Errors of `write` are left
//! out: sockets and pipes have them too, which no disk does.

use std::fs;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use libc::SIGKILL;

use crate::daemon::{
    Caller, Daemon, Line, Patience, Shop, command, keep, serve, under, within_a_minute,
};
use crate::dice::Dice;
use crate::oracle::Verdict;
use crate::table::{Finding, Row};
use crate::workload::{self, Diary, Sent, Till, settled};
use crate::{house, older, oracle};

const TILLS: usize = 3;
const CUSTOMERS: usize = 2;
const THREADS: usize = 2;

/// A kind of call: its names on this system and on others, the highest number that is tried, and
/// the errors that a disk can give.
struct Calls(&'static str, u64, &'static [&'static str]);

const CALLS: &[Calls] = &[
    Calls("?fsync,?fdatasync", 30, &["EIO", "ENOSPC"]),
    Calls("?pwrite64", 300, &["ENOSPC", "EIO"]),
    Calls("?write", 8, &[]),
    Calls("?open,?openat", 50, &["EMFILE", "EIO"]),
    Calls("?rename,?renameat,?renameat2", 2, &["EIO", "ENOSPC"]),
    Calls("?ftruncate", 5, &["EIO", "ENOSPC"]),
    Calls("?unlink,?unlinkat", 12, &["EIO"]),
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

/// Every number as often as the others: one that no thread reaches costs a trial, and high ones
/// strike the program at work.
const fn nth(dice: &mut Dice, most: u64) -> u64 {
    1 + dice.below(most)
}

/// Half of the cases are kills, the others errors.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let (kills, errors): (Vec<usize>, Vec<usize>) = cases.partition(|case| case % 2 == 0);
    let what = ["kill at a system call", "a system call fails"];
    if let Err(why) = probe() {
        return vec![
            Row::skipped(what[0], kills.len(), &why),
            Row::skipped(what[1], errors.len(), &why),
        ];
    }
    // In every other case there is an older file, whose migration is what most of the calls are
    // then for.
    let aged = Shop::found();
    let elder = older::put(aged.dir());
    let shops = [(Shop::found(), None), (aged, Some(elder))];
    [
        (what[0], kills, Injection::kill as Throw),
        (what[1], errors, Injection::error as Throw),
    ]
    .into_iter()
    .filter(|(_, cases, _)| !cases.is_empty())
    .map(|(what, cases, throw)| {
        let (struck, at_work, mut failures) = try_all(&shops, seed, &cases, throw);
        // One case alone may be one that strikes nothing.
        if cases.len() > 1 && struck * 4 < cases.len() {
            failures
                .push(format!("only {struck} of {} struck: nothing was tried", cases.len()).into());
        }
        println!(
            "{what}: {struck} of {} struck, {at_work} of them a program that had begun to serve",
            cases.len()
        );
        Row::new(what, cases.len(), failures)
    })
    .collect()
}

type Throw = fn(&mut Dice) -> Injection;

/// Tries several at a time: most of a trial is waiting. Gives how often a fault struck, how many of
/// those programs had begun to serve, and what was found.
fn try_all(
    shops: &[(Shop, Option<String>)],
    seed: u64,
    cases: &[usize],
    throw: Throw,
) -> (usize, usize, Vec<Finding>) {
    let (struck, at_work, failures) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        Mutex::new(Vec::<Finding>::new()),
    );
    thread::scope(|scope| {
        for part in 0..THREADS {
            let (struck, at_work, failures) = (&struck, &at_work, &failures);
            scope.spawn(move || {
                for &case in cases.iter().skip(part).step_by(THREADS) {
                    let mut dice = Dice::new(seed, case as u64);
                    let injection = throw(&mut dice);
                    let (shop, elder) = dice.pick(shops);
                    let dir = shop.copy();
                    let found =
                        try_one(shop, dir.path(), &injection, dice.below(2) == 0).and_then(|hit| {
                            elder
                                .as_ref()
                                .map_or(Ok(()), |elder| older::examine(dir.path(), elder))?;
                            examine(dir.path(), &hit.sent).map(|()| hit)
                        });
                    match found {
                        Ok(hit) => {
                            struck.fetch_add(usize::from(hit.struck), Ordering::SeqCst);
                            at_work
                                .fetch_add(usize::from(hit.struck && hit.served), Ordering::SeqCst);
                        }
                        Err(found) => {
                            let found = found.at(format_args!(
                                "case {case}, {} {}",
                                injection.calls, injection.what
                            ));
                            failures
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push(found);
                            keep(dir.path(), &format!("syscalls-{seed}-{case}"));
                        }
                    }
                }
            });
        }
    });
    (
        struck.into_inner(),
        at_work.into_inner(),
        failures
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    )
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
        Ok(output) if !output.status.success() => Err(format!(
            "strace: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Ok(_) => Ok(()),
    }
}

/// What a fault met.
struct Hit {
    struck: bool,
    /// Whether the program had begun to serve before it ended.
    served: bool,
    sent: Vec<Sent>,
}

/// One trial, without the look at what is left.
fn try_one(
    shop: &Shop,
    dir: &Path,
    injection: &Injection,
    is_orderly: bool,
) -> Result<Hit, Finding> {
    let trace = dir.join("strace");
    let mut strace = Command::new("strace");
    // The tracer is a grandchild (-D): the child is the program itself, whose end we see and cause.
    // All calls are stopped at (no --seccomp-bpf): where only those that matter are, the signals of
    // strace 6.1 go astray.
    strace.args(["-D", "-f", "-o"]).arg(&trace);
    strace.args(["-e", &format!("trace={}", injection.calls)]);
    strace.args([
        "-e",
        &format!("inject={}:{}", injection.calls, injection.what),
    ]);
    under(&mut strace, &serve(dir));
    let (mut sent, mut was_killed, mut served) = (Vec::new(), false, false);
    match Daemon::launch(&mut strace, dir) {
        Ok(mut daemon) => {
            served = true;
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
    let is_told = within_a_minute(|| {
        traced()
            .lines()
            .last()
            .is_some_and(|line| line.contains(" +++ "))
    });
    if !is_told {
        return Err(format!("strace has not ended: {:?}", traced().lines().last()).into());
    }
    let struck = was_killed || traced().contains("(INJECTED)");
    Ok(Hit {
        struck,
        served,
        sent,
    })
}

/// It starts again, the real program first.
fn examine(dir: &Path, sent: &[Sent]) -> Verdict {
    command(dir, &["integrity", "check"]).map_err(|error| format!("integrity check: {error}"))?;
    oracle::examine_real(dir, sent, &house::runtime(2))
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
