//! The list: names as Prometheus wants them, and nothing counted that is not in it.

use super::*;

/// Units that Prometheus has a base unit for instead.
const NO_BASE_UNITS: &[&str] = &[
    "milliseconds",
    "ms",
    "micros",
    "microseconds",
    "us",
    "minutes",
    "hours",
    "days",
    "kilobytes",
    "kb",
    "megabytes",
    "mb",
    "percent",
];

#[test]
fn names_follow_the_conventions() {
    assert!(
        METRICS.is_sorted_by(|a, b| a.name < b.name),
        "by name, and each once"
    );
    for Metric { name, kind, help } in METRICS {
        let parts: Vec<&str> = name.split('_').collect();
        let is_sane = parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()));
        assert!(
            is_sane && (name.starts_with("tillbox_") || name.starts_with("process_")),
            "{name}"
        );
        assert_eq!(
            name.ends_with("_total"),
            *kind == Kind::Counter,
            "{name}: `_total` is for counters, and for all of them"
        );
        assert!(
            !parts.iter().any(|part| NO_BASE_UNITS.contains(part)),
            "{name}: not in a base unit"
        );
        for taken in ["_sum", "_count", "_bucket"] {
            assert!(
                !name.ends_with(taken),
                "{name}: {taken} belongs to a histogram's parts"
            );
        }
        if *kind == Kind::Histogram {
            assert!(
                name.ends_with("_seconds")
                    || name.ends_with("_bytes")
                    || name.ends_with("_requests"),
                "{name}: of what unit?"
            );
        }
        assert!(
            help.ends_with('.') && !help.contains(['\n', '\\']),
            "{name}: {help}"
        );
    }
}

/// A sheet has the form that the recorder's text has.
#[test]
fn a_sheet_says_what_it_is() {
    let mut sheet = Sheet::default();
    sheet.put_labelled("tillbox_build_info", "version=\"1\"", 1.0);
    sheet.put("tillbox_disk_free_bytes", 1e15);
    let samples = ["low", "audit"].map(|queue| (format!("queue=\"{queue}\""), 2.0));
    sheet.put_each("tillbox_queue_jobs", samples);
    insta::assert_snapshot!(sheet.into_text().trim_end(), @r#"
    # HELP tillbox_build_info The version of the program and of the SQLite in it; always 1.
    # TYPE tillbox_build_info gauge
    tillbox_build_info{version="1"} 1

    # HELP tillbox_disk_free_bytes Room on the disk of the data directory.
    # TYPE tillbox_disk_free_bytes gauge
    tillbox_disk_free_bytes 1000000000000000

    # HELP tillbox_queue_jobs Jobs of all stores, by queue and state, as each store that writes was last counted (once a minute). `held` are in no other state; completed ones are not counted.
    # TYPE tillbox_queue_jobs gauge
    tillbox_queue_jobs{queue="low"} 2
    tillbox_queue_jobs{queue="audit"} 2
    "#);
}
