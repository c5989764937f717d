//! The worker: claims, retries, discards and rescues.

mod confirmation;
mod epoch;
mod job_failed_alert;
mod jobs;
mod noisy_neighbour;
mod pause;
mod rescue_burns_no_attempt;
mod running;
mod slow_servers;
mod sweep;
mod trim;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use tillbox::platform::queue::{self, NewJob, Queue};
use tillbox::worker::{self, Handlers, JobCounts};

use crate::support::{TestApp, TestShop, blocking};

/// Enqueues a job, as a use case does.
fn enqueue(shop: &TestShop, queue: Queue, kind: &'static str, payload: Value) {
    let new = NewJob::new(queue, kind, &payload);
    let pushed = shop
        .write(move |work| queue::enqueue(work, &new))
        .expect("the job is written");
    assert!(pushed);
}

/// Runs all jobs that are due now.
fn run(app: &TestApp, handlers: Handlers) -> JobCounts {
    let app = app.app();
    blocking(|| worker::run_until_idle_with(&app, handlers))
}

/// Waits for a condition that is expected to hold soon.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .expect(what);
}

/// A remote server that keeps every caller waiting until the test ends.
struct EndlessServer {
    address: SocketAddr,
    stop: Sender<()>,
    running: JoinHandle<()>,
}

impl EndlessServer {
    /// Starts it. Every few milliseconds `keep` is called with each caller, and returns whether to
    /// keep the connection.
    fn start(keep: fn(&mut TcpStream) -> bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let (stop, stopped) = channel::<()>();
        let running = thread::spawn(move || {
            listener.set_nonblocking(true).expect("a socket can");
            let mut callers = Vec::new();
            while stopped.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                callers.extend(listener.accept().map(|(caller, _)| caller));
                callers.retain_mut(keep);
            }
        });
        Self {
            address,
            stop,
            running,
        }
    }

    fn stop(self) {
        drop(self.stop);
        self.running.join().expect("the server is well");
    }
}

/// State, attempt and rescues of every job of a kind, in order.
fn jobs(shop: &TestShop, kind: &str) -> Vec<String> {
    shop.rows(&format!(
        "SELECT state, attempt, rescues FROM job WHERE kind = '{kind}' ORDER BY seq"
    ))
}

fn completed(completed: usize) -> JobCounts {
    JobCounts {
        completed,
        ..JobCounts::default()
    }
}

/// A payload that names an action.
fn doing(what: &str) -> Value {
    json!({"what": what})
}
