//! A full disk, and a limit on file sizes, while the real program runs. Refused callers learn what
//! to do, reads and health checks work, and service resumes by itself when there is room again. No
//! acknowledged work is lost.

use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use http::Method;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::daemon::{Caller, Daemon, Endpoint, Retry, ShopTemplate, keep, serve, within_a_minute};
use crate::instance::{self, Call, Reply, Transport as _};
use crate::oracle::{self, Verdict};
use crate::power::scratch;
use crate::rng::Rng;
use crate::table::{Finding, Kind, Row};
use crate::workload::{CallLog, Till, settled};

/// Larger than a shop with its WAL, so that only the ballast decides how much room is left.
const DISK: &str = "size=48m,mode=0700";
/// The most room that the ballast leaves: the sales of a few commits.
const ROOM: u64 = 96 * 1024;
/// Sales that are sent before the test concludes that the disk does not fill.
const SALES_MAX: usize = 2_000;

/// Fills the disk in half of the cases and limits file sizes in the others.
pub fn run(seed: u64, cases: Range<usize>) -> Vec<Row> {
    let (disks, limits): (Vec<usize>, Vec<usize>) = cases.partition(|case| case % 2 == 0);
    let shop = ShopTemplate::create();
    let limited = failures(seed, &limits, |rng| refuse_growth(&shop, rng));
    let limited = Row::new("files that cannot grow", limits.len(), limited);
    let full = match SmallDisk::mount() {
        Err(why) => Row::skipped("full disk", disks.len(), why),
        Ok(_) => Row::new(
            "full disk",
            disks.len(),
            failures(seed, &disks, |rng| fill_disk(&shop, rng)),
        ),
    };
    let tried = |row: &Row| row.trials + row.skipped > 0;
    [full, limited].into_iter().filter(tried).collect()
}

fn failures(seed: u64, cases: &[usize], one: impl Fn(&mut Rng) -> Verdict) -> Vec<Finding> {
    let found = cases.iter().filter_map(|&case| {
        let found = one(&mut Rng::new(seed, case as u64)).err()?;
        Some(found.at(format_args!("case {case}")))
    });
    found.collect()
}

/// A small tmpfs, unmounted when it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts it. Needs root and a system that allows mounts.
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

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy unmount: the disk stays as long as a process has a file open.
        let _unmounted = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

/// Fills almost the whole disk, sells until it is full, and frees the room again.
fn fill_disk(shop: &ShopTemplate, rng: &mut Rng) -> Verdict {
    let disk = SmallDisk::mount()?;
    shop.copy_to(disk.path());
    // The reserve would stop the sales before the disk is full.
    let daemon = Daemon::start_with(
        disk.path(),
        &[],
        &[("TILLBOX_STORAGE__DISK_RESERVE", Path::new("0"))],
    );
    let ballast = disk.path().join("ballast");
    let room = rng.below(ROOM);
    let fill = || {
        let file = File::create(&ballast).expect("room for a name");
        // The daemon may use some of the room that was just free.
        let filled = within_a_minute(|| {
            let stat = rustix::fs::statvfs(disk.path()).expect("a disk");
            let bytes = (stat.f_bavail * stat.f_frsize).saturating_sub(room).max(1);
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_ok()
        });
        assert!(filled, "the disk can be filled");
    };
    let empty = || fs::remove_file(&ballast).expect("the ballast exists");
    trade(
        shop,
        disk.path(),
        daemon,
        Some((507, "storage_full")),
        fill,
        empty,
    )
}

/// Limits the program to the size of its largest file, which looks like a failing disk to SQLite,
/// and lifts the limit again.
fn refuse_growth(shop: &ShopTemplate, rng: &mut Rng) -> Verdict {
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
    let bytes = largest + rng.below(ROOM);
    trade(
        shop,
        dir.path(),
        daemon,
        None,
        || limit(Some(bytes)),
        || limit(None),
    )
}

/// Sells until a sale is refused, with status and code `by` if they are promised. Then checks reads
/// and health, frees the room, and sells again.
fn trade(
    shop: &ShopTemplate,
    dir: &Path,
    mut daemon: Daemon,
    by: Option<(u16, &str)>,
    start_fault: impl FnOnce(),
    end_fault: impl FnOnce(),
) -> Verdict {
    let (endpoint, call_log) = (Endpoint::default(), CallLog::default());
    endpoint.connect(daemon.address());
    let caller = Caller::new(&endpoint, dir, Retry::Never);
    let till = Till::of(&caller, &call_log, "till", &shop.secret);
    let runtime = instance::runtime(1);
    let sell = |number: usize| runtime.block_on(till.sell(&shop.product, number)).is_some();
    let get = |path: &str| runtime.block_on(caller.send(&get(path, &shop.secret)));

    if !sell(0) {
        return Err(format!("the first sale failed: {:?}", call_log.last_answer()).into());
    }
    start_fault();
    let Some(refused) = (1..SALES_MAX).find(|&number| !sell(number)) else {
        return Err(format!("{SALES_MAX} sales did not fill the disk").into());
    };
    let verdict = check_refusal(&call_log.last_answer(), by).and_then(|()| check_reads(shop, &get));
    end_fault();
    verdict?;
    if !within_a_minute(|| sell(refused)) {
        return Err(format!(
            "no sale succeeds after the room was freed: {:?}",
            call_log.last_answer()
        )
        .into());
    }
    if !within_a_minute(|| get("/health").status == 200) {
        return Err(format!("unhealthy after the room was freed: {:?}", get("/health")).into());
    }
    for number in refused + 1..refused + 8 {
        if !sell(number) {
            return Err(format!(
                "a sale failed after the recovery: {:?}",
                call_log.last_answer()
            )
            .into());
        }
    }
    daemon.kill();
    drop(till);
    oracle::examine_real(dir, &settled(call_log.into_sent()), &instance::runtime(2))
        .inspect_err(|_| keep(dir, "full"))
}

/// Checks that a refusal is a problem document that says what to do.
fn check_refusal(answer: &Option<Reply>, by: Option<(u16, &str)>) -> Verdict {
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
        Err(format!("unexpected refusal of a sale: {reply:?}").into())
    }
}

/// Checks that sales can be read and that the health checks answer.
fn check_reads(shop: &ShopTemplate, get: &impl Fn(&str) -> Reply) -> Verdict {
    for path in [
        format!("/v1/inventory/stock/{}", shop.product),
        "/v1/orders".to_owned(),
        "/v1/ledger/trial-balance".to_owned(),
    ] {
        // While a file is reopened and verified, reads are refused.
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
        Err(format!("unexpected health: {health:?}, {live:?}").into())
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
