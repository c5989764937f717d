//! Sales beside thousands of connections that take places and give nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Client, request};
use crate::daemon::{Daemon, DaemonShop, sale};
use crate::library::key as key_of;
use crate::metric::{Metric, now};

/// Beyond the limit for this machine's own connections, so that those are turned away that come
/// last.
pub const CONNECTIONS: usize = 4_096;
/// The pause between two bytes of a client that dribbles, and before a connection that was closed
/// is made anew.
const PAUSE: Duration = Duration::from_secs(1);
/// The time in which the tills connect before the strangers do.
const HEAD_START: Duration = Duration::from_millis(100);

/// Measurements of one run.
pub struct Hostile {
    pub alone: Metric,
    pub beside: Metric,
    /// Connections that the daemon had at the end.
    pub open: u64,
    /// Resident memory of the daemon, in MiB, before and at the end.
    pub memory_mib: [u64; 2],
}

/// Sales by `clients`, alone and then beside hostile connections: slow heads, unfinished bodies,
/// garbage, silence.
pub fn sales(dir: &Path, clients: usize, round: Duration) -> Hostile {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the limit can be raised");
    let daemon = Daemon::start(dir);
    let shop = daemon.shop(dir, 0);
    let alone = sell(&daemon, &shop, clients, round, 0);
    let before = resident_mib(&daemon);
    let length = 2 * round;
    let strangers = Strangers::begin(daemon.address, length);
    // The tills are connected before the strangers come.
    let beside = sell(&daemon, &shop, clients, length, 1);
    let open = open_connections(&daemon);
    let memory_mib = [before, resident_mib(&daemon)];
    strangers.end();
    Hostile {
        alone,
        beside,
        open,
        memory_mib,
    }
}

/// The strangers, in threads of their own that yield to what is measured.
struct Strangers(std::thread::JoinHandle<()>);

impl Strangers {
    fn begin(address: SocketAddr, length: Duration) -> Self {
        let run = move || {
            // Where that is refused the figure is worse and no less true.
            let _ = rustix::process::nice(10);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(come(address, length));
        };
        Self(std::thread::spawn(run))
    }

    fn end(self) {
        self.0.join().expect("they end");
    }
}

async fn come(address: SocketAddr, length: Duration) {
    tokio::time::sleep(HEAD_START).await;
    let start = now();
    let strangers: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            tokio::spawn(async move {
                while start.elapsed() < length {
                    let stay = length.saturating_sub(start.elapsed());
                    // A client that is cut off connects again.
                    let _ = tokio::time::timeout(stay, harass(address, number)).await;
                    tokio::time::sleep(PAUSE).await;
                }
            })
        })
        .collect();
    for stranger in strangers {
        stranger.await.expect("runs");
    }
}

fn sell(
    daemon: &Daemon,
    shop: &DaemonShop,
    clients: usize,
    round: Duration,
    turn: usize,
) -> Metric {
    let (key, body) = (shop.key.clone(), sale(&shop.products));
    daemon.round(clients, round, move |client, count| {
        let idempotency = key_of(turn * 1_000 + client, count);
        request("POST", "/v1/sales", &key, Some(&idempotency), &body)
    })
}

/// One connection, until the daemon closes it.
async fn harass(address: SocketAddr, number: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let cart = "POST /v1/carts HTTP/1.1\r\nhost: x\r\nx-tillbox-tenant: shop-0\r\ncontent-type: \
        application/json\r\ncontent-length: 1000000\r\n\r\n";
    let begun: &[u8] = match number % 4 {
        0 => b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ",
        1 => cart.as_bytes(),
        2 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        _ => b"",
    };
    stream.write_all(begun).await?;
    if number % 4 == 1 {
        stream.write_all(&[b' '; 64 * 1024]).await?;
    }
    let mut heard = [0; 1024];
    loop {
        let pause = tokio::time::timeout(PAUSE, stream.read(&mut heard)).await;
        match pause {
            Ok(Ok(0) | Err(_)) => return Ok(()),
            Ok(Ok(_)) => {}
            // Slow heads and bodies go on by a byte; the others stay silent.
            Err(_) if number % 4 < 2 => stream.write_all(b" ").await?,
            Err(_) => {}
        }
    }
}

fn open_connections(daemon: &Daemon) -> u64 {
    let text = daemon.runtime.block_on(async {
        let mut client = Client::connect(daemon.address).await;
        client
            .call(&request("GET", "/metrics", "", None, ""))
            .await
            .1
    });
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().filter(|line| {
        line.starts_with("tillbox_http_connections{")
            || line.starts_with("tillbox_http_connections ")
    });
    let numbers = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    numbers.sum::<f64>() as u64
}

fn resident_mib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()));
    let status = status.unwrap_or_default();
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    kib.unwrap_or_default() / 1024
}
