//! A complete Tillbox process without its sockets, over a given directory: the same as `tillbox
//! serve`, with a manual clock.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tillbox::app::{App, Ports, StartError};
use tillbox::config::{ByteSize, Config, Rate, RateLimits, Span};
use tillbox::http::extract::Local;
use tillbox::primitives::{ManualClock, SeededEntropy, Timestamp};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// Start time of every case.
const START: &str = "2026-01-15T10:00:00Z";

/// Returns the start time of every case.
pub fn start() -> Timestamp {
    Timestamp::parse(START).expect("an instant")
}

/// A request of a till.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub path: String,
    /// The caller's API key. Without one the call uses the admin socket.
    pub secret: Option<String>,
    pub idempotency_key: Option<String>,
    pub body: Value,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Reply {
    /// Returns a text of the answer, or an empty one when it is missing.
    pub fn text(&self, pointer: &str) -> String {
        self.body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }
}

/// Sends calls to the process in this one, or to the real program.
pub trait Transport {
    async fn send(&self, call: &Call) -> Reply;
}

impl Transport for Instance {
    async fn send(&self, call: &Call) -> Reply {
        Self::send(self, call).await
    }
}

/// A running process.
pub struct Instance {
    pub app: Arc<App>,
    pub dir: PathBuf,
    pub clock: Arc<ManualClock>,
    router: Router,
}

impl Instance {
    /// Starts over `dir` at the start time of every case; ids come from `seed`.
    pub fn start(dir: &Path, seed: u64) -> Result<Self, StartError> {
        Self::start_at(dir, seed, start())
    }

    /// As [`start`](Self::start), with a clock that shows `now`.
    pub fn start_at(dir: &Path, seed: u64, now: Timestamp) -> Result<Self, StartError> {
        let mut config = Config::default();
        config.storage.data_dir = dir.to_owned();
        // Small memory disks have no room for a reserve.
        config.storage.disk_reserve = ByteSize::bytes(0);
        // The oracle counts completed jobs.
        config.queue.keep_completed = Span::secs(3_660 * 86_400);
        // No trial waits for a rate limit to reset.
        let plenty: Rate = "1000000/s".parse().expect("a rate");
        config.rate_limits = RateLimits::all(plenty);
        // One read connection for each file: a trial opens many files briefly, and each connection
        // reads the schema.
        config.storage.readers_per_tenant = 1;
        config.validate().expect("good settings");
        let clock = Arc::new(ManualClock::new(now));
        let ports = Ports {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(seed)),
            ..Ports::default()
        };
        let app = App::start(config, true, ports)?;
        let router = tillbox::http::router(&app);
        Ok(Self {
            app,
            dir: dir.to_owned(),
            clock,
            router,
        })
    }

    /// Sends a call through the router.
    pub async fn send(&self, call: &Call) -> Reply {
        Self::send_to(self.router.clone(), call).await
    }

    /// As [`send`](Self::send), over the admin socket, which also has the operator's routes.
    pub async fn send_as_operator(&self, call: &Call) -> Reply {
        Self::send_to(tillbox::http::admin_router(&self.app), call).await
    }

    async fn send_to(router: Router, call: &Call) -> Reply {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path);
        match &call.secret {
            Some(secret) => request = request.header("authorization", format!("Bearer {secret}")),
            None => request = request.extension(Local),
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let body = match &call.body {
            Value::Null => Body::empty(),
            body => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        let response = router.oneshot(request.body(body).expect("a request")).await;
        let (parts, body) = response.unwrap_or_else(|never| match never {}).into_parts();
        let bytes = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        Reply {
            status: parts.status.as_u16(),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    /// Closes everything cleanly.
    pub fn stop(self) {
        self.app.close();
    }
}

/// Creates a runtime for the calls of one process.
pub fn runtime(threads: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("the system grants threads")
}
