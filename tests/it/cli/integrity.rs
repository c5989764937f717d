//! `tillbox integrity check`.

use serde_json::json;

use super::run::run;

#[test]
fn what_does_not_agree_is_listed_and_is_three() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path();
    let nothing = run(&data.join("typo"), &["integrity", "check"]).code(1);
    assert!(
        nothing.failure()[0].contains("no data found in"),
        "{nothing:?}"
    );
    assert!(!data.join("typo").exists(), "looking makes nothing");
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
    let id = run(data, &["tenant", "show", "bad", "--json"])
        .code(0)
        .json()["id"]
        .clone();
    let path = data
        .join("tenants")
        .join(format!("{}.db", id.as_str().expect("an id")));
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
    // One that cannot even be opened is a finding too, and a cut of less than a page is enough for
    // that.
    let id = run(data, &["tenant", "show", "good", "--json"])
        .code(0)
        .json()["id"]
        .clone();
    let path = data
        .join("tenants")
        .join(format!("{}.db", id.as_str().expect("an id")));
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
