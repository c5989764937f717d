//! Signal handlers of the process.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal as Number;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use super::alive;
use super::failure::{Exit, Failure};
use crate::app::{App, Stores};
use crate::observe::logging::Buffers;

/// Installs a handler for SIGXFSZ, whose default action ends the process. A write beyond the file
/// size limit then fails like on a full disk. The handler stays for the life of the process.
pub fn handle_file_size_signal(runtime: &Runtime) {
    let _inside = runtime.enter();
    if let Err(error) = signal(SignalKind::from_raw(Number::XFSZ.as_raw())) {
        tracing::warn!(
            error = %error,
            "cannot handle SIGXFSZ; a file size limit would end this process"
        );
    }
}

/// The action of SIGHUP.
#[derive(Clone)]
pub enum Hangup {
    /// Reload the configuration.
    Reload(Arc<dyn Fn() + Send + Sync>),
    /// Stop: the terminal was closed, so nobody can press Ctrl-C.
    End,
}

/// Listens to SIGHUP from the very start, because it would end the process during startup.
pub fn listen_hangup(runtime: &Runtime) -> Result<Signal, Failure> {
    let _inside = runtime.enter();
    listen(SignalKind::hangup())
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::failed(format!("cannot receive signals: {error}")))
}

/// The signals of the daemon.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangups: Signal,
    hangup: Hangup,
    /// The log lines to flush before an immediate exit.
    buffers: Buffers,
}

impl Signals {
    /// Starts to listen. Must be called inside the runtime.
    pub fn listen(hangups: Signal, hangup: Hangup, buffers: Buffers) -> Result<Self, Failure> {
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangups,
            hangup,
            buffers,
        })
    }

    /// Starts the shutdown at the first signal; a Ctrl-C after that exits at once.
    pub async fn wait(mut self, end: watch::Sender<bool>, app: Arc<App>) {
        self.wait_for_end(&app).await;
        tracing::info!("stopping");
        alive::stopping();
        // An error means that all receivers have ended already.
        let _ = end.send(true);
        self.interrupt.recv().await;
        self.buffers.flush();
        std::process::exit(Exit::Failed as i32);
    }

    async fn wait_for_end(&mut self, app: &App) {
        // A reload reads files, which may hang, so it has its own thread; one at a time, and a
        // shutdown is possible meanwhile.
        let mut reloading: Option<JoinHandle<()>> = None;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                Some(()) = self.hangups.recv(), if reloading.is_none() => {
                    match self.hangup.clone() {
                        Hangup::End => return,
                        Hangup::Reload(reload) => {
                            reloading = Some(tokio::task::spawn_blocking(move || reload()));
                        }
                    }
                }
                ended = join_reload(&mut reloading) => {
                    reloading = None;
                    if let Err(error) = ended {
                        tracing::error!(error = %error, "configuration reload failed");
                        alive::ready(app);
                    }
                }
                () = landlord_fault(&app.stores) => {
                    tracing::error!(
                        "the landlord's file must be reopened and checked; the process stops and \
                         must be restarted"
                    );
                    return;
                }
            }
        }
    }
}

/// Waits for the end of the reload; without a reload, waits forever.
async fn join_reload(reloading: &mut Option<JoinHandle<()>>) -> Result<(), JoinError> {
    match reloading {
        Some(reloading) => reloading.await,
        None => std::future::pending().await,
    }
}

/// Waits until the landlord's file must be reopened and checked. The registry reopens tenants'
/// files; everything depends on this one, so the service manager or the operator restarts the whole
/// process.
async fn landlord_fault(stores: &Stores) {
    let mut timer = tokio::time::interval(Duration::from_secs(1));
    while stores.directory.database().is_healthy() {
        timer.tick().await;
    }
}
