//! L5: notifies the operator once of each suspicion about the clock, through the channels of
//! alerts: a signed webhook, a mail.
//!
//! Each channel is recorded as notified after it was sent. A channel that fails is tried again
//! alone; after a crash in between the same message is sent twice. Alerts about jobs are jobs in a
//! tenant's file (`platform/alerts.rs`); the clock belongs to the landlord, whose file has no
//! queue.

use std::time::Duration;

use serde_json::json;

use crate::alerts::notice::{Notice, Sender};
use crate::alerts::recipients::AlertRecipients;
use crate::app::{App, Stores};
use crate::landlord::ClockSuspicion;
use crate::landlord::clock;
use crate::platform::alerts::AlertChannel;
use crate::primitives::{Origin, Timestamp};
use crate::storage::StorageError;

/// No job has a deadline for the notice: only the limits of the channels apply.
const NO_JOB: Duration = Duration::MAX;

/// The instant at which a notice is due: now, while a suspicion lasts that a channel has not been
/// notified of. Blocks; reads nothing while the clock is trusted.
pub fn next_at(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StorageError> {
    if app.stores.clock_watch.last_suspicion().is_none() {
        return Ok(None);
    }
    let pending = list_pending(&app.stores, &app.alert_recipients)?;
    Ok((!pending.is_empty()).then_some(now))
}

/// Channels that have not been notified yet.
fn list_pending(
    stores: &Stores,
    recipients: &AlertRecipients,
) -> Result<Vec<AlertChannel>, StorageError> {
    let mut pending = recipients.recipients().channels();
    if !pending.is_empty() {
        let notified = stores.directory.read(clock::find_notified).wait()?;
        pending.retain(|channel| !notified.contains(channel));
    }
    Ok(pending)
}

/// Notifies the channels that have not been notified yet. Blocks.
///
/// # Errors
/// The failures of all channels; those are tried again.
pub fn notify(app: &App, now: Timestamp) -> Result<(), String> {
    let Some(suspicion) = app.stores.clock_watch.last_suspicion() else {
        return Ok(());
    };
    let (mut failed, since) = (Vec::new(), suspicion.since);
    let sender = Sender {
        outbound: app.ports.outbound.as_ref(),
        mailer: &app.mailer,
        now,
        within: NO_JOB,
    };
    for channel in
        list_pending(&app.stores, &app.alert_recipients).map_err(|error| error.to_string())?
    {
        let recipients = app.alert_recipients.recipients();
        let sent = sender.send(&recipients, channel, notice(&suspicion));
        let recorded = sent.map_err(|error| error.reason).and_then(|()| {
            let write = app
                .stores
                .directory
                .database()
                .write(Origin::system(), move |work| {
                    clock::set_notified(work, channel, since)
                });
            write.wait().map_err(|error| error.to_string())
        });
        failed.extend(recorded.err());
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("; "))
    }
}

fn notice(suspicion: &ClockSuspicion) -> Notice {
    let ClockSuspicion {
        since,
        reason,
        ends,
    } = suspicion;
    let text = format!(
        "The clock of this machine is not trusted since {since}: {reason}.\n\nWhile that lasts \
         nothing is deleted by age, and ended jobs are kept. Selling is \
         not affected.\nIt ends {ends}.\n\nCheck the clock and correct it if it is wrong. \
         When it is right:\n\n  tillbox retention prune --clock-is-right\n"
    );
    let id = format!("clock-suspected.{}", since.as_millis().unsigned_abs());
    Notice {
        event: "clock.suspected",
        mail_id: id.clone(),
        id,
        at: *since,
        data: json!({"since": since, "reason": reason, "ends": ends}),
        subject: "Tillbox: the clock is not trusted".to_owned(),
        text,
    }
}
