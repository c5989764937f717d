//! (c): a daemon whose shops have nothing to do.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::figures::now;
use crate::library;

/// The kernel counts the time of a processor in hundredths of a second, whatever its own clock
/// does.
const TICKS_A_SECOND: f64 = 100.0;

/// What a process has used.
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
        // The name of the program comes before and may hold blanks.
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

/// Waits; a bench measures wall time.
#[expect(
    clippy::disallowed_methods,
    reason = "a bench measures what happens while nothing does"
)]
fn rest(length: Duration) {
    std::thread::sleep(length);
}

/// Makes `tenants` shops, and looks at a daemon over them for `length` once it has come to rest.
pub fn run(dir: &Path, tenants: usize, length: Duration) {
    let (app, began) = (library::start(dir), now());
    for number in 0..tenants {
        drop(library::create(&app, &format!("shop-{number}")));
    }
    app.close();
    drop(app);
    println!(
        "\n(c) {tenants} shops with nothing to do (made in {:.0} s)",
        began.elapsed().as_secs_f64()
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_tillbox"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir)
        .stdout(Stdio::null())
        .spawn()
        .expect("the daemon starts");
    // At the start it looks into every shop once; it rests when it has used no more than a beat
    // takes for some seconds.
    let mut last = Used::of(&child);
    loop {
        rest(Duration::from_secs(12));
        let used = Used::of(&child);
        let rests = used.ticks - last.ticks <= 12 && used.written == last.written;
        last = used;
        if rests {
            break;
        }
    }
    rest(length);
    let used = Used::of(&child);
    println!(
        "    in {} s: {:.2} s of a processor, {} bytes written; {:.0} MiB resident",
        length.as_secs(),
        (used.ticks - last.ticks) as f64 / TICKS_A_SECOND,
        used.written - last.written,
        used.resident_kib as f64 / 1024.0
    );
    drop(child.kill());
    drop(child.wait());
}
