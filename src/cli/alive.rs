//! Notifications to the service manager in the protocol of `sd_notify(3)`; without a service
//! manager they have no effect.
//!
//! The watchdog is fed only while the dispatcher is alive and the landlord's file accepts a
//! transaction: faults that a restart fixes. The transaction is empty, because an idle process
//! writes to no file. The same timer gathers the metrics.

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

/// The interval of status reports. A short watchdog timeout shortens it.
const INTERVAL: Duration = Duration::from_secs(5);

/// Notifies the service manager. A failure is logged.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(error = %error, "cannot notify the service manager");
    }
}

/// Reports that the daemon serves requests.
pub fn ready(app: &App) {
    notify(&[NotifyState::Ready, NotifyState::Status(&status(app))]);
}

/// Reports the start of a configuration reload; [`ready`] reports its end.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    // Newer service managers ignore the notification without a timestamp, and log that.
    states.extend(NotifyState::monotonic_usec_now());
    notify(&states);
}

/// Reports that the daemon is stopping.
pub fn stopping() {
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("finishing running requests and jobs"),
    ]);
}

/// Reports the daemon's status and feeds the watchdog until the daemon ends.
pub async fn report_status(app: Arc<App>, recorder: Recorder, mut ended: watch::Receiver<bool>) {
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(INTERVAL, |within| INTERVAL.min(within / 3));
    // A timer panics with an interval of zero.
    let mut timer = tokio::time::interval(every.max(Duration::from_millis(10)));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut reported, mut was_healthy) = (String::new(), true);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            // An error means that the sender is gone: the daemon ends as well.
            _ = ended.wait_for(|ended| *ended) => return,
        }
        recorder.gather();
        app.limits.log_lines.report();
        if watchdog.is_some() {
            was_healthy = feed_watchdog(&app, was_healthy).await;
        }
        let status = status(&app);
        if status != reported {
            notify(&[NotifyState::Status(&status)]);
            reported = status;
        }
    }
}

/// Feeds the watchdog unless a fault needs a restart. Returns whether it did. `was_healthy` is the
/// previous result.
async fn feed_watchdog(app: &App, was_healthy: bool) -> bool {
    match find_fault(app).await {
        None => {
            if !was_healthy {
                tracing::info!("the watchdog is fed again");
            }
            notify(&[NotifyState::Watchdog]);
            true
        }
        Some(error) => {
            if was_healthy {
                tracing::error!(
                    error,
                    "the watchdog is not fed; the service manager restarts the daemon if this lasts"
                );
            }
            false
        }
    }
}

/// Finds a fault that a restart fixes.
async fn find_fault(app: &App) -> Option<String> {
    if let Err(fault @ (QueueFault::Stopped | QueueFault::Silent(_))) =
        app.observation.liveness.queue(app.ports.clock.as_ref())
    {
        return Some(fault.to_string());
    }
    let probed = app
        .stores
        .directory
        .database()
        .write(Origin::system(), |work| {
            probe::find_last_heartbeat(work)?;
            Ok::<_, StorageError>(())
        });
    match tokio::time::timeout(Duration::from_millis(PROBE_DEADLINE_MS), probed).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("the landlord's file: {error}")),
        Err(_) => Some("the landlord's file: no answer in time".to_owned()),
    }
}

/// Describes the status in a line, for `systemctl status`.
fn status(app: &App) -> String {
    let open = app.stores.registry.list_open().len();
    let noun = if open == 1 { "tenant" } else { "tenants" };
    let mut status = format!("{open} {noun} open");
    let unavailable = app.stores.registry.list_unavailable().len();
    if unavailable > 0 {
        status.push_str(&format!(", {unavailable} unavailable"));
    }
    if app.limits.space.is_short() {
        status.push_str("; the disk is nearly full, sales are refused");
    }
    match app.observation.liveness.queue(app.ports.clock.as_ref()) {
        Ok(()) => status.push_str("; the queue works"),
        Err(fault) => status.push_str(&format!("; queue: {fault}")),
    }
    let paused: Vec<&str> = app
        .stores
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
