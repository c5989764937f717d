//! `tillbox serve`: the daemon. It opens the data, serves requests, runs jobs, and shuts down
//! gracefully at SIGTERM.

use std::fs::DirBuilder;
use std::io::{ErrorKind, IsTerminal as _};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::client::{Holder, Patience, acquire};
use super::failure::{Exit, Failure};
use super::signals::{self, Hangup, Signals};
use super::{Global, alive, banner, demo, descriptors, output, socket};
use crate::alerts::recipients::AlertRecipients;
use crate::app::App;
use crate::config::{Config, DEFAULT_DATA_DIR, Format};
use crate::http::wire::server::{ServerSettings, serve};
use crate::http::{admin_router, router};
use crate::maintenance::scheduler::Scheduler;
use crate::observe::logging::{LogGuard, Logging, LoggingError, Stdout, log_panics};
use crate::observe::telemetry::{self, Recorder};
use crate::storage::DataDir;
use crate::worker::Worker;

/// The time for running jobs to finish during shutdown; then they go back to the queue.
const WORKER_GRACE: Duration = Duration::from_secs(10);
/// The time for busy threads to finish after everything else has stopped.
const RUNTIME_SHUTDOWN: Duration = Duration::from_secs(1);
/// The default data directory of `--dev`.
const DEV_DATA_DIR: &str = "./tillbox-data";

/// `tillbox serve`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tillbox serve --dev                        try it: a demo shop with a key, and curl lines to paste
  tillbox serve --listen 0.0.0.0:8080        reachable from other machines, behind a TLS proxy

SIGTERM and Ctrl-C stop the daemon gracefully: running requests and jobs finish.
A second Ctrl-C stops it at once; acknowledged changes are on disk.
SIGHUP reloads the configuration, and the log lists the keys that need a restart; on a terminal, \
it stops the daemon like SIGTERM.")]
pub struct Serve {
    /// Address and port to listen on; overrides the configuration
    #[arg(long, value_name = "A")]
    listen: Option<SocketAddr>,
    /// Development mode: data in ./tillbox-data by default, reachable from this machine only, a
    /// demo shop, the payment method `test`
    #[arg(long)]
    dev: bool,
}

impl Serve {
    /// Runs the daemon until a signal stops it.
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let mut config = self.config(global)?;
        let shortage = descriptors::fit(&mut config);
        DataDir::prepare(&config.storage.data_dir)
            .map_err(|error| Failure::failed(error.to_string()))?;
        let log = start_logging(&config, self.dev)?;
        let recorder = telemetry::install();
        if let Some(shortage) = shortage {
            shortage.log();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| {
            Failure::failed(format!(
                "cannot start threads: {error}; raise the system's limit of tasks"
            ))
        })?;
        signals::handle_file_size_signal(&runtime);
        let hangups = signals::listen_hangup(&runtime)?;
        let app = match acquire(&config, self.dev, &runtime, Patience::Endless)? {
            Holder::ThisProcess(app) => app,
            Holder::Daemon(_) => {
                return Err(Failure::failed_with(
                    format!(
                        "the data directory {} is in use by a running daemon",
                        config.storage.data_dir.display()
                    ),
                    "stop that daemon first, or name another directory with --data-dir",
                ));
            }
        };
        app.register_reloads();
        log_alert_problems(&app.alert_recipients, &app.config);
        if let Some(level) = log.level() {
            app.reloads.subscribe("logging.level", move |config| {
                level
                    .set(&config.logging.level)
                    .map_err(|error| error.to_string())
            });
        }
        let hangup = self.hangup(global, &app);
        let signals = || Signals::listen(hangups, hangup, log.buffers());
        let served = self.serve(&app, &runtime, recorder, signals);
        app.close();
        if let Err(failure) = &served {
            tracing::error!(error = failure.message(), "the daemon cannot run");
        } else {
            tracing::info!("stopped");
        }
        // A hanging call (to a silent mail server) is back in its queue and must not delay the end.
        runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
        served.map(|()| Exit::Done)
    }

    /// Chooses the action of SIGHUP: on a terminal it means that the terminal was closed, otherwise
    /// it requests a reload.
    fn hangup(&self, global: &Global, app: &Arc<App>) -> Hangup {
        if std::io::stdin().is_terminal() || std::io::stdout().is_terminal() {
            return Hangup::End;
        }
        let (serve, global, app) = (self.clone(), global.clone(), app.clone());
        Hangup::Reload(Arc::new(move || serve.reload(&global, &app)))
    }

    /// Reloads the configuration and applies the keys that support it. An invalid configuration
    /// changes nothing.
    fn reload(&self, global: &Global, app: &App) {
        alive::reloading();
        match self.config(global) {
            Ok(mut config) => {
                descriptors::fit(&mut config);
                let reloaded = app.reloads.reload(config.clone());
                let applied = reloaded.applied.join(", ");
                tracing::info!(applied, "configuration reloaded");
                for (keys, error) in &reloaded.failed {
                    tracing::error!(
                        keys,
                        error,
                        "these keys could not be applied; their previous values stay in effect"
                    );
                }
                if !reloaded.needs_restart.is_empty() {
                    let keys = reloaded.needs_restart.join(", ");
                    tracing::warn!(keys, "these changed keys take effect at the next start");
                }
                log_alert_problems(&app.alert_recipients, &config);
            }
            Err(failure) => {
                let error = failure.whole();
                tracing::error!(
                    error,
                    "configuration not reloaded; the previous configuration stays in effect"
                );
            }
        }
        alive::ready(app);
    }

    fn config(&self, global: &Global) -> Result<Config, Failure> {
        let mut config = global.config()?;
        if let Some(listen) = self.listen {
            config.server.listen = listen;
        }
        if self.dev {
            if global.data_dir.is_none() && config.storage.data_dir == Path::new(DEFAULT_DATA_DIR) {
                config.storage.data_dir = PathBuf::from(DEV_DATA_DIR);
            }
            if !config.server.listen.ip().is_loopback() {
                return Err(Failure::usage(
                    format!(
                        "--dev allows loopback addresses only, not {}",
                        config.server.listen
                    ),
                    "omit --dev, or listen on 127.0.0.1",
                ));
            }
        }
        Ok(config)
    }

    fn serve(
        &self,
        app: &Arc<App>,
        runtime: &Runtime,
        recorder: Recorder,
        signals: impl FnOnce() -> Result<Signals, Failure>,
    ) -> Result<(), Failure> {
        let demo = if self.dev { demo::prepare(app)? } else { None };
        // Signal handlers first: a client may send SIGTERM as soon as it sees the log line.
        let (signals, sockets) = runtime.block_on(async {
            Ok::<_, Failure>((signals()?, Sockets::open(&app.config).await?))
        })?;
        let address = sockets.address;
        let admin_path =
            std::path::absolute(&sockets.admin_path).unwrap_or_else(|_| sockets.admin_path.clone());
        if let Err(error) = app.stores.provisioner.dir.write_address(&admin_path) {
            tracing::warn!(error = %error, "commands may not find this daemon");
        }
        app.observation.liveness.set_ready(true);
        tracing::info!(%address, admin_socket = %sockets.admin_path.display(),
            version = env!("CARGO_PKG_VERSION"), "listening");
        if let Some(demo) = demo {
            let dir = &app.config.storage.data_dir;
            let dir = dir.canonicalize().unwrap_or_else(|_| dir.clone());
            output::print(&banner::render(address, &dir.display().to_string(), &demo))?;
        }
        runtime.block_on(sockets.run(app, signals, recorder))
    }
}

/// Logs problems that prevent alerts. The daemon runs nevertheless.
fn log_alert_problems(recipients: &AlertRecipients, config: &Config) {
    if let Some(missing) = recipients.missing_key() {
        tracing::error!(error = %missing, "webhook alerts wait until a signing key is available");
    }
    for warning in config.warnings() {
        tracing::warn!(warning, "the configuration is valid but has warnings");
    }
}

/// Starts logging to files and to the terminal or the journal. If the files cannot be written, a
/// warning is logged once and logging goes on without them.
fn start_logging(config: &Config, dev: bool) -> Result<LogGuard, Failure> {
    let on_terminal = std::io::stdout().is_terminal();
    let stdout = if dev || on_terminal || config.logging.format == Format::Console {
        Stdout::Console {
            ansi: output::stderr_is_coloured(),
        }
    } else {
        Stdout::Json
    };
    let dir = config.log_dir();
    let made = DirBuilder::new().recursive(true).mode(0o750).create(&dir);
    let journal = match stdout {
        Stdout::Console { .. } => is_journal(&std::io::stderr()),
        _ => is_journal(&std::io::stdout()),
    };
    let mut logging = Logging {
        journal,
        level: config.logging.level.clone(),
        dir: made.is_ok().then(|| dir.clone()),
        stdout,
        now_ms: super::now_ms,
    };
    let (started, trouble) = match logging.start() {
        Err(LoggingError::Files { source, .. }) => {
            logging.dir = None;
            (logging.start(), Some(source.to_string()))
        }
        started => (started, made.err().map(|error| error.to_string())),
    };
    let guard = started.map_err(|error| Failure::failed(error.to_string()))?;
    log_panics();
    if let Some(error) = trouble {
        tracing::warn!(dir = %dir.display(), error,
            "cannot write log files; make the directory writable, or set logging.dir");
    }
    Ok(guard)
}

/// Whether a stream is connected to the journal: JOURNAL_STREAM has its device and inode
/// (`systemd.exec(5)`).
fn is_journal(stream: &impl AsFd) -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let own = rustix::fs::fstat(stream).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    own.is_ok_and(|own| own == named)
}

struct Sockets {
    tcp: TcpListener,
    address: SocketAddr,
    admin: UnixListener,
    admin_path: PathBuf,
}

impl Sockets {
    async fn open(config: &Config) -> Result<Self, Failure> {
        let listen = config.server.listen;
        let tcp = TcpListener::bind(listen)
            .await
            .map_err(|error| cannot_listen(listen, &error))?;
        let address = tcp
            .local_addr()
            .map_err(|error| cannot_listen(listen, &error))?;
        let admin_path = socket::path(config);
        let admin = socket::bind(&admin_path).and_then(|admin| {
            admin.set_nonblocking(true)?;
            UnixListener::from_std(admin)
        });
        let admin = admin.map_err(|error| {
            Failure::failed_with(
                format!(
                    "cannot create the admin socket {}: {error}",
                    admin_path.display()
                ),
                "make its directory writable, or set another directory in RUNTIME_DIRECTORY",
            )
        })?;
        Ok(Self {
            tcp,
            address,
            admin,
            admin_path,
        })
    }

    /// Serves both sockets until a signal comes, then lets running work finish.
    async fn run(
        self,
        app: &Arc<App>,
        signals: Signals,
        recorder: Recorder,
    ) -> Result<(), Failure> {
        let (end, ended) = watch::channel(false);
        let worker = Worker::start(app.clone());
        let scheduler = Scheduler::start(app.clone());
        alive::ready(app);
        tokio::spawn(signals.wait(end, app.clone()));
        tokio::spawn(alive::report_status(app.clone(), recorder, ended.clone()));
        let ending = async {
            wait_for_end(ended.clone()).await;
            // A proxy sends no new clients, while requests of current ones finish.
            app.observation.liveness.set_ready(false);
        };
        let settings = ServerSettings {
            header_timeout: app.config.server.header_timeout.into(),
            idle_timeout: app.config.server.idle_timeout.into(),
            max_connections: app.config.server.max_connections as usize,
            max_connections_per_address: app.config.server.max_connections_per_address as usize,
            max_connections_local: app.config.server.max_connections_local as usize,
            ..ServerSettings::default()
        };
        let public = serve(
            self.tcp,
            router(app),
            app.ports.clone(),
            settings.clone(),
            ending,
        );
        let admin = serve(
            self.admin,
            admin_router(app),
            app.ports.clone(),
            settings,
            wait_for_end(ended.clone()),
        );
        let (public, admin) = tokio::join!(public, admin);
        scheduler.stop(WORKER_GRACE).await;
        worker.stop(WORKER_GRACE).await;
        // New commands find no socket and lock the data directory instead.
        if let Err(error) = std::fs::remove_file(&self.admin_path) {
            tracing::debug!(error = %error, "the admin socket was already removed");
        }
        if !app.stores.directory.database().is_healthy() {
            let hint = "see the log for the cause; check the disk, then start the daemon again";
            return Err(Failure::failed_with(
                "the landlord's file failed".to_owned(),
                hint,
            ));
        }
        public
            .and(admin)
            .map_err(|error| Failure::failed(format!("the server cannot run: {error}")))
    }
}

fn cannot_listen(listen: SocketAddr, error: &std::io::Error) -> Failure {
    let (reason, hint) = match error.kind() {
        ErrorKind::AddrInUse => (
            "the address is in use".to_owned(),
            "another program uses that port: choose another one with --listen",
        ),
        ErrorKind::AddrNotAvailable => (
            "this machine does not have that address".to_owned(),
            "choose another one with --listen",
        ),
        ErrorKind::PermissionDenied => (
            "permission denied".to_owned(),
            "ports below 1024 need root: choose another one with --listen",
        ),
        _ => (error.to_string(), "choose another address with --listen"),
    };
    Failure::failed_with(format!("cannot listen on {listen}: {reason}"), hint)
}

async fn wait_for_end(mut ended: watch::Receiver<bool>) {
    // An error means that the sender is gone: the daemon ends as well.
    let _ = ended.wait_for(|ended| *ended).await;
}
