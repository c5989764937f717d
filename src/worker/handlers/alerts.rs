//! Alerts about discarded jobs, by signed webhook and by mail.
//!
//! Both carry the job's own id, so a second attempt is the same message. The recipients are those
//! of the current configuration.

use std::fmt::Write as _;

use serde_json::json;

use super::{OutboundJob, payload};
use crate::outbound::mail::Mail;
use crate::platform::alerts::{self, Alert, WindowEnd};
use crate::primitives::id::JobId;
use crate::primitives::{Name, chain};
use crate::storage::TenantWork;
use crate::tenant::settings;
use crate::worker::JobError;

pub(super) fn call_webhook(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
    let alert: Alert = payload(outbound_job.payload)?;
    // The webhook was removed from the configuration in the meantime.
    let Some(webhook) = outbound_job.alert_recipients.recipients().webhook.clone() else {
        return Ok(());
    };
    let body = body(&alert, &shop(outbound_job)?);
    let id = format!("msg_{}", outbound_job.job_id);
    match webhook.send(
        outbound_job.ports.outbound.as_ref(),
        &id,
        outbound_job.ports.clock.now(),
        body,
        outbound_job.remaining(),
    ) {
        Ok(()) => Ok(()),
        // Every error is retried: the operator can correct the cause while attempts remain.
        Err(error) => Err(JobError::transient(format!(
            "{}: {}",
            webhook.target,
            chain(&error)
        ))),
    }
}

pub(super) fn send_mail(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
    let alert: Alert = payload(outbound_job.payload)?;
    let Some(to) = outbound_job.alert_recipients.recipients().email_to.clone() else {
        return Ok(());
    };
    let mail = mail(outbound_job.job_id, to, &alert, &shop(outbound_job)?);
    outbound_job
        .mailer
        .send(&mail, outbound_job.remaining())
        .map_err(JobError::from)
}

pub(super) fn end_window(work: &mut TenantWork<'_>, text: &str) -> Result<(), JobError> {
    let over: WindowEnd = payload(text)?;
    alerts::end_window(work, &over).map_err(JobError::from)
}

fn shop(outbound_job: &OutboundJob<'_>) -> Result<Name, JobError> {
    Ok(outbound_job.db.read(settings::shop).wait()?.name)
}

fn body(alert: &Alert, shop: &Name) -> Vec<u8> {
    let failed = &alert.failed;
    let body = json!({
        "type": "job.failed",
        "timestamp": failed.failed_at,
        "data": {
            "tenant_id": failed.tenant_id,
            "tenant_name": shop,
            "queue": failed.queue,
            "job": failed.job,
            "job_id": failed.job_id,
            "attempt": failed.attempt,
            "error": failed.error,
            "failures": alert.failures,
        },
    });
    body.to_string().into_bytes()
}

fn mail(job_id: JobId, to: String, alert: &Alert, shop: &Name) -> Mail {
    let failed = &alert.failed;
    let mut text = match alert.failures {
        1 => format!("A job of {shop} was discarded. It is kept, with all its errors.\n\n"),
        many => format!(
            "{many} jobs of {shop} were discarded since the last mail about them.\nThey are kept, \
            with all their errors. The last one:\n\n"
        ),
    };
    let facts = [
        ("Tenant", failed.tenant_id.to_string()),
        ("Queue", failed.queue.clone()),
        ("Kind", failed.job.clone()),
        ("Job", failed.job_id.to_string()),
        ("Attempt", failed.attempt.to_string()),
        ("At", failed.failed_at.to_string()),
        ("Error", failed.error.clone()),
    ];
    for (label, value) in facts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {label:<8} {value}");
    }
    let _ = write!(
        text,
        "\nAfter you have corrected the cause:\n\n  tillbox queue retry {}\n\nTo list all \
        discarded jobs:\n\n  tillbox queue failed\n",
        failed.job_id
    );
    Mail {
        to,
        subject: format!("Tillbox: {} failed ({})", failed.job, alert.failures),
        text,
        message_id: format!("job-failed.{job_id}"),
        date_ms: failed.failed_at.as_millis(),
    }
}
