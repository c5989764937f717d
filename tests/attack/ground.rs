//! The environment of an attack: a small disk, the real daemon on it, two shops, and measurements
//! from outside.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use crate::harness::process::Client;
use crate::harness::process::{Daemon, limit_rates, tillbox};
use crate::harness::shop;

/// The small disk. The configured reserve is a sixth of it.
const DISK: &str = "size=400m,mode=0700";
/// The default rates of the storefront, with buckets of a second instead of a minute: a run of
/// seconds then shows the rate of an hour. A full bucket adds the cost of a minute.
const RATES: [(&str, &str); 4] = [
    ("TILLBOX_RATE_LIMITS__STOREFRONT", "2/s"),
    ("TILLBOX_RATE_LIMITS__STOREFRONT_READ", "10/s"),
    ("TILLBOX_RATE_LIMITS__STOREFRONT_TENANT", "50/s"),
    ("TILLBOX_RATE_LIMITS__BAD_KEYS", "1/s"),
];
/// The stock that strangers try to hold.
pub const SHELF: i64 = 10_000;
/// The products of a large cart: the maximum of lines.
const PRODUCTS: usize = 100;

/// One of the two shops.
pub struct Shop {
    pub slug: &'static str,
    pub key: String,
    /// The product that the till sells.
    pub product: String,
    /// A product with [`SHELF`] pieces that no till sells.
    pub shelf: String,
    /// An open cart with the maximum of lines, filled by the shop so that the attack starts at
    /// once.
    pub cart: String,
    /// A product in the cart.
    pub carted: String,
    file: PathBuf,
}

/// A daemon on a small disk, with its shops.
pub struct Ground {
    daemon: Daemon,
    dir: TempDir,
    is_mounted: bool,
    /// The attacked shop and its neighbour.
    pub attacked: Shop,
    pub neighbour: Shop,
}

/// Sizes in bytes at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes {
    /// The attacked shop's file, as a reader sees it.
    pub file: u64,
    pub logs: u64,
    /// The used bytes of the small disk.
    pub disk: u64,
}

impl Ground {
    /// Starts the environment with additional settings (variables). Fails with the daemon's last
    /// output when it does not start, for example with an unknown setting.
    pub fn prepare(settings: &[(&str, &str)]) -> Result<Self, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let is_mounted = mount(dir.path());
        let data = dir.path().join("data");
        let [attacked, neighbour] = ["a", "b"].map(|slug| {
            shop::Shop::create(&data, slug, &["--domain", &format!("{slug}.example.org")])
        });
        let mut serve = tillbox(&data, &["serve", "--listen", "127.0.0.1:0"]);
        limit_rates(&mut serve);
        serve.envs(RATES);
        let config = dir.path().join("tillbox.toml");
        fs::write(&config, config_text(is_mounted)).expect("written");
        serve.arg("--config").arg(config);
        serve.envs(settings.iter().copied());
        let daemon = match Daemon::launch(&mut serve, &data) {
            Ok(daemon) => daemon,
            Err(ended) => {
                unmount(dir.path(), is_mounted);
                return Err(ended);
            }
        };
        let address = daemon.address();
        Ok(Self {
            attacked: furnish(address, "a", attacked),
            neighbour: furnish(address, "b", neighbour),
            daemon,
            dir,
            is_mounted,
        })
    }

    pub const fn address(&self) -> SocketAddr {
        self.daemon.address()
    }

    pub fn bytes(&self) -> Bytes {
        Bytes {
            file: pages(&self.attacked.file),
            logs: size(&self.dir.path().join("data/logs")),
            disk: size(self.dir.path()),
        }
    }

    /// Resident memory of the daemon, in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.pid()));
        let kib = status.unwrap_or_default().lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse::<u64>()
                .ok()
        });
        kib.unwrap_or_default() * 1024
    }

    /// The number of held pieces of the shelf.
    pub fn held(&self) -> i64 {
        let path = format!("/v1/inventory/stock/{}", self.attacked.shelf);
        let answer = self
            .keyed(&self.attacked)
            .get(&path)
            .expect("an answer")
            .expect(200)
            .json();
        SHELF - answer["available"].as_i64().expect("a number")
    }

    /// The status of `/health` on a new connection from this machine; 0 without an answer.
    pub fn health(&self) -> u16 {
        let asked = Client::connect(self.address()).and_then(|mut client| client.get("/health"));
        asked.map_or(0, |answer| answer.status)
    }

    pub fn keyed(&self, shop: &Shop) -> Client {
        Client::connect(self.address())
            .expect("it listens")
            .with_key(&shop.key)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.daemon.kill();
        unmount(self.dir.path(), self.is_mounted);
    }
}

/// Mounts the small disk; prints a line if that is impossible.
fn mount(dir: &Path) -> bool {
    let ran = Command::new("mount")
        .args(["-t", "tmpfs", "-o", DISK, "tmpfs"])
        .arg(dir)
        .output();
    let is_mounted = ran.is_ok_and(|output| output.status.success());
    if !is_mounted {
        println!(
            "SKIPPED: mounting the small disk needs root; storage.tenant_max is used in its place"
        );
    }
    is_mounted
}

fn unmount(dir: &Path, is_mounted: bool) {
    if is_mounted {
        // If the daemon still runs, the lazy unmount takes effect at its end.
        let _unmounted = Command::new("umount").arg("-l").arg(dir).output();
    }
}

fn config_text(is_mounted: bool) -> String {
    let share = if is_mounted {
        ""
    } else {
        "[storage]\ntenant_max = \"256MiB\"\n"
    };
    format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\nforwarded_header = \
         \"x-forwarded-for\"\n{share}"
    )
}

fn furnish(address: SocketAddr, slug: &'static str, shop: shop::Shop) -> Shop {
    let mut client = Client::connect(address)
        .expect("it listens")
        .with_key(&shop.key);
    client.add_tax_rate(0);
    let mut product = |number: usize, track_stock: bool| {
        client.create_product(&format!("SKU-{number}"), &"N".repeat(200), track_stock)
    };
    let (sold, shelf) = (product(0, false), product(1, true));
    let lines: Vec<String> = (0..PRODUCTS)
        .map(|number| product(number + 2, false))
        .collect();
    let mut post = |path: &str, key: &str, body: Value| {
        client
            .post(path, key, &body)
            .expect("an answer")
            .expect(201)
    };
    let cart = post("/v1/carts", "cart", json!({})).string("/id");
    for (number, line) in lines.iter().enumerate() {
        let body = json!({"product_id": line, "quantity": 1});
        post(
            &format!("/v1/carts/{cart}/items"),
            &format!("line-{number}"),
            body,
        );
    }
    client.set_stock(&shelf, SHELF);
    Shop {
        carted: lines[0].clone(),
        slug,
        key: shop.key,
        product: sold,
        shelf,
        cart,
        file: shop.file,
    }
}

/// The size of a SQLite file as a reader sees it, its WAL included.
fn pages(file: &Path) -> u64 {
    let read = || -> rusqlite::Result<u64> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        let number =
            |name| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
        let bytes = (number("page_count")? - number("freelist_count")?) * number("page_size")?;
        Ok(u64::try_from(bytes).unwrap_or_default())
    };
    read().expect("the shop's file can be read")
}

/// Sums the bytes of a file, or of all files below a directory.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}
