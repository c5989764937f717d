//! The attack program: callers without a key attack shop A of a real daemon on a small disk, while
//! a till of A and a till of its neighbour B sell. The program fails when a till is refused or
//! slow, when an attack costs more than its bound, and when a control, which turns one bound off,
//! shows no damage.
//!
//! `cargo test` runs the smoke form: each attack for an instant, without judging measurements. The
//! judging form: `cargo test --release --test attack -- --ci`. One attack: `-- --ci carts`. One
//! bound off: `-- --control carts`.

#[cfg(target_os = "linux")]
mod attacks;
#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod ground;
#[cfg(target_os = "linux")]
#[expect(dead_code, reason = "another program uses the rest of it")]
#[path = "../harness/mod.rs"]
mod harness;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod stranger;
#[cfg(target_os = "linux")]
mod till;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::all(std::env::args().skip(1))
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("SKIPPED: the attack program needs Linux: it reads /proc and mounts a small disk");
}
