//! The laboratory: tests the promises of RELIABILITY.md against kills, power cuts, faults and
//! damage. It prints one table at the end. Exit code 1 means that a promise was broken, or that a
//! control, which must find a loss, found none.
//!
//! `cargo test` runs the short form. The long one: `cargo test --release --test lab -- --ci`. One
//! part with its own size and seed: `cargo test --release --test lab -- power --trials 100000
//! --seed 7`. One case of it again: `-- power --seed 7 --case 123`. A failed disk is kept under
//! `target/tmp`.

#[cfg(target_os = "linux")]
mod clocks;
#[cfg(target_os = "linux")]
mod controls;
#[cfg(target_os = "linux")]
mod daemon;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(target_os = "linux")]
mod full;
#[cfg(target_os = "linux")]
#[expect(dead_code, reason = "another program uses the rest of it")]
#[path = "../harness/mod.rs"]
mod harness;
#[cfg(target_os = "linux")]
mod instance;
#[cfg(target_os = "linux")]
mod kills;
#[cfg(target_os = "linux")]
mod migration;
#[cfg(target_os = "linux")]
mod model;
#[cfg(target_os = "linux")]
mod older;
#[cfg(target_os = "linux")]
mod oracle;
#[cfg(target_os = "linux")]
mod power;
#[cfg(target_os = "linux")]
mod rng;
#[cfg(target_os = "linux")]
mod rot;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod simulation;
#[cfg(target_os = "linux")]
mod syscalls;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod twice;
#[cfg(target_os = "linux")]
mod workload;

/// The allocator of the daemon.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    if let Some(code) = simulation::child(std::env::args().skip(1)) {
        return code;
    }
    // Name, trials in the short form, trials with `--ci`, and the function of each part. The
    // function gets the seed and the range of cases, and returns rows of the table. The same seed
    // and case are the same trial.
    let parts = [
        run::Part("power", 120, 10_000, power::run),
        run::Part("twice", 12, 200, twice::run),
        run::Part("controls", 60, 1_000, controls::run),
        run::Part("migration", 16, 400, migration::run),
        run::Part("faults", 40, 200, faults::run),
        run::Part("rot", 60, 1_000, rot::run),
        run::Part("kills", 6, 200, kills::run),
        run::Part("syscalls", 12, 150, syscalls::run),
        run::Part("full", 2, 24, full::run),
        run::Part("simulation", 8, 1_000, simulation::run),
        run::Part("clocks", 14, 140, clocks::run),
    ];
    run::all(&parts, std::env::args().skip(1))
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("SKIPPED: the laboratory replaces functions of the C library, on Linux only");
}
