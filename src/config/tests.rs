//! Tests of the whole configuration: every key from the file and from the environment, and the
//! error messages.

use super::keys::{dotted, env_name};
use super::load::load_text;
use super::*;
use toml::{Table, Value};

/// Returns a valid value other than the default. A new key fails the test until it is added here.
fn other_value(key: &str) -> Value {
    let name = key.rsplit('.').next().unwrap();
    let text = match name {
        "listen" => "[::1]:9090",
        "body_limit" => "2MiB",
        "body_memory" => "128MiB",
        "window" | "request_timeout" | "header_timeout" | "idle_timeout" | "timeout" => "7s",
        "rate_ttl" | "settings_ttl" | "feature_ttl" | "every" => "40m",
        "url" => "https://mirror.example.com/daily.xml",
        "fetch" | "allow_private_addresses" => return Value::Boolean(true),
        "data_dir" | "dir" => "/srv/tillbox",
        "number_format" => "R-{seq}",
        "level" => "debug,hyper=warn",
        "format" => "console",
        "disk_reserve" | "tenant_max" => "1GiB",
        "webhook_url" => "https://hooks.example.com",
        "webhook_secret" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "webhook_private" => return Value::Boolean(false),
        "email_to" => "ops@example.com",
        "from" => "Shop <shop@example.com>",
        "smtp_url" => "smtp://mx.example.com",
        _ if key.starts_with("rate_limits.") => "7/h",
        "trusted_proxies" => {
            return Value::Array(vec!["10.0.0.0/8".into(), "2001:db8::/32".into()]);
        }
        "forwarded_header" => "forwarded",
        "schedule" => "0 30 3 * * *",
        "timezone" => "Europe/Berlin",
        "hold_share_percent"
        | "cart_items_max"
        | "carts_per_address"
        | "carts_max"
        | "hold_quantity_max"
        | "unpaid_orders_per_address" => return Value::Integer(8),
        "empty_cart_days" | "anonymous_cart_days" => return Value::Integer(8),
        "audit_days" | "inventory_movement_days" | "stripe_events_days" => {
            return Value::Integer(7);
        }
        "backoff" => return Value::Array(vec!["1s".into(), "1s".into(), "2m".into()]),
        "keep_completed" | "keep_discarded" => "3d",
        "running_max"
        | "tenant_limit"
        | "priority"
        | "workers"
        | "tries"
        | "keep_days"
        | "max_connections"
        | "max_connections_per_address"
        | "max_connections_local"
        | "open_tenants"
        | "readers_per_tenant" => {
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
fn uses_defaults_without_a_file() {
    Config::default().validate().unwrap();
    assert_eq!(load_text("", &[]).unwrap(), Config::default());
}

#[test]
fn reads_every_key_from_file_and_environment() {
    let defaults = table(&Config::default());
    let keys = dotted(&defaults);
    assert!(keys.contains(&"logging.dir".to_owned()), "{keys:?}");
    for key in keys {
        let other = other_value(&key);
        assert_ne!(value_at(&defaults, &key), &other, "{key}");
        let from_file = load_text(&format!("{key} = {other}"), &[]).unwrap();
        let shown = if key.ends_with("secret") {
            "***".into()
        } else {
            other.clone()
        };
        assert_eq!(value_at(&table(&from_file), &key), &shown, "{key}");
        assert_ne!(from_file, Config::default(), "{key}");

        let bare = other
            .as_str()
            .map_or_else(|| other.to_string(), str::to_owned);
        for text in [bare, other.to_string()] {
            let from_env = load_text("", &[(&env_name(&key), &text)]).unwrap();
            assert_eq!(from_env, from_file, "{key} = {text}");
        }
    }
}

#[test]
fn loads_its_own_output() {
    let config = load_text(
        "server.listen = '[::1]:1'\n[queue.audit]\nbackoff = ['90s']",
        &[],
    )
    .unwrap();
    assert_eq!(load_text(&config.show(), &[]).unwrap(), config);
}

#[test]
fn prefers_environment_and_keeps_defaults_of_partial_section() {
    let text = "[queue.audit]\nworkers = 9\n[server]\nlisten = '[::1]:1'";
    let config = load_text(
        text,
        &[("TILLBOX_SERVER__LISTEN", "[::1]:2"), ("HOME", "/root")],
    )
    .unwrap();
    assert_eq!(config.server.listen.port(), 2);
    let audit = config.queue.find("audit").unwrap();
    assert_eq!((audit.workers, audit.tries), (9, 10));
    assert_eq!(config.queue.find("nightly"), None);
}

#[test]
fn lists_unknown_keys_with_origin_and_suggestion() {
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
    unknown key foo in test.toml; `tillbox config show` lists the known keys
    unknown key mali in test.toml; did you mean mail?
    unknown key queue.defualt.workers in test.toml; did you mean queue.default.workers?
    unknown key server.lisen in test.toml; did you mean server.listen?
    unknown key server_listen in the variable TILLBOX_SERVER_LISTEN; did you mean server.listen?
    unknown key storage.datadir in the variable TILLBOX_STORAGE__DATADIR; did you mean storage.data_dir?
    ");
}

#[test]
fn names_key_and_origin_of_wrong_values() {
    let cases = [
        ("server.listen = 'here'", ""),
        ("server.body_limit = '1MB'", ""),
        ("server.body_limit = -1", ""),
        ("server.request_timeout = 30", ""),
        ("queue.low.backoff = ['5s', '5']", ""),
        ("logging.format = 'xml'", ""),
        ("server.forwarded_header = 'x-real-ip'", ""),
        (
            "queue.low.backoff = { initial = '5s', facter = 2, max = '30m' }",
            "",
        ),
        ("queue.low.backoff = { initial = '5s', max = '30m' }", ""),
        (
            "queue.low.backoff = { initial = '5s', factor = 0.5, max = '30m' }",
            "",
        ),
        ("queue.low.backoff = '5s'", ""),
        ("", "many"),
    ];
    let errors = cases.map(|(text, workers)| {
        let env = [("TILLBOX_QUEUE__LOW__WORKERS", workers)];
        load_text(text, &env[..usize::from(!workers.is_empty())])
            .unwrap_err()
            .to_string()
    });
    insta::assert_snapshot!(errors.join("\n"), @r#"
    server.listen in test.toml: invalid socket address syntax
    server.body_limit in test.toml: "1MB" is not a size; write bytes or a binary unit, such as 65536, 512KiB or 1MiB
    server.body_limit in test.toml: invalid value: integer `-1`, expected a size such as 65536, "512KiB" or "1MiB"
    server.request_timeout in test.toml: invalid type: integer `30`, expected a duration with its unit, such as "250ms", "30s", "5m", "1h" or "7d"
    queue.low.backoff[1] in test.toml: "5" is not a duration; write a number and its unit, such as 250ms, 30s, 5m, 1h or 7d
    logging.format in test.toml: unknown variant `xml`, expected `json` or `console`
    server.forwarded_header in test.toml: unknown variant `x-real-ip`, expected one of `either`, `x-forwarded-for`, `forwarded`
    queue.low.backoff.facter in test.toml: unknown field `facter`, expected one of `initial`, `factor`, `max`
    queue.low.backoff in test.toml: missing field `factor`
    queue.low.backoff.factor in test.toml: invalid type: floating point `0.5`, expected u32
    queue.low.backoff in test.toml: invalid type: string "5s", expected a list of waits such as ["5s", "30s"], or { initial = "5s", factor = 2, max = "30m" }
    queue.low.workers in the variable TILLBOX_QUEUE__LOW__WORKERS: invalid type: string "many", expected u32
    "#);
}

#[test]
fn reports_all_values_out_of_bounds() {
    let text = r#"
        server = { body_limit = 1, request_timeout = "0s", header_timeout = "0s", idle_timeout = "0s", max_connections = 0, max_connections_per_address = 0, max_connections_local = 0, body_memory = 1 }
        storage = { data_dir = "", open_tenants = 5001, readers_per_tenant = 9 }
        retention = { audit_days = 0, inventory_movement_days = -1, stripe_events_days = 40000, schedule = "0 2 * * *", timezone = "Europe/Berln" }
        invoicing.number_format = "INV-{year}"
        logging = { level = "loud=very", keep_days = 0 }
        alerts = { webhook_url = "ftp://x", webhook_secret = "whsec_x", email_to = "nobody", window = "0s" }
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
    server.body_memory: 1B is not between 128KiB and 1024GiB
    server.body_memory: 1B is less than two bodies of server.body_limit (1B); raise it, or lower that
    server.request_timeout: 0s is not between 1s and 10m
    server.header_timeout: 0s is not between 100ms and 2m
    server.idle_timeout: 0s is not between 100ms and 1h
    server.max_connections: 0 is not between 1 and 65536
    server.max_connections_per_address: 0 is not between 1 and 65536
    server.max_connections_local: 0 is not between 1 and 65536
    storage.data_dir: is empty
    storage.open_tenants: 5001 is not between 1 and 5000
    storage.readers_per_tenant: 9 is not between 1 and 8
    queue.default.workers: 0 is not between 1 and 64
    queue.default.tries: 0 is not between 1 and 100
    queue.default.timeout: 0s is not between 1s and 1h
    queue.audit.backoff: needs 1 to 32 waits
    queue.financial.backoff: a wait is shorter than the one before it
    queue.low.backoff: 0s is not between 1ms and 1d
    retention.audit_days: 0 is not between 1 and 36525
    retention.inventory_movement_days: -1 is not between 1 and 36525
    retention.stripe_events_days: 40000 is not between 1 and 36525
    retention.schedule: "0 2 * * *" is not a schedule: Invalid pattern: Pattern must have 6 or 7 fields when seconds are required and years are optional.; write second, minute, hour, day, month and weekday, such as "0 0 2 * * *" for each day at two
    retention.timezone: there is no time zone "Europe/Berln"; did you mean Europe/Berlin?
    invoicing.number_format: must contain {seq} or {seq:0N}
    logging.level: "very" is not a level; write off, error, warn, info, debug or trace, or one for all and some for modules, such as info,tillbox::worker=debug
    logging.keep_days: 0 is not between 1 and 3650
    mail.from: "nobody": Invalid input
    mail.smtp_url: is neither empty nor smtp://… nor smtps://…
    mail.timeout: 1h is not between 100ms and 2m
    alerts.webhook_url: is neither http:// nor https://; use one of them
    alerts.webhook_secret: is not a key; write whsec_ and 24 to 64 bytes in base64, or leave it empty
    alerts.email_to: "nobody" is not an email address
    alerts.window: 0s is not between 1s and 1d
    "#);
}

/// The log filter and the scheduler would accept these values, but nobody intends them.
#[test]
fn rejects_levels_that_silence_the_log_and_schedules_without_pause() {
    let file = |text: &str| load_text(text, &[]).unwrap_err().to_string();
    let env = |level: &str| {
        load_text("", &[("TILLBOX_LOGGING__LEVEL", level)])
            .unwrap_err()
            .to_string()
    };
    let errors = [
        file("logging.level = 'inof'"),
        env("inof"),
        env(""),
        file("logging.level = 'warn,foo'"),
        file("logging.level = '=info'"),
        file("retention.schedule = '* * * * * *'"),
        file("retention.schedule = '0 */30 2 * * *'"),
    ];
    insta::assert_snapshot!(errors.join("\n"), @r#"
    logging.level: "inof" is not a level; did you mean info? write off, error, warn, info, debug or trace, or one for all and some for modules, such as info,tillbox::worker=debug
    logging.level: "inof" is not a level; did you mean info? write off, error, warn, info, debug or trace, or one for all and some for modules, such as info,tillbox::worker=debug
    logging.level: "" is not a level; write off, error, warn, info, debug or trace, or one for all and some for modules, such as info,tillbox::worker=debug
    logging.level: "foo" is not a level; write off, error, warn, info, debug or trace, or one for all and some for modules, such as info,tillbox::worker=debug
    logging.level: "=info" is not a module and its level; write it as in info,tillbox::worker=debug
    retention.schedule: "* * * * * *" is due more often than once an hour; write one second and one minute, such as "0 0 2 * * *" for each day at two
    retention.schedule: "0 */30 2 * * *" is due more often than once an hour; write one second and one minute, such as "0 0 2 * * *" for each day at two
    "#);
    load_text(
        "retention.schedule = '0 5 * * * *'",
        &[("TILLBOX_LOGGING__LEVEL", "tillbox=debug")],
    )
    .unwrap();
}

#[test]
fn redacts_secrets_in_printed_configuration() {
    let env = [(
        "TILLBOX_MAIL__SMTP_URL",
        "smtps://bob:hunter2@mx.example.com",
    )];
    let config = load_text("", &env).unwrap();
    assert_eq!(config.mail.smtp_url.expose(), env[0].1);
    assert!(config.show().contains("smtps://bob:***@mx.example.com"));
    let alerts = "[alerts]\nwebhook_url = 'https://hooks.example/hunter3'\nwebhook_secret = \
        'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'\n";
    let config = load_text(alerts, &env).unwrap();
    assert!(config.show().contains("https://hooks.example/***"));
    for text in [config.show(), format!("{config:?}")] {
        assert!(
            !text.contains("hunter") && !text.contains("MfKQ9"),
            "{text}"
        );
    }
}

/// Covers an unquoted password of digits and a secret in place of its section, in a list or in a
/// table.
#[test]
fn hides_secrets_of_every_type_in_messages() {
    let known = dotted(&table(&Config::default()));
    let looks_like_one = |key: &&String| key.ends_with("secret") || key.ends_with("url");
    let found: Vec<&str> = known
        .iter()
        .filter(looks_like_one)
        .map(String::as_str)
        .collect();
    assert_eq!(found, super::keys::SECRETS);
    for key in super::keys::SECRETS {
        let (section, name) = key.rsplit_once('.').unwrap();
        for value in [
            "4711004711",
            "-4711004711",
            "4711004711.5",
            "[4711004711]",
            "['a4711004711']",
            "{ a4711004711 = 1 }",
            "{ a = 'a4711004711' }",
            "{}",
            "true",
            "4711-01-01",
            "'a4711004711", // an unterminated string
            "'ftp://a:4711004711@b'",
            "['x', 4711004711]",
        ] {
            let error = load_text(&format!("[{section}]\n{name} = {value}"), &[])
                .unwrap_err()
                .to_string();
            assert!(!error.contains("4711"), "{key} = {value}: {error}");
            assert!(
                error.contains(key) || error.contains("line 2"),
                "{key} = {value}: {error}"
            );
            let error = load_text(&format!("{section} = {value}"), &[]);
            let error = error
                .err()
                .map_or_else(String::new, |error| error.to_string());
            assert!(
                !error.contains("4711") || value.starts_with("{ a"),
                "{section} = {value}: {error}"
            );
            let error = load_text("", &[(&env_name(key), value)]);
            let error = error
                .err()
                .map_or_else(String::new, |error| error.to_string());
            assert!(!error.contains("4711"), "{key} = {value}: {error}");
        }
    }
    let error = load_text("mail = 'smtp://bob:4711@mx.example'", &[])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "mail in test.toml: is not a section; write [mail], and its keys below that"
    );
    let error = load_text("queue = ['4s']", &[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "queue in test.toml: is not a section; write [queue], and its keys below that"
    );
}

#[test]
fn rejects_invalid_rates_and_proxies_with_a_suggestion() {
    let refused = |text: &str| load_text(text, &[]).unwrap_err().to_string();
    let keys = serde_json::to_value(crate::config::RateLimits::default()).unwrap();
    for key in keys.as_object().unwrap().keys() {
        for rate in [
            "0/min",
            "-5/min",
            "2000000/s",
            "1000000001/min",
            "99999999999999999999/h",
        ] {
            let error = refused(&format!("[rate_limits]\n{key} = '{rate}'"));
            let place = format!("rate_limits.{key} in test.toml");
            assert!(error.contains(&place) && error.contains(rate), "{error}");
            assert!(error.contains("30/min"), "{error}");
        }
    }
    let error = refused("[rate_limits]\nlogin = 10");
    assert!(error.contains("30/min"), "{error}");
    let error = refused("[rate_limits]\nlogins = '10/min'");
    assert!(error.contains("did you mean rate_limits.login?"), "{error}");
    let error = refused("[server]\ntrusted_proxys = []");
    assert!(
        error.contains("did you mean server.trusted_proxies?"),
        "{error}"
    );
    let error = refused("[server]\ntrusted_proxies = ['10.0.0.1', 'proxy.example']");
    assert!(
        error.contains("server.trusted_proxies[1]") && error.contains("proxy.example"),
        "{error}"
    );
    let error = load_text("", &[("TILLBOX_SERVER__TRUSTED_PROXIES", "['0.0.0.0/0']")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("TILLBOX_SERVER__TRUSTED_PROXIES") && error.contains("every address"),
        "{error}"
    );
}
