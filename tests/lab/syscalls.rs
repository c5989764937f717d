//! The unmodified program under `strace`, which kills it or makes a call fail at the Nth call of a
//! kind: while it starts, migrates an older file, sells, creates and removes a tenant, and ends.
//! Then it starts again without strace, and all invariants must hold.
//!
//! The count is per thread, as strace counts. Errors of `write` are left out: sockets and pipes
//! would fail too, unlike with a real disk.

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
    Caller, Daemon, Endpoint, Retry, ShopTemplate, command, keep, serve, within_a_minute,
    wrap_command,
};
use crate::oracle::Verdict;
use crate::rng::Rng;
use crate::table::{Finding, Row};
use crate::workload::{self, CallLog, Sent, Till, settled};
use crate::{instance, older, oracle};

const TILLS: usize = 3;
const CUSTOMERS: usize = 2;
const THREADS: usize = 2;

/// A group of calls: its names on this system and on others, the highest count that is tried, and
/// the possible errors of a disk.
struct CallGroup(&'static str, u64, &'static [&'static str]);

const CALLS: &[CallGroup] = &[
    CallGroup("?fsync,?fdatasync", 30, &["EIO", "ENOSPC"]),
    CallGroup("?pwrite64", 300, &["ENOSPC", "EIO"]),
    CallGroup("?write", 8, &[]),
    CallGroup("?open,?openat", 50, &["EMFILE", "EIO"]),
    CallGroup("?rename,?renameat,?renameat2", 2, &["EIO", "ENOSPC"]),
    CallGroup("?ftruncate", 5, &["EIO", "ENOSPC"]),
    CallGroup("?unlink,?unlinkat", 12, &["EIO"]),
];

/// An injection in the syntax of strace.
struct Injection {
    calls: &'static str,
    effect: String,
}

impl Injection {
    fn kill(rng: &mut Rng) -> Self {
        let CallGroup(calls, most, _) = rng.pick(CALLS);
        let effect = format!("signal=KILL:when={}", nth(rng, *most));
        Self { calls, effect }
    }

    fn error(rng: &mut Rng) -> Self {
        let calls = loop {
            let calls = rng.pick(CALLS);
            if !calls.2.is_empty() {
                break calls;
            }
        };
        let (first, error) = (nth(rng, calls.1), rng.pick(calls.2));
        // Once, a few times, or until the program restarts.
        let until = match rng.below(3) {
            0 => format!("..{first}"),
            1 => format!("..{}", first + 2),
            _ => "+".to_owned(),
        };
        Self {
            calls: calls.0,
            effect: format!("error={error}:when={first}{until}"),
        }
    }
}

/// Returns a uniform count. A count that no thread reaches wastes a trial, and high ones hit the
/// program while it serves.
const fn nth(rng: &mut Rng, most: u64) -> u64 {
    1 + rng.below(most)
}

/// Runs kills in half of the cases and errors in the others.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let (kills, errors): (Vec<usize>, Vec<usize>) = cases.partition(|case| case % 2 == 0);
    let names = ["kill at a system call", "a system call fails"];
    if let Err(why) = probe() {
        return vec![
            Row::skipped(names[0], kills.len(), &why),
            Row::skipped(names[1], errors.len(), &why),
        ];
    }
    // In every other case there is an older file, and most calls belong to its migration.
    let with_older = ShopTemplate::create();
    let older_id = older::create(with_older.dir());
    let shops = [(ShopTemplate::create(), None), (with_older, Some(older_id))];
    [
        (names[0], kills, Injection::kill as MakeInjection),
        (names[1], errors, Injection::error as MakeInjection),
    ]
    .into_iter()
    .filter(|(_, cases, _)| !cases.is_empty())
    .map(|(name, cases, make)| {
        let (hits, at_work, mut failures) = try_all(&shops, seed, &cases, make);
        // The fault of a single case may hit nothing.
        if cases.len() > 1 && hits * 4 < cases.len() {
            failures.push(
                format!(
                    "only {hits} of {} faults hit the program: the trials tested nothing",
                    cases.len()
                )
                .into(),
            );
        }
        println!(
            "{name}: {hits} of {} faults hit the program, {at_work} of them while it served",
            cases.len()
        );
        Row::new(name, cases.len(), failures)
    })
    .collect()
}

type MakeInjection = fn(&mut Rng) -> Injection;

/// Runs several cases at a time, because most of a trial is waiting. Returns the number of faults
/// that hit, the number of those that hit a serving program, and the findings.
fn try_all(
    shops: &[(ShopTemplate, Option<String>)],
    seed: u64,
    cases: &[usize],
    make: MakeInjection,
) -> (usize, usize, Vec<Finding>) {
    let (hits, at_work, failures) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        Mutex::new(Vec::<Finding>::new()),
    );
    thread::scope(|scope| {
        for part in 0..THREADS {
            let (hits, at_work, failures) = (&hits, &at_work, &failures);
            scope.spawn(move || {
                for &case in cases.iter().skip(part).step_by(THREADS) {
                    let mut rng = Rng::new(seed, case as u64);
                    let injection = make(&mut rng);
                    let (shop, older_id) = rng.pick(shops);
                    let dir = shop.copy();
                    let found = try_one(shop, dir.path(), &injection, rng.below(2) == 0).and_then(
                        |outcome| {
                            older_id
                                .as_ref()
                                .map_or(Ok(()), |older_id| older::examine(dir.path(), older_id))?;
                            examine(dir.path(), &outcome.sent).map(|()| outcome)
                        },
                    );
                    match found {
                        Ok(outcome) => {
                            hits.fetch_add(usize::from(outcome.is_hit), Ordering::SeqCst);
                            at_work.fetch_add(
                                usize::from(outcome.is_hit && outcome.served),
                                Ordering::SeqCst,
                            );
                        }
                        Err(found) => {
                            let found = found.at(format_args!(
                                "case {case}, {} {}",
                                injection.calls, injection.effect
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
        hits.into_inner(),
        at_work.into_inner(),
        failures
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    )
}

/// Checks that strace exists and supports injections here.
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

/// The effect of an injection.
struct Outcome {
    is_hit: bool,
    /// The program served before it ended.
    served: bool,
    sent: Vec<Sent>,
}

/// Runs one trial, without the examination afterwards.
fn try_one(
    shop: &ShopTemplate,
    dir: &Path,
    injection: &Injection,
    is_orderly: bool,
) -> Result<Outcome, Finding> {
    let trace = dir.join("strace");
    let mut strace = Command::new("strace");
    // The tracer is a grandchild (-D): the child is the program itself, whose end this test sees
    // and causes. All calls are traced (no --seccomp-bpf): with only the needed ones, strace 6.1
    // loses signals.
    strace.args(["-D", "-f", "-o"]).arg(&trace);
    strace.args(["-e", &format!("trace={}", injection.calls)]);
    strace.args([
        "-e",
        &format!("inject={}:{}", injection.calls, injection.effect),
    ]);
    wrap_command(&mut strace, &serve(dir));
    let (mut sent, mut was_killed, mut served) = (Vec::new(), false, false);
    match Daemon::launch(&mut strace, dir) {
        Ok(mut daemon) => {
            served = true;
            sent = trade(shop, dir, &daemon);
            if is_orderly && daemon.ended().is_none() {
                daemon.ask_to_end();
                if !within_a_minute(|| daemon.ended().is_some()) {
                    return Err("the daemon ignores SIGTERM".into());
                }
            }
            match daemon.ended() {
                Some(status) => was_killed = status.signal() == Some(SIGKILL),
                None => daemon.kill(),
            }
        }
        // It ended before it served: killed, or it refused to continue.
        Err(ended) => was_killed |= ended.contains("signal: 9 "),
    }
    let traced = || fs::read_to_string(&trace).unwrap_or_default();
    // The tracer logs the exit of its last thread, and ends.
    let has_ended = within_a_minute(|| {
        traced()
            .lines()
            .last()
            .is_some_and(|line| line.contains(" +++ "))
    });
    if !has_ended {
        return Err(format!("strace has not ended: {:?}", traced().lines().last()).into());
    }
    let is_hit = was_killed || traced().contains("(INJECTED)");
    Ok(Outcome {
        is_hit,
        served,
        sent,
    })
}

/// Starts the directory again, first with the real program.
fn examine(dir: &Path, sent: &[Sent]) -> Verdict {
    command(dir, &["integrity", "check"]).map_err(|error| format!("integrity check: {error}"))?;
    oracle::examine_real(dir, sent, &instance::runtime(2))
}

/// Sells with several tills, and creates and removes a tenant, as far as the program answers.
fn trade(shop: &ShopTemplate, dir: &Path, daemon: &Daemon) -> Vec<Sent> {
    let (endpoint, call_log, temporary) =
        (Endpoint::default(), CallLog::default(), CallLog::default());
    endpoint.connect(daemon.address());
    thread::scope(|scope| {
        for till in 0..TILLS {
            let (endpoint, call_log) = (&endpoint, &call_log);
            scope.spawn(move || {
                let caller = Caller::new(endpoint, dir, Retry::Never);
                let till = Till::of(&caller, call_log, &format!("till {till}"), &shop.secret);
                instance::runtime(1).block_on(async {
                    for customer in 0..CUSTOMERS {
                        till.serve_customer(&shop.product, customer).await;
                    }
                });
            });
        }
        let caller = Caller::new(&endpoint, dir, Retry::Never);
        instance::runtime(1).block_on(workload::create_and_remove(&caller, &temporary));
    });
    let mut sent = settled(call_log.into_sent());
    sent.extend(settled(temporary.into_sent()));
    sent
}
