//! (c): a daemon whose tenants have no work.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::library;
use crate::metric::now;

/// The kernel counts processor time in hundredths of a second, whatever its own clock does.
const TICKS_A_SECOND: f64 = 100.0;

/// The resources that a process used.
#[derive(Clone, Copy)]
struct Used {
    ticks: u64,
    written: u64,
    resident_kib: u64,
}

impl Used {
    fn of(child: &Child) -> Self {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{}/{name}", child.id()))
                .expect("the daemon runs")
        };
        let stat = read("stat");
        // The program's name comes before and may contain blanks.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let tick = |at: usize| -> u64 { fields[at].parse().expect("a number") };
        let field = |text: &str, name: &str| -> u64 {
            let line = text
                .lines()
                .find(|line| line.starts_with(name))
                .expect("a line");
            line.split_whitespace()
                .nth(1)
                .expect("a number")
                .parse()
                .expect("a number")
        };
        Self {
            ticks: tick(11) + tick(12),
            written: field(&read("io"), "write_bytes:"),
            resident_kib: field(&read("status"), "VmRSS:"),
        }
    }
}

/// Sleeps; a bench measures wall time.
#[expect(clippy::disallowed_methods, reason = "a bench measures an idle daemon")]
fn sleep(length: Duration) {
    std::thread::sleep(length);
}

/// Creates `tenants` tenants and measures a daemon over them for `length`, once it is idle.
pub fn run(dir: &Path, tenants: usize, length: Duration) {
    let (app, started) = (library::start(dir), now());
    for number in 0..tenants {
        drop(library::create(&app, &format!("shop-{number}")));
    }
    app.close();
    drop(app);
    println!(
        "\n(c) {tenants} idle tenants (created in {:.0} s)",
        started.elapsed().as_secs_f64()
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_tillbox"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir)
        .stdout(Stdio::null())
        .spawn()
        .expect("the daemon starts");
    // At its start the daemon checks every tenant once. It is idle when it used no more than its
    // heartbeat for some seconds.
    let mut last = Used::of(&child);
    loop {
        sleep(Duration::from_secs(12));
        let used = Used::of(&child);
        let is_idle = used.ticks - last.ticks <= 12 && used.written == last.written;
        last = used;
        if is_idle {
            break;
        }
    }
    sleep(length);
    let used = Used::of(&child);
    println!(
        "    in {} s: {:.2} s of processor time, {} bytes written; {:.0} MiB resident",
        length.as_secs(),
        (used.ticks - last.ticks) as f64 / TICKS_A_SECOND,
        used.written - last.written,
        used.resident_kib as f64 / 1024.0
    );
    drop(child.kill());
    drop(child.wait());
}
