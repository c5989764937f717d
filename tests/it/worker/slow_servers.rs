//! Servers elsewhere that never come to an end: what a job waits for them is bounded, and its place in the queue comes back.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tillbox::config::Span;
use tillbox::outbound::mail::Mail;
use tillbox::platform::queue::Queue;
use tillbox::worker::handlers::{Errand, Handler, Handlers};
use tillbox::worker::{JobError, Worker};

use super::{doing, enqueue, jobs, until};
use crate::support::TestApp;

const MAIL: &str = "test.mail";
const QUICK: &str = "test.quick";

fn send(errand: &Errand<'_>) -> Result<(), JobError> {
    let mail = Mail {
        to: "anna@example.org".to_owned(),
        subject: "Hello".to_owned(),
        text: "Hello".to_owned(),
        message_id: format!("test.{}", errand.job_id),
        date_ms: 0,
    };
    let sent = errand.app.mailer.send(&mail, errand.left());
    sent.map_err(|error| JobError::passing(error.to_string()))
}

fn at_once(_: &Errand<'_>) -> Result<(), JobError> {
    Ok(())
}

const HANDLERS: Handlers = Handlers(&[(MAIL, Handler::Outward(send)), (QUICK, Handler::Outward(at_once))]);

/// A mail server that answers a byte every few milliseconds, each caller, for as long as the test runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_drips_does_not_keep_the_places_of_its_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let (stop, stopped) = channel::<()>();
    let server = std::thread::spawn(move || {
        listener.set_nonblocking(true).expect("a socket can");
        let mut callers = Vec::new();
        while stopped.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
            callers.extend(listener.accept().map(|(caller, _)| caller));
            callers.retain_mut(|caller| caller.write_all(b"2").is_ok());
        }
    });
    let app = TestApp::with(false, |config| {
        config.mail.smtp_url = serde_json::from_value(format!("smtp://{address}").into()).expect("a URL");
        config.mail.timeout = Span::millis(200);
        config.queue.default.workers = 2;
        config.queue.default.tries = 1;
    });
    let (first, second) = (app.tenant("first"), app.tenant("second"));
    for _ in 0..2 {
        enqueue(&first, Queue::Default, MAIL, doing("it"));
    }
    let worker = Worker::start_with(app.app(), HANDLERS);
    until("both mails were given up", || jobs(&first, MAIL) == ["discarded|1|0"; 2]).await;
    enqueue(&second, Queue::Default, QUICK, doing("it"));
    until("another shop's job has a place", || jobs(&second, QUICK) == ["completed|1|0"]).await;
    let errors = first.rows("SELECT DISTINCT errors ->> '$[0].error' FROM job WHERE kind = 'test.mail'");
    let said = format!("the mail server {address} did not take the message within 200ms; whether it will after all is not known");
    assert_eq!(errors, [said]);
    let process = app.app();
    assert_eq!(process.pulse.queue(process.clock.as_ref()), Ok(()), "nothing hangs");
    drop(process);
    worker.stop(Duration::from_secs(30)).await;
    drop(stop);
    server.join().expect("the server is well");
}
