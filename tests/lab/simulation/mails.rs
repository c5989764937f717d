//! The mails of the simulation. They are sent, and some answers are lost. A mail that arrives twice
//! must be identical.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tillbox::outbound::mail::Mailer;
use tillbox::tenant::confirmation::CONFIRMATION;
use tillbox::worker::JobError;
use tillbox::worker::handlers::{self, Handler, Handlers, OutboundJob};

use crate::rng::Rng;

/// One answer in this many is lost.
const LOST_ANSWERS: u64 = 4;

struct MailServer {
    rng: Rng,
    delivered: BTreeMap<String, Vec<u8>>,
    mismatch: Option<String>,
}

static MAIL_SERVER: Mutex<Option<MailServer>> = Mutex::new(None);

fn server() -> MutexGuard<'static, Option<MailServer>> {
    MAIL_SERVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a case with its own random numbers.
pub fn begin(rng: Rng) {
    *server() = Some(MailServer {
        rng,
        delivered: BTreeMap::new(),
        mismatch: None,
    });
}

/// Returns a duplicate mail that differs from the first one, if any.
pub fn mismatch() -> Option<String> {
    server().as_ref().and_then(|server| server.mismatch.clone())
}

/// The handlers of the program, with a mail server that loses answers.
pub static HANDLERS: LazyLock<Handlers> = LazyLock::new(|| {
    let all = handlers::ALL.0.iter().map(|(kind, handler)| match *kind {
        CONFIRMATION => (CONFIRMATION, Handler::Outbound(send)),
        kind => (kind, *handler),
    });
    Handlers(Box::leak(all.collect()))
});

fn send(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
    let Some(Handler::Outbound(send)) = handlers::ALL.find(CONFIRMATION) else {
        return Err(JobError::permanent("no handler for confirmations"));
    };
    send(outbound_job)?;
    let name = format!("order-confirmation.{}.eml", outbound_job.job_id);
    let Mailer::Outbox { dir, .. } = outbound_job.mailer else {
        return Err(JobError::permanent("mails do not go to the outbox"));
    };
    let read = std::fs::read(dir.join(&name));
    let bytes =
        read.map_err(|error| JobError::permanent(format!("the sent mail is missing: {error}")))?;
    let mut guard = server();
    let server = guard.as_mut().expect("a case has begun");
    let before = server
        .delivered
        .entry(name.clone())
        .or_insert_with(|| bytes.clone());
    if *before != bytes {
        server.mismatch = Some(format!("{name} was sent twice with different content"));
    }
    if server.rng.below(LOST_ANSWERS) == 0 {
        return Err(JobError::transient("no answer, but the mail was sent"));
    }
    Ok(())
}
