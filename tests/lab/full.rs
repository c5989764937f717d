//! A disk that is full, and one that refuses what would make a file grow, while the real program
//! runs: who writes is told what to do, reads and health go on, and when there is room again the
//! service goes on by itself. Nothing that was acknowledged is lost.

use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use http::Method;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::daemon::{Caller, Daemon, Line, Patience, Shop, keep, serve, within_a_minute};
use crate::dice::Dice;
use crate::house::{self, Call, Peer as _, Reply};
use crate::oracle::{self, Verdict};
use crate::power::scratch;
use crate::table::{Finding, Kind, Row};
use crate::workload::{Diary, Till, settled};

/// More than a shop and its WAL take, so that the room is what the ballast leaves.
const DISK: &str = "size=48m,mode=0700";
/// The most that the ballast leaves: the sales of a few commits.
const ROOM: u64 = 96 * 1024;
/// Sales that are sent before the disk counts as one that does not fill.
const SALES_MAX: usize = 2_000;

/// Half of the cases fill the disk, the others keep files from growing.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let (disks, limits): (Vec<usize>, Vec<usize>) = cases.partition(|case| case % 2 == 0);
    let shop = Shop::found();
    let limited = failures(seed, &limits, |dice| refuse_growth(&shop, dice));
    let limited = Row::new("files that cannot grow", limits.len(), limited);
    let full = match Disk::mount() {
        Err(why) => Row::skipped("full disk", disks.len(), why),
        Ok(_) => Row::new(
            "full disk",
            disks.len(),
            failures(seed, &disks, |dice| fill(&shop, dice)),
        ),
    };
    let tried = |row: &Row| row.trials + row.skipped > 0;
    [full, limited].into_iter().filter(tried).collect()
}

fn failures(seed: u64, cases: &[usize], one: impl Fn(&mut Dice) -> Verdict) -> Vec<Finding> {
    let found = cases.iter().filter_map(|&case| {
        let found = one(&mut Dice::new(seed, case as u64)).err()?;
        Some(found.at(format_args!("case {case}")))
    });
    found.collect()
}

/// A small disk of its own, gone when it is dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    /// Needs root, and a system that lets it mount.
    fn mount() -> Result<Self, String> {
        let dir = scratch();
        let ran = Command::new("mount")
            .args(["-t", "tmpfs", "-o", DISK, "tmpfs"])
            .arg(dir.path())
            .output();
        match ran {
            Ok(output) if output.status.success() => Ok(Self(dir)),
            Ok(output) => Err(format!(
                "mount: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(error) => Err(format!("mount: {error}")),
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever still has a file open keeps the disk until it closes it.
        let _unmounted = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

/// Fills the disk but for a little, sells until it is full, and makes room again.
fn fill(shop: &Shop, dice: &mut Dice) -> Verdict {
    let disk = Disk::mount()?;
    shop.copy_to(disk.path());
    // The reserve would stop the sales before the disk is full.
    let daemon = Daemon::start_with(
        disk.path(),
        &[],
        &[("TILLBOX_STORAGE__DISK_RESERVE", Path::new("0"))],
    );
    let ballast = disk.path().join("ballast");
    let room = dice.below(ROOM);
    let fill = || {
        let file = File::create(&ballast).expect("room for a name");
        // The daemon may take some of what was just free.
        let filled = within_a_minute(|| {
            let stat = rustix::fs::statvfs(disk.path()).expect("a disk");
            let bytes = (stat.f_bavail * stat.f_frsize).saturating_sub(room).max(1);
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_ok()
        });
        assert!(filled, "the disk can be filled");
    };
    let empty = || fs::remove_file(&ballast).expect("it is there");
    trade(
        shop,
        disk.path(),
        daemon,
        Some((507, "storage_full")),
        fill,
        empty,
    )
}

/// Forbids the program to make a file larger than its largest, which SQLite sees as a failing disk,
/// and allows it again.
fn refuse_growth(shop: &Shop, dice: &mut Dice) -> Verdict {
    let dir = shop.copy();
    let daemon = Daemon::launch(&mut serve(dir.path()), dir.path())?;
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw);
    let limit = |current: Option<u64>| {
        let limit = Rlimit {
            current,
            maximum: None,
        };
        prlimit(pid, Resource::Fsize, limit).expect("our own child");
    };
    let largest = fs::metadata(dir.path().join("tenants").join(format!("{}.db", shop.id)))
        .map_or(0, |file| file.len());
    let bytes = largest + dice.below(ROOM);
    trade(
        shop,
        dir.path(),
        daemon,
        None,
        || limit(Some(bytes)),
        || limit(None),
    )
}

/// Sells until it is refused, `by` a status and a code if those are promised; looks at what must go
/// on meanwhile; and sells again.
fn trade(
    shop: &Shop,
    dir: &Path,
    mut daemon: Daemon,
    by: Option<(u16, &str)>,
    break_it: impl FnOnce(),
    mend_it: impl FnOnce(),
) -> Verdict {
    let (line, diary) = (Line::default(), Diary::default());
    line.connect(daemon.address());
    let caller = Caller::new(&line, dir, Patience::None);
    let till = Till::of(&caller, &diary, "till", &shop.secret);
    let runtime = house::runtime(1);
    let sell = |number: usize| runtime.block_on(till.sell(&shop.product, number)).is_some();
    let get = |path: &str| runtime.block_on(caller.send(&get(path, &shop.secret)));

    if !sell(0) {
        return Err(format!(
            "nothing can be sold to begin with: {:?}",
            diary.last_answer()
        )
        .into());
    }
    break_it();
    let Some(refused) = (1..SALES_MAX).find(|&number| !sell(number)) else {
        return Err("it is never full".into());
    };
    let verdict = refusal(&diary.last_answer(), by).and_then(|()| reads_go_on(shop, &get));
    mend_it();
    verdict?;
    if !within_a_minute(|| sell(refused)) {
        return Err(format!(
            "there is room again, and nothing can be sold: {:?}",
            diary.last_answer()
        )
        .into());
    }
    if !within_a_minute(|| get("/health").status == 200) {
        return Err(format!(
            "there is room again, and it is not well: {:?}",
            get("/health")
        )
        .into());
    }
    for number in refused + 1..refused + 8 {
        if !sell(number) {
            return Err(format!("not all can be sold again: {:?}", diary.last_answer()).into());
        }
    }
    daemon.kill();
    drop(till);
    oracle::examine_real(dir, &settled(diary.into_lines()), &house::runtime(2))
        .inspect_err(|_| keep(dir, "full"))
}

/// Whoever is refused is told so by a problem document, and what to do.
fn refusal(answer: &Option<Reply>, by: Option<(u16, &str)>) -> Verdict {
    let Some(reply) = answer else {
        return Err("no answer".into());
    };
    let (code, detail) = (reply.text("/code"), reply.text("/detail"));
    let is_promised = match by {
        Some((status, name)) => {
            reply.status == status && code == name && detail.contains("free some space")
        }
        None => matches!(reply.status, 503 | 507) && !detail.is_empty(),
    };
    if is_promised {
        Ok(())
    } else {
        Err(format!("a sale was refused otherwise than promised: {reply:?}").into())
    }
}

/// What was sold can be looked at, and the process says how it is.
fn reads_go_on(shop: &Shop, get: &impl Fn(&str) -> Reply) -> Verdict {
    for path in [
        format!("/v1/inventory/stock/{}", shop.product),
        "/v1/orders".to_owned(),
        "/v1/ledger/trial-balance".to_owned(),
    ] {
        // A file that is being opened and checked anew is told so for as long as that takes.
        if !within_a_minute(|| get(&path).status == 200) {
            return Err(Finding::new(
                Kind::Other,
                format!("{path} cannot be read: {:?}", get(&path)),
            ));
        }
    }
    let (health, live) = (get("/health"), get("/health/live"));
    if live.status == 200
        && matches!(
            (health.status, health.text("/status").as_str()),
            (200, "ok") | (503, "degraded")
        )
    {
        Ok(())
    } else {
        Err(format!("it does not say how it is: {health:?}, {live:?}").into())
    }
}

fn get(path: &str, secret: &str) -> Call {
    Call {
        method: Method::GET,
        path: path.to_owned(),
        secret: Some(secret.to_owned()),
        idempotency_key: None,
        body: Value::Null,
    }
}
