//! The route from a command to the router: in process with the lock of the data directory if it is
//! free, else over the daemon's admin socket.

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

/// Attempts to lock a data directory that is in use without an answering daemon: another command
/// has it, or a daemon starts or stops.
const TRIES: u32 = 100;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Retries of one request with a new route when its daemon has gone.
const RETRIES_MAX: u32 = 20;

/// Whether a command may create a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataDirMode {
    MayCreate,
    /// The command reads or changes existing data. A misspelt path must not look like an empty
    /// directory without faults.
    MustExist,
}

/// The longest wait for another process that has the data directory but no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A few seconds, enough for a daemon that starts or stops.
    Short,
    /// No limit: the daemon waits until a long command has finished.
    Endless,
}

/// The process that has the data directory.
pub enum Holder {
    /// This process has locked it.
    ThisProcess(Arc<App>),
    /// A daemon that answers at this socket.
    Daemon(PathBuf),
}

/// Locks the data directory, or finds the daemon that has it. Blocks.
pub fn acquire(
    config: &Config,
    dev: bool,
    runtime: &Runtime,
    patience: Patience,
) -> Result<Holder, Failure> {
    let mut path = socket::path(config);
    for tried in 0_u32.. {
        match App::start(config.clone(), dev, Ports::default()) {
            Ok(app) => return Ok(Holder::ThisProcess(app)),
            Err(StartError::DataDir(DataDirError::InUse(_))) => {}
            Err(error) => return Err(error.into()),
        }
        // The lock file has the daemon's socket path, which may differ from this configuration's.
        path = DataDir::find_address(&config.storage.data_dir).unwrap_or(path);
        if socket::connect(&path).is_ok() {
            return Ok(Holder::Daemon(path));
        }
        match patience {
            Patience::Short if tried == TRIES => break,
            Patience::Endless if tried == TRIES => {
                tracing::warn!(data_dir = %config.storage.data_dir.display(),
                    "another tillbox command has the data directory; waiting for it to finish");
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
        "wait for another running tillbox command, or run this one as the daemon's user or as root",
    ))
}

/// A client of the router.
pub struct Client {
    runtime: Runtime,
    config: Config,
    route: RefCell<Route>,
}

enum Route {
    InProcess { app: Arc<App>, router: Router },
    Socket(PathBuf),
}

impl Client {
    /// Connects in process or over the admin socket.
    pub fn connect(config: &Config, mode: DataDirMode) -> Result<Self, Failure> {
        let dir = &config.storage.data_dir;
        if mode == DataDirMode::MustExist && !dir.join("LOCK").exists() {
            return Err(Failure::failed_with(
                format!("no data found in {}", dir.display()),
                "name the directory with --data-dir; `tillbox serve` and `tillbox tenant create` \
                 create a new one",
            ));
        }
        let runtime = runtime()?;
        let route = RefCell::new(Route::find(config, &runtime)?);
        Ok(Self {
            runtime,
            config: config.clone(),
            route,
        })
    }

    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, None, Some(body))
    }

    /// Sends a batch of an import into a tenant.
    pub fn import(&self, tenant: &Slug, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some(tenant), Some(body))
    }

    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::DELETE, path, None, None)
    }

    /// Reads all rows of a list, page by page.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut rows = Vec::new();
        for mut page in self.pages(path)? {
            if let Some(Value::Array(data)) = page.get_mut("data").map(Value::take) {
                rows.extend(data);
            }
        }
        Ok(rows)
    }

    /// Reads all pages of a list. The path may have a query.
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
        tenant: Option<&Slug>,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let text = body.map(Value::to_string);
        // A read changes nothing; nor does a batch that was imported before.
        let is_repeatable = method == Method::GET || tenant.is_some();
        let mut retries = 0;
        let (success, bytes) = loop {
            let request = request(&method, path, tenant, text.clone());
            match self.runtime.block_on(self.route.borrow().send(request)) {
                Ok(answer) => break answer,
                Err(SendError::NotSent(_)) if retries < RETRIES_MAX => {}
                Err(SendError::OutcomeUnknown(_)) if is_repeatable && retries < RETRIES_MAX => {}
                Err(SendError::NotSent(failure) | SendError::OutcomeUnknown(failure)) => {
                    return Err(failure);
                }
            }
            retries += 1;
            // The daemon has stopped, or another one has started.
            let route = Route::find(&self.config, &self.runtime)?;
            self.route.replace(route);
        };
        let value = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).map_err(|_| {
                Failure::failed(
                    "the answer is not JSON; check whether another program has that socket",
                )
            })?
        };
        if success {
            Ok(value)
        } else {
            Err(Failure::of_problem(&value))
        }
    }
}

/// Builds a request without a Host header, which could name a tenant's domain.
fn request(
    method: &Method,
    path: &str,
    tenant: Option<&Slug>,
    body: Option<String>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(tenant) = tenant {
        request = request.header("x-tillbox-tenant", tenant.as_str());
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = body.unwrap_or_default();
    request
        .body(Body::from(body))
        .expect("paths and slugs are ASCII")
}

/// The error of a request that got no answer.
enum SendError {
    NotSent(Failure),
    /// The request was sent, but its outcome is unknown.
    OutcomeUnknown(Failure),
}

impl Route {
    fn find(config: &Config, runtime: &Runtime) -> Result<Self, Failure> {
        Ok(match acquire(config, false, runtime, Patience::Short)? {
            Holder::ThisProcess(app) => Self::InProcess {
                router: admin_router(&app),
                app,
            },
            Holder::Daemon(path) => Self::Socket(path),
        })
    }

    async fn send(&self, request: Request<Body>) -> Result<(bool, Bytes), SendError> {
        match self {
            Self::InProcess { router, .. } => {
                let response = router.clone().oneshot(request).await;
                read(response.unwrap_or_else(|never| match never {})).await
            }
            Self::Socket(path) => {
                let stream = socket::connect(path).and_then(|stream| {
                    stream.set_nonblocking(true)?;
                    UnixStream::from_std(stream)
                });
                let absent = |error| {
                    SendError::NotSent(Failure::failed(format!(
                        "the daemon does not answer at {}: {error}",
                        path.display()
                    )))
                };
                let stream = TokioIo::new(stream.map_err(absent)?);
                let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
                    .await
                    .map_err(broken)?;
                // An error of the connection shows in the answer.
                tokio::spawn(connection);
                read(sender.send_request(request).await.map_err(broken)?).await
            }
        }
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        if let Self::InProcess { app, .. } = self {
            app.close();
        }
    }
}

async fn read<B>(response: Response<B>) -> Result<(bool, Bytes), SendError>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let success = response.status().is_success();
    let body = response.into_body().collect().await.map_err(broken)?;
    Ok((success, body.to_bytes()))
}

fn broken(error: impl std::fmt::Display) -> SendError {
    SendError::OutcomeUnknown(Failure::failed_with(
        format!("the connection to the daemon broke: {error}"),
        "the outcome is unknown: check the result, then repeat the command if necessary",
    ))
}

/// Builds a runtime with one worker thread: a command does one thing at a time.
pub fn runtime() -> Result<Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let built = built.map_err(|error| {
        Failure::failed(format!(
            "cannot start threads: {error}; raise the system's limit of tasks"
        ))
    })?;
    signals::handle_file_size_signal(&built);
    Ok(built)
}
