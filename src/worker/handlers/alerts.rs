//! Alerts about discarded jobs.
//!
//! A notice carries the job's own id, so a second attempt is the same message. The recipients are
//! those of the current configuration.

use std::fmt::Write as _;

use serde_json::json;

use super::{OutboundJob, payload};
use crate::alerts::notice::{Notice, Sender};
use crate::platform::alerts::{self, Alert, AlertChannel, WindowEnd};
use crate::primitives::Name;
use crate::primitives::id::JobId;
use crate::storage::TenantWork;
use crate::tenant::settings;
use crate::worker::JobError;

pub(super) fn send(outbound_job: &OutboundJob<'_>, channel: AlertChannel) -> Result<(), JobError> {
    let alert: Alert = payload(outbound_job.payload)?;
    let recipients = outbound_job.alert_recipients.recipients();
    if !recipients.has(channel) {
        return Ok(());
    }
    let shop = outbound_job.db.read(settings::shop).wait()?.name;
    let sender = Sender {
        outbound: outbound_job.ports.outbound.as_ref(),
        mailer: outbound_job.mailer,
        now: outbound_job.ports.clock.now(),
        within: outbound_job.remaining(),
    };
    let sent = sender.send(
        &recipients,
        channel,
        notice(outbound_job.job_id, &alert, &shop),
    );
    sent.map_err(|error| {
        if error.is_permanent {
            JobError::permanent(error.reason)
        } else {
            JobError::transient(error.reason)
        }
    })
}

pub(super) fn end_window(work: &mut TenantWork<'_>, text: &str) -> Result<(), JobError> {
    let over: WindowEnd = payload(text)?;
    alerts::end_window(work, &over).map_err(JobError::from)
}

fn notice(job_id: JobId, alert: &Alert, shop: &Name) -> Notice {
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
    Notice {
        event: "job.failed",
        id: job_id.to_string(),
        mail_id: format!("job-failed.{job_id}"),
        at: failed.failed_at,
        data: json!({
            "tenant_id": failed.tenant_id,
            "tenant_name": shop,
            "queue": failed.queue,
            "job": failed.job,
            "job_id": failed.job_id,
            "attempt": failed.attempt,
            "error": failed.error,
            "failures": alert.failures,
        }),
        subject: format!("Tillbox: {} failed ({})", failed.job, alert.failures),
        text,
    }
}
