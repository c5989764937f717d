//! The laboratory: what becomes of the shops when the machine does its worst. One table at the end;
//! exit code 1 when a promise was broken, or when a control, which has to find a loss, found none.
//!
//! `cargo test` runs the short form. The long one: `cargo test --release --test lab -- --ci`. One
//! part with its own size and seed: `cargo test --release --test lab -- power --trials 100000
//! --seed 7`; one case of it again: `-- power --seed 7 --case 123`. A disk that was found wrong is
//! kept under `target/tmp`.

#[cfg(target_os = "linux")]
mod clocks;
#[cfg(target_os = "linux")]
mod controls;
#[cfg(target_os = "linux")]
mod daemon;
#[cfg(target_os = "linux")]
mod dice;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(target_os = "linux")]
mod full;
#[cfg(target_os = "linux")]
mod house;
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

/// As the daemon has it.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    if let Some(code) = simulation::child(std::env::args().skip(1)) {
        return code;
    }
    // A part gets its seed and the numbers of its cases, and gives its rows of the table. The same
    // seed and case are the same trial. Name, trials in the short form, trials with `--ci`, the
    // part.
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
    println!(
        "SKIPPED: the laboratory stands in for the C library's calls, which it knows on Linux alone"
    );
}
