//! Refusals that a stranger causes do not fill the log: the lines are few, short, and counted when
//! they are held back.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tillbox::observe::logging::{self, Shape, Sink};
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::support::TestApp;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Collects what this thread logs at the default level from now on; the test's requests run on
    /// it.
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let own = log.clone();
        let sink = Sink {
            shape: Shape::Json,
            security_only: false,
            writer: BoxMakeWriter::new(move || own.clone()),
        };
        let subscriber = logging::subscriber("info", || 0, vec![sink]).expect("a good level");
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn len(&self) -> usize {
        self.0.lock().expect("no panic").len()
    }

    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().expect("no panic").clone();
        let lines = String::from_utf8(bytes).expect("text");
        lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

/// Requests of strangers, spread over this many minutes.
const REQUESTS: usize = 20_000;
const MINUTES: usize = 10;

#[tokio::test]
async fn counts_keyless_mismatches_and_writes_no_line_for_each() {
    let app = TestApp::start();
    let (_north, _south) = (app.tenant("north"), app.tenant("south"));
    let path = format!("/v1/catalog/products/{}", "p".repeat(8_000));
    let (log, _guard) = Log::begin();
    for number in 0..REQUESTS {
        let request = app.get(&path).header("host", "north.shop.test");
        request
            .header("x-tillbox-tenant", "south")
            .send()
            .await
            .refused(403, "tenant_mismatch");
        if number % (REQUESTS / MINUTES) == 0 {
            app.advance(Duration::from_secs(60));
        }
    }
    app.advance(Duration::from_secs(60));
    app.app().limits.log_lines.report();
    let lines = log.lines();
    let held: u64 = lines.iter().filter_map(|line| line["lines"].as_u64()).sum();
    assert_eq!(held, REQUESTS as u64, "all are counted: {lines:?}");
    assert!(lines.len() <= MINUTES + 1, "{lines:?}");
    assert!(log.len() < 4_096, "{} bytes", log.len());
}

#[tokio::test]
async fn bounds_lines_about_a_key_at_the_door_of_another_tenant() {
    let app = TestApp::start();
    let (north, _south) = (app.tenant("north"), app.tenant("south"));
    let path = format!("/v1/orders/{}", "p".repeat(8_000));
    let (log, _guard) = Log::begin();
    for _ in 0..1_000 {
        let request = north.get(&path).header("x-tillbox-tenant", "south");
        request.send().await.refused(403, "tenant_mismatch");
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 10, "the evidence is there, ten times a minute");
    let shown = lines[0]["path"].as_str().expect("a path");
    assert_eq!((shown.len(), shown.ends_with('…')), (200, true), "{shown}");
    app.advance(Duration::from_secs(60));
    north
        .get("/v1/orders")
        .header("x-tillbox-tenant", "south")
        .send()
        .await
        .refused(403, "tenant_mismatch");
    let lines = log.lines();
    assert_eq!(lines[10]["message"], "log lines held back");
    assert_eq!(
        (&lines[10]["kind"], &lines[10]["lines"]),
        (&"tenant_mismatch".into(), &990.into())
    );
    assert_eq!(lines[11]["message"], "tenant mismatch", "a new minute");
    assert!(log.len() < 12 * 800, "{} bytes", log.len());
}
