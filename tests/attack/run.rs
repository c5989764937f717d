//! The run: the tills alone, during each attack, alone again; then the controls.

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::attacks::{ATTACKS, Attack, Progress, Span};
use crate::ground::Ground;
use crate::report::{self, Phase, Reading, amount, faults};
use crate::stranger::{Stranger, address_of};
use crate::till::{Sales, Till};

/// The interval of reading the daemon's memory.
const MEMORY_INTERVAL: Duration = Duration::from_millis(20);
/// The pauses of the tills. The attacked shop's till is slow, because the bytes of its sales are
/// subtracted from the bytes of the attack.
const ATTACKED_PAUSE: Duration = Duration::from_millis(20);
const NEIGHBOUR_PAUSE: Duration = Duration::from_millis(10);

/// The parsed command line.
#[derive(Debug, Default)]
struct Options {
    is_long: bool,
    names: Vec<String>,
    controls: Vec<String>,
}

/// Parses the command line. Options of the usual harness and unknown words are for other tests and
/// are ignored.
fn parse_args(args: impl Iterator<Item = String>) -> Options {
    let mut options = Options::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--ci" => options.is_long = true,
            "--control" => options.controls.extend(args.next()),
            option if option.starts_with('-') => {}
            word => options.names.push(word.to_owned()),
        }
    }
    options
}

/// Runs the attacks and controls of the command line.
pub fn all(args: impl Iterator<Item = String>) -> ExitCode {
    let args: Vec<String> = args.collect();
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let options = parse_args(args.into_iter());
    let named = |names: &[String]| -> Vec<&Attack> {
        let is_named = |attack: &&Attack| names.iter().any(|name| name == attack.name);
        ATTACKS.iter().filter(is_named).collect()
    };
    let all: Vec<&Attack> = ATTACKS.iter().collect();
    let is_whole = options.names.is_empty() && options.controls.is_empty();
    let attacks = if is_whole {
        all.clone()
    } else {
        named(&options.names)
    };
    let controls = if is_whole && options.is_long {
        all
    } else {
        named(&options.controls)
    };
    if attacks.is_empty() && controls.is_empty() {
        let names: Vec<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
        println!(
            "no attack {:?}; choose from {}",
            options.names,
            names.join(", ")
        );
        return ExitCode::SUCCESS;
    }
    raise_descriptors();
    let lengths = if options.is_long || !options.controls.is_empty() {
        LONG
    } else {
        SMOKE
    };
    match attack_all(&attacks, &controls, &lengths) {
        findings if findings.is_empty() => ExitCode::SUCCESS,
        findings => {
            findings
                .iter()
                .for_each(|finding| println!("FAILED: {finding}"));
            ExitCode::FAILURE
        }
    }
}

/// Lengths of the phases, and whether their measurements are judged.
struct Lengths {
    quiet: Duration,
    attack: Duration,
    control: Duration,
    judges: bool,
}

const LONG: Lengths = Lengths {
    quiet: Duration::from_secs(5),
    attack: Duration::from_secs(4),
    control: Duration::from_secs(3),
    judges: true,
};

/// Too short for measurements: checks only that each attack runs, the tills sell and the daemon
/// lives.
const SMOKE: Lengths = Lengths {
    quiet: Duration::from_millis(300),
    attack: Duration::from_millis(300),
    control: Duration::from_secs(0),
    judges: false,
};

fn attack_all(attacks: &[&Attack], controls: &[&Attack], lengths: &Lengths) -> Vec<String> {
    let mut findings = Vec::new();
    let ground = Ground::prepare(&[]).unwrap_or_else(|ended| panic!("{ended}"));
    let quiet = Tills::new().sell_while(&ground, |tills| {
        // The first sales open files and fill caches.
        observe(&ground, tills, lengths.quiet / 4, None);
        let quiet = observe(&ground, tills, lengths.quiet, None);
        println!(
            "without an attack: p99 of A {:.1} ms, of B {:.1} ms; a sale takes {:.0} bytes",
            quiet.attacked.p99_ms(),
            quiet.neighbour.p99_ms(),
            quiet.per_sale().file
        );
        if !attacks.is_empty() {
            report::print_head();
        }
        for attack in attacks {
            let phase = attack_with_retries(&ground, tills, lengths, &quiet, attack);
            report::print(attack, &phase, &quiet);
            let cost = phase.cost(attack.cost, quiet.per_sale());
            let mut found = phase.faults.clone();
            if lengths.judges && cost > attack.bound {
                let (cost, bound) = (amount(attack.cost, cost), amount(attack.cost, attack.bound));
                found.push(format!("it costs {cost}; the bound is {bound}"));
            }
            findings.extend(
                found
                    .iter()
                    .map(|fault| format!("{}: {fault}", attack.name)),
            );
        }
        let after = observe(&ground, tills, lengths.quiet, None);
        let healed = faults(&after, &quiet, lengths.judges);
        findings.extend(
            healed
                .iter()
                .map(|fault| format!("after the attacks: {fault}")),
        );
        findings.extend(check_new_customers(&ground).err());
        println!(
            "after the attacks: p99 of A {:.1} ms, of B {:.1} ms; {:.1} MiB of the disk, {:.1} MiB \
             of memory",
            after.attacked.p99_ms(),
            after.neighbour.p99_ms(),
            ground.bytes().disk as f64 / 1_048_576.0,
            ground.resident() as f64 / 1_048_576.0
        );
        quiet
    });
    drop(ground);
    for attack in controls {
        findings.extend(crate::control::run(attack, &quiet, lengths.control).err());
    }
    findings
}

/// Attempts at an attack in which a till is slow: a short load peak of the machine does not occur
/// three times.
const ATTEMPTS: usize = 3;

/// Runs an attack between two phases without one. A till must be slow compared with the slower of
/// the two.
fn attack_with_retries(
    ground: &Ground,
    tills: &Tills,
    lengths: &Lengths,
    quiet: &Phase,
    attack: &Attack,
) -> Phase {
    let mut phase = Phase::default();
    for _ in 0..ATTEMPTS {
        phase = observe(ground, tills, lengths.attack, Some(attack));
        phase.faults = faults(&phase, quiet, lengths.judges);
        if phase.faults.is_empty() {
            break;
        }
        let after = observe(ground, tills, lengths.quiet / 3, None);
        phase.faults = faults(&phase, &quiet.slower_of(&after), lengths.judges);
        if phase.faults.is_empty() {
            break;
        }
    }
    phase
}

/// Checks that new customers can create a cart at both shops after the attacks.
fn check_new_customers(ground: &Ground) -> Result<(), String> {
    for (number, shop) in [(40_000, "a"), (40_001, "b")] {
        let fields = format!("x-tillbox-tenant: {shop}\r\n");
        let mut customer = Stranger::new(ground.address());
        let reply = customer.call(&address_of(number), "POST /v1/carts", &fields, "{}");
        let status = reply.map_or(0, |reply| reply.status);
        if status != 201 {
            return Err(format!(
                "after the attacks a customer of {shop} gets {status} for a cart"
            ));
        }
    }
    Ok(())
}

/// The tills of the two shops.
pub struct Tills {
    attacked: Till,
    neighbour: Till,
}

impl Tills {
    pub fn new() -> Self {
        Self {
            attacked: Till::new(),
            neighbour: Till::new(),
        }
    }

    /// Sells at both tills while `f` runs.
    pub fn sell_while<T>(&self, ground: &Ground, f: impl FnOnce(&Self) -> T) -> T {
        let address = ground.address();
        thread::scope(|scope| {
            scope.spawn(|| self.attacked.run(address, &ground.attacked, ATTACKED_PAUSE));
            scope.spawn(|| {
                self.neighbour
                    .run(address, &ground.neighbour, NEIGHBOUR_PAUSE)
            });
            let done = f(self);
            self.attacked.stop();
            self.neighbour.stop();
            done
        })
    }
}

/// Runs one phase with or without an attack.
pub fn observe(ground: &Ground, tills: &Tills, length: Duration, attack: Option<&Attack>) -> Phase {
    drop((tills.attacked.take(), tills.neighbour.take()));
    let (progress, span) = (Progress::default(), Span::begin(length));
    let (mut own, mut other) = (Sales::default(), Sales::default());
    let mut read = || {
        own.merge(&tills.attacked.take());
        other.merge(&tills.neighbour.take());
        Reading {
            bytes: ground.bytes(),
            admitted: progress.admitted(),
            sales: own.count(),
            all_sales: own.count() + other.count(),
        }
    };
    let before = ground.resident();
    let (mut readings, mut most, mut health) =
        ([read(), Reading::default(), Reading::default()], 0, 0);
    thread::scope(|scope| {
        let attacker = attack.map(|attack| scope.spawn(|| (attack.run)(ground, span, &progress)));
        let mut has_halved = false;
        while !span.has_ended() {
            most = most.max(ground.resident());
            if !has_halved && span.left() <= length / 2 {
                (has_halved, readings[1], health) = (true, read(), ground.health());
            }
            thread::park_timeout(MEMORY_INTERVAL.min(span.left()));
        }
        readings[2] = read();
        if !has_halved {
            // A busy machine missed the middle of the phase.
            (readings[1], health) = (readings[2], ground.health());
        }
        if let Some(attacker) = attacker {
            attacker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    own.merge(&tills.attacked.take());
    other.merge(&tills.neighbour.take());
    Phase {
        attacked: own,
        neighbour: other,
        seconds: length.as_secs_f64(),
        readings,
        sent: progress.sent.load(Ordering::Relaxed),
        memory: most.saturating_sub(before),
        held: ground.held(),
        health,
        faults: Vec::new(),
    }
}

/// Raises the descriptor limit for the connections; the daemon inherits it.
fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // If the system refuses this, the attacks with many connections are smaller.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}
