//! Commands whose runtime cannot wake its threads: the system refuses the write to the eventfd.

use std::path::Path;
use std::process::{Command, Output};

use super::run::run;
use crate::support::process::tillbox;

/// Runs a command under `strace`, which fails its writes to the eventfd, from the `first` one of a
/// thread on. It is killed after a minute.
fn run_unwakeable(data: &Path, args: &[&str], first: &str) -> Output {
    let program = tillbox(data, args);
    let mut strace = Command::new("timeout");
    strace.args(["-s", "KILL", "60", "strace", "-D", "-f", "-qq", "-o"]);
    strace.arg("/dev/null").args(["-P", "anon_inode:[eventfd]"]);
    strace.args(["-e", "trace=write", "-e"]);
    strace.arg(format!("inject=write:error=EIO:when={first}"));
    strace.arg(program.get_program()).args(program.get_args());
    strace.output().expect("timeout runs")
}

fn is_strace_here() -> bool {
    let traced = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .output();
    traced.is_ok_and(|output| output.status.success())
}

#[test]
fn fails_with_one_line_when_the_runtime_cannot_wake_its_threads() {
    if !is_strace_here() {
        println!("skipped: there is no strace that can trace here");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    run(
        &data,
        &["tenant", "create", "--no-tax", "corner", "--name", "Corner"],
    )
    .code(0);
    let mut struck = 0;
    let mut try_one = |args: &[&str], first: &str| {
        let output = run_unwakeable(&data, args, first);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        // A thread that is not asleep needs no waking; then nothing fails.
        if output.status.code() == Some(0) {
            assert_eq!(stderr, "", "{args:?} {first}");
            return;
        }
        assert_eq!(output.status.code(), Some(1), "{args:?} {first}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?} {first}: {stderr}");
        let beginning = "error: the system does not let this command wake its own threads";
        assert!(stderr.starts_with(beginning), "{stderr}");
        struck += 1;
    };
    for first in ["1", "2", "1+"] {
        try_one(&["tenant", "list"], first);
        try_one(&["integrity", "check"], first);
    }
    try_one(&["tenant", "delete", "corner", "--yes"], "1+");
    assert!(struck > 0, "no write to an eventfd was struck");
    run(&data, &["integrity", "check"]).code(0);
}
