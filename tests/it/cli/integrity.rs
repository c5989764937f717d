//! `tillbox integrity check`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::run::run;

/// The file of a shop.
fn file_of(data: &Path, slug: &str) -> PathBuf {
    let shown = run(data, &["tenant", "show", slug, "--json"])
        .code(0)
        .json();
    let id = shown["id"].as_str().expect("an id");
    data.join("tenants").join(format!("{id}.db"))
}

/// A file that cannot even be opened is a finding too. Cutting less than a page is enough for that.
fn assert_cut_file_is_found(data: &Path) {
    let path = file_of(data, "good");
    let file = std::fs::File::options()
        .write(true)
        .open(&path)
        .expect("opens");
    let length = file.metadata().expect("a length").len();
    file.set_len(length - 1000).expect("cut");
    for args in [
        &["integrity", "check", "--tenant", "good", "--json"][..],
        &["integrity", "check", "--json"],
    ] {
        let report = run(data, args).code(3).json();
        let found = report["mismatches"].as_array().expect("a list");
        assert!(
            found
                .iter()
                .any(|found| found["tenant"] == "good" && found["check"] == "file"),
            "{report}"
        );
    }
}

#[test]
fn lists_mismatches_and_exits_with_three() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path();
    let nothing = run(&data.join("typo"), &["integrity", "check"]).code(1);
    assert!(
        nothing.failure()[0].contains("no data found in"),
        "{nothing:?}"
    );
    assert!(!data.join("typo").exists(), "reading creates nothing");
    run(data, &["tenant", "create", "gone", "--name", "gone"]).code(0);
    run(data, &["tenant", "delete", "gone", "--yes"]).code(0);
    let empty = run(data, &["integrity", "check", "--json"]).code(0).json();
    assert_eq!(
        empty,
        json!({"result": "PASS", "tenants": [], "mismatches": [], "notes": []})
    );
    for slug in ["good", "bad"] {
        run(data, &["tenant", "create", slug, "--name", slug]).code(0);
        let file = data.join("products.csv");
        std::fs::write(&file, "sku,name,price_minor,currency\nA,A,100,EUR\n").expect("written");
        run(
            data,
            &[
                "catalog",
                "import",
                file.to_str().expect("UTF-8"),
                "--tenant",
                slug,
            ],
        )
        .code(0);
    }
    let passed = run(data, &["integrity", "check"]).code(0);
    assert_eq!(
        (passed.stdout.as_str(), passed.stderr.as_str()),
        ("PASS\n", "2 tenants checked\n")
    );
    let path = file_of(data, "bad");
    let conn = rusqlite::Connection::open(path).expect("it opens");
    conn.pragma_update(None, "foreign_keys", false)
        .expect("set");
    conn.execute("UPDATE product SET category_id = randomblob(16)", [])
        .expect("damaged");
    drop(conn);
    let found = run(data, &["integrity", "check"]).code(3).stdout;
    assert!(
        found.starts_with("FAIL\n") && found.contains("foreign keys"),
        "{found}"
    );
    let report = run(data, &["integrity", "check", "--json"]).code(3).json();
    assert_eq!(
        (&report["result"], &report["mismatches"][0]["tenant"]),
        (&json!("FAIL"), &json!("bad")),
        "{report}"
    );
    assert_eq!(
        run(data, &["integrity", "check", "--tenant", "good"])
            .code(0)
            .stdout,
        "PASS\n"
    );
    run(data, &["integrity", "check", "--tenant", "nobody"]).code(1);
    assert_cut_file_is_found(data);
}
