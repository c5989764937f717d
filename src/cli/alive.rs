//! What the service manager hears of the daemon, in the protocol of `sd_notify(3)`; where there is
//! none, nobody hears it and nothing changes.
//!
//! The watchdog is fed only while the dispatcher shows itself and the landlord's file takes a
//! transaction: what a new start would mend, and nothing else. The transaction is an empty one,
//! because a process at rest writes to no file. With the same clock the figures are gathered.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::observe::liveness::QueueFault;
use crate::observe::telemetry::Recorder;
use crate::primitives::Origin;
use crate::primitives::limits::PROBE_DEADLINE_MS;
use crate::storage::StorageError;
use crate::tenancy::probe;

/// How often the state is looked at; more often where the watchdog wants that.
const LOOK: Duration = Duration::from_secs(5);

/// Tells the service manager something. What cannot be told is said in the log.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(error = %error, "the service manager could not be told how the daemon is");
    }
}

/// It serves.
pub fn ready(app: &App) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(app))]);
}

/// The configuration is being read again; [`ready`] ends that.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    // Without the instant a newer service manager takes no notice, which the next line of its log
    // says.
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
}

/// It ends.
pub fn stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("finishing what was begun"),
    ]);
}

/// Looks at the state of the daemon until it ends, and tells of it.
pub async fn keep_telling(app: Arc<App>, recorder: Recorder, mut ended: watch::Receiver<bool>) {
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(LOOK, |within| LOOK.min(within / 3));
    // A time of nothing is no time that a timer takes.
    let mut looks = tokio::time::interval(every.max(Duration::from_millis(10)));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut fed) = (String::new(), true);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            // Fails when the sender is gone, which is an end as well.
            _ = ended.wait_for(|ended| *ended) => return,
        }
        recorder.gather();
        app.log_lines.report();
        if watchdog.is_some() {
            fed = feed(&app, fed).await;
        }
        let status = status(&app);
        if status != told {
            tell(&[NotifyState::Status(&status)]);
            told = status;
        }
    }
}

/// Feeds the watchdog if all is well that a new start would mend; says whether it was. `fed` is
/// whether it was the last time.
async fn feed(app: &App, fed: bool) -> bool {
    match fault(app).await {
        None => {
            if !fed {
                tracing::info!("the watchdog is fed again");
            }
            tell(&[NotifyState::Watchdog]);
            true
        }
        Some(error) => {
            if fed {
                tracing::error!(
                    error,
                    "the watchdog is not fed: the service manager starts the daemon anew if this \
                     lasts"
                );
            }
            false
        }
    }
}

/// What is wrong that a new start would mend.
async fn fault(app: &App) -> Option<String> {
    if let Err(fault @ (QueueFault::Stopped | QueueFault::Silent(_))) =
        app.liveness.queue(app.clock.as_ref())
    {
        return Some(fault.to_string());
    }
    let looked = app.directory.database().write(Origin::system(), |work| {
        probe::find_last_heartbeat(work)?;
        Ok::<_, StorageError>(())
    });
    match tokio::time::timeout(Duration::from_millis(PROBE_DEADLINE_MS), looked).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("the landlord's file: {error}")),
        Err(_) => Some("the landlord's file: no answer in time".to_owned()),
    }
}

/// The state in a line, for `systemctl status`.
fn status(app: &App) -> String {
    let open = app.registry.list_open().len();
    let mut status = format!("{open} {} open", if open == 1 { "shop" } else { "shops" });
    let unavailable = app.registry.list_unavailable().len();
    if unavailable > 0 {
        status.push_str(&format!(", {unavailable} that cannot be used"));
    }
    if app.space.is_short() {
        status.push_str("; the disk is nearly full, nothing is sold");
    }
    match app.liveness.queue(app.clock.as_ref()) {
        Ok(()) => status.push_str("; the queue works"),
        Err(fault) => status.push_str(&format!("; queue: {fault}")),
    }
    let paused: Vec<&str> = app
        .pauses
        .list()
        .into_iter()
        .map(|(queue, _)| queue.as_str())
        .collect();
    if !paused.is_empty() {
        status.push_str(&format!("; paused: {}", paused.join(", ")));
    }
    status
}
