//! Tests of `/v1/exchange-rates`, of the import of published rates, and of their fetch.

use std::time::Duration;

use serde_json::{Value, json};
use tillbox::maintenance::rate_fetch::fetch_due;
use tillbox::maintenance::scheduler::{TASKS, run_due};
use tillbox::outbound::http::{Answer as Heard, CallError};
use tillbox::primitives::Timestamp;

use crate::support::answer::pointers;
use crate::support::{Answer, TestApp, TestShop, blocking, logs};

/// Some days of the bank's own file; see `tests/it/data/ecb/README.md`.
const EXTRACT: &str = include_str!("../data/ecb/eurofxref-extract.csv");

async fn import(app: &TestApp, csv: &str) -> Answer {
    app.admin("/v1/admin/exchange-rates/import")
        .json(json!({"csv": csv}))
        .send()
        .await
}

async fn set(shop: &TestShop, base: &str, quote: &str, rate: &str, at: &str) -> Answer {
    let body = json!({"base": base, "quote": quote, "rate": rate, "effective_at": at});
    shop.post("/v1/exchange-rates").json(body).send().await
}

async fn ask(shop: &TestShop, base: &str, quote: &str, at: &str) -> Answer {
    shop.get(&format!(
        "/v1/exchange-rates?base={base}&quote={quote}&at={at}"
    ))
    .send()
    .await
}

/// Reads the effective rate, its source and its start.
async fn holds(shop: &TestShop, base: &str, quote: &str, at: &str) -> [String; 3] {
    let found = ask(shop, base, quote, at).await.expect(200);
    ["/data/0/rate", "/data/0/source", "/data/0/effective_at"].map(|pointer| found.string(pointer))
}

#[tokio::test]
async fn applies_manual_rate_in_both_directions_until_the_next() {
    let shop = TestApp::start().tenant("corner");
    let first = set(&shop, "USD", "EUR", "0.80", "2026-01-01T00:00:00Z")
        .await
        .expect(201);
    let id = first.string("/id");
    let view = json!({"id": id, "base": "USD", "quote": "EUR", "rate": "0.8", "numerator": "0.8",
        "denominator": "1", "source": "manual",
                      "effective_at": "2026-01-01T00:00:00Z"});
    assert_eq!(first.json(), view);
    set(&shop, "EUR", "USD", "1.1", "2026-01-10T00:00:00Z")
        .await
        .expect(201);
    ask(&shop, "USD", "EUR", "2025-12-31T23:59:59Z")
        .await
        .refused(422, "no_exchange_rate");
    assert_eq!(
        holds(&shop, "USD", "EUR", "2026-01-09T23:59:59Z").await[0],
        "0.8"
    );
    assert_eq!(
        holds(&shop, "EUR", "USD", "2026-01-09T23:59:59Z").await[0],
        "1.25"
    );
    assert_eq!(
        holds(&shop, "EUR", "USD", "2026-01-10T00:00:00Z").await[0],
        "1.1"
    );
    // A correction is a later row with the same start; the old row stays.
    set(&shop, "EUR", "USD", "1.11", "2026-01-10T00:00:00Z")
        .await
        .expect(201);
    assert_eq!(
        holds(&shop, "EUR", "USD", "2031-01-10T00:00:00Z").await[0],
        "1.11"
    );
    assert_eq!(
        shop.rows("SELECT numerator FROM exchange_rate ORDER BY seq"),
        ["0.8", "1.1", "1.11"]
    );
    let listed = shop
        .get("/v1/exchange-rates?limit=2")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&listed["data"][0]["rate"], &listed["data"][1]["rate"]),
        (&json!("1.11"), &json!("1.1"))
    );
    assert!(listed["next_cursor"].is_string());
    assert_eq!(
        shop.count("SELECT count(*) FROM job WHERE payload ->> '$.action' = 'exchange_rate.added'"),
        3
    );
}

#[tokio::test]
async fn sets_one_rate_for_repeated_request() {
    let shop = TestApp::start().tenant("corner");
    let send = || {
        let body = json!({"base": "USD", "quote": "EUR", "rate": "0.9"});
        shop.post("/v1/exchange-rates")
            .header("idempotency-key", "one")
            .json(body)
            .send()
    };
    let first = send().await.expect(201);
    let again = send().await.expect(201);
    assert_eq!(
        (again.text(), again.header("idempotent-replayed")),
        (first.text(), Some("true"))
    );
    assert_eq!(shop.count("SELECT count(*) FROM exchange_rate"), 1);
}

#[tokio::test]
async fn rejects_invalid_rate_without_traces() {
    let shop = TestApp::start().tenant("corner");
    for (rate, pointer) in [
        ("0", "/rate"),
        ("-1", "/rate"),
        ("1,5", "/rate"),
        ("1e3", "/rate"),
        ("", "/rate"),
        ("1.2345678901234", "/rate"),
    ] {
        let body = json!({"base": "USD", "quote": "EUR", "rate": rate});
        let refused = shop
            .post("/v1/exchange-rates")
            .json(body)
            .send()
            .await
            .refused(422, "validation_failed");
        assert_eq!(pointers(&refused), [pointer], "{rate}");
    }
    let float = json!({"base": "USD", "quote": "EUR", "rate": 0.9});
    shop.post("/v1/exchange-rates")
        .json(float)
        .send()
        .await
        .refused(422, "validation_failed");
    set(&shop, "EUR", "EUR", "1", "2026-01-01T00:00:00Z")
        .await
        .refused(422, "same_currency");
    ask(&shop, "EUR", "EUR", "2026-01-01T00:00:00Z")
        .await
        .refused(422, "same_currency");
    for query in [
        "base=EUR",
        "quote=EUR",
        "at=2026-01-01T00:00:00Z",
        "base=EUR&quote=USD&at=now",
        "base=eur&quote=USD",
        "from=EUR",
    ] {
        shop.get(&format!("/v1/exchange-rates?{query}"))
            .send()
            .await
            .refused(422, "validation_failed");
    }
    assert_eq!(shop.count("SELECT count(*) FROM exchange_rate"), 0);
}

#[tokio::test]
async fn rejects_change_of_stored_rate() {
    let shop = TestApp::start().tenant("corner");
    let id = set(&shop, "USD", "EUR", "0.9", "2026-01-01T00:00:00Z")
        .await
        .expect(201)
        .string("/id")
        .replace('-', "");
    for sql in [
        "UPDATE exchange_rate SET numerator = '1'".to_owned(),
        "DELETE FROM exchange_rate".to_owned(),
        format!(
            "REPLACE INTO exchange_rate SELECT seq, x'{id}', base, quote, '1', denominator, \
             source, effective_at, created_at FROM exchange_rate"
        ),
        format!(
            "REPLACE INTO exchange_rate SELECT seq + 1, x'{id}', base, quote, '1', denominator, \
             source, effective_at, created_at FROM exchange_rate"
        ),
    ] {
        assert!(shop.raw(&sql).is_err(), "{sql}");
    }
    assert_eq!(shop.rows("SELECT numerator FROM exchange_rate"), ["0.9"]);
}

#[tokio::test]
async fn imports_published_rates_once() {
    let app = TestApp::start();
    let done = import(&app, EXTRACT).await.expect(200).json();
    assert_eq!(
        (&done["days"], &done["corrected"], &done["unchanged"]),
        (&json!(36), &json!(0), &json!(0))
    );
    assert_eq!(
        done["left_out"],
        json!([
            "CYP", "EEK", "LTL", "LVL", "MTL", "ROL", "SIT", "SKK", "TRL"
        ])
    );
    let rates = app.landlord_rows("SELECT count(*) FROM published_rate")[0]
        .parse::<u64>()
        .expect("a number");
    assert_eq!(done["created"], json!(rates));
    let again = import(&app, EXTRACT).await.expect(200).json();
    assert_eq!(
        (&again["created"], &again["corrected"], &again["unchanged"]),
        (&json!(0), &json!(0), &json!(rates))
    );
    assert_eq!(
        app.landlord_rows("SELECT count(*) FROM published_rate"),
        [rates.to_string()]
    );
    assert_eq!(
        app.landlord_rows(
            "SELECT count(*) FROM audit_log WHERE action = 'exchange_rates.imported'"
        ),
        ["1"],
        "the second file changed nothing"
    );
    assert!(
        app.landlord_raw("UPDATE published_rate SET rate = '1'")
            .is_err()
    );
    assert!(app.landlord_raw("DELETE FROM published_rate").is_err());
}

#[tokio::test]
async fn applies_last_published_rate_for_a_week() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    import(&app, EXTRACT).await.expect(200);
    let thursday = ["1.136", "ecb", "2025-04-17T00:00:00Z"];
    assert_eq!(
        holds(&shop, "EUR", "USD", "2025-04-17T00:00:00Z").await,
        thursday
    );
    assert_eq!(
        holds(&shop, "EUR", "USD", "2025-04-21T23:59:59Z").await,
        thursday,
        "Easter Monday"
    );
    assert_eq!(
        holds(&shop, "EUR", "USD", "2025-04-22T00:00:00Z").await[0],
        "1.1476"
    );
    assert_eq!(
        holds(&shop, "EUR", "USD", "2025-05-02T23:59:59Z").await[0],
        "1.1357",
        "seven days"
    );
    ask(&shop, "EUR", "USD", "2025-05-03T00:00:00Z")
        .await
        .refused(422, "no_exchange_rate");
    ask(&shop, "EUR", "USD", "2025-04-13T23:59:59Z")
        .await
        .refused(422, "no_exchange_rate");
    // The shop sets the maximum age.
    let change = |days: i64| {
        shop.patch("/v1/settings/currency")
            .json(json!({"rate_max_age_days": days}))
            .send()
    };
    change(1).await.expect(200);
    assert_eq!(
        holds(&shop, "EUR", "USD", "2025-04-18T12:00:00Z").await,
        thursday
    );
    let refused = ask(&shop, "EUR", "USD", "2025-04-19T12:00:00Z")
        .await
        .refused(422, "no_exchange_rate");
    assert_eq!(
        (&refused["base"], &refused["quote"], &refused["at"]),
        (&json!("EUR"), &json!("USD"), &json!("2025-04-19T12:00:00Z"))
    );
}

#[tokio::test]
async fn has_no_rate_for_gaps_and_ended_currencies() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    import(&app, EXTRACT).await.expect(200);
    assert_eq!(
        holds(&shop, "EUR", "RUB", "2022-03-02T12:00:00Z").await[..2],
        ["117.201", "ecb"]
    );
    ask(&shop, "EUR", "RUB", "2022-03-09T12:00:00Z")
        .await
        .refused(422, "no_exchange_rate");
    assert_eq!(
        holds(&shop, "EUR", "HRK", "2022-12-31T12:00:00Z").await[0],
        "7.5365"
    );
    ask(&shop, "EUR", "HRK", "2026-01-15T10:00:00Z")
        .await
        .refused(422, "no_exchange_rate");
    ask(&shop, "EUR", "KWD", "2026-01-15T10:00:00Z")
        .await
        .refused(422, "no_exchange_rate");
}

#[tokio::test]
async fn computes_other_pairs_exactly_over_the_euro() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    import(&app, EXTRACT).await.expect(200);
    let cross = ask(&shop, "USD", "CHF", "2026-01-15T09:00:00Z")
        .await
        .expect(200)
        .json()["data"][0]
        .clone();
    assert_eq!(
        cross,
        json!({"id": null, "base": "USD", "quote": "CHF", "rate": "0.801273227805",
            "numerator": "0.9314", "denominator": "1.1624", "source": "ecb",
               "effective_at": "2026-01-15T00:00:00Z"})
    );
    let back = ask(&shop, "CHF", "USD", "2026-01-15T09:00:00Z")
        .await
        .expect(200)
        .json()["data"][0]
        .clone();
    assert_eq!(
        (&back["numerator"], &back["denominator"]),
        (&json!("1.1624"), &json!("0.9314"))
    );
    assert_eq!(
        holds(&shop, "USD", "EUR", "2026-01-15T09:00:00Z").await[0],
        "0.860289057123"
    );
    assert_eq!(
        shop.count("SELECT count(*) FROM exchange_rate"),
        0,
        "asking writes nothing"
    );
}

#[tokio::test]
async fn uses_the_rate_source_of_the_shop() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    import(&app, EXTRACT).await.expect(200);
    let at = "2026-01-15T09:00:00Z";
    set(&shop, "EUR", "USD", "2", "2026-01-01T00:00:00Z")
        .await
        .expect(201);
    let choose = |source: &'static str| {
        shop.patch("/v1/settings/currency")
            .json(json!({"rate_source": source}))
            .send()
    };
    assert_eq!(holds(&shop, "EUR", "USD", at).await[..2], ["2", "manual"]);
    assert_eq!(holds(&shop, "EUR", "CHF", at).await[..2], ["0.9314", "ecb"]);
    choose("published").await.expect(200);
    assert_eq!(holds(&shop, "EUR", "USD", at).await[..2], ["1.1624", "ecb"]);
    choose("manual").await.expect(200);
    assert_eq!(holds(&shop, "EUR", "USD", at).await[..2], ["2", "manual"]);
    ask(&shop, "EUR", "CHF", at)
        .await
        .refused(422, "no_exchange_rate");
}

#[tokio::test]
async fn rejects_whole_file_when_a_part_is_invalid() {
    let app = TestApp::start();
    let good = "Date,USD,JPY,\n2026-01-14,1.1651,184.82,\n2026-01-13,1.1654,185.08,\n";
    for (old, new, code) in [
        ("2026-01-14", "2026-01-16", "wrong_day"),
        ("2026-01-14", "1998-12-31", "wrong_day"),
        ("2026-01-14", "2026-01-13", "day_twice"),
        ("1.1651", "2.3309", "absurd_rate"),
        ("184.82", "18482", "absurd_rate"),
        ("184.82", "0.0054", "absurd_rate"),
        ("1.1651", "0", "validation_failed"),
        ("2026-01-14", "14.1.2026", "validation_failed"),
        (
            "1.1651,184.82,\n2026-01-13,1.1654,185.08",
            "N/A,N/A,\n2026-01-13,N/A,N/A",
            "no_rates",
        ),
    ] {
        assert!(good.contains(old), "{old}");
        import(&app, &good.replace(old, new))
            .await
            .refused(422, code);
        assert_eq!(
            app.landlord_rows("SELECT count(*) FROM published_rate"),
            ["0"],
            "{new}"
        );
    }
    import(&app, good).await.expect(200);
    // New rates are also compared with stored ones.
    import(&app, "Date,USD\n2026-01-15,2.4\n")
        .await
        .refused(422, "absurd_rate");
    assert_eq!(
        app.landlord_rows("SELECT count(*) FROM published_rate"),
        ["4"]
    );
    assert_eq!(
        import(&app, "Date,USD\n2026-01-14,1.1652\n")
            .await
            .expect(200)
            .json()["corrected"],
        1
    );
    let shop = app.tenant("corner");
    assert_eq!(
        holds(&shop, "EUR", "USD", "2026-01-15T10:00:00Z").await[0],
        "1.1652"
    );
}

/// A correction is compared with the rate that it replaces, also without neighbours or when all
/// rates are corrected together.
#[tokio::test]
async fn rejects_correction_far_from_the_stored_rate() {
    let app = TestApp::start();
    let (first, tenfold) = (
        "Date,USD,\n2026-01-14,1.1651,\n2026-01-13,1.1654,\n2025-11-03,1.15,\n",
        "Date,USD,\n2026-01-14,11.651,\n2026-01-13,11.654,\n",
    );
    import(&app, first).await.expect(200);
    let refused = import(&app, tenfold).await.refused(422, "absurd_rate");
    let detail = refused["detail"].as_str().expect("a text");
    assert!(
        detail.contains("1.1654 USD on 2026-01-13") && detail.contains("11.654"),
        "{detail}"
    );
    for alone in ["2.31", "0.57"] {
        import(&app, &format!("Date,USD,\n2025-11-03,{alone},\n"))
            .await
            .refused(422, "absurd_rate");
    }
    assert_eq!(
        app.landlord_rows("SELECT count(*) FROM published_rate"),
        ["3"]
    );
    import(&app, "Date,USD,\n2025-11-03,2.29,\n")
        .await
        .expect(200);
    // With the operator's confirmation, stored rates do not count, but neighbours still do.
    let right = |csv: &'static str| {
        let body = json!({"csv": csv, "corrections_are_right": true});
        app.admin("/v1/admin/exchange-rates/import")
            .json(body)
            .send()
    };
    right("Date,USD,\n2026-01-14,11.651,\n")
        .await
        .refused(422, "absurd_rate");
    assert_eq!(right(tenfold).await.expect(200).json()["corrected"], 2);
    let shop = app.tenant("corner");
    assert_eq!(
        holds(&shop, "EUR", "USD", "2026-01-15T10:00:00Z").await[0],
        "11.651"
    );
}

/// The kuna ended with 2022: later rates are skipped, and the rest of the file is imported.
#[tokio::test]
async fn skips_rates_after_the_end_of_a_currency() {
    let app = TestApp::start();
    let csv = "Date,USD,HRK,\n2026-01-14,1.1651,7.5345,\n2022-12-30,1.0666,7.5365,\n";
    let done = import(&app, csv).await.expect(200).json();
    assert_eq!(
        (&done["created"], &done["ended"]),
        (&json!(3), &json!(1)),
        "{done}"
    );
    assert_eq!(
        app.landlord_rows("SELECT day, rate FROM published_rate WHERE currency = 'HRK'"),
        ["2022-12-30|7.5365"]
    );
    let lines = logs().saying("published exchange rates of an ended currency were ignored");
    assert!(
        lines.lines().iter().any(|line| line["currency"] == "HRK"),
        "{lines:?}"
    );
    import(&app, "Date,HRK,\n2026-01-14,7.5345,\n")
        .await
        .refused(422, "no_rates");
}

/// Published rates are cached: a change by another program is visible after their TTL, an import at
/// once.
#[tokio::test]
async fn caches_published_rates_for_their_ttl() {
    let app = TestApp::with(false, |config| {
        config.cache.rate_ttl = "10m".parse().expect("a span")
    });
    let shop = app.tenant("corner");
    import(&app, "Date,USD\n2026-01-14,1.1\n").await.expect(200);
    let rate = async || holds(&shop, "EUR", "USD", "2026-01-15T10:00:00Z").await[0].clone();
    assert_eq!(rate().await, "1.1");
    let behind = "INSERT INTO published_rate (source, day, currency, rate, imported_at) VALUES \
        ('ecb', '2026-01-14', 'USD', '1.2', 0)";
    app.landlord_raw(behind).expect("written");
    app.advance(Duration::from_secs(599));
    assert_eq!(rate().await, "1.1");
    app.advance(Duration::from_secs(1));
    assert_eq!(rate().await, "1.2");
    import(&app, "Date,USD\n2026-01-14,1.3\n").await.expect(200);
    assert_eq!(rate().await, "1.3");
}

const DAILY: &str = "<Envelope><Cube><Cube time='2026-01-14'><Cube currency='USD' \
    rate='1.1651'/></Cube></Cube></Envelope>";

fn heard(text: &str) -> Result<Heard, CallError> {
    let body = text.as_bytes().to_vec();
    Ok(Heard { status: 200, body })
}

fn fetch(app: &TestApp) -> Option<Timestamp> {
    let (app, now) = (app.app(), app.now());
    blocking(move || fetch_due(&app, now)).expect("the landlord's file is well")
}

fn published(app: &TestApp) -> Vec<String> {
    app.landlord_rows("SELECT day, currency, rate FROM published_rate ORDER BY seq")
}

#[test]
fn fetches_nothing_by_default() {
    let app = TestApp::start();
    assert_eq!(fetch(&app), None);
    assert_eq!(app.world().calls().len(), 0);
    assert_eq!(app.landlord_rows("SELECT count(*) FROM rate_fetch"), ["0"]);
}

#[test]
fn fetches_daily_rates_when_due() {
    let app = TestApp::with(false, |config| config.exchange_rates.fetch = true);
    app.world().answers(|_| heard(DAILY));
    let next = fetch(&app).expect("it is to be fetched");
    assert_eq!(next, app.now().plus(Duration::from_secs(6 * 3_600)));
    let calls = app.world().calls();
    assert_eq!(
        (calls.len(), calls[0].target.to_string()),
        (1, "https://www.ecb.europa.eu".to_owned())
    );
    assert_eq!(
        calls[0].bounds.reach,
        tillbox::outbound::reach::Reach::Public
    );
    assert_eq!(published(&app), ["2026-01-14|USD|1.1651"]);
    // Not before it is due, also after a restart.
    assert_eq!(fetch(&app), Some(next));
    app.restart();
    assert_eq!((fetch(&app), app.world().calls().len()), (Some(next), 1));
    app.clock().set(next);
    fetch(&app);
    assert_eq!(
        (app.world().calls().len(), published(&app).len()),
        (2, 1),
        "the same file again changes nothing"
    );
    // A clock that is set back by a day does not prevent the fetch.
    app.clock().set(app.now().plus_millis(-86_400_000));
    fetch(&app);
    assert_eq!(app.world().calls().len(), 3);
}

#[test]
fn retries_failed_fetch_and_keeps_old_rates() {
    let app = TestApp::with(false, |config| config.exchange_rates.fetch = true);
    app.world().answers(|_| heard(DAILY));
    app.clock().set(fetch(&app).expect("it is to be fetched"));
    let later = DAILY.replace("2026-01-14", "2026-01-15");
    let absurd = later.replace("1.1651", "11651");
    let future = DAILY.replace("2026-01-14", "2026-02-14");
    let answers = [
        Err(CallError::Timeout),
        Err(CallError::Redirected(302)),
        Err(CallError::Status {
            status: 500,
            body: Vec::new(),
        }),
        heard("<html>Maintenance</html>"),
        heard(&absurd),
        heard(&future),
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        app.world().answers(move |_| answer.clone());
        let next = fetch(&app).expect("it is to be fetched");
        let (pause, longest) = (next.as_millis() - app.now().as_millis(), 60_000 << index);
        assert!(
            (longest / 2..=longest).contains(&pause),
            "failure {index}: {pause} ms"
        );
        assert_eq!(
            app.landlord_rows("SELECT failures FROM rate_fetch"),
            [(index + 1).to_string()]
        );
        assert_eq!(published(&app), ["2026-01-14|USD|1.1651"]);
        app.clock().set(next);
    }
    assert!(
        logs()
            .saying("exchange rates could not be fetched; the stored ones stay in use")
            .lines()
            .len()
            >= 6
    );
    app.world().answers(move |_| heard(&later));
    fetch(&app);
    assert_eq!(app.landlord_rows("SELECT failures FROM rate_fetch"), ["0"]);
    assert_eq!(
        published(&app),
        ["2026-01-14|USD|1.1651", "2026-01-15|USD|1.1651"]
    );
}

/// The scheduler checks often enough for the configured interval, and a check writes nothing.
#[test]
fn fetches_at_the_announced_time() {
    let app = TestApp::with(false, |config| {
        config.exchange_rates.fetch = true;
        config.exchange_rates.every = "10m".parse().expect("a span");
    });
    let due = || {
        let app = app.app();
        let done = blocking(|| run_due(&app, TASKS));
        done.into_iter()
            .map(|(task, done)| (task, done.is_ok()))
            .collect::<Vec<_>>()
    };
    let fetched = vec![("exchange_rates", true)];
    app.world().answers(|_| Err(CallError::Timeout));
    assert_eq!(due(), fetched, "it was never fetched");
    app.advance(Duration::from_secs(60));
    assert_eq!(due(), fetched, "a minute after the first failure");
    app.world().answers(|_| heard(DAILY));
    app.advance(Duration::from_secs(120));
    assert_eq!(due(), fetched, "and two after the second");
    let writes = || app.app().stores.directory.database().stats().requests();
    let before = writes();
    for _ in 0..59 {
        app.advance(Duration::from_secs(10));
        assert!(due().is_empty());
    }
    assert_eq!(writes(), before, "a check writes nothing");
    app.advance(Duration::from_secs(10));
    assert_eq!(due(), fetched);
    assert_eq!(app.world().calls().len(), 4);
}

#[tokio::test]
async fn shows_next_fetch_to_the_operator() {
    let app = TestApp::with(false, |config| config.exchange_rates.fetch = true);
    app.world().answers(|_| heard(DAILY));
    let running = app.app();
    blocking(|| run_due(&running, TASKS));
    drop(running);
    let status = app
        .get("/v1/landlord/retention")
        .local()
        .send()
        .await
        .expect(200)
        .json();
    let mut tasks = status["tasks"].as_array().expect("a list").iter();
    let next = app.now().plus(Duration::from_secs(6 * 3_600));
    let expected = json!({"task": "exchange_rates", "last_run_at": app.now(), "next_run_at": next});
    assert_eq!(
        tasks.find(|task| task["task"] == "exchange_rates"),
        Some(&expected)
    );
}

#[tokio::test]
async fn isolates_rates_of_tenants() {
    let app = TestApp::start();
    let (north, south) = (app.tenant("north"), app.tenant("south"));
    set(&north, "EUR", "USD", "2", "2026-01-01T00:00:00Z")
        .await
        .expect(201);
    ask(&south, "EUR", "USD", "2026-01-15T10:00:00Z")
        .await
        .refused(422, "no_exchange_rate");
    let listed = south
        .get("/v1/exchange-rates")
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(listed["data"], Value::Array(Vec::new()));
}
