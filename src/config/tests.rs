//! The configuration as the operator meets it: every key from the file and from the environment, and what
//! is said when one is wrong.

use super::keys::{dotted, env_name};
use super::load::load_text;
use super::*;
use toml::{Table, Value};

/// A valid value other than the default for every key there is. A new key fails the test until it is here.
fn other_value(key: &str) -> Value {
    let name = key.rsplit('.').next().unwrap();
    let text = match name {
        "listen" => "[::1]:9090",
        "body_limit" => "2MiB",
        "request_timeout" | "header_timeout" | "idle_timeout" | "timeout" => "7s",
        "rate_ttl" | "settings_ttl" | "feature_ttl" | "every" => "40m",
        "url" => "https://mirror.example.com/daily.xml",
        "fetch" | "allow_private_addresses" => return Value::Boolean(true),
        "data_dir" | "dir" => "/srv/tillbox",
        "number_format" => "R-{seq}",
        "level" => "debug,hyper=warn",
        "format" => "console",
        "disk_reserve" => "1GiB",
        "from" => "Shop <shop@example.com>",
        "smtp_url" => "smtp://mx.example.com",
        "backoff" => return Value::Array(vec!["1s".into(), "1s".into(), "2m".into()]),
        "workers" | "tries" | "keep_days" | "max_connections" | "max_connections_per_address" | "open_tenants" | "readers_per_tenant" => {
            return Value::Integer(7);
        }
        _ => panic!("no other value for {key}"),
    };
    text.into()
}

fn table(config: &Config) -> Table {
    config.show().parse().unwrap()
}

fn value_at<'a>(table: &'a Table, key: &str) -> &'a Value {
    let mut parts = key.split('.');
    let first = &table[parts.next().unwrap()];
    parts.fold(first, |value, part| &value[part])
}

#[test]
fn defaults_hold_without_a_file() {
    Config::default().validate().unwrap();
    assert_eq!(load_text("", &[]).unwrap(), Config::default());
}

#[test]
fn every_key_changes_from_the_file_and_from_the_environment() {
    let defaults = table(&Config::default());
    let keys = dotted(&defaults);
    assert!(keys.contains(&"logging.dir".to_owned()), "{keys:?}");
    for key in keys {
        let other = other_value(&key);
        assert_ne!(value_at(&defaults, &key), &other, "{key}");
        let from_file = load_text(&format!("{key} = {other}"), &[]).unwrap();
        assert_eq!(value_at(&table(&from_file), &key), &other, "{key}");
        assert_ne!(from_file, Config::default(), "{key}");

        let bare = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
        for text in [bare, other.to_string()] {
            let from_env = load_text("", &[(&env_name(&key), &text)]).unwrap();
            assert_eq!(from_env, from_file, "{key} = {text}");
        }
    }
}

#[test]
fn what_is_shown_can_be_read_back() {
    let config = load_text("server.listen = '[::1]:1'\n[queue.audit]\nbackoff = ['90s']", &[]).unwrap();
    assert_eq!(load_text(&config.show(), &[]).unwrap(), config);
}

#[test]
fn the_environment_wins_over_the_file_and_a_part_keeps_the_rest() {
    let text = "[queue.audit]\nworkers = 9\n[server]\nlisten = '[::1]:1'";
    let config = load_text(text, &[("TILLBOX_SERVER__LISTEN", "[::1]:2"), ("HOME", "/root")]).unwrap();
    assert_eq!(config.server.listen.port(), 2);
    let audit = config.queue.find("audit").unwrap();
    assert_eq!((audit.workers, audit.tries), (9, 10));
    assert_eq!(config.queue.find("nightly"), None);
}

#[test]
fn unknown_keys_are_all_named_with_their_origin_and_the_nearest_key() {
    let text = "foo = 1\n[server]\nlisen = 1\n[queue.defualt]\nworkers = 2\n[mali]";
    let env = [
        ("TILLBOX_STORAGE__DATADIR", "x"),
        ("TILLBOX_SERVER_LISTEN", "x"),
        ("TILLBOX_HOME", "x"),
    ];
    let ConfigError::UnknownKeys(unknown) = load_text(text, &env).unwrap_err() else {
        panic!("not reported as unknown");
    };
    let lines: Vec<String> = unknown.iter().map(UnknownKey::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    unknown key foo in test.toml; `tillbox config show` prints all that there are
    unknown key mali in test.toml; did you mean mail?
    unknown key queue.defualt.workers in test.toml; did you mean queue.default.workers?
    unknown key server.lisen in test.toml; did you mean server.listen?
    unknown key server_listen in the variable TILLBOX_SERVER_LISTEN; did you mean server.listen?
    unknown key storage.datadir in the variable TILLBOX_STORAGE__DATADIR; did you mean storage.data_dir?
    ");
}

#[test]
fn wrong_values_name_the_key_and_the_origin() {
    let cases = [
        ("server.listen = 'here'", ""),
        ("server.body_limit = '1MB'", ""),
        ("server.body_limit = -1", ""),
        ("server.request_timeout = 30", ""),
        ("queue.low.backoff = ['5s', '5']", ""),
        ("logging.format = 'xml'", ""),
        ("", "many"),
    ];
    let errors = cases.map(|(text, workers)| {
        let env = [("TILLBOX_QUEUE__LOW__WORKERS", workers)];
        load_text(text, &env[..usize::from(!workers.is_empty())]).unwrap_err().to_string()
    });
    insta::assert_snapshot!(errors.join("\n"), @r#"
    server.listen in test.toml: invalid socket address syntax
    server.body_limit in test.toml: "1MB" is not a size; write bytes or a binary unit, such as 65536, 512KiB or 1MiB
    server.body_limit in test.toml: invalid value: integer `-1`, expected a size such as 65536, "512KiB" or "1MiB"
    server.request_timeout in test.toml: invalid type: integer `30`, expected a duration with its unit, such as "250ms", "30s", "5m" or "1h"
    queue.low.backoff[1] in test.toml: "5" is not a duration; write a number and its unit, such as 250ms, 30s, 5m or 1h
    logging.format in test.toml: unknown variant `xml`, expected `json` or `console`
    queue.low.workers in the variable TILLBOX_QUEUE__LOW__WORKERS: invalid type: string "many", expected u32
    "#);
}

#[test]
fn values_out_of_bounds_are_all_reported_at_once() {
    let text = r#"
        server = { body_limit = 1, request_timeout = "0s", header_timeout = "0s", idle_timeout = "0s", max_connections = 0, max_connections_per_address = 0 }
        storage = { data_dir = "", open_tenants = 5001, readers_per_tenant = 9 }
        invoicing.number_format = "INV-{year}"
        logging = { level = "loud=very", keep_days = 0 }
        mail = { from = "nobody", smtp_url = "http://x:y@z", timeout = "1h" }
        [queue]
        default = { workers = 0, tries = 0, timeout = "0s" }
        audit.backoff = []
        financial.backoff = ["5s", "3s"]
        low.backoff = ["0s", "3s"]
    "#;
    let ConfigError::Invalid(faults) = load_text(text, &[]).unwrap_err() else {
        panic!("not reported as out of bounds");
    };
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    server.body_limit: 1B is not between 1KiB and 64MiB
    server.request_timeout: 0s is not between 1s and 10m
    server.header_timeout: 0s is not between 100ms and 2m
    server.idle_timeout: 0s is not between 100ms and 1h
    server.max_connections: 0 is not between 1 and 65536
    server.max_connections_per_address: 0 is not between 1 and 65536
    storage.data_dir: is empty
    storage.open_tenants: 5001 is not between 1 and 5000
    storage.readers_per_tenant: 9 is not between 1 and 8
    queue.default.workers: 0 is not between 1 and 64
    queue.default.tries: 0 is not between 1 and 100
    queue.default.timeout: 0s is not between 1s and 1h
    queue.audit.backoff: needs 1 to 32 waits
    queue.financial.backoff: a wait is shorter than the one before it
    queue.low.backoff: 0s is not between 1ms and 24h
    invoicing.number_format: must contain {seq} or {seq:0N}
    logging.level: "loud=very": error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5
    logging.keep_days: 0 is not between 1 and 3650
    mail.from: "nobody": Invalid input
    mail.smtp_url: is neither empty nor smtp://… nor smtps://…
    mail.timeout: 1h is not between 100ms and 2m
    "#);
}

#[test]
fn secrets_are_masked_wherever_the_configuration_is_printed() {
    let env = [("TILLBOX_MAIL__SMTP_URL", "smtps://bob:hunter2@mx.example.com")];
    let config = load_text("", &env).unwrap();
    assert_eq!(config.mail.smtp_url.expose(), env[0].1);
    assert!(config.show().contains("smtps://bob:***@mx.example.com"));
    for text in [config.show(), format!("{config:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}
