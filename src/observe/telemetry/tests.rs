//! The list of metrics: names follow the Prometheus conventions, and only listed metrics are
//! recorded.

use super::*;

/// Units that Prometheus replaces with a base unit.
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
fn follows_naming_conventions() {
    assert!(
        METRICS.is_sorted_by(|a, b| a.name < b.name),
        "sorted by name, without duplicates"
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
            "{name}: `_total` is for all counters and only for counters"
        );
        assert!(
            !parts.iter().any(|part| NO_BASE_UNITS.contains(part)),
            "{name}: not in a base unit"
        );
        for reserved in ["_sum", "_count", "_bucket"] {
            assert!(
                !name.ends_with(reserved),
                "{name}: {reserved} is reserved for histograms"
            );
        }
        if *kind == Kind::Histogram {
            assert!(
                name.ends_with("_seconds")
                    || name.ends_with("_bytes")
                    || name.ends_with("_requests"),
                "{name}: no unit"
            );
        }
        assert!(
            help.ends_with('.') && !help.contains(['\n', '\\']),
            "{name}: {help}"
        );
    }
}

/// The text has the format of the recorder's text.
#[test]
fn renders_help_type_and_samples() {
    let mut text = MetricsText::default();
    text.put_labelled("tillbox_build_info", "version=\"1\"", 1.0);
    text.put("tillbox_disk_free_bytes", 1e15);
    let samples = ["low", "audit"].map(|queue| (format!("queue=\"{queue}\""), 2.0));
    text.put_each("tillbox_queue_jobs", samples);
    insta::assert_snapshot!(text.into_text().trim_end(), @r#"
    # HELP tillbox_build_info Versions of the program and of its SQLite; always 1.
    # TYPE tillbox_build_info gauge
    tillbox_build_info{version="1"} 1

    # HELP tillbox_disk_free_bytes Free space on the disk of the data directory.
    # TYPE tillbox_disk_free_bytes gauge
    tillbox_disk_free_bytes 1000000000000000

    # HELP tillbox_queue_jobs Jobs of all tenants, by queue and state, at the last count; tenants that write are counted once a minute. `held` jobs are in no other state; completed jobs are not counted.
    # TYPE tillbox_queue_jobs gauge
    tillbox_queue_jobs{queue="low"} 2
    tillbox_queue_jobs{queue="audit"} 2
    "#);
}
