//! Remote servers that never finish: a job's wait is bounded, and its slot is freed.

use std::io::Write as _;
use std::time::Duration;

use tillbox::config::Span;
use tillbox::outbound::mail::Mail;
use tillbox::platform::queue::Queue;
use tillbox::worker::handlers::{Handler, Handlers, OutboundJob};
use tillbox::worker::{JobError, Worker};

use super::{EndlessServer, doing, enqueue, jobs, until};
use crate::support::TestApp;

const MAIL: &str = "test.mail";
const QUICK: &str = "test.quick";

fn send(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
    let mail = Mail {
        to: "anna@example.org".to_owned(),
        subject: "Hello".to_owned(),
        text: "Hello".to_owned(),
        message_id: format!("test.{}", outbound_job.job_id),
        date_ms: 0,
    };
    let sent = outbound_job.mailer.send(&mail, outbound_job.remaining());
    sent.map_err(|error| JobError::transient(error.to_string()))
}

fn at_once(_: &OutboundJob<'_>) -> Result<(), JobError> {
    Ok(())
}

const HANDLERS: Handlers = Handlers(&[
    (MAIL, Handler::Outbound(send)),
    (QUICK, Handler::Outbound(at_once)),
]);

/// The mail server sends each caller one byte every few milliseconds until the test ends.
#[tokio::test(flavor = "multi_thread")]
async fn frees_slots_when_mail_server_drips() {
    let server = EndlessServer::start(|caller| caller.write_all(b"2").is_ok());
    let address = server.address;
    let app = TestApp::with(false, |config| {
        config.mail.smtp_url =
            serde_json::from_value(format!("smtp://{address}").into()).expect("a URL");
        config.mail.timeout = Span::millis(200);
        config.queue.default.workers = 2;
        config.queue.default.tries = 1;
    });
    let (first, second) = (app.tenant("first"), app.tenant("second"));
    for _ in 0..2 {
        enqueue(&first, Queue::Default, MAIL, doing("it"));
    }
    let worker = Worker::start_with(app.app(), HANDLERS);
    until("both mails were discarded", || {
        jobs(&first, MAIL) == ["discarded|1|0"; 2]
    })
    .await;
    enqueue(&second, Queue::Default, QUICK, doing("it"));
    until("another shop's job has a slot", || {
        jobs(&second, QUICK) == ["completed|1|0"]
    })
    .await;
    let errors =
        first.rows("SELECT DISTINCT errors ->> '$[0].error' FROM job WHERE kind = 'test.mail'");
    let said = format!(
        "the mail server {address} did not accept the message within 200ms; it may still deliver it"
    );
    assert_eq!(errors, [said]);
    let process = app.app();
    assert_eq!(
        process
            .observation
            .liveness
            .queue(process.ports.clock.as_ref()),
        Ok(()),
        "nothing hangs"
    );
    drop(process);
    worker.stop(Duration::from_secs(30)).await;
    server.stop();
}
