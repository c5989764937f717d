//! Open files: limited in number, closed when idle, and never open in two processes.

use std::time::Duration;

use tillbox::app::{App, Ports, StartError};
use tillbox::storage::data_dir::{DataDirError, beside};

use tillbox::storage::{Statement, StorageError, StorageErrorKind};

use crate::support::{TestApp, blocking};

const COUNT: Statement = Statement::new("test::COUNT", "SELECT count(*) FROM product");

#[test]
fn rejects_second_process_on_data_directory() {
    let app = TestApp::start();
    let config = app.app().config.clone();
    let second = blocking(|| App::start(config, false, Ports::default()));
    let refused = second.err().expect("the directory is in use");
    assert!(
        matches!(refused, StartError::DataDir(DataDirError::InUse(_))),
        "{refused}"
    );
    assert!(refused.to_string().contains("in use"), "{refused}");
    app.restart();
}

#[tokio::test]
async fn keeps_open_files_below_limit() {
    let app = TestApp::with(false, |config| config.storage.open_tenants = 3);
    let shops: Vec<_> = (0..10)
        .map(|index| app.tenant(&format!("shop-{index}")))
        .collect();
    for shop in &shops {
        shop.product("A", 100).await;
        assert!(app.app().stores.registry.list_open().len() <= 3);
    }
    for shop in &shops {
        let list = shop.get("/v1/catalog/products").send().await.expect(200);
        assert_eq!(list.json()["data"].as_array().map(Vec::len), Some(1));
        assert!(app.app().stores.registry.list_open().len() <= 3);
    }
    let open = app.app().stores.registry.list_open();
    let last_used: Vec<_> = shops[7..].iter().map(|shop| shop.id).collect();
    assert!(
        last_used.iter().all(|id| open.contains(id)),
        "the least recently used are closed first"
    );
}

#[test]
fn opens_few_files_at_once_when_many_tenants_wake() {
    let app = TestApp::with(false, |config| config.storage.open_tenants = 2);
    let shops: Vec<_> = (0..60)
        .map(|index| app.tenant(&format!("shop-{index}")))
        .collect();
    let registry = app.app().stores.registry.clone();
    blocking(|| registry.close_all());
    let most = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for shop in &shops {
            let access = shop.access();
            let (registry, most) = (&registry, &most);
            scope.spawn(move || {
                drop(registry.open(&access).expect("it opens"));
                most.fetch_max(
                    registry.list_open().len(),
                    std::sync::atomic::Ordering::SeqCst,
                );
            });
        }
    });
    let most = most.into_inner();
    assert!(most <= 2 + 2, "{most} were open");
    drop(shops[0].db());
    assert!(registry.list_open().len() <= 2 + 2);
}

/// A report keeps its connection while it runs. Neither its own shop's tills nor others wait for
/// it.
#[tokio::test]
async fn leaves_connections_to_short_reads_during_long_reads() {
    let app = TestApp::start();
    let (shop, other) = (app.tenant("corner"), app.tenant("other"));
    let db = shop.db();
    let mut gates = Vec::new();
    let mut long = || {
        let (open, gate) = std::sync::mpsc::channel::<()>();
        gates.push(open);
        db.read_long(move |_| {
            // Ends when the other side is dropped.
            let _ = gate.recv();
            Ok::<_, StorageError>(())
        })
    };
    let running = [long(), long()];
    let refused = long().await.expect_err("one more than there is room for");
    assert_eq!(refused.kind(), StorageErrorKind::Overloaded);
    for shop in [&shop, &other] {
        for _ in 0..20 {
            shop.get("/v1/catalog/products").send().await.expect(200);
        }
    }
    gates.clear();
    for read in running {
        read.await.expect("it ends");
    }
    db.read_long(|_| Ok::<_, StorageError>(()))
        .await
        .expect("there is room again");
}

#[test]
fn keeps_file_open_while_in_use() {
    let app = TestApp::with(false, |config| config.storage.open_tenants = 1);
    let (first, second) = (app.tenant("first"), app.tenant("second"));
    let held = first.db();
    second.db();
    blocking(|| {
        held.write(tillbox::primitives::Origin::system(), |_| {
            Ok::<_, tillbox::storage::StorageError>(())
        })
        .wait()
    })
    .expect("the held file still writes");
}

#[tokio::test]
async fn closes_idle_files_without_wal_and_reopens_on_demand() {
    let app = TestApp::start();
    let (quiet, busy) = (app.tenant("quiet"), app.tenant("busy"));
    quiet.product("A", 100).await;
    app.advance(Duration::from_secs(9 * 60));
    busy.product("A", 100).await;
    app.advance(Duration::from_secs(60));
    let (registry, now) = (app.app().stores.registry.clone(), app.now());
    blocking(|| registry.close_idle(now));
    assert_eq!(registry.list_open(), [busy.id]);
    drop(registry);
    assert!(!beside(&quiet.path(), "-wal").exists());
    quiet.get("/v1/catalog/products").send().await.expect(200);
    assert_eq!(app.app().stores.registry.list_open().len(), 2);
}

#[tokio::test]
async fn leaves_no_wal_after_orderly_stop() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.product("A", 100).await;
    app.stop();
    for path in [shop.path(), app.data_dir().join("landlord.db")] {
        assert!(
            path.exists() && !beside(&path, "-wal").exists() && !beside(&path, "-shm").exists()
        );
    }
    app.resume();
    assert_eq!(shop.count("SELECT count(*) FROM product"), 1);
}

#[test]
fn restricts_files_and_directories_to_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path)
            .expect("is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(app.data_dir()), 0o700);
    assert_eq!(mode(&app.data_dir().join("tenants")), 0o700);
    for path in [
        shop.path(),
        app.data_dir().join("landlord.db"),
        app.data_dir().join("LOCK"),
    ] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn serves_other_tenants_when_file_vanished() {
    let app = TestApp::start();
    let (ill, well) = (app.tenant("ill"), app.tenant("well"));
    well.product("A", 100).await;
    // Closed and opened again: nothing has read it yet, so a read has to open the file first.
    let registry = app.app().stores.registry.clone();
    blocking(|| registry.close(ill.id));
    drop(registry);
    let db = ill.db();
    std::fs::rename(ill.path(), app.scratch().join("elsewhere.db")).expect("moved away");
    let waiting: Vec<_> = (0..40)
        .map(|_| db.read(|view| view.one::<i64>(&COUNT, [], |row| row.get(0))))
        .collect();
    let other = tokio::time::timeout(
        Duration::from_secs(3),
        well.get("/v1/catalog/products").send(),
    )
    .await;
    other
        .expect("the other tenant is served meanwhile")
        .expect(200);
    for answer in waiting {
        let refused: Result<i64, StorageError> = answer.await;
        refused.expect_err("the file is gone");
    }
    assert!(
        !db.is_healthy(),
        "it is opened and checked again, or found missing"
    );
    drop(db);
    ill.get("/v1/catalog/products")
        .send()
        .await
        .refused(503, "tenant_unavailable");
}

/// SQLite tells other programs by POSIX locks that a file is in use, and the system drops all locks
/// of a process on a file as soon as the process closes any descriptor of it. The `sqlite3` shell
/// would then take itself for the last user, and remove the WAL at its end.
#[cfg(target_os = "linux")]
#[test]
fn keeps_posix_lock_when_file_is_reopened_during_read() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let is_locked = || is_posix_locked(&shop.path());
    let (entered, enters) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let before = shop.db();
    let reading = before.read(move |view| {
        let count: i64 = view.one(&COUNT, [], |row| row.get(0))?;
        entered.send(()).expect("the test listens");
        // Ends when the test drops the other end.
        let _ = left.recv();
        Ok::<_, StorageError>(count)
    });
    enters.recv().expect("the read runs");
    assert!(is_locked());
    let registry = app.app().stores.registry.clone();
    blocking(|| registry.close(shop.id));
    drop(registry);
    let again = shop.db();
    assert!(is_locked(), "the file is open for writing without a lock");
    drop(leave);
    blocking(|| reading.wait()).expect("read");
    drop((before, again));
}

/// Whether this process holds a POSIX lock on the file at `path`. It reads its own descriptors,
/// each of which lists the locks of one file at one moment. `/proc/locks` lists those of the whole
/// machine piece by piece, and misses some while other tests lock and unlock.
#[cfg(target_os = "linux")]
fn is_posix_locked(path: &std::path::Path) -> bool {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("the system lists our descriptors");
    let ours = descriptors
        .filter_map(Result::ok)
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|file| file == path));
    // A descriptor that was closed meanwhile has no locks.
    let info = |entry: std::fs::DirEntry| {
        std::fs::read_to_string(std::path::Path::new("/proc/self/fdinfo").join(entry.file_name()))
    };
    ours.filter_map(|entry| info(entry).ok()).any(|info| {
        info.lines()
            .any(|line| line.starts_with("lock:") && line.contains(" POSIX "))
    })
}

#[test]
fn blocks_one_thread_while_file_opens_slowly() {
    let app = TestApp::start();
    let (slow, other) = (app.tenant("slow"), app.tenant("other"));
    let registry = app.app().stores.registry.clone();
    blocking(|| {
        [slow.id, other.id]
            .into_iter()
            .for_each(|id| registry.close(id))
    });
    drop(registry);
    // Opening the file now waits for its lock.
    let lock = rusqlite::Connection::open(slow.path()).expect("opens");
    lock.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
        .expect("locked");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    let calls = |shop: &crate::support::TestShop| shop.get("/v1/catalog/products").send();
    let waiting: Vec<_> = (0..16).map(|_| runtime.spawn(calls(&slow))).collect();
    let served = runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(3), calls(&other)).await });
    drop(lock);
    served
        .expect("another file is opened meanwhile")
        .expect(200);
    for call in waiting {
        runtime.block_on(call).expect("no panic");
    }
}
