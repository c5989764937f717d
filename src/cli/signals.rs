//! The signals that the program hears, and the one that it must outlast.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal as Number;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use super::alive;
use super::failure::{Exit, Failure};
use crate::app::App;
use crate::observe::logging::Buffers;

/// A file that has reached the limit that the system sets for one refuses the write, like a full
/// disk, instead of ending the process: that is what the signal would do to whoever has no answer
/// to it. The answer stays for as long as the process lives.
pub fn outlast_file_limit(runtime: &Runtime) {
    let _inside = runtime.enter();
    if let Err(error) = signal(SignalKind::from_raw(Number::XFSZ.as_raw())) {
        tracing::warn!(error = %error, "a limit on the size of files would end this process");
    }
}

/// What is done at SIGHUP.
#[derive(Clone)]
pub enum Hangup {
    /// The configuration is read again.
    Reload(Arc<dyn Fn() + Send + Sync>),
    /// The terminal is gone that it was started from, and with it whoever could end it with Ctrl-C.
    End,
}

/// What is listened to from the very start, because it would end the process in the middle of that:
/// SIGHUP.
pub fn hangups(runtime: &Runtime) -> Result<Signal, Failure> {
    let _inside = runtime.enter();
    listen(SignalKind::hangup())
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::failed(format!("signals cannot be received: {error}")))
}

/// The signals of a daemon.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangups: Signal,
    hangup: Hangup,
    /// What an end at once still waits for: lines of the log.
    buffers: Buffers,
}

impl Signals {
    /// Begins to listen. Inside the runtime.
    pub fn listen(hangups: Signal, hangup: Hangup, buffers: Buffers) -> Result<Self, Failure> {
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangups,
            hangup,
            buffers,
        })
    }

    /// The first signal asks for the end; a Ctrl-C after that does not wait for it.
    pub async fn wait(mut self, end: watch::Sender<bool>, app: Arc<App>) {
        self.until_the_end(&app).await;
        tracing::info!("stopping");
        alive::stopping();
        // Fails when nobody serves any more, which is what is wanted.
        let _ = end.send(true);
        self.interrupt.recv().await;
        self.buffers.flush();
        std::process::exit(Exit::Failed as i32);
    }

    async fn until_the_end(&mut self, app: &App) {
        // Reads files, which may hang, so on a thread of its own; one at a time, and the end can be
        // asked for meanwhile.
        let mut reloading: Option<JoinHandle<()>> = None;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                Some(()) = self.hangups.recv(),
                    if reloading.is_none() => match self.hangup.clone() {
                    Hangup::End => return,
                    Hangup::Reload(reload) => reloading = Some(tokio::task::spawn_blocking(move || reload())),
                },
                ended = over(&mut reloading) => {
                    reloading = None;
                    if let Err(error) = ended {
                        tracing::error!(error = %error, "the configuration was not reloaded by a \
                            fault");
                        alive::ready(app);
                    }
                }
                () = landlord_fault(app) => {
                    tracing::error!("the landlord's file cannot be trusted until it is opened \
                        again; the process ends, to be started anew");
                    return;
                }
            }
        }
    }
}

/// The end of a reload; never, when there is none.
async fn over(reloading: &mut Option<JoinHandle<()>>) -> Result<(), JoinError> {
    match reloading {
        Some(reloading) => reloading.await,
        None => std::future::pending().await,
    }
}

/// Resolves when the landlord's file has to be opened and checked again. A shop's file is reopened
/// by the registry; this one everything hangs on, so the whole process is started again, by whoever
/// runs it.
async fn landlord_fault(app: &App) {
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    while app.directory.database().is_healthy() {
        looks.tick().await;
    }
}
