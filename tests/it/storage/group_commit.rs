//! The writer of a file: many requests in one commit, each answered after the sync, none harmed by
//! its neighbours.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use serde_json::json;
use tillbox::primitives::Origin;
use tillbox::primitives::limits::{BATCH_REQUESTS_MAX, WRITER_INBOX};
use tillbox::storage::{
    Answer, Database, Rows, Statement, StorageError, StorageErrorKind, Tenant, TenantWork, params,
};

use crate::support::{TestApp, TestShop, blocking, logs};

/// Longer than anything here takes, so that a hang fails.
const PATIENCE: Duration = Duration::from_secs(30);

const INSERT: Statement = Statement::new(
    "test::INSERT",
    "INSERT INTO category (id, name, created_at) VALUES (?1, ?2, 0)",
);
const RENAME_ALL: Statement =
    Statement::new("test::RENAME_ALL", "UPDATE category SET name = name || '!'");
const DEFER: Statement = Statement::new("test::DEFER", "PRAGMA defer_foreign_keys = ON");
const ORPHAN: Statement = Statement::new(
    "test::ORPHAN",
    "INSERT INTO inventory_movement (id, product_id, kind, quantity_delta, on_hand_after, at) \
     VALUES (?1, ?2, 'count', 1, 1, 0)",
);
const LIMIT_PAGES: Statement = Statement::new("test::LIMIT_PAGES", "PRAGMA max_page_count = 400");
const NO_MORE_PAGES: Statement = Statement::new("test::NO_MORE_PAGES", "PRAGMA max_page_count = 1");
const LIFT_LIMIT: Statement =
    Statement::new("test::LIFT_LIMIT", "PRAGMA max_page_count = 1073741823");

fn insert(work: &mut TenantWork, name: &str) -> Result<(), StorageError> {
    let id: tillbox::primitives::id::CategoryId = work.new_id();
    work.insert(&INSERT, params![id, name])
}

/// Inserts one category, and returns the pending answer.
fn write(db: &Database<Tenant>, name: impl Into<String>) -> Answer<(), StorageError> {
    let name = name.into();
    db.write(Origin::system(), move |work| insert(work, &name))
}

/// A request that blocks the writer until the other end is dropped.
fn gate(db: &Database<Tenant>) -> (Answer<(), StorageError>, Sender<()>) {
    let (entered, enters): (Sender<()>, Receiver<()>) = channel();
    let (open, opened) = channel();
    let answer = db.write(Origin::system(), move |_| {
        // In a second run both ends are gone, and the request passes.
        let _ = entered.send(());
        let _ = opened.recv();
        Ok(())
    });
    enters.recv().expect("the writer takes it up");
    (answer, open)
}

fn names(shop: &TestShop) -> Vec<String> {
    shop.rows("SELECT name FROM category ORDER BY name")
}

fn kind<R>(result: Result<R, StorageError>) -> Option<StorageErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn shares_commits_between_threads_and_answers_after_sync() {
    const THREADS: usize = 64;
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let (commits, requests) = (db.stats().commits(), db.stats().requests());
    let (_gate, open) = gate(&db);
    let all_sent = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, shop, all_sent) = (&db, &shop, &all_sent);
            scope.spawn(move || {
                let answer = write(db, format!("first-{thread}"));
                all_sent.wait();
                answer.wait().expect("written");
                assert_eq!(
                    shop.count(&format!(
                        "SELECT count(*) FROM category WHERE name = 'first-{thread}'"
                    )),
                    1
                );
                for round in 0..10 {
                    write(db, format!("{round}-{thread}"))
                        .wait()
                        .expect("written");
                    assert_eq!(
                        shop.count(&format!(
                            "SELECT count(*) FROM category WHERE name = '{round}-{thread}'"
                        )),
                        1
                    );
                }
            });
        }
        all_sent.wait();
        drop(open);
    });
    let (commits, requests) = (
        db.stats().commits() - commits,
        db.stats().requests() - requests,
    );
    assert_eq!(requests, 1 + 11 * THREADS as u64);
    assert!(
        commits + 50 < requests,
        "{commits} commits for {requests} requests"
    );
    assert_eq!(
        shop.count("SELECT count(*) FROM category"),
        11 * THREADS as i64
    );
}

#[test]
fn keeps_neighbours_when_request_fails_after_write() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let replays = db.stats().replays();
    let called = Arc::new(AtomicUsize::new(0));
    let (_gate, open) = gate(&db);
    let before = write(&db, "before");
    let in_closure = called.clone();
    let failing: Answer<(), StorageError> = db.write(Origin::system(), move |work| {
        insert(work, "half")?;
        let called = in_closure.clone();
        work.on_commit(move || {
            called.fetch_add(100, Ordering::SeqCst);
        });
        work.change(&RENAME_ALL, [], Rows::Exactly(17)).map(drop)
    });
    let in_closure = called.clone();
    let after: Answer<(), StorageError> = db.write(Origin::system(), move |work| {
        let called = in_closure.clone();
        work.on_commit(move || {
            called.fetch_add(1, Ordering::SeqCst);
        });
        insert(work, "after")
    });
    drop(open);
    before.wait().expect("written");
    assert_eq!(kind(failing.wait()), Some(StorageErrorKind::UnexpectedRows));
    after.wait().expect("written");
    assert_eq!(names(&shop), ["after", "before"]);
    assert_eq!(db.stats().replays() - replays, 1);
    assert_eq!(
        called.load(Ordering::SeqCst),
        1,
        "only the committed request runs its callback, once"
    );
}

#[test]
fn keeps_neighbours_when_request_panics() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let (_gate, open) = gate(&db);
    let before = write(&db, "before");
    let panicking: Answer<(), StorageError> = db.write(Origin::system(), |work| {
        insert(work, "half")?;
        panic!("on purpose, in a test")
    });
    let after = write(&db, "after");
    drop(open);
    before.wait().expect("written");
    assert_eq!(kind(panicking.wait()), Some(StorageErrorKind::Panicked));
    after.wait().expect("written");
    assert_eq!(names(&shop), ["after", "before"]);
    assert!(db.is_healthy());
    write(&db, "later").wait().expect("the writer goes on");
}

#[test]
fn avoids_second_run_when_refused_before_write() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let replays = db.stats().replays();
    let (_gate, open) = gate(&db);
    let before = write(&db, "before");
    let refused: Answer<(), StorageError> = db.write(Origin::system(), |work| {
        work.on_commit(|| panic!("a refused request ran its callback"));
        Err(StorageError::new(StorageErrorKind::Other))
    });
    let after = write(&db, "after");
    drop(open);
    before.wait().expect("written");
    assert_eq!(kind(refused.wait()), Some(StorageErrorKind::Other));
    after.wait().expect("written");
    assert_eq!(names(&shop), ["after", "before"]);
    assert_eq!(db.stats().replays(), replays);
}

#[test]
fn answers_only_after_commit() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let (seen, sees) = channel();
    let inside = shop.clone();
    let answer: Answer<(), StorageError> = db.write(Origin::system(), move |work| {
        insert(work, "one")?;
        let within = inside.count("SELECT count(*) FROM category");
        let (seen, shop) = (seen.clone(), inside.clone());
        work.on_commit(move || {
            seen.send((within, shop.count("SELECT count(*) FROM category")))
                .expect("the test listens")
        });
        Ok(())
    });
    answer.wait().expect("written");
    assert_eq!(
        sees.recv().expect("the callback ran"),
        (0, 1),
        "other connections see it when the callback runs, and not before"
    );
}

#[test]
fn undoes_only_nested_savepoint_when_it_fails() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let result = shop.write(|work| {
        insert(work, "outer")?;
        let inner: Result<(), StorageError> = work.nested(|work| {
            insert(work, "inner")?;
            Err(StorageError::new(StorageErrorKind::Other))
        });
        assert!(inner.is_err());
        insert(work, "last")
    });
    result.expect("written");
    assert_eq!(names(&shop), ["last", "outer"]);
}

#[test]
fn skips_request_when_caller_is_gone() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let (_gate, open) = gate(&db);
    drop(write(&db, "abandoned"));
    let last = write(&db, "last");
    drop(open);
    last.wait().expect("written");
    assert_eq!(names(&shop), ["last"]);
}

#[tokio::test]
async fn rejects_at_once_when_writer_is_overloaded() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let product = json!({"sku": "A", "name": "A", "price_minor": 1});
    let (_gate, open) = blocking(|| gate(&db));
    let waiting: Vec<_> = (0..WRITER_INBOX)
        .map(|index| write(&db, format!("{index:04}")))
        .collect();
    let refused = write(&db, "too many").await;
    assert_eq!(kind(refused), Some(StorageErrorKind::Overloaded));
    let answer = shop
        .post("/v1/catalog/products")
        .json(product.clone())
        .send()
        .await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    answer.refused(503, "overloaded");
    let lines = logs().saying("writer overloaded; requests refused");
    let lines = lines.only(|line| {
        line["file"]
            .as_str()
            .is_some_and(|file| file.contains(&shop.id.to_string()))
    });
    assert_eq!(lines.lines().len(), 1, "once, not for each: {lines:?}");
    // Reads go on, and so does another shop.
    shop.get("/v1/catalog/products").send().await.expect(200);
    app.tenant("other").product("A", 1).await;

    drop(open);
    for answer in waiting {
        answer.await.expect("the waiting requests are written");
    }
    assert_eq!(
        shop.count("SELECT count(*) FROM category"),
        WRITER_INBOX as i64
    );
    shop.post("/v1/catalog/products")
        .json(product)
        .send()
        .await
        .expect(201);
}

#[tokio::test]
async fn fails_every_request_when_commit_fails() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let (_gate, open) = blocking(|| gate(&db));
    let first = write(&db, "first");
    // The foreign key is deferred, so the COMMIT fails.
    let poison: Answer<(), StorageError> = db.write(Origin::system(), |work| {
        work.change(&DEFER, [], Rows::Any)?;
        work.insert(&ORPHAN, params![[1_u8; 16], [2_u8; 16]])
    });
    let last = write(&db, "last");
    drop(open);
    let (first, poison, last) = (first.await, poison.await, last.await);
    assert_eq!(kind(poison), Some(StorageErrorKind::Constraint));
    let there = names(&shop);
    for (name, result) in [("first", first), ("last", last)] {
        assert_eq!(
            result.is_ok(),
            there.contains(&name.to_owned()),
            "{name}: {there:?}"
        );
    }
    assert!(
        !db.is_healthy(),
        "after a failed commit the file is opened and checked again"
    );
    drop(db);
    shop.product("A", 1).await;
    assert!(shop.db().is_healthy());
}

#[tokio::test]
async fn rejects_only_growing_writes_when_disk_is_full() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    // The file may not grow: for SQLite that is a full disk.
    let limited: Result<i64, StorageError> = db
        .write(Origin::system(), |work| {
            work.one(&LIMIT_PAGES, [], |row| row.get(0))
        })
        .await;
    assert_eq!(limited.expect("limited"), 400);
    let (_gate, open) = blocking(|| gate(&db));
    let first = write(&db, "first");
    let large = write(&db, "x".repeat(4_000_000));
    let last = write(&db, "last");
    drop(open);
    let (first, large, last) = (first.await, large.await, last.await);
    assert_eq!(kind(large), Some(StorageErrorKind::Full));
    let there = names(&shop);
    for (name, result) in [("first", first), ("last", last)] {
        match result {
            Ok(()) => assert!(there.contains(&name.to_owned()), "{name} was acknowledged"),
            Err(error) => {
                assert_eq!(error.kind(), StorageErrorKind::Full);
                assert!(!there.contains(&name.to_owned()), "{name} was refused");
            }
        }
    }
    assert!(db.is_healthy(), "a full disk is no damage");

    let lifted: Result<i64, StorageError> = db
        .write(Origin::system(), |work| {
            work.one(&LIFT_LIMIT, [], |row| row.get(0))
        })
        .await;
    lifted.expect("lifted");
    write(&db, "with space again").await.expect("written");
}

#[tokio::test]
async fn reports_full_disk_over_http_and_keeps_reading() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let limited: Result<i64, StorageError> = db
        .write(Origin::system(), |work| {
            work.one(&NO_MORE_PAGES, [], |row| row.get(0))
        })
        .await;
    limited.expect("limited to what there is");
    let mut written = 0;
    let refused = loop {
        let body =
            json!({"sku": format!("A-{written}"), "name": "x".repeat(200), "price_minor": 1});
        let answer = shop.post("/v1/catalog/products").json(body).send().await;
        if answer.status != 201 {
            break answer;
        }
        written += 1;
        assert!(written < 10_000, "the limit holds");
    };
    assert_eq!(refused.header("retry-after"), Some("60"));
    refused.refused(507, "storage_full");
    assert_eq!(shop.count("SELECT count(*) FROM product"), written);
    assert_eq!(shop.count("SELECT count(*) FROM job"), written);
    shop.get("/v1/catalog/products").send().await.expect(200);
    let lifted: Result<i64, StorageError> = db
        .write(Origin::system(), |work| {
            work.one(&LIFT_LIMIT, [], |row| row.get(0))
        })
        .await;
    lifted.expect("lifted");
    shop.product("A", 1).await;
}

#[tokio::test]
async fn writes_nothing_outside_rolled_back_transaction() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let limited: Result<i64, StorageError> = db
        .write(Origin::system(), |work| {
            work.one(&LIMIT_PAGES, [], |row| row.get(0))
        })
        .await;
    limited.expect("limited");
    let careless: Answer<(), StorageError> = db.write(Origin::system(), |work| {
        insert(work, "before")?;
        // SQLite rolls the whole transaction back by itself here. A later statement would be
        // written at once, alone.
        let _ = insert(work, &"x".repeat(4_000_000));
        insert(work, "after")
    });
    assert_eq!(kind(careless.await), Some(StorageErrorKind::Full));
    assert!(names(&shop).is_empty(), "{:?}", names(&shop));
}

#[test]
fn keeps_answer_and_writer_when_panic_follows_commit() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let answer: Answer<(), StorageError> = db.write(Origin::system(), |work| {
        insert(work, "kept")?;
        work.on_commit(|| panic!("on purpose, in a test"));
        Ok(())
    });
    answer
        .wait()
        .expect("it is committed, and the answer says so");
    write(&db, "later").wait().expect("the writer goes on");
    assert_eq!(names(&shop), ["kept", "later"]);
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("on purpose, in a test");
        }
    }
}

#[test]
fn reopens_file_when_writer_died() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let db = shop.db();
    let bomb = Bomb;
    let answer: Answer<(), StorageError> = db.write(Origin::system(), move |work| {
        let _held = &bomb;
        insert(work, "kept")
    });
    // With or without an answer: the value panics on the writer's thread after the commit.
    let _ = answer.wait();
    while db.is_healthy() {
        std::thread::yield_now();
    }
    drop(db);
    shop.write(|work| insert(work, "later"))
        .expect("there is a writer again");
    assert_eq!(names(&shop), ["kept", "later"]);
}

/// SQLite waits five seconds for a lock that another program holds. All requests in the inbox share
/// one wait.
#[test]
fn waits_once_for_all_when_file_is_locked_outside() {
    let shop = TestApp::start().tenant("corner");
    let db = shop.db();
    let lock = rusqlite::Connection::open(shop.path()).expect("opens");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let commits = db.stats().commits();
    let answers: Vec<_> = (0..40)
        .map(|number| write(&db, format!("waits {number}")))
        .collect();
    let outcomes: Vec<_> = answers
        .into_iter()
        .map(|answer| blocking(|| kind(answer.wait())))
        .collect();
    assert_eq!(outcomes, [Some(StorageErrorKind::Busy); 40]);
    assert_eq!(db.stats().commits(), commits);
    lock.execute_batch("ROLLBACK").expect("unlocked");
    blocking(|| write(&db, "goes on").wait()).expect("it is free again");
    assert_eq!(names(&shop), ["goes on"]);
}

/// A request that waits in the inbox when the writer stops holds a handle of the file, and so keeps
/// the inbox alive: it has to be emptied.
#[tokio::test]
async fn answers_all_waiting_requests_when_writer_stops() {
    for ends_by_itself in [true, false] {
        let app = TestApp::start();
        let shop = app.tenant("corner");
        let db = shop.db();
        let (first, open) = gate(&db);
        let waiting: Vec<_> = (0..BATCH_REQUESTS_MAX + 50)
            .map(|number| write(&db, format!("waits {number}")))
            .collect();
        let closing = if ends_by_itself {
            std::fs::remove_file(shop.path()).expect("removed");
            None
        } else {
            let db = db.clone();
            Some(std::thread::spawn(move || db.close()))
        };
        // Some of these arrive before the writer is asked to stop, and some after, as during the
        // deletion of a tenant.
        let late: Vec<_> = (0..400)
            .map(|number| {
                std::thread::yield_now();
                write(&db, format!("late {number}"))
            })
            .collect();
        drop(open);
        for answer in waiting.into_iter().chain(late).chain([first]) {
            let outcome = tokio::time::timeout(PATIENCE, answer)
                .await
                .expect("it is answered");
            if ends_by_itself {
                assert!(outcome.is_err(), "nothing is stored in a deleted file");
            }
        }
        closing
            .into_iter()
            .for_each(|closing| closing.join().expect("it closes"));
    }
}
