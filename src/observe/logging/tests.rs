//! Log lines as they leave the process.

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
fn a_line_is_one_flat_object_in_a_fixed_order() {
    let lines = json(|| {
        let error = subscriber("loud=very", now_ms, Vec::new()).err().unwrap();
        warn!(target: "tillbox::worker", order_id = "o1", attempt = 2_u32, ok = false, delta = -1,
            ratio = 0.5, error = &error as &dyn std::error::Error, kind = ?Some(1), "job {}",
                "failed");
    });
    insta::assert_snapshot!(lines.join("\n"),
        @r#"{"timestamp":"2026-01-02T03:04:05.006Z","level":"WARN","target":"tillbox::worker","message":"job failed","order_id":"o1","attempt":2,"ok":false,"delta":-1,"ratio":0.5,"error":"\"loud=very\" is no log level: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5","kind":"Some(1)"}"#);
}

#[test]
fn span_fields_are_flattened_and_the_innermost_wins() {
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
fn fields_cannot_take_the_place_of_the_head_nor_appear_twice() {
    let lines = json(|| {
        let _span = info_span!("s", level = "x").entered();
        info!(target: "t", timestamp = 1, target = "y", "z");
    });
    insta::assert_snapshot!(lines.join("\n"),
        @r#"{"timestamp":"2026-01-02T03:04:05.006Z","level":"INFO","target":"t","message":"z","timestamp_":1,"target_":"y","level_":"x"}"#);
}

#[test]
fn nothing_in_a_field_can_end_the_line() {
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
fn the_console_shape_is_for_people() {
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
fn security_events_pass_every_level_and_have_a_sink_of_their_own() {
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

/// What those say who talk to others is not to be had below a warning, however it is asked for.
#[test]
fn no_directive_brings_out_what_is_said_to_others() {
    let emit = || {
        trace!(target: "ureq::unversioned::transport", "POST /T0/s3cret");
        debug!(target: "ureq_proto", "s3cret");
        debug!(target: "lettre::transport::smtp", "AUTH s3cret");
        warn!(target: "ureq", "a warning");
        trace!(target: "ureq2", "somebody else");
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
fn files_are_daily_flushed_by_the_guard_and_survive_a_restart() {
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
fn what_cannot_start_says_why() {
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
fn the_journal_is_told_the_priority_and_no_time() {
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

/// The end of `main` comes by a panic: what was logged before it, and the panic, are in the file.
#[test]
fn a_panic_loses_no_line() {
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
fn the_level_changes_while_it_runs() {
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
    let said: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].take())
        .collect();
    assert_eq!(said, ["two", "three", "five"]);
}

/// The clock of these tests shows the 2nd of January 2026, and one day is kept beside it.
#[test]
fn files_of_days_long_past_go_by_their_names_and_others_stay() {
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

/// Whoever writes lines deletes nothing, whatever the clock shows, and a clock that was set right
/// is followed back.
#[test]
fn a_line_goes_to_the_file_of_its_day_forward_and_back() {
    use std::sync::atomic::{AtomicI64, Ordering};
    static NOW_MS: AtomicI64 = AtomicI64::new(0);
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let dir = tempfile::tempdir().unwrap();
    let show = |ms: i64| NOW_MS.store(ms, Ordering::Relaxed);
    show(now_ms());
    fs::write(dir.path().join("tillbox.2025-01-01.log"), "x\n").unwrap();
    let mut daily = DailyFile::open(dir.path(), ALL, || NOW_MS.load(Ordering::Relaxed)).unwrap();
    let mut say = |line: &[u8]| daily.write_all(line).unwrap();
    say(b"one\n");
    show(now_ms() + DAY_MS);
    say(b"two\n");
    show(now_ms() + 365 * DAY_MS);
    say(b"three\n");
    show(now_ms() + DAY_MS);
    say(b"four\n");
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
    // A day whose file cannot be made loses nothing, and gets its own as soon as it can be.
    let blocked = dir.path().join("tillbox.2026-01-04.log");
    fs::create_dir(&blocked).unwrap();
    show(now_ms() + 2 * DAY_MS);
    say(b"five\n");
    fs::remove_dir(&blocked).unwrap();
    say(b"six\n");
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(read("tillbox.2026-01-03.log"), "two\nfour\nfive\n");
    assert_eq!(read("tillbox.2026-01-04.log"), "six\n");
    // And a directory that somebody has cleared away is made anew.
    fs::remove_dir_all(dir.path()).unwrap();
    show(now_ms() + 3 * DAY_MS);
    say(b"seven\n");
    assert_eq!(read("tillbox.2026-01-05.log"), "seven\n");
}

/// Who asks for more of one module does not ask for silence, and a space is none of a name.
#[test]
fn without_a_level_for_all_it_is_the_default_one() {
    let emit = || {
        info!("ordinary");
        debug!("in detail");
        debug!(target: "tillbox::worker", "at work");
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
fn a_panic_is_a_line() {
    let lines = json(|| {
        log_panics();
        let caught = std::panic::catch_unwind(|| panic!("of {}", "note"));
        // The hook is the whole process's: other tests have theirs back.
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
            .is_some_and(|place| place.contains("logging/tests.rs:")),
        "{line}"
    );
    assert_eq!(line["thread"], "logging::tests::a_panic_is_a_line");
}
