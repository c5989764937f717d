//! The attacks, each with its cost, its bound, and the settings that turn the bound off.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tillbox::primitives::Stopwatch;

use crate::ground::{Ground, SHELF};
use crate::stranger::{Stranger, address_of, connect, request};

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;
/// Threads of one flood.
const THREADS: usize = 4;
/// The pause after each request of a flood: about 500 requests a second in total. A real attacker
/// uses another machine, so an attack that used much processor time here would distort the result.
const PAUSE: Duration = Duration::from_millis(8);
/// The number of source addresses of a flood.
const ADDRESSES: usize = 1_000;
/// Addresses of the attacks from a single address.
const GUESSER: usize = 20_001;
const READER: usize = 20_002;
const HOLDER: usize = 20_003;
/// The number of unfinished bodies, and the bytes sent of each.
const BODIES: usize = 600;
const BODY_BYTES: usize = 1_000_000;
/// The pause of each thread between two bodies: 100 MB a second in total, the throughput of 1
/// Gbit/s.
const BODY_PAUSE: Duration = Duration::from_millis(40);
/// Connections that send no complete request.
const CONNECTIONS: usize = 2_000;
const CONNECTION_PAUSE: Duration = Duration::from_millis(1);
const UNLIMITED: &str = "1000000/s";

/// The kind of cost that an attack's bound limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Growth of the attacked shop's file, in bytes an hour.
    FilePerHour,
    /// Growth of the logs, in bytes an hour.
    LogsPerHour,
    /// Growth of the daemon's memory, in bytes.
    Memory,
    /// Held pieces of stock.
    Pieces,
    /// Requests per hour that had an effect or were processed.
    AdmittedPerHour,
}

/// Counts of a running attack.
#[derive(Default)]
pub struct Progress {
    pub sent: AtomicUsize,
    pub admitted: AtomicUsize,
}

impl Progress {
    fn count(&self, is_admitted: bool) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.admitted
            .fetch_add(usize::from(is_admitted), Ordering::Relaxed);
    }

    pub fn admitted(&self) -> usize {
        self.admitted.load(Ordering::Relaxed)
    }
}

/// The time of an attack.
#[derive(Clone, Copy)]
pub struct Span {
    watch: Stopwatch,
    length: Duration,
}

impl Span {
    pub fn begin(length: Duration) -> Self {
        Self {
            watch: Stopwatch::start(),
            length,
        }
    }

    pub fn left(self) -> Duration {
        self.length.saturating_sub(self.watch.read())
    }

    pub fn has_ended(self) -> bool {
        self.left().is_zero()
    }
}

/// An attack and its bound.
pub struct Attack {
    pub name: &'static str,
    pub run: fn(&Ground, Span, &Progress),
    pub cost: Cost,
    pub bound: f64,
    /// The settings that turn the bound off; empty if none can.
    pub off: &'static [(&'static str, &'static str)],
}

const NO_STOREFRONT_LIMIT: [(&str, &str); 3] = [
    ("TILLBOX_RATE_LIMITS__STOREFRONT", UNLIMITED),
    ("TILLBOX_RATE_LIMITS__STOREFRONT_READ", UNLIMITED),
    ("TILLBOX_RATE_LIMITS__STOREFRONT_TENANT", UNLIMITED),
];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "answers",
        run: large_answers,
        cost: Cost::FilePerHour,
        bound: 64.0 * MIB,
        off: &NO_STOREFRONT_LIMIT,
    },
    Attack {
        name: "carts",
        run: carts,
        cost: Cost::FilePerHour,
        bound: 256.0 * MIB,
        off: &[
            ("TILLBOX_RATE_LIMITS__STOREFRONT", UNLIMITED),
            ("TILLBOX_RATE_LIMITS__STOREFRONT_TENANT", UNLIMITED),
            ("TILLBOX_STOREFRONT__CARTS_PER_ADDRESS", "1000000"),
            ("TILLBOX_STOREFRONT__CARTS_MAX", "1000000"),
        ],
    },
    Attack {
        name: "orders",
        run: orders,
        cost: Cost::FilePerHour,
        bound: 512.0 * MIB,
        off: &[
            ("TILLBOX_STOREFRONT__UNPAID_ORDERS_PER_ADDRESS", "1000000"),
            ("TILLBOX_RATE_LIMITS__CHECKOUT", UNLIMITED),
            ("TILLBOX_RATE_LIMITS__STOREFRONT", UNLIMITED),
            ("TILLBOX_RATE_LIMITS__STOREFRONT_TENANT", UNLIMITED),
        ],
    },
    Attack {
        name: "holds",
        run: holds,
        cost: Cost::Pieces,
        bound: SHELF as f64 / 4.0,
        off: &[("TILLBOX_STOREFRONT__HOLD_SHARE_PERCENT", "100")],
    },
    Attack {
        name: "mismatch",
        run: mismatches,
        cost: Cost::LogsPerHour,
        bound: 16.0 * MIB,
        off: &[],
    },
    Attack {
        name: "guesses",
        run: guesses,
        cost: Cost::AdmittedPerHour,
        bound: 4_500.0,
        off: &[("TILLBOX_RATE_LIMITS__BAD_KEYS", UNLIMITED)],
    },
    Attack {
        name: "reads",
        run: reads,
        cost: Cost::AdmittedPerHour,
        bound: 45_000.0,
        off: &NO_STOREFRONT_LIMIT,
    },
    Attack {
        name: "strictness",
        run: ambiguous,
        cost: Cost::AdmittedPerHour,
        bound: 0.0,
        off: &[],
    },
    Attack {
        name: "bodies",
        run: unfinished_bodies,
        cost: Cost::Memory,
        bound: 128.0 * MIB,
        off: &[("TILLBOX_SERVER__BODY_MEMORY", "1024GiB")],
    },
    Attack {
        name: "connections",
        run: idle_connections,
        cost: Cost::Memory,
        bound: 160.0 * MIB,
        off: &[],
    },
];

/// Runs `one` repeatedly in several threads with the number of the request. It returns whether the
/// request was admitted.
fn flood(
    ground: &Ground,
    span: Span,
    progress: &Progress,
    one: impl Fn(&mut Stranger, usize) -> io::Result<bool> + Sync,
) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                yield_to_tills();
                let mut stranger = Stranger::new(ground.address());
                while !span.has_ended() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    // A connection that the daemon closed is a request that was not admitted.
                    progress.count(one(&mut stranger, number).unwrap_or(false));
                    thread::park_timeout(PAUSE);
                }
            });
        }
    });
}

/// Lowers the priority of this thread, because a real attacker would not share the machine.
fn yield_to_tills() {
    // If the system refuses this, the results are worse but still valid.
    let _ = rustix::process::nice(10);
}

const OF_SHOP: &str = "x-tillbox-tenant: a\r\n";

fn is_done(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Requests answers of a large cart, each stored for a new idempotency key.
fn large_answers(ground: &Ground, span: Span, progress: &Progress) {
    let (cart, product) = (&ground.attacked.cart, &ground.attacked.carted);
    let line = format!("POST /v1/carts/{cart}/items");
    flood(ground, span, progress, |stranger, number| {
        let fields = format!("{OF_SHOP}idempotency-key: made-up-{number}\r\n");
        let body = json!({"product_id": product, "quantity": 1}).to_string();
        let reply = stranger.call(&address_of(number % ADDRESSES), &line, &fields, &body)?;
        Ok(is_done(reply.status))
    });
}

/// Creates carts with one line each.
fn carts(ground: &Ground, span: Span, progress: &Progress) {
    let body = json!({"product_id": ground.attacked.product, "quantity": 1}).to_string();
    flood(ground, span, progress, |stranger, number| {
        let from = address_of(number % ADDRESSES);
        let fields = format!("{OF_SHOP}idempotency-key: cart-{number}\r\n");
        let reply = stranger.call(&from, "POST /v1/carts", &fields, "{}")?;
        if is_done(reply.status) {
            let line = format!("POST /v1/carts/{}/items", reply.text("/id"));
            stranger.call(&from, &line, OF_SHOP, &body)?;
        }
        Ok(is_done(reply.status))
    });
}

/// Places orders without paying them.
fn orders(ground: &Ground, span: Span, progress: &Progress) {
    flood(ground, span, progress, |stranger, number| {
        let from = address_of(number % ADDRESSES);
        let status = order(
            stranger,
            span,
            [&address_of(number % ADDRESSES + ADDRESSES), &from],
            &ground.attacked.product,
            1,
            number,
        )?;
        Ok(is_done(status))
    });
}

/// Fills a cart as the first client and orders it as the second. Returns the last status.
fn order(
    stranger: &mut Stranger,
    span: Span,
    [from, buyer]: [&str; 2],
    product: &str,
    quantity: i64,
    number: usize,
) -> io::Result<u16> {
    let mut insist = |from: &str, line: &str, fields: &str, body: &str| loop {
        let reply = stranger.call(from, line, fields, body)?;
        if reply.text("/code") != "rate_limited" || span.has_ended() {
            return Ok::<_, io::Error>(reply);
        }
        thread::park_timeout(PAUSE);
    };
    let cart = insist(from, "POST /v1/carts", OF_SHOP, "{}")?;
    if !is_done(cart.status) {
        return Ok(cart.status);
    }
    let id = cart.text("/id");
    let line = format!("POST /v1/carts/{id}/items");
    let body = json!({"product_id": product, "quantity": quantity}).to_string();
    let item = insist(from, &line, OF_SHOP, &body)?;
    if !is_done(item.status) {
        return Ok(item.status);
    }
    let fields = format!("{OF_SHOP}idempotency-key: order-{quantity}-{number}\r\n");
    let body = json!({"cart_id": id, "email": "x@example.org", "payment_method": "cash"});
    let placed = insist(buyer, "POST /v1/checkout", &fields, &body.to_string())?;
    Ok(placed.status)
}

/// Holds as much of the shelf as one address can: first all of it, then half of each rejected
/// quantity. Other addresses fill its carts.
fn holds(ground: &Ground, span: Span, progress: &Progress) {
    yield_to_tills();
    let mut stranger = Stranger::new(ground.address());
    let (buyer, mut quantity, mut number) = (address_of(HOLDER), SHELF, 0);
    while quantity >= 1 && !span.has_ended() {
        number += 1;
        let placed = order(
            &mut stranger,
            span,
            [&address_of(number), &buyer],
            &ground.attacked.shelf,
            quantity,
            number,
        );
        let is_admitted = placed.is_ok_and(is_done);
        progress.count(is_admitted);
        if !is_admitted {
            quantity /= 2;
        }
    }
}

/// Sends a host and a header that name different tenants, with the longest path that a head allows.
fn mismatches(ground: &Ground, span: Span, progress: &Progress) {
    let line = format!("GET /v1/catalog/products/{}", "a".repeat(12_000));
    flood(ground, span, progress, |stranger, number| {
        let fields = format!("host: b.example.org\r\n{OF_SHOP}");
        let from = address_of(number % ADDRESSES);
        let reply = stranger.send(&request(&from, &line, &fields, ""))?;
        Ok(reply.status == 403)
    });
}

/// Guesses keys from one address. A request counts as admitted if its key was compared with stored
/// keys.
fn guesses(ground: &Ground, span: Span, progress: &Progress) {
    flood(ground, span, progress, |stranger, number| {
        let fields = format!("authorization: Bearer tbx_{number:040}\r\n");
        let reply = stranger.call(&address_of(GUESSER), "GET /v1/orders", &fields, "")?;
        Ok(reply.status == 401)
    });
}

/// Reads the catalog from one address.
fn reads(ground: &Ground, span: Span, progress: &Progress) {
    flood(ground, span, progress, |stranger, _| {
        let line = "GET /v1/catalog/products?limit=200";
        let reply = stranger.call(&address_of(READER), line, OF_SHOP, "")?;
        Ok(is_done(reply.status))
    });
}

/// Sends ambiguous requests, which must all be rejected.
fn ambiguous(ground: &Ground, span: Span, progress: &Progress) {
    let kinds: [(&str, &str, &str); 5] = [
        (
            "POST /v1/carts",
            "host: x\r\nx-tillbox-tenant: a\r\nx-tillbox-tenant: b\r\n",
            "",
        ),
        (
            "GET /v1/orders",
            "host: x\r\nauthorization: Bearer x\r\nauthorization: Bearer y\r\n",
            "",
        ),
        ("POST /v1/carts#x", "host: x\r\nx-tillbox-tenant: a\r\n", ""),
        (
            "POST /v1/carts",
            "host: x\r\nx-tillbox-tenant: a\r\ncontent-type: application/json; charset=utf-16\r\n",
            "{}",
        ),
        (
            "POST /v1/carts",
            "host: a.example.org\r\nhost: b.example.org\r\n",
            "",
        ),
    ];
    flood(ground, span, progress, |stranger, number| {
        let (line, fields, body) = kinds[number % kinds.len()];
        let from = address_of(number % ADDRESSES);
        let reply = stranger.send(&request(&from, line, fields, body))?;
        Ok(!matches!(reply.status, 400 | 415 | 429))
    });
}

/// Sends bodies of a megabyte without their last byte.
fn unfinished_bodies(ground: &Ground, span: Span, progress: &Progress) {
    let next = AtomicUsize::new(0);
    let part = " ".repeat(BODY_BYTES);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                yield_to_tills();
                let mut kept = Vec::new();
                while !span.has_ended() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= BODIES {
                        break;
                    }
                    let from = address_of(number);
                    let begun = begin_body(ground, &from, &part);
                    progress.count(begun.is_ok());
                    kept.extend(begun);
                    thread::park_timeout(BODY_PAUSE);
                }
                hold(kept, span);
            });
        }
    });
}

fn begin_body(ground: &Ground, from: &str, part: &str) -> io::Result<TcpStream> {
    let mut stream = connect(ground.address())?;
    let length = part.len() + 1;
    write!(
        stream,
        "POST /v1/carts HTTP/1.1\r\nhost: x\r\n{OF_SHOP}x-forwarded-for: {from}\r\ncontent-type: \
         application/json\r\ncontent-length: {length}\r\n\r\n{part}"
    )?;
    Ok(stream)
}

/// Keeps connections open until the end of the attack.
fn hold(kept: Vec<TcpStream>, span: Span) {
    while !span.has_ended() {
        thread::park_timeout(span.left());
    }
    drop(kept);
}

/// Opens connections with slow heads, slow bodies, garbage, or no data.
fn idle_connections(ground: &Ground, span: Span, progress: &Progress) {
    yield_to_tills();
    let begun: [&[u8]; 4] = [
        b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ",
        b"POST /v1/carts HTTP/1.1\r\nhost: x\r\nx-tillbox-tenant: a\r\ncontent-type: \
            application/json\r\ncontent-length: 900\r\n\r\n{",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"",
    ];
    let mut kept = Vec::new();
    for number in 0..CONNECTIONS {
        if span.has_ended() {
            break;
        }
        let opened = connect(ground.address()).and_then(|mut stream| {
            stream.write_all(begun[number % begun.len()])?;
            Ok(stream)
        });
        progress.count(opened.is_ok());
        kept.extend(opened);
        thread::park_timeout(CONNECTION_PAUSE);
    }
    for stream in &mut kept {
        // Reads the answer, so that the daemon never waits for this client.
        let _ = stream.set_nonblocking(true);
        let _ = stream.read(&mut [0; 4096]);
    }
    hold(kept, span);
}
