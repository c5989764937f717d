//! `tillbox catalog import` and `tillbox sales import`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::run::{Ran, run};
use crate::support::process::Daemon;

struct Importer {
    dir: TempDir,
}

impl Importer {
    /// A directory with the shop `corner`, which sells in USD.
    fn open() -> Self {
        let importer = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        importer
            .run(&[
                "tenant",
                "create",
                "corner",
                "--name",
                "Corner",
                "--currency",
                "USD",
                "--no-tax",
            ])
            .code(0);
        importer
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn run(&self, args: &[&str]) -> Ran {
        run(&self.data(), args)
    }

    fn file(&self, name: &str, text: &[u8]) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn catalog(&self, file: &str) -> Ran {
        self.run(&["catalog", "import", file, "--tenant", "corner", "--json"])
    }

    fn sales(&self, files: &[&str]) -> Ran {
        self.run(
            &[
                &["sales", "import"],
                files,
                &["--tenant", "corner", "--json"],
            ]
            .concat(),
        )
    }

    fn rows(&self, sql: &str) -> Vec<String> {
        let id = self
            .run(&["tenant", "show", "corner", "--json"])
            .code(0)
            .json()["id"]
            .clone();
        let path = self
            .data()
            .join("tenants")
            .join(format!("{}.db", id.as_str().expect("an id")));
        crate::support::shop::rows(&path, sql)
    }
}

fn summary(report: &Value) -> [u64; 5] {
    let count = |name: &str| report[name].as_u64().expect("a number");
    let refused = report["refused"].as_array().expect("a list").len() as u64;
    [
        count("rows"),
        count("created"),
        count("updated"),
        count("unchanged"),
        refused,
    ]
}

const PRODUCTS: &[u8] = "sku_number,sku,name,category,price_minor,currency,track_stock\n\
1,A-1,\"Äpfel, rot\",Obst,99,USD,\n2,A-2,Birnen,Obst,120,USD,yes\n3,A-3,Zange,,1500,USD,no\n"
    .as_bytes();

#[test]
fn imports_catalog_once_when_repeated() {
    let importer = Importer::open();
    let file = importer.file("products.csv", PRODUCTS);
    assert_eq!(
        summary(&importer.catalog(&file).code(0).json()),
        [3, 3, 0, 0, 0]
    );
    assert_eq!(
        summary(&importer.catalog(&file).code(0).json()),
        [3, 0, 0, 3, 0]
    );
    let stored = importer.rows(
        "SELECT p.sku, p.name, p.price_minor, p.track_stock, c.name FROM \
        product p LEFT JOIN category c ON c.id = p.category_id ORDER BY p.seq",
    );
    assert_eq!(
        stored,
        [
            "A-1|Äpfel, rot|99|0|Obst",
            "A-2|Birnen|120|1|Obst",
            "A-3|Zange|1500|0|"
        ]
    );
    let changed = importer.file(
        "products.csv",
        b"currency,price_minor,name,sku\nUSD,125,Birnen,A-2\nUSD,1500,Zange,A-3\n",
    );
    assert_eq!(
        summary(&importer.catalog(&changed).code(0).json()),
        [2, 0, 1, 1, 0]
    );
    // Columns that are missing in the file keep their stored values.
    let stored = importer.rows(
        "SELECT price_minor, track_stock, category_id IS NOT NULL FROM product WHERE sku = 'A-2'",
    );
    assert_eq!(stored, ["125|1|1"]);
}

#[test]
fn imports_units_and_scales() {
    let importer = Importer::open();
    let file = importer.file(
        "products.csv",
        b"sku,name,price_minor,currency,unit,quantity_scale\nC-1,Cheese,1999,USD,KGM,3\n\
          T-1,Tea,450,USD,,\nR-1,Rope,90,USD,MTR,\nX-1,X,1,USD,KG,4\nX-2,X,1,USD,KGM,one\n",
    );
    let report = importer.catalog(&file).code(0).json();
    assert_eq!(summary(&report), [5, 3, 0, 0, 2]);
    let refused = report["refused"].to_string();
    for reason in [
        "unit must be one of C62 (piece)",
        "quantity_scale must be a whole number from 0 to 3",
        "quantity_scale is not a whole number: `one`",
    ] {
        assert!(refused.contains(reason), "{refused}");
    }
    let stored = || importer.rows("SELECT sku, unit, quantity_scale FROM product ORDER BY seq");
    assert_eq!(stored(), ["C-1|KGM|3", "T-1|C62|0", "R-1|MTR|0"]);
    // Columns that are missing, or empty, keep the stored unit and scale.
    let file = importer.file(
        "products.csv",
        b"sku,name,price_minor,currency,unit,quantity_scale\nC-1,Cheese,1999,USD,,\n\
          R-1,Rope,90,USD,MTR,2\n",
    );
    let report = importer.catalog(&file).code(0).json();
    assert_eq!(summary(&report), [2, 0, 1, 1, 0]);
    assert_eq!(stored(), ["C-1|KGM|3", "T-1|C62|0", "R-1|MTR|2"]);
}

/// The bad lines, each with a part of its reason.
const REASONS: [(u64, &str); 10] = [
    (3, "sku must not be empty"),
    (4, "name must not be empty; currency is not a currency"),
    (5, "price_minor is not a whole number: `1.50`"),
    (6, "negative"),
    (7, "no tax class `luxury`"),
    (9, "belongs to another product"),
    (10, "3 cells, but the first line has 6"),
    (11, "duplicate SKU A-1, first in line 2"),
    (12, "not UTF-8"),
    (13, "control characters"),
];

#[test]
fn lists_bad_rows_and_imports_the_others() {
    let importer = Importer::open();
    let mut text = b"sku,name,price_minor,currency,barcode,tax_class\n".to_vec();
    text.extend_from_slice(
        "A-1,Good,100,USD,,\n,No SKU,100,USD,,\nA-3,,100,usd,,\nA-4,Price,1.50,USD,,\n\
         A-5,Price,-1,USD,,\nA-6,Class,1,USD,,luxury\nA-7,Barcode,1,USD,4006381333931,\n\
         A-8,Barcode,1,USD,4006381333931,\nA-9,Cells,1\nA-1,Twice,100,USD,,\n"
            .as_bytes(),
    );
    text.extend_from_slice(
        b"A-10,\xff\xfe,1,USD,,\nA-11,\"Two\nlines\",1,USD,,\nA-12,Last,1,USD,,\n",
    );
    let report = importer
        .catalog(&importer.file("products.csv", &text))
        .code(0)
        .json();
    assert_eq!(summary(&report), [13, 3, 0, 0, 10], "{report:#}");
    let refused: Vec<(u64, &str)> = report["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| {
            (
                row["line"].as_u64().expect("a line"),
                row["reason"].as_str().expect("a reason"),
            )
        })
        .collect();
    let reason = |line: u64| {
        refused
            .iter()
            .find(|(at, _)| *at == line)
            .map_or("", |(_, reason)| reason)
    };
    for (line, part) in REASONS {
        assert!(reason(line).contains(part), "line {line}: {refused:?}");
    }
    assert_eq!(
        importer.rows("SELECT sku FROM product ORDER BY seq"),
        ["A-1", "A-7", "A-12"]
    );
    let euros = importer.file(
        "euros.csv",
        b"sku,name,price_minor,currency\nA-1,Good,100,EUR\nA-13,Good,100,USD\n",
    );
    let report = importer.catalog(&euros).code(0).json();
    let reason = report["refused"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("currency never changes"), "{report:#}");
    let output = importer
        .run(&[
            "catalog",
            "import",
            &importer.file("products.csv", &text),
            "--tenant",
            "corner",
        ])
        .code(0);
    assert!(
        output
            .stdout
            .starts_with("13 rows: 0 created, 0 updated, 3 unchanged, 10 rejected"),
        "{output:?}"
    );
    assert!(
        output.stderr.contains("LINE") && output.stderr.contains("not UTF-8"),
        "{output:?}"
    );
}

/// The line number is the one an editor shows, with any line endings and empty lines.
#[test]
fn reports_line_number_of_refused_row() {
    let importer = Importer::open();
    for (text, lines) in [
        (
            "sku,name,price_minor,currency\r\nA-1,x,1,USD\r\nA-2,x,bad,USD\r\nA-3,x,bad,USD",
            [3, 4],
        ),
        (
            "sku,name,price_minor,currency\nA-1,x,1,USD\n\n\nA-2,x,bad,USD\nA-3,x,bad,USD\n",
            [5, 6],
        ),
        (
            "sku,name,price_minor,currency\r\n\r\n\"A-1\",\"x\",1,USD\r\n\r\n\
             A-2,\"two\r\nlines\",1,USD\r\nA-3,x,bad,USD\r\n",
            [5, 7],
        ),
    ] {
        let report = importer
            .catalog(&importer.file("products.csv", text.as_bytes()))
            .code(0)
            .json();
        let reported: Vec<_> = report["refused"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| row["line"].as_u64())
            .collect();
        assert_eq!(reported, lines.map(Some), "{text:?}: {report:#}");
    }
    let huge = format!(
        "sku,name,price_minor,currency\nA-7,{},1,USD\nA-8,x,1,USD\n",
        "x".repeat(5 << 20)
    );
    let report = importer
        .catalog(&importer.file("huge.csv", huge.as_bytes()))
        .code(0)
        .json();
    assert_eq!(
        (summary(&report), report["refused"][0]["line"].as_u64()),
        ([2, 1, 0, 0, 1], Some(2))
    );
    let twice = importer.file(
        "twice.csv",
        b"sku,name,price_minor,currency,sku\nA-1,x,1,USD,A-2\n",
    );
    let failed = importer.catalog(&twice).code(1);
    assert!(
        failed.failure()[0].contains("two columns sku"),
        "{failed:?}"
    );
}

#[test]
fn rejects_file_that_is_no_catalog() {
    let importer = Importer::open();
    let missing = importer
        .catalog(&importer.file("a.csv", b"sku,name\nA,B\n"))
        .code(1);
    assert!(
        missing.failure()[0].contains("no column price_minor, currency"),
        "{missing:?}"
    );
    importer.catalog(&importer.file("empty.csv", b"")).code(1);
    importer.catalog("/nowhere.csv").code(1);
    importer
        .catalog(importer.dir.path().to_str().expect("UTF-8"))
        .code(1);
    let good = importer.file("b.csv", PRODUCTS);
    let absent = importer
        .run(&["catalog", "import", &good, "--tenant", "nobody"])
        .code(1);
    assert_eq!(absent.failure()[0], "error: there is no tenant `nobody`");
    let nothing = importer
        .catalog(&importer.file("c.csv", b"sku,name,price_minor,currency\nA,B,x,USD\n"))
        .code(1);
    assert!(
        nothing.stderr.contains("all rows were rejected"),
        "{nothing:?}"
    );
    importer.run(&["tenant", "suspend", "corner"]).code(0);
    let suspended = importer.catalog(&good).code(1);
    assert!(
        suspended.failure()[0].contains("suspended"),
        "{suspended:?}"
    );
    assert_eq!(importer.rows("SELECT count(*) FROM product"), ["0"]);
}

const INVOICES: &[u8] = b"invoice_number,customer_number,sold_at,billing_country,total_minor\n\
1,2,2021-01-01T00:00:00Z,DE,318\n2,2,2022-03-01T12:30:00Z,DE,1500\n";
const LINES: &[u8] = b"line_number,invoice_number,sku,unit_price_minor,quantity\n\
1,1,A-1,99,2\n2,1,A-3,120,1\n3,2,A-3,1500,1\n";

fn importer_with_catalog() -> Importer {
    let importer = Importer::open();
    let text = std::str::from_utf8(PRODUCTS)
        .expect("UTF-8")
        .replace("yes", "no");
    importer
        .catalog(&importer.file("products.csv", text.as_bytes()))
        .code(0);
    importer
}

#[test]
fn imports_past_sales_once_at_their_dates() {
    let importer = importer_with_catalog();
    let (invoices, lines) = (
        importer.file("invoices.csv", INVOICES),
        importer.file("lines.csv", LINES),
    );
    assert_eq!(
        summary(&importer.sales(&[&lines, &invoices]).code(0).json()),
        [2, 2, 0, 0, 0]
    );
    let books = || {
        importer.rows(
            "SELECT o.status, o.total_minor, i.number, f.status FROM sales_order o JOIN invoice i \
             ON i.order_id = o.id
             JOIN financial_order f ON f.order_id = o.id ORDER BY o.seq",
        )
    };
    let first = books();
    assert_eq!(
        first,
        [
            "paid|318|INV-2021-000001|paid",
            "paid|1500|INV-2022-000001|paid"
        ]
    );
    assert_eq!(
        summary(&importer.sales(&[&invoices, &lines]).code(0).json()),
        [2, 0, 0, 2, 0]
    );
    assert_eq!(books(), first);
    assert_eq!(
        importer.rows("SELECT sum(amount_minor), count(*) FROM ledger_transfer"),
        ["1818|2"]
    );
    importer
        .run(&["integrity", "check", "--tenant", "corner"])
        .code(0);
}

/// The bad sales: file, line, and a part of the reason.
const INCONSISTENT: [(&str, u64, &str); 8] = [
    (
        "invoices.csv",
        4,
        "the lines add up to 99 with tax, but the total is 100",
    ),
    ("invoices.csv", 5, "sold_at is not an instant"),
    ("invoices.csv", 6, "no product with the SKU `NONE`"),
    (
        "invoices.csv",
        7,
        "lines.csv, line 8: quantity is not a whole number: `one`",
    ),
    ("invoices.csv", 8, "the invoice 7 has no lines"),
    (
        "invoices.csv",
        9,
        "duplicate invoice 2; remove one of the rows",
    ),
    ("invoices.csv", 10, "future"),
    ("lines.csv", 9, "the invoice 9 of this line is in no file"),
];

#[test]
fn lists_inconsistent_sales_and_imports_the_others() {
    let importer = importer_with_catalog();
    let mut invoices = INVOICES.to_vec();
    invoices.extend_from_slice(
        b"3,2,2022-03-02T00:00:00Z,DE,100\n4,2,yesterday,DE,99\n\
          5,2,2022-03-02T00:00:00Z,DE,99\n6,2,2022-03-02T00:00:00Z,DE,99\n\
          7,2,2022-03-02T00:00:00Z,DE,99\n2,2,2022-03-01T12:30:00Z,DE,1500\n\
          8,2,2222-03-02T00:00:00Z,DE,99\n",
    );
    let mut lines = LINES.to_vec();
    lines.extend_from_slice(
        b"4,3,A-1,99,1\n5,4,A-1,99,1\n6,5,NONE,99,1\n7,6,A-1,99,one\n8,9,A-1,99,1\n9,8,A-1,99,1\n",
    );
    let (invoices, lines) = (
        importer.file("invoices.csv", &invoices),
        importer.file("lines.csv", &lines),
    );
    let report = importer.sales(&[&invoices, &lines]).code(0).json();
    assert_eq!(summary(&report), [10, 2, 0, 0, 8], "{report:#}");
    let refused = report["refused"].as_array().expect("a list");
    let reasons: Vec<(&str, u64, &str)> = refused
        .iter()
        .map(|row| {
            let file = row["file"]
                .as_str()
                .and_then(|file| file.rsplit('/').next())
                .expect("a file");
            (
                file,
                row["line"].as_u64().expect("a line"),
                row["reason"].as_str().expect("a reason"),
            )
        })
        .collect();
    for ((file, line, reason), (in_file, at, part)) in reasons.iter().zip(INCONSISTENT) {
        assert_eq!((*file, *line), (in_file, at), "{reasons:#?}");
        assert!(reason.contains(part), "{reasons:#?}");
    }
    assert_eq!(importer.rows("SELECT count(*) FROM sales_order"), ["2"]);
    // After the correction the same files continue where they stopped. An imported sale cannot
    // change.
    let corrected = importer.file(
        "corrected.csv",
        b"invoice_number,sold_at,total_minor\n1,2021-01-01T00:00:00Z,318\n\
          2,2022-03-02T00:00:00Z,1500\n3,2022-03-02T00:00:00Z,99\n",
    );
    let lines = importer.file("lines.csv", &[LINES, b"4,3,A-1,99,1\n"].concat());
    let report = importer.sales(&[&corrected, &lines]).code(0).json();
    assert_eq!(summary(&report), [3, 1, 0, 1, 1], "{report:#}");
    assert!(
        report["refused"][0]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("another sale")),
        "{report:#}"
    );
}

#[test]
fn requires_both_files() {
    let importer = importer_with_catalog();
    let (invoices, lines) = (
        importer.file("invoices.csv", INVOICES),
        importer.file("lines.csv", LINES),
    );
    assert!(importer.sales(&[&invoices]).code(1).failure()[0].contains("their lines"));
    assert!(importer.sales(&[&lines]).code(1).failure()[0].contains("a file of invoices"));
    assert!(
        importer
            .sales(&[&invoices, &importer.file("x.csv", b"a,b\n1,2\n")])
            .code(1)
            .failure()[0]
            .contains("no column")
    );
    importer.sales(&[]).code(2);
}

#[test]
fn imports_alike_beside_running_daemon() {
    let importer = importer_with_catalog();
    let daemon = Daemon::start(&importer.data(), &[]);
    let (invoices, lines) = (
        importer.file("invoices.csv", INVOICES),
        importer.file("lines.csv", LINES),
    );
    assert_eq!(
        summary(&importer.sales(&[&invoices, &lines]).code(0).json()),
        [2, 2, 0, 0, 0]
    );
    assert_eq!(
        summary(
            &importer
                .catalog(&importer.file("products.csv", PRODUCTS))
                .code(0)
                .json()
        ),
        [3, 0, 1, 2, 0]
    );
    assert!(daemon.socket().exists());
    importer.run(&["integrity", "check"]).code(0);
}

/// More rows than a batch holds, and more bytes.
#[test]
fn imports_long_list_in_batches() {
    let importer = Importer::open();
    let mut text = "sku,name,price_minor,currency\n".to_owned();
    for number in 0..450 {
        text.push_str(&format!(
            "L-{number},\"{}\",{number},USD\n",
            "€".repeat(200)
        ));
    }
    let file = importer.file("long.csv", text.as_bytes());
    assert_eq!(
        summary(&importer.catalog(&file).code(0).json()),
        [450, 450, 0, 0, 0]
    );
    assert_eq!(
        summary(&importer.catalog(&file).code(0).json()),
        [450, 0, 0, 450, 0]
    );
    assert!(Path::new(&file).exists());
}

#[test]
fn rejects_repeated_sku_every_time() {
    let importer = Importer::open();
    let file = importer.file(
        "products.csv",
        b"sku,name,price_minor,currency\nA,Apple,100,USD\nB,Bread,300,USD\nA,Apple again,200,USD\n",
    );
    for (created, unchanged) in [(2, 0), (0, 2)] {
        let report = importer.catalog(&file).code(0).json();
        assert_eq!(summary(&report), [3, created, 0, unchanged, 1]);
        assert_eq!(report["refused"][0]["line"], 4);
        assert_eq!(
            report["refused"][0]["reason"],
            "duplicate SKU A, first in line 2; remove one of the rows"
        );
    }
    assert_eq!(
        importer.rows("SELECT sku, price_minor FROM product ORDER BY sku"),
        ["A|100", "B|300"]
    );
}

/// Real data: an extract of the Chinook sample database. Its licence lies beside it.
#[test]
fn imports_sample_sales_exactly_and_once() {
    let importer = Importer::open();
    let file = |name: &str| format!("{}/tests/data/chinook/{name}", env!("CARGO_MANIFEST_DIR"));
    let (products, invoices, lines) = (
        file("products.csv"),
        file("invoices.csv"),
        file("invoice_lines.csv"),
    );
    for (taken, known) in [(true, false), (false, true)] {
        let of = |rows: u64| [rows, rows * u64::from(taken), 0, rows * u64::from(known), 0];
        assert_eq!(summary(&importer.catalog(&products).code(0).json()), of(60));
        assert_eq!(
            summary(&importer.sales(&[&invoices, &lines]).code(0).json()),
            of(20)
        );
    }
    for table in [
        "sales_order WHERE status = 'paid'",
        "financial_order",
        "invoice",
        "financial_transaction",
        "ledger_entry",
    ] {
        assert_eq!(
            importer.rows(&format!("SELECT count(*) FROM {table}")),
            ["20"],
            "{table}"
        );
    }
    assert_eq!(importer.rows("SELECT count(*) FROM order_line"), ["58"]);
    let revenue = "SELECT currency, sum(amount_minor) FROM ledger_transfer WHERE credit_code = \
        '4000' GROUP BY currency";
    assert_eq!(importer.rows(revenue), ["USD|5942"]);
    let gaps = "SELECT series FROM invoice GROUP BY series HAVING min(series_number) <> 1 OR \
        max(series_number) <> count(*)";
    assert_eq!(importer.rows(gaps), [""; 0]);
    let dates = "SELECT count(*) FROM invoice WHERE number NOT LIKE 'INV-' || strftime('%Y', \
        issued_at / 1000, 'unixepoch') || '-%'";
    assert_eq!(importer.rows(dates), ["0"], "each at its own date");

    let mut daemon = Daemon::start(&importer.data(), &[]);
    let made = importer.run(&[
        "api-key", "create", "--tenant", "corner", "--name", "reader", "--scope", "finance",
        "--scope", "reports", "--json",
    ]);
    let key = made.code(0).json()["api_key"]
        .as_str()
        .expect("a key")
        .to_owned();
    let mut client = daemon.client().with_key(&key);
    let balance = client
        .get("/v1/ledger/trial-balance")
        .expect("an answer")
        .json();
    assert_eq!(
        balance["currencies"],
        serde_json::json!([{"currency": "USD", "debit_minor": 5_942, "credit_minor": 5_942}])
    );
    let report = client
        .get("/v1/reports/revenue?from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z")
        .expect("an answer")
        .json();
    assert_eq!(report["currencies"][0]["revenue_minor"], 5_942, "{report}");
    daemon.terminate();
    importer
        .run(&["integrity", "check", "--tenant", "corner"])
        .code(0);
}

#[test]
fn imports_published_rates_completely_and_repeatedly() {
    let importer = Importer::open();
    let file = importer.file(
        "rates.csv",
        b"Date,USD,EEK,\n2026-01-14,1.1651,N/A,\n2026-01-13,1.1654,N/A,\n",
    );
    let done = importer
        .run(&["exchange-rates", "import", &file, "--json"])
        .code(0)
        .json();
    assert_eq!(
        done,
        serde_json::json!({"days": 2, "created": 2, "corrected": 0, "unchanged": 0, "ended": 0,
            "left_out": ["EEK"]})
    );
    let again = importer.run(&["exchange-rates", "import", &file]).code(0);
    assert_eq!(
        again.stdout,
        "2 days: 0 rates created, 0 corrected, 2 unchanged\ncurrencies skipped, because ISO 4217 \
         no longer lists them: EEK\n"
    );
    let absurd = importer.file("absurd.csv", b"Date,USD\n2026-01-15,116\n");
    let refused = importer.run(&["exchange-rates", "import", &absurd]).code(1);
    assert!(
        refused.failure()[0].contains("1.1651 USD on 2026-01-14 and 116"),
        "{refused:?}"
    );
    // The first file may be the wrong one: the operator can then discard it.
    let other = importer.file(
        "other.csv",
        b"Date,USD,HRK\n2026-01-14,11.651,7.5\n2026-01-13,11.654,7.5\n",
    );
    let refused = importer.run(&["exchange-rates", "import", &other]).code(1);
    assert!(
        refused.stderr.contains("--corrections-are-right"),
        "{refused:?}"
    );
    let done = importer
        .run(&[
            "exchange-rates",
            "import",
            &other,
            "--corrections-are-right",
        ])
        .code(0);
    assert_eq!(
        done.stdout,
        "2 days: 0 rates created, 2 corrected, 0 unchanged\n\
         2 rates skipped: their days are after the end of the currency\n"
    );
    let bad = importer.file(
        "bad.csv",
        b"Date,USD,JPY\n2026-01-16,1.1,180\n2026-01-15,1.1,abc\n",
    );
    let refused = importer.run(&["exchange-rates", "import", &bad]).code(1);
    let wanted = format!("error: {bad}: line 3: the rate \"abc\" of JPY on 2026-01-15 ");
    assert!(refused.failure()[0].starts_with(&wanted), "{refused:?}");
    for bad in ["not/there.csv", &importer.file("empty.csv", b"")] {
        importer
            .run(&["exchange-rates", "import", bad])
            .code(1)
            .failure();
    }
}
