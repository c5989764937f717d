//! L5: the operator is told once of each suspicion about the clock, by the means that there are for
//! jobs that were given up: a signed webhook, a mail.
//!
//! That it was told is written down for each of the means, behind the telling: one that fails is
//! tried again by itself, and after a crash in between the same message comes twice. What is told
//! of jobs is a job in a shop's file (`platform/alerts.rs`); the clock is the house's, whose file
//! has no queue.

use std::time::Duration;

use serde_json::json;

use crate::app::App;
use crate::landlord::ClockSuspicion;
use crate::landlord::clock::{self, NoticeChannel};
use crate::outbound::mail::Mail;
use crate::primitives::{Origin, Timestamp, chain};
use crate::storage::StorageError;

/// No job waits for it: the limits of the means themselves hold.
const NO_JOB: Duration = Duration::MAX;

/// When somebody is to be told: now, while a suspicion lasts of which somebody was not. Blocks;
/// reads nothing while the clock is trusted.
pub fn next_at(app: &App, now: Timestamp) -> Result<Option<Timestamp>, StorageError> {
    if app.clock_watch.last_suspicion().is_none() {
        return Ok(None);
    }
    Ok((!list_owed(app)?.is_empty()).then_some(now))
}

/// By what a suspicion is still to be told.
fn list_owed(app: &App) -> Result<Vec<NoticeChannel>, StorageError> {
    let recipients = app.alert_recipients.recipients();
    let means = [
        (NoticeChannel::Webhook, recipients.webhook.is_some()),
        (NoticeChannel::Mail, recipients.email_to.is_some()),
    ];
    if means.iter().all(|(_, is_there)| !is_there) {
        return Ok(Vec::new());
    }
    let told = app.directory.read(clock::find_notified).wait()?;
    let owed = means
        .into_iter()
        .filter(|(channel, is_there)| *is_there && !told.contains(channel));
    Ok(owed.map(|(channel, _)| channel).collect())
}

/// Tells whom it is to be told. Blocks.
///
/// # Errors
/// What was in the way, of each of the means; it is tried again.
pub fn tell(app: &App, now: Timestamp) -> Result<(), String> {
    let Some(suspicion) = app.clock_watch.last_suspicion() else {
        return Ok(());
    };
    let (mut failed, since) = (Vec::new(), suspicion.since);
    for channel in list_owed(app).map_err(|error| error.to_string())? {
        let told = match channel {
            NoticeChannel::Webhook => call(app, &suspicion, now),
            NoticeChannel::Mail => mail(app, &suspicion),
        };
        let noted = told.and_then(|()| {
            let write = app
                .directory
                .database()
                .write(Origin::system(), move |work| {
                    clock::set_notified(work, channel, since)
                });
            write.wait().map_err(|error| error.to_string())
        });
        failed.extend(noted.err());
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("; "))
    }
}

/// The same for each attempt, so that whoever gets it twice knows it.
fn id(suspicion: &ClockSuspicion) -> String {
    format!(
        "clock-suspected.{}",
        suspicion.since.as_millis().unsigned_abs()
    )
}

fn call(app: &App, suspicion: &ClockSuspicion, now: Timestamp) -> Result<(), String> {
    let Some(webhook) = app.alert_recipients.recipients().webhook.clone() else {
        return Ok(());
    };
    let body = json!({
        "type": "clock.suspected",
        "timestamp": suspicion.since,
        "data": {"since": suspicion.since, "reason": suspicion.reason, "ends": suspicion.ends},
    });
    let id = format!("msg_{}", id(suspicion));
    let called = webhook.send(
        app.outbound.as_ref(),
        &id,
        now,
        body.to_string().into_bytes(),
        NO_JOB,
    );
    called.map_err(|error| format!("{}: {}", webhook.target, chain(&error)))
}

fn mail(app: &App, suspicion: &ClockSuspicion) -> Result<(), String> {
    let Some(to) = app.alert_recipients.recipients().email_to.clone() else {
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
         not touched by it.\nIt ends {ends}.\n\nLook at the clock and set it right if it is wrong. \
         When it is right:\n\n  tillbox retention prune --clock-is-right\n"
    );
    let mail = Mail {
        to,
        subject: "Tillbox: the clock is not trusted".to_owned(),
        text,
        message_id: id(suspicion),
        // What the clock shows may be no date for a mail; that nobody is told would be worse.
        date_ms: since.as_millis().max(0),
    };
    app.mailer
        .send(&mail, NO_JOB)
        .map_err(|error| chain(&error))
}
