//! Files of the program's own in places that somebody else could have prepared: symbolic links and
//! directories that others may write to.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tillbox::primitives::{Clock as _, SystemClock};

use crate::cli::run::run;
use crate::support::process::Daemon;

fn shop() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    run(
        &data,
        &["tenant", "create", "--no-tax", "corner", "--name", "Corner"],
    )
    .code(0);
    (dir, data)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
}

#[test]
fn refuses_a_data_directory_that_others_may_write_to() {
    let (_dir, data) = shop();
    for (path, mode) in [
        (data.clone(), 0o770),
        (data.clone(), 0o702),
        (data.join("tenants"), 0o777),
    ] {
        set_mode(&path, mode);
        for args in [&["serve"][..], &["tenant", "list"]] {
            let failed = run(&data, args).code(1);
            let failure = failed.failure();
            let place = format!("{} has mode {mode:o}", path.display());
            assert!(failure[0].contains(&place), "{failure:?}");
            let command = format!("chmod go-w {}", path.display());
            assert_eq!(failure[1], format!("hint: run: {command}"));
        }
        set_mode(&path, mode & !0o022);
        run(&data, &["tenant", "list"]).code(0);
    }
}

#[test]
fn refuses_a_lock_that_is_a_symbolic_link() {
    let (dir, data) = shop();
    let victim = dir.path().join("victim");
    fs::write(&victim, "precious").expect("written");
    fs::remove_file(data.join("LOCK")).expect("removed");
    symlink(&victim, data.join("LOCK")).expect("linked");
    let failed = run(&data, &["tenant", "list"]).code(1);
    assert!(
        failed.failure()[0].contains("it is a symbolic link"),
        "{failed:?}"
    );
    assert_eq!(fs::read(&victim).expect("reads"), b"precious");
}

#[test]
fn writes_no_log_through_a_symbolic_link() {
    let (dir, data) = shop();
    let (victim, logs) = (dir.path().join("victim"), dir.path().join("logs"));
    fs::write(&victim, "precious").expect("written");
    fs::create_dir(&logs).expect("made");
    let now = SystemClock.now();
    // The day may end before the program has looked at its clock.
    let days = [now, now.plus_millis(86_400_000)].map(|day| day.to_string()[..10].to_owned());
    for log in ["tillbox", "security"] {
        for day in &days {
            symlink(&victim, logs.join(format!("{log}.{day}.log"))).expect("linked");
        }
    }
    // The daemon sells without log files, and says why there are none.
    let daemon = Daemon::start_with(&data, &[], &[("TILLBOX_LOGGING__DIR", &logs)]);
    let output = daemon.output();
    assert!(output.contains("it is a symbolic link"), "{output}");
    assert_eq!(fs::read(&victim).expect("reads"), b"precious");
}
