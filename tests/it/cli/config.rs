//! `tillbox config`.

use std::fs;

use tillbox::rate_limit::Policy;

use super::run::run;

#[test]
fn shows_and_checks_effective_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tillbox.toml");
    fs::write(
        &file,
        "[server]\nlisten = '127.0.0.1:9'\n[mail]\nsmtp_url = \
         'smtp://shop:secret@mail.example'\nfrom = 'a@b.example'\n",
    )
    .expect("written");
    let file = file.to_str().expect("UTF-8");
    let shown = run(dir.path(), &["config", "show", "--config", file])
        .code(0)
        .stdout;
    assert!(
        shown.contains("127.0.0.1:9") && !shown.contains(":secret@"),
        "{shown}"
    );
    let shown = run(dir.path(), &["config", "show", "--json", "--config", file]).code(0);
    assert_eq!(shown.json()["server"]["listen"], "127.0.0.1:9");
    assert_eq!(
        shown.json()["storage"]["data_dir"],
        dir.path().to_str().expect("UTF-8")
    );
    run(dir.path(), &["config", "check", "--config", file]).code(0);
}

/// The owner of each rate is printed beside it, and the output is still a valid configuration.
#[test]
fn shows_rate_limits_with_their_routes() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tillbox.toml");
    fs::write(&file, "[rate_limits]\nlogin = '7/h'\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    let shown = run(dir.path(), &["config", "show", "--config", file])
        .code(0)
        .stdout;
    let line = |name: &str| -> Vec<String> {
        let mut lines = shown.lines().filter_map(|line| line.strip_prefix("#   "));
        let line = lines.find(|line| line.split_whitespace().next() == Some(name));
        let words = line
            .unwrap_or_else(|| panic!("{name} is missing in {shown}"))
            .split_whitespace();
        words.map(str::to_owned).collect()
    };
    for policy in Policy::ALL {
        assert!(line(policy.name()).len() > 3, "{shown}");
    }
    assert_eq!(
        line("login"),
        [
            "login",
            "7/h",
            "by",
            "address",
            "/v1/**/login",
            "/v1/**/register"
        ]
    );
    let checkout = line("checkout").join(" ");
    assert_eq!(
        checkout,
        "checkout 30/min by API key, or address without one /v1/checkout/**"
    );
    fs::write(dir.path().join("shown.toml"), &shown).expect("written");
    let again = dir.path().join("shown.toml");
    let again = run(
        dir.path(),
        &["config", "show", "--config", again.to_str().expect("UTF-8")],
    )
    .code(0)
    .stdout;
    assert_eq!(again, shown);
}

/// Valid, but no alert would ever be delivered.
#[test]
fn warns_about_mail_alerts_without_mail_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tillbox.toml");
    for (text, is_warned) in [
        ("[alerts]\nemail_to = 'ops@example.org'\n", true),
        (
            "[alerts]\nemail_to = 'ops@example.org'\n[mail]\nsmtp_url = 'smtp://mx.example'\n",
            false,
        ),
        ("", false),
    ] {
        fs::write(&file, text).expect("written");
        let checked = run(
            dir.path(),
            &["config", "check", "--config", file.to_str().expect("UTF-8")],
        )
        .code(0);
        assert!(checked.stdout.contains("is valid"), "{checked:?}");
        let said = checked
            .stderr
            .starts_with("warning: alerts.email_to is set and mail.smtp_url is not");
        assert_eq!(
            (said, checked.stderr.is_empty()),
            (is_warned, !is_warned),
            "{checked:?}"
        );
    }
}

/// A configuration that the check accepts must start.
#[test]
fn rejects_impossible_mail_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tillbox.toml");
    for url in [
        "smtp://u:pw-9@x:99999",
        "smtp://u:pw-9@x?tls=bogus",
        "http://x",
        "smtp://",
    ] {
        fs::write(&file, format!("[mail]\nsmtp_url = '{url}'\n")).expect("written");
        let failed = run(
            dir.path(),
            &["config", "check", "--config", file.to_str().expect("UTF-8")],
        )
        .code(1);
        assert!(
            failed.stderr.contains("mail.smtp_url") && !failed.stderr.contains("pw-9"),
            "{url}: {failed:?}"
        );
    }
}

#[test]
fn suggests_nearest_key_for_unknown_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tillbox.toml");
    fs::write(&file, "[server]\nlissten = '127.0.0.1:9'\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    // An invalid configuration stops every command, not only the check.
    for args in [&["config", "check"][..], &["tenant", "list"], &["serve"]] {
        let failed = run(dir.path(), &[args, &["--config", file]].concat()).code(1);
        let failure = failed.failure();
        assert!(
            failure[0].contains("unknown key server.lissten"),
            "{failure:?}"
        );
        assert_eq!(failure[1], "hint: did you mean server.listen?");
    }
}

#[test]
fn rejects_missing_configuration_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let failed = run(
        dir.path(),
        &["config", "check", "--config", "/nowhere/t.toml"],
    )
    .code(1);
    assert!(
        failed.failure()[0].contains("/nowhere/t.toml"),
        "{failed:?}"
    );
}
