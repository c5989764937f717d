//! The files installed beside the binary agree with the binary.

use std::path::Path;

use tillbox::config::Config;

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn lists_every_key_with_default_in_shipped_configuration() {
    // `#key = …` is a commented default; `# Words` is prose.
    let uncommented: String = shipped("packaging/tillbox.toml")
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tillbox.toml");
    std::fs::write(&path, &uncommented).expect("writes");
    let config =
        Config::load(Some(&path), std::iter::empty()).expect("the shipped configuration is good");
    assert_eq!(config.show(), Config::default().show());
    let keys = |text: &str| text.parse::<toml::Table>().expect("TOML");
    assert_eq!(
        keys(&uncommented),
        keys(&Config::default().show()),
        "a key is missing, or a default differs"
    );
}

/// Computes the memory that the comment of `MemoryMax` derives, from the defaults.
fn memory_needed() -> u64 {
    const MIB: u64 = 1 << 20;
    let Config {
        server, storage, ..
    } = Config::default();
    let connections = (u64::from(server.max_connections) + 32) * (56 << 10);
    let tenants = u64::from(storage.open_tenants) * (2_970 << 10);
    let parts = connections + tenants + server.body_memory.as_bytes() + 128 * MIB;
    parts + parts / 4
}

/// `MemoryMax` of the unit, in bytes.
fn memory_max(unit: &str) -> u64 {
    let value = unit
        .lines()
        .find_map(|line| line.strip_prefix("MemoryMax=")?.strip_suffix('M'));
    value.expect("in MiB").parse::<u64>().expect("a number") << 20
}

#[test]
fn runs_daemon_as_own_user_in_unit() {
    let unit = shipped("systemd/tillbox.service");
    for line in [
        "ExecStart=/usr/bin/tillbox serve",
        "Type=notify",
        "WatchdogSec=60",
        "ExecReload=/usr/bin/kill -HUP $MAINPID",
        "User=tillbox",
        "StateDirectory=tillbox",
        "NoNewPrivileges=yes",
    ] {
        assert!(unit.lines().any(|of| of == line), "{line} is missing");
    }
    assert!(
        memory_needed() <= memory_max(&unit),
        "MemoryMax is too small; raise it and correct its comment"
    );
    // Programs that the unit runs are in its `ExecPaths`.
    let values = |key: &'static str| {
        unit.lines()
            .filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
    };
    let allowed: Vec<&str> = values("ExecPaths")
        .flat_map(str::split_whitespace)
        .collect();
    for command in ["ExecStart", "ExecReload"].into_iter().flat_map(values) {
        let program = command.split_whitespace().next().expect("a program");
        assert!(allowed.contains(&program), "{program} is not in ExecPaths");
    }
    assert!(shipped("packaging/tillbox.sysusers").contains("u tillbox - "));
}
