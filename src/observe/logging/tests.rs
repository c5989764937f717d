//! Tests of complete log lines.

use super::*;
use serde_json::Value;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tracing::{debug, error, info, info_span, trace, warn};

/// 2026-01-02T03:04:05.006Z
fn now_ms() -> i64 {
    1_767_323_045_006
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `body` writes to one sink.
fn lines(level: &str, shape: Shape, security_only: bool, body: impl FnOnce()) -> Vec<String> {
    let buffer = Buffer::default();
    let own = buffer.clone();
    let sink = Sink {
        shape,
        security_only,
        writer: BoxMakeWriter::new(move || own.clone()),
    };
    let subscriber = subscriber(level, now_ms, vec![sink]).unwrap();
    tracing::subscriber::with_default(subscriber, body);
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    text.lines().map(str::to_owned).collect()
}

fn json(body: impl FnOnce()) -> Vec<String> {
    lines("info", Shape::Json, false, body)
}

#[test]
fn writes_flat_object_in_fixed_order() {
    let lines = json(|| {
        let error = subscriber("loud=very", now_ms, Vec::new()).err().unwrap();
        warn!(target: "tillbox::worker", order_id = "o1", attempt = 2_u32, ok = false, delta = -1,
            ratio = 0.5, error = &error as &dyn std::error::Error, kind = ?Some(1), "job {}",
                "failed");
    });
    insta::assert_snapshot!(lines.join("\n"),
        @r#"{"timestamp":"2026-01-02T03:04:05.006Z","level":"WARN","target":"tillbox::worker","message":"job failed","order_id":"o1","attempt":2,"ok":false,"delta":-1,"ratio":0.5,"error":"invalid log level \"loud=very\": error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5","kind":"Some(1)"}"#);
}

#[test]
fn flattens_span_fields_with_innermost_value() {
    let lines = json(|| {
        let request = info_span!(
            "request",
            request_id = "r1",
            tenant_id = tracing::field::Empty,
            step = "outer"
        );
        let _request = request.enter();
        request.record("tenant_id", "t1");
        let _inner = info_span!("inner", step = "inner", message = "of a span").entered();
        info!("one");
        info!(step = "event", request_id = "r2", "two");
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"timestamp":"2026-01-02T03:04:05.006Z","level":"INFO","target":"tillbox::observe::logging::tests","message":"one","step":"inner","request_id":"r1","tenant_id":"t1"}
    {"timestamp":"2026-01-02T03:04:05.006Z","level":"INFO","target":"tillbox::observe::logging::tests","message":"two","step":"event","request_id":"r2","tenant_id":"t1"}
    "#);
}

#[test]
fn renames_reserved_fields() {
    let lines = json(|| {
        let _span = info_span!("s", level = "x").entered();
        info!(target: "t", timestamp = 1, target = "y", "z");
    });
    insta::assert_snapshot!(lines.join("\n"),
        @r#"{"timestamp":"2026-01-02T03:04:05.006Z","level":"INFO","target":"t","message":"z","timestamp_":1,"target_":"y","level_":"x"}"#);
}

#[test]
fn escapes_control_characters() {
    let evil = "a\n{\"level\":\"INFO\"}\r\u{1b}[2J\u{0}\"\\\u{85}";
    let emit = || error!(name = evil, "{evil}");
    let lines_json = json(emit);
    assert_eq!(lines_json.len(), 1);
    let value: Value = serde_json::from_str(&lines_json[0]).unwrap();
    assert_eq!(
        (&value["name"], &value["message"]),
        (&evil.into(), &evil.into())
    );

    let console = lines("info", Shape::Console { ansi: false }, false, emit);
    assert_eq!(console.len(), 1);
    assert!(!console[0].contains(char::is_control), "{console:?}");
}

#[test]
fn cuts_text_of_callers_to_200_bytes() {
    let path = format!("/v1/{}", "ä".repeat(6_000));
    let error = "e".repeat(6_000);
    let lines = json(|| warn!(path, debug = ?path, shown = %path, error, "long"));
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    for field in ["path", "debug", "shown"] {
        let text = line[field].as_str().unwrap();
        assert!((197..=200).contains(&text.len()), "{field}: {}", text.len());
        assert!(text.ends_with("ä…"), "{field}: {text}");
    }
    assert_eq!(line["error"].as_str().unwrap().len(), 4_096);
    let whole = json(|| warn!(path = "p".repeat(200), "whole"));
    assert!(whole[0].contains(&"p".repeat(200)));
}

#[test]
fn writes_readable_console_lines() {
    let emit = || {
        info!(
            listen = "[::1]:1",
            name = "two words",
            empty = "",
            n = 1,
            "ready"
        )
    };
    let plain = lines("info", Shape::Console { ansi: false }, false, emit);
    insta::assert_snapshot!(plain.join("\n"),
        @r#"2026-01-02T03:04:05.006Z  INFO ready listen=[::1]:1 name="two words" empty="" n=1"#);
    let coloured = lines("info", Shape::Console { ansi: true }, false, emit);
    assert!(
        coloured[0].contains("\u{1b}[32m INFO\u{1b}[0m ready"),
        "{coloured:?}"
    );
}

#[test]
fn passes_security_events_at_every_level() {
    let emit = || {
        info!("ordinary");
        warn!(target: "security", "bad signature");
    };
    for (level, security_only, expected) in [
        ("info", false, 2),
        ("off", false, 1),
        ("off", true, 1),
        ("info", true, 1),
    ] {
        let lines = lines(level, Shape::Json, security_only, emit);
        assert_eq!(lines.len(), expected, "{level} {security_only}");
        assert!(lines.last().unwrap().contains("bad signature"));
    }
}

/// Data sent to other servers is not logged below a warning, whatever directives are set.
#[test]
fn hides_wire_data_for_every_directive() {
    let emit = || {
        trace!(target: "ureq::unversioned::transport", "POST /T0/s3cret");
        debug!(target: "ureq_proto", "s3cret");
        debug!(target: "lettre::transport::smtp", "AUTH s3cret");
        warn!(target: "ureq", "a warning");
        trace!(target: "ureq2", "another crate");
    };
    for level in [
        "trace",
        "info,ureq=trace,ureq2=trace",
        "ureq::unversioned::transport=trace,ureq2=trace,lettre=debug,ureq=warn",
    ] {
        let lines = lines(level, Shape::Json, false, emit);
        assert_eq!(lines.len(), 2, "{level}: {lines:?}");
        assert!(!lines.concat().contains("s3cret"), "{level}: {lines:?}");
    }
}

fn to_files(dir: &Path) -> Logging {
    Logging {
        level: "info".to_owned(),
        dir: Some(dir.to_owned()),
        stdout: Stdout::None,
        journal: false,
        now_ms,
    }
}

fn files(dir: &Path) -> Vec<(String, usize)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let lines = fs::read_to_string(entry.path()).unwrap().lines().count();
            (entry.file_name().into_string().unwrap(), lines)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn writes_daily_files_and_appends_after_restart() {
    let dir = tempfile::tempdir().unwrap();
    for run in 1..=3 {
        let (sinks, guard) = to_files(dir.path()).sinks().unwrap();
        tracing::subscriber::with_default(subscriber("info", now_ms, sinks).unwrap(), || {
            info!("ordinary");
            warn!(target: SECURITY, "cross-tenant attempt");
        });
        drop(guard);
        let files = files(dir.path());
        assert_eq!(files.len(), 2, "{files:?}");
        let (security, ordinary) = (&files[0], &files[1]);
        assert!(
            security.0.starts_with("security.2") && security.0.ends_with(".log"),
            "{files:?}"
        );
        assert!(ordinary.0.starts_with("tillbox.2"), "{files:?}");
        assert_eq!(ordinary.0.len(), "tillbox.YYYY-MM-DD.log".len());
        assert_eq!((security.1, ordinary.1), (run, 2 * run));
    }
}

#[test]
fn rejects_unusable_directory_and_invalid_level() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = to_files(&file.join("logs")).start().err().unwrap();
    assert!(matches!(error, LoggingError::Files { .. }), "{error}");

    let mut logging = to_files(dir.path());
    logging.dir = None;
    logging.level = "loud=very".to_owned();
    let error = logging.start().err().unwrap();
    assert!(matches!(error, LoggingError::Level { .. }), "{error}");
}

#[test]
fn writes_priority_and_no_time_for_journal() {
    let emit = || {
        error!(n = 1, "bad");
        info!("good");
    };
    let json = lines("info", Shape::Journal { json: true }, false, emit);
    assert!(
        json[0].starts_with("<3>{\"timestamp\":") && json[1].starts_with("<6>{"),
        "{json:?}"
    );
    let console = lines("info", Shape::Journal { json: false }, false, emit);
    insta::assert_snapshot!(console.join("\n"), @r#"
    <3>ERROR bad n=1
    <6> INFO good
    "#);
}

/// `main` ends by a panic: lines logged before are in the file.
#[test]
fn keeps_lines_when_main_panics() {
    let dir = tempfile::tempdir().unwrap();
    let logging = to_files(dir.path());
    let ended = std::thread::spawn(move || {
        let (sinks, guard) = logging.sinks().unwrap();
        let _guard = guard;
        let _subscriber =
            tracing::subscriber::set_default(subscriber("info", now_ms, sinks).unwrap());
        for number in 0..20_000 {
            info!(number, "line");
        }
        panic!("the end of main");
    });
    assert!(ended.join().is_err());
    let files = files(dir.path());
    assert_eq!(
        files.last().map(|(_, lines)| *lines),
        Some(20_000),
        "{files:?}"
    );
}

#[test]
fn changes_level_while_running() {
    let buffer = Buffer::default();
    let own = buffer.clone();
    let sink = Sink {
        shape: Shape::Json,
        security_only: false,
        writer: BoxMakeWriter::new(move || own.clone()),
    };
    let (filter, handle) = reload::Layer::new(filter("warn").unwrap());
    let lines = Lines {
        now_ms,
        sinks: vec![sink],
    };
    let level = Level(handle);
    tracing::subscriber::with_default(
        tracing_subscriber::registry().with(filter).with(lines),
        || {
            info!("one");
            level.set("debug").unwrap();
            tracing::debug!("two");
            assert!(level.set("loud=very").is_err());
            tracing::debug!("three");
            level.set("off").unwrap();
            error!("four");
            warn!(target: SECURITY, "five");
        },
    );
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let messages: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].take())
        .collect();
    assert_eq!(messages, ["two", "three", "five"]);
}

/// The clock of these tests shows 2 January 2026, and one day is kept beside it.
#[test]
fn deletes_old_files_by_name_and_keeps_others() {
    let dir = tempfile::tempdir().unwrap();
    let stay = [
        "notes.txt",
        "security.2026-01-01.log",
        "tillbox-old.2020-01-01.log",
        "tillbox.2020-01-01.log.gz",
        "tillbox.2020-1-1.log",
        "tillbox.2026-01-01.log",
        "tillbox.log",
    ];
    for name in stay.into_iter().chain([
        "tillbox.2025-12-31.log",
        "tillbox.2020-01-01.log",
        "security.2025-12-31.log",
    ]) {
        fs::write(dir.path().join(name), "x\n").unwrap();
    }
    assert_eq!(remove_old(dir.path(), 1, now_ms()), 3);
    let names: Vec<String> = files(dir.path())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, stay);
    assert_eq!(remove_old(&dir.path().join("nowhere"), 1, now_ms()), 0);
}

/// Writing lines deletes nothing, whatever the clock shows; after a clock is set back, lines go to
/// the file of the earlier day.
#[test]
fn follows_clock_forward_and_back() {
    use std::sync::atomic::{AtomicI64, Ordering};
    static NOW_MS: AtomicI64 = AtomicI64::new(0);
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let dir = tempfile::tempdir().unwrap();
    let set_clock = |ms: i64| NOW_MS.store(ms, Ordering::Relaxed);
    set_clock(now_ms());
    fs::write(dir.path().join("tillbox.2025-01-01.log"), "x\n").unwrap();
    let mut daily = DailyFile::open(dir.path(), ALL, || NOW_MS.load(Ordering::Relaxed)).unwrap();
    let mut write = |line: &[u8]| daily.write_all(line).unwrap();
    write(b"one\n");
    set_clock(now_ms() + DAY_MS);
    write(b"two\n");
    set_clock(now_ms() + 365 * DAY_MS);
    write(b"three\n");
    set_clock(now_ms() + DAY_MS);
    write(b"four\n");
    let written = [
        ("tillbox.2025-01-01.log", 1),
        ("tillbox.2026-01-02.log", 1),
        ("tillbox.2026-01-03.log", 2),
        ("tillbox.2027-01-02.log", 1),
    ];
    assert_eq!(
        files(dir.path()),
        written.map(|(name, lines)| (name.to_owned(), lines))
    );
    // While a day's file cannot be created, no line is lost; later lines go to the new file.
    let blocked = dir.path().join("tillbox.2026-01-04.log");
    fs::create_dir(&blocked).unwrap();
    set_clock(now_ms() + 2 * DAY_MS);
    write(b"five\n");
    fs::remove_dir(&blocked).unwrap();
    write(b"six\n");
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(read("tillbox.2026-01-03.log"), "two\nfour\nfive\n");
    assert_eq!(read("tillbox.2026-01-04.log"), "six\n");
    // A deleted directory is created again.
    fs::remove_dir_all(dir.path()).unwrap();
    set_clock(now_ms() + 3 * DAY_MS);
    write(b"seven\n");
    assert_eq!(read("tillbox.2026-01-05.log"), "seven\n");
}

/// A directive for one module does not silence the others, and spaces are ignored.
#[test]
fn uses_default_level_without_global_directive() {
    let emit = || {
        info!("ordinary");
        debug!("detail");
        debug!(target: "tillbox::worker", "detail of the worker");
    };
    for level in [
        "tillbox::worker=debug",
        "info, tillbox::worker=debug",
        "tillbox::worker=debug,info",
    ] {
        let lines = lines(level, Shape::Json, false, emit);
        assert_eq!(lines.len(), 2, "{level}: {lines:?}");
    }
    assert_eq!(
        lines("off,tillbox::worker=debug", Shape::Json, false, emit).len(),
        1
    );
}

#[test]
fn logs_panics() {
    let lines = json(|| {
        log_panics();
        let caught = std::panic::catch_unwind(|| panic!("of {}", "note"));
        // The hook belongs to the whole process: restore it for other tests.
        drop(std::panic::take_hook());
        assert!(caught.is_err());
    });
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&line["message"], &line["panic"], &line["level"]),
        (&"panicked".into(), &"of note".into(), &"ERROR".into())
    );
    assert!(
        line["location"]
            .as_str()
            .is_some_and(|location| location.contains("logging/tests.rs:")),
        "{line}"
    );
    assert_eq!(line["thread"], "observe::logging::tests::logs_panics");
}
