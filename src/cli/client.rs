//! How a command reaches the router: in process, with the data directory's lock, when that is free;
//! else over the daemon's admin socket.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use super::failure::Failure;
use super::{signals, socket};
use crate::app::{App, Ports, StartError};
use crate::config::Config;
use crate::http::admin_router;
use crate::primitives::Slug;
use crate::storage::DataDir;
use crate::storage::data_dir::DataDirError;

/// How often, and how long apart, a data directory is tried that somebody else holds but no daemon
/// answers for: another command, or a daemon that starts or stops.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// How often one request looks for a way anew, when the daemon it was for has gone.
const LOST_MAX: u32 = 20;

/// Whether a command may be the first to touch a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// It makes what is missing.
    MayBeMade,
    /// It reads or changes what is there. A misspelt directory must not pass for an empty one, of
    /// which there is nothing bad to tell.
    IsThere,
}

/// How long to wait for a holder of the data directory that answers nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A few seconds, for one that starts or stops.
    Short,
    /// As long as it takes: for the daemon, which a command that has much to do in process must not
    /// keep from starting for good.
    Endless,
}

/// Whom a data directory belongs to at present.
pub enum Holder {
    /// To us, from now on.
    Us(Arc<App>),
    /// To a daemon that answers at this socket.
    Daemon(PathBuf),
}

/// Takes the data directory, or finds the daemon that has it. Blocks.
pub fn take(
    config: &Config,
    dev: bool,
    runtime: &Runtime,
    patience: Patience,
) -> Result<Holder, Failure> {
    let mut path = socket::path(config);
    for tried in 0_u32.. {
        match App::start(config.clone(), dev, Ports::default()) {
            Ok(app) => return Ok(Holder::Us(app)),
            Err(StartError::DataDir(DataDirError::InUse(_))) => {}
            Err(error) => return Err(error.into()),
        }
        // A daemon says in the lock's file where it listens; whatever our own settings would make
        // of it comes second.
        path = DataDir::find_address(&config.storage.data_dir).unwrap_or(path);
        if socket::connect(&path).is_ok() {
            return Ok(Holder::Daemon(path));
        }
        match patience {
            Patience::Short if tried == TRIES => break,
            Patience::Endless if tried == TRIES => {
                tracing::warn!(data_dir = %config.storage.data_dir.display(), "the data directory \
                    is in use by another tillbox command; waiting for its end");
            }
            _ => {}
        }
        runtime.block_on(async { tokio::time::sleep(PAUSE).await });
    }
    Err(Failure::failed_with(
        format!(
            "the data directory {} is in use, and no daemon answers at {}",
            config.storage.data_dir.display(),
            path.display()
        ),
        "look for another tillbox command that is at work there, or run this one as the daemon's \
         user or as root",
    ))
}

/// A way to the router.
pub struct Client {
    runtime: Runtime,
    config: Config,
    way: RefCell<Way>,
}

enum Way {
    Inside { app: Arc<App>, router: Router },
    Socket(PathBuf),
}

impl Client {
    /// Finds the way.
    pub fn connect(config: &Config, data: Data) -> Result<Self, Failure> {
        let dir = &config.storage.data_dir;
        if data == Data::IsThere && !dir.join("LOCK").exists() {
            return Err(Failure::failed_with(
                format!("there is no data in {}", dir.display()),
                "name the directory with --data-dir; `tillbox serve` and `tillbox tenant create` \
                 make a new one",
            ));
        }
        let runtime = runtime()?;
        let way = RefCell::new(Way::find(config, &runtime)?);
        Ok(Self {
            runtime,
            config: config.clone(),
            way,
        })
    }

    /// A `GET`.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None, None)
    }

    /// A `POST`.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, None, Some(body))
    }

    /// A batch of an import into a shop.
    pub fn import(&self, shop: &Slug, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some(shop), Some(body))
    }

    /// A `DELETE`.
    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::DELETE, path, None, None)
    }

    /// All rows of a list, page by page.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut rows = Vec::new();
        for mut page in self.pages(path)? {
            if let Some(Value::Array(data)) = page.get_mut("data").map(Value::take) {
                rows.extend(data);
            }
        }
        Ok(rows)
    }

    /// All pages of a list, whose path may have filters already.
    pub fn pages(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let path = format!(
            "{path}{}limit=200",
            if path.contains('?') { '&' } else { '?' }
        );
        let mut pages = vec![self.get(&path)?];
        while let Some(cursor) = pages.last().and_then(|page| page["next_cursor"].as_str()) {
            let next = self.get(&format!("{path}&cursor={cursor}"))?;
            pages.push(next);
        }
        Ok(pages)
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        shop: Option<&Slug>,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let text = body.map(Value::to_string);
        // Reading changes nothing, and a batch that is in already changes nothing either.
        let is_repeatable = method == Method::GET || shop.is_some();
        let mut lost = 0;
        let (success, bytes) = loop {
            let request = request(&method, path, shop, text.clone());
            match self.runtime.block_on(self.way.borrow().send(request)) {
                Ok(answer) => break answer,
                Err(Lost::Before(_)) if lost < LOST_MAX => {}
                Err(Lost::Midway(_)) if is_repeatable && lost < LOST_MAX => {}
                Err(Lost::Before(failure) | Lost::Midway(failure)) => return Err(failure),
            }
            lost += 1;
            // The daemon that was there has gone, or another one has come.
            let way = Way::find(&self.config, &self.runtime)?;
            self.way.replace(way);
        };
        let value = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).map_err(|_| {
                Failure::failed("the answer is not JSON; is another program at that socket?")
            })?
        };
        if success {
            Ok(value)
        } else {
            Err(Failure::of_problem(&value))
        }
    }
}

/// A request. It has no Host header: a name there could be some shop's domain.
fn request(
    method: &Method,
    path: &str,
    shop: Option<&Slug>,
    body: Option<String>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(shop) = shop {
        request = request.header("x-tillbox-tenant", shop.as_str());
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = body.unwrap_or_default();
    request
        .body(Body::from(body))
        .expect("paths and slugs are plain text")
}

/// How a request was lost.
enum Lost {
    /// It never left.
    Before(Failure),
    /// Nobody knows what became of it.
    Midway(Failure),
}

impl Way {
    fn find(config: &Config, runtime: &Runtime) -> Result<Self, Failure> {
        Ok(match take(config, false, runtime, Patience::Short)? {
            Holder::Us(app) => Self::Inside {
                router: admin_router(&app),
                app,
            },
            Holder::Daemon(path) => Self::Socket(path),
        })
    }

    async fn send(&self, request: Request<Body>) -> Result<(bool, Bytes), Lost> {
        match self {
            Self::Inside { router, .. } => {
                let response = router.clone().oneshot(request).await;
                read(response.unwrap_or_else(|never| match never {})).await
            }
            Self::Socket(path) => {
                let stream = socket::connect(path).and_then(|stream| {
                    stream.set_nonblocking(true)?;
                    UnixStream::from_std(stream)
                });
                let absent = |error| {
                    Lost::Before(Failure::failed(format!(
                        "the daemon does not answer at {}: {error}",
                        path.display()
                    )))
                };
                let stream = TokioIo::new(stream.map_err(absent)?);
                let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
                    .await
                    .map_err(broken)?;
                // Its end, good or bad, is seen in the answer.
                tokio::spawn(connection);
                read(sender.send_request(request).await.map_err(broken)?).await
            }
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Self::Inside { app, .. } = self {
            app.close();
        }
    }
}

async fn read<B>(response: Response<B>) -> Result<(bool, Bytes), Lost>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let success = response.status().is_success();
    let body = response.into_body().collect().await.map_err(broken)?;
    Ok((success, body.to_bytes()))
}

fn broken(error: impl std::fmt::Display) -> Lost {
    Lost::Midway(Failure::failed_with(
        format!("the connection to the daemon broke: {error}"),
        "whether it was done is not known: look, and then repeat the command",
    ))
}

/// A runtime of the smallest kind: a command does one thing at a time.
pub fn runtime() -> Result<Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let built = built.map_err(|error| {
        Failure::failed(format!(
            "the system grants no threads: {error}; raise its limit of tasks"
        ))
    })?;
    signals::outlast_file_limit(&built);
    Ok(built)
}
