//! L5: notifies the operator once of each suspicion about the clock, through the channels of
//! alerts: a signed webhook, a mail.
//!
//! Each channel is recorded as notified after it was sent. A channel that fails is tried again
//! alone; after a crash in between the same message is sent twice. Alerts about jobs are jobs in a
//! tenant's file (`platform/alerts.rs`); the clock belongs to the landlord, whose file has no
//! queue.

use std::time::Duration;

use serde_json::json;

use crate::alerts::recipients::AlertRecipients;
use crate::app::{App, Ports, Stores};
use crate::landlord::ClockSuspicion;
use crate::landlord::clock::{self, NoticeChannel};
use crate::outbound::mail::{Mail, Mailer};
use crate::primitives::{Origin, Timestamp, chain};
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
) -> Result<Vec<NoticeChannel>, StorageError> {
    let recipients = recipients.recipients();
    let channels = [
        (NoticeChannel::Webhook, recipients.webhook.is_some()),
        (NoticeChannel::Mail, recipients.email_to.is_some()),
    ];
    if channels.iter().all(|(_, is_configured)| !is_configured) {
        return Ok(Vec::new());
    }
    let notified = stores.directory.read(clock::find_notified).wait()?;
    let pending = channels
        .into_iter()
        .filter(|(channel, is_configured)| *is_configured && !notified.contains(channel));
    Ok(pending.map(|(channel, _)| channel).collect())
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
    let pending = list_pending(&app.stores, &app.alert_recipients);
    for channel in pending.map_err(|error| error.to_string())? {
        let sent = match channel {
            NoticeChannel::Webhook => call(&app.ports, &app.alert_recipients, &suspicion, now),
            NoticeChannel::Mail => mail(&app.mailer, &app.alert_recipients, &suspicion),
        };
        let recorded = sent.and_then(|()| {
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

/// The id of the message: equal for all attempts, so that the receiver can detect a repetition.
fn message_id(suspicion: &ClockSuspicion) -> String {
    format!(
        "clock-suspected.{}",
        suspicion.since.as_millis().unsigned_abs()
    )
}

fn call(
    ports: &Ports,
    recipients: &AlertRecipients,
    suspicion: &ClockSuspicion,
    now: Timestamp,
) -> Result<(), String> {
    let Some(webhook) = recipients.recipients().webhook.clone() else {
        return Ok(());
    };
    let body = json!({
        "type": "clock.suspected",
        "timestamp": suspicion.since,
        "data": {"since": suspicion.since, "reason": suspicion.reason, "ends": suspicion.ends},
    });
    let id = format!("msg_{}", message_id(suspicion));
    let called = webhook.send(
        ports.outbound.as_ref(),
        &id,
        now,
        body.to_string().into_bytes(),
        NO_JOB,
    );
    called.map_err(|error| format!("{}: {}", webhook.target, chain(&error)))
}

fn mail(
    mailer: &Mailer,
    recipients: &AlertRecipients,
    suspicion: &ClockSuspicion,
) -> Result<(), String> {
    let Some(to) = recipients.recipients().email_to.clone() else {
        return Ok(());
    };
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
    let mail = Mail {
        to,
        subject: "Tillbox: the clock is not trusted".to_owned(),
        text,
        message_id: message_id(suspicion),
        // The suspect instant may be no valid date for a mail; a wrong date is better than no mail.
        date_ms: since.as_millis().max(0),
    };
    mailer.send(&mail, NO_JOB).map_err(|error| chain(&error))
}
