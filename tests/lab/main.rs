//! The laboratory: what becomes of the shops when the machine does its worst. One table at the end; exit code 1 when a promise was broken, or
//! when a control, which has to find a loss, found none.
//!
//! `cargo test` runs the short form. The long one: `cargo test --release --test lab -- --ci`. One part with its own size and seed:
//! `cargo test --release --test lab -- power --trials 100000 --seed 7`. A disk that was found wrong is kept under `target/tmp`.

#[cfg(target_os = "linux")]
mod dice;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(target_os = "linux")]
mod house;
#[cfg(target_os = "linux")]
mod oracle;
#[cfg(target_os = "linux")]
mod power;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod workload;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        Some(args.get(at + 1)?.parse::<u64>().unwrap_or_else(|_| panic!("{name} takes a number")))
    };
    let is_long = args.iter().any(|arg| arg == "--ci");
    let is_wanted = |part: &str| {
        let named: Vec<&str> = ["power", "faults"]
            .into_iter()
            .filter(|part| args.iter().any(|arg| arg == part))
            .collect();
        named.is_empty() || named.contains(&part)
    };
    let seed = number("--seed").unwrap_or(1);
    let trials = |short: usize, long: usize| {
        let size = if is_long { long } else { short };
        number("--trials").map_or(size, |trials| usize::try_from(trials).unwrap_or(usize::MAX))
    };
    // The harness of the other tests lists and filters; here there is nothing to list, and a filter is for them.
    if args.iter().any(|arg| arg == "--list") || (!args.is_empty() && !is_long && !args.iter().any(|arg| arg == "power" || arg == "faults"))
    {
        return std::process::ExitCode::SUCCESS;
    }
    let mut rows = Vec::new();
    if is_wanted("power") {
        rows.push(power::run(seed, trials(120, 10_000)));
        rows.push(power::control(seed, trials(20, 500)));
    }
    if is_wanted("faults") {
        rows.push(faults::run(seed, trials(40, 600)));
    }
    table::print(&rows);
    if rows.iter().all(table::Row::is_good) {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("SKIPPED: the laboratory stands in for the C library's calls, which it knows on Linux alone");
}
