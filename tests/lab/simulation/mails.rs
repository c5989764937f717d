//! The mails of the simulation: they go out, and now and then the answer does not come back.
//! Whoever gets one twice gets the very same.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tillbox::tenant::orders::CONFIRMATION;
use tillbox::worker::JobError;
use tillbox::worker::handlers::{self, Handler, Handlers, OutboundJob};

use crate::dice::Dice;

/// One mail in so many goes out without an answer.
const LOST_ANSWERS: u64 = 4;

struct Post {
    dice: Dice,
    delivered: BTreeMap<String, Vec<u8>>,
    complaint: Option<String>,
}

static POST: Mutex<Option<Post>> = Mutex::new(None);

fn post() -> MutexGuard<'static, Option<Post>> {
    POST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins anew, with the chances of a case.
pub fn begin(dice: Dice) {
    *post() = Some(Post {
        dice,
        delivered: BTreeMap::new(),
        complaint: None,
    });
}

/// What somebody who got a mail complains of.
pub fn complaint() -> Option<String> {
    post().as_ref().and_then(|post| post.complaint.clone())
}

/// The handlers of the program, with a post that loses answers.
pub static HANDLERS: LazyLock<Handlers> = LazyLock::new(|| {
    let all = handlers::ALL.0.iter().map(|(kind, handler)| match *kind {
        CONFIRMATION => (CONFIRMATION, Handler::Outbound(send)),
        kind => (kind, *handler),
    });
    Handlers(Box::leak(all.collect()))
});

fn send(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
    let Some(Handler::Outbound(send)) = handlers::ALL.find(CONFIRMATION) else {
        return Err(JobError::permanent("there is no handler for confirmations"));
    };
    send(outbound_job)?;
    let name = format!("order-confirmation.{}.eml", outbound_job.job_id);
    let read = std::fs::read(outbound_job.app.config.outbox_dir().join(&name));
    let bytes = read.map_err(|error| {
        JobError::permanent(format!("the mail that went out is not there: {error}"))
    })?;
    let mut guard = post();
    let post = guard.as_mut().expect("a case has begun");
    let before = post
        .delivered
        .entry(name.clone())
        .or_insert_with(|| bytes.clone());
    if *before != bytes {
        post.complaint = Some(format!("{name} came twice, and not as the same"));
    }
    if post.dice.below(LOST_ANSWERS) == 0 {
        return Err(JobError::passing("no answer; it went out all the same"));
    }
    Ok(())
}
