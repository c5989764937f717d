//! A wrong or damaged file affects one shop: its requests fail, the file is kept unchanged, the
//! others sell on.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tillbox::app::{App, Ports};
use tillbox::config::Config;
use tillbox::storage::data_dir::beside;

use crate::support::{Answer, TestApp, TestShop, blocking, logs};

/// Two shops with one product each. The first one's file is changed while no process has it open.
struct TwoShops {
    app: TestApp,
    broken: TestShop,
    intact: TestShop,
}

impl TwoShops {
    async fn tampered(tamper: impl FnOnce(&TestShop, &TestShop)) -> Self {
        let app = TestApp::start();
        let (broken, intact) = (app.tenant("broken"), app.tenant("intact"));
        broken.product("A", 100).await;
        intact.product("A", 100).await;
        app.stop();
        tamper(&broken, &intact);
        app.resume();
        Self {
            app,
            broken,
            intact,
        }
    }

    fn quarantined(&self) -> PathBuf {
        beside(&self.broken.path(), ".quarantined")
    }

    /// Asserts that the first shop is refused repeatedly, and the second sells on.
    async fn is_unavailable(&self) {
        for _ in 0..2 {
            let answer = self.broken.get("/v1/catalog/products").send().await;
            assert!(answer.header("retry-after").is_some());
            answer.refused(503, "tenant_unavailable");
            let list = self
                .intact
                .get("/v1/catalog/products")
                .send()
                .await
                .expect(200);
            assert_eq!(list.json()["data"][0]["sku"], "A");
        }
        self.intact.product("B", 200).await;
        let unavailable = self.app.app().stores.registry.list_unavailable();
        assert_eq!(unavailable.len(), 1, "{unavailable:?}");
        assert_eq!(unavailable[0].0, self.broken.id);
    }

    /// As [`is_unavailable`](Self::is_unavailable), and the file stays in its place, byte for byte.
    async fn is_left_alone(&self, bytes: &[u8]) {
        self.is_unavailable().await;
        let lines = logs()
            .of_tenant(&self.broken.id.to_string())
            .saying("tenant unavailable");
        assert_eq!(lines.lines().len(), 1, "logged once: {lines:?}");
        self.app.stop();
        assert!(
            fs::read(self.broken.path()).expect("it is there") == bytes,
            "the file was touched"
        );
        assert!(!self.quarantined().exists());
    }

    /// As [`is_unavailable`](Self::is_unavailable), and the file is quarantined, byte for byte.
    async fn is_quarantined(&self, bytes: &[u8]) {
        self.is_unavailable().await;
        assert!(
            fs::read(self.quarantined()).expect("it is quarantined") == bytes,
            "the file was touched"
        );
        assert!(
            !self.broken.path().exists(),
            "no empty file is put in its place"
        );
        let lines = logs()
            .of_tenant(&self.broken.id.to_string())
            .saying("tenant file quarantined");
        assert_eq!(lines.lines().len(), 1, "{lines:?}");
        // Later requests, even after a restart, name the file that was quarantined.
        self.app.stop();
        self.app.resume();
        self.broken
            .get("/v1/catalog/products")
            .send()
            .await
            .refused(503, "tenant_unavailable");
        let later = operators_answer(&self.broken)
            .await
            .refused(503, "tenant_unavailable");
        assert!(
            later["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(".quarantined")),
            "{later}"
        );
    }
}

/// The operator's answer about a shop that cannot be opened. It says more than a customer's.
async fn operators_answer(shop: &TestShop) -> Answer {
    let path = format!("/v1/admin/tenants/{}/migrate", shop.slug);
    shop.app.admin(&path).json(json!({})).send().await
}

#[tokio::test]
async fn rejects_file_of_other_tenant() {
    let shops = TwoShops::tampered(|broken, intact| {
        fs::copy(intact.path(), broken.path()).expect("copied");
    })
    .await;
    let bytes = fs::read(shops.broken.path()).expect("reads");
    shops.is_left_alone(&bytes).await;
}

#[tokio::test]
async fn rejects_file_of_other_program() {
    let shops = TwoShops::tampered(|broken, _| {
        broken
            .raw("PRAGMA application_id = 1; PRAGMA journal_mode = DELETE")
            .expect("tampered")
    })
    .await;
    let bytes = fs::read(shops.broken.path()).expect("reads");
    shops.is_left_alone(&bytes).await;
}

#[tokio::test]
async fn rejects_landlord_file_as_tenant() {
    let shops = TwoShops::tampered(|broken, _| {
        fs::copy(broken.app.data_dir().join("landlord.db"), broken.path()).expect("copied");
    })
    .await;
    let bytes = fs::read(shops.broken.path()).expect("reads");
    shops.is_left_alone(&bytes).await;
}

#[tokio::test]
async fn leaves_file_of_newer_schema_alone() {
    let shops =
        TwoShops::tampered(|broken, _| broken.raw("PRAGMA user_version = 99").expect("tampered"))
            .await;
    let bytes = fs::read(shops.broken.path()).expect("reads");
    shops.is_left_alone(&bytes).await;
}

#[tokio::test]
async fn does_not_recreate_missing_file() {
    let shops =
        TwoShops::tampered(|broken, _| fs::remove_file(broken.path()).expect("removed")).await;
    shops.is_unavailable().await;
    assert!(!shops.broken.path().exists() && !shops.quarantined().exists());
}

#[tokio::test]
async fn quarantines_truncated_file() {
    let shops = TwoShops::tampered(|broken, _| {
        let bytes = fs::read(broken.path()).expect("reads");
        fs::write(broken.path(), &bytes[..bytes.len() / 2]).expect("written");
    })
    .await;
    let bytes = fs::read(shops.broken.path()).expect("reads");
    shops.is_quarantined(&bytes).await;
}

#[tokio::test]
async fn quarantines_empty_file() {
    let shops =
        TwoShops::tampered(|broken, _| fs::write(broken.path(), b"").expect("written")).await;
    shops.is_quarantined(b"").await;
}

#[tokio::test]
async fn sets_file_aside_when_not_sqlite() {
    let text = "a shopping list\n".repeat(1000);
    let shops =
        TwoShops::tampered(|broken, _| fs::write(broken.path(), &text).expect("written")).await;
    shops.is_quarantined(text.as_bytes()).await;
}

#[tokio::test]
async fn checks_and_quarantines_file_damaged_while_selling() {
    let shops = TwoShops::tampered(|broken, _| {
        let page: usize = broken
            .count("SELECT rootpage FROM sqlite_schema WHERE name = 'product'")
            .try_into()
            .expect("a page");
        let mut bytes = fs::read(broken.path()).expect("reads");
        bytes[(page - 1) * 4096..page * 4096].fill(0xA5);
        fs::write(broken.path(), &bytes).expect("written");
    })
    .await;
    let bytes = fs::read(shops.broken.path()).expect("reads");
    // The header is intact, so only the read fails.
    shops
        .broken
        .get("/v1/catalog/products")
        .send()
        .await
        .refused(503, "tenant_unavailable");
    shops.is_quarantined(&bytes).await;
}

#[tokio::test]
async fn sets_damaged_file_aside_with_wal_unchanged() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for number in 0..40 {
        shop.product(&format!("A-{number}"), 100).await;
    }
    let (file, wal) = (shop.path(), beside(&shop.path(), "-wal"));
    // The state after a power cut: a file and its WAL from before the last checkpoint.
    let (mut bytes, wal_bytes) = (
        fs::read(&file).expect("reads"),
        fs::read(&wal).expect("it is written to"),
    );
    app.stop();
    assert!(!wal_bytes.is_empty());
    bytes[4096..].fill(0xA5);
    fs::write(&file, &bytes).expect("written");
    fs::write(&wal, &wal_bytes).expect("written");
    app.resume();
    shop.get("/v1/catalog/products")
        .send()
        .await
        .refused(503, "tenant_unavailable");
    let quarantined = beside(&file, ".quarantined");
    assert!(
        fs::read(&quarantined).expect("it is quarantined") == bytes,
        "the file was touched"
    );
    assert!(
        fs::read(beside(&quarantined, "-wal")).expect("it is quarantined") == wal_bytes,
        "the WAL was touched"
    );
}

/// SQLite itself would open the file, drop every sale behind the flipped bit, and report the rest
/// as intact.
#[tokio::test]
async fn detects_flipped_bit_in_wal() {
    for flipped in [false, true] {
        let app = TestApp::start();
        let shop = app.tenant("corner");
        for number in 0..10 {
            shop.product(&format!("A-{number}"), 100).await;
        }
        let (file, wal) = (shop.path(), beside(&shop.path(), "-wal"));
        let (bytes, mut wal_bytes) = (
            fs::read(&file).expect("reads"),
            fs::read(&wal).expect("it is written to"),
        );
        app.stop();
        if flipped {
            let middle = wal_bytes.len() / 2;
            wal_bytes[middle] ^= 1;
        }
        fs::write(&file, &bytes).expect("written");
        fs::write(&wal, &wal_bytes).expect("written");
        app.resume();
        let list = shop.get("/v1/catalog/products").send().await;
        if flipped {
            list.refused(503, "tenant_unavailable");
            let quarantined = beside(&beside(&file, ".quarantined"), "-wal");
            assert!(
                fs::read(quarantined).expect("it is quarantined") == wal_bytes,
                "the WAL was touched"
            );
        } else {
            assert_eq!(
                list.expect(200).json()["data"].as_array().map(Vec::len),
                Some(10)
            );
        }
    }
}

/// Runs `mount` or `umount`. Only root may.
fn mounted(command: &str, args: &[&str]) -> bool {
    let ran = std::process::Command::new(command)
        .args(args)
        .stderr(std::process::Stdio::null())
        .status();
    ran.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn reports_read_only_file_system_and_recovers() {
    let app = TestApp::start();
    let (shop, tenants) = (app.tenant("corner"), app.data_dir().join("tenants"));
    shop.product("A", 100).await;
    app.stop();
    let tenants = tenants.to_str().expect("UTF-8");
    // Mounted over itself, so that only this directory becomes read-only.
    if !mounted("mount", &["--bind", tenants, tenants]) {
        eprintln!("SKIPPED: only root can mount a read-only file system");
        return;
    }
    let read_only = mounted("mount", &["-o", "remount,ro,bind", tenants]);
    app.resume();
    let (answer, operators) = (
        shop.get("/v1/catalog/products").send().await,
        operators_answer(&shop).await,
    );
    let writable = mounted("mount", &["-o", "remount,rw,bind", tenants]);
    let again = shop.product("B", 100);
    let again = again.await;
    app.stop();
    assert!(mounted("umount", &[tenants]), "the mount is removed");
    assert!(read_only && writable);
    answer.refused(503, "tenant_unavailable");
    let problem = operators.refused(503, "tenant_unavailable");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("read-only")),
        "{problem}"
    );
    assert!(!again.is_empty());
}

#[tokio::test]
async fn keeps_first_quarantined_file_when_second_is_damaged() {
    let shops =
        TwoShops::tampered(|broken, _| fs::write(broken.path(), b"the first").expect("written"))
            .await;
    shops.is_quarantined(b"the first").await;
    shops.app.stop();
    fs::write(shops.broken.path(), b"the second").expect("written");
    shops.app.resume();
    shops
        .broken
        .get("/v1/catalog/products")
        .send()
        .await
        .refused(503, "tenant_unavailable");
    assert_eq!(
        fs::read(shops.quarantined()).expect("it is there"),
        b"the first"
    );
    let tenants = fs::read_dir(shops.app.data_dir().join("tenants")).expect("reads");
    let kept = tenants.filter(|entry| {
        fs::read(entry.as_ref().expect("an entry").path()).is_ok_and(|bytes| bytes == b"the second")
    });
    assert_eq!(kept.count(), 1, "the second is kept too");
}

#[tokio::test]
async fn acknowledges_nothing_into_removed_or_replaced_file() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    app.stop();
    let bytes = fs::read(shop.path()).expect("reads");
    app.resume();
    shop.product("A", 100).await;
    let product = |sku: &str| {
        shop.post("/v1/catalog/products")
            .json(json!({"sku": sku, "name": sku, "price_minor": 1}))
    };
    fs::remove_file(shop.path()).expect("removed");
    product("B").send().await.refused(503, "tenant_unavailable");
    product("B").send().await.refused(503, "tenant_unavailable");
    assert_eq!(app.app().stores.registry.list_unavailable().len(), 1);
    fs::write(shop.path(), &bytes).expect("restored");
    product("C").send().await.expect(201);
    let newer = shop.path().with_extension("new");
    fs::write(&newer, &bytes).expect("written");
    fs::rename(&newer, shop.path()).expect("replaced");
    product("D").send().await.refused(503, "tenant_unavailable");
    product("E").send().await.expect(201);
    assert_eq!(shop.rows("SELECT sku FROM product"), ["E"]);
}

#[tokio::test]
async fn acknowledges_nothing_into_removed_wal() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.product("A", 100).await;
    fs::remove_file(beside(&shop.path(), "-wal")).expect("removed");
    let product = |sku: &str| {
        shop.post("/v1/catalog/products")
            .json(json!({"sku": sku, "name": sku, "price_minor": 1}))
    };
    product("B").send().await.refused(503, "tenant_unavailable");
    product("C").send().await.expect(201);
    assert_eq!(
        shop.rows("SELECT sku FROM product ORDER BY seq"),
        ["A", "C"],
        "what was in the WAL is kept"
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn acknowledges_nothing_into_file_truncated_while_open() {
    for keep in [0, 4096] {
        let app = TestApp::start();
        let shop = app.tenant("corner");
        shop.product("A", 100).await;
        app.restart();
        shop.product("B", 100).await;
        // A reader is open as well: the file's last commits must not be lost with the last reading
        // connection.
        shop.get("/v1/catalog/products").send().await.expect(200);
        let file = fs::File::options()
            .write(true)
            .open(shop.path())
            .expect("opens");
        file.set_len(keep).expect("cut");
        let product = json!({"sku": "C", "name": "C", "price_minor": 1});
        for _ in 0..2 {
            let answer = shop
                .post("/v1/catalog/products")
                .json(product.clone())
                .send()
                .await;
            answer.refused(503, "tenant_unavailable");
        }
        let quarantined = beside(&shop.path(), ".quarantined");
        assert_eq!(
            fs::metadata(&quarantined).expect("it is quarantined").len(),
            keep
        );
        assert!(
            fs::metadata(beside(&quarantined, "-wal"))
                .expect("its WAL too")
                .len()
                > 0
        );
    }
}

#[tokio::test]
async fn sells_again_when_file_is_restored_without_restart() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.product("A", 100).await;
    app.stop();
    let bytes = fs::read(shop.path()).expect("reads");
    fs::remove_file(shop.path()).expect("removed");
    app.resume();
    shop.get("/v1/catalog/products")
        .send()
        .await
        .refused(503, "tenant_unavailable");
    fs::write(shop.path(), &bytes).expect("restored");
    let list = shop.get("/v1/catalog/products").send().await.expect(200);
    assert_eq!(list.json()["data"][0]["sku"], "A");
    assert!(app.app().stores.registry.list_unavailable().is_empty());
}

/// A reading connection is opened by the file's name on demand. By then another file may have that
/// name.
#[tokio::test]
async fn reads_nothing_from_replaced_file() {
    let app = TestApp::start();
    let (broken, intact) = (app.tenant("broken"), app.tenant("intact"));
    broken.product("MINE", 100).await;
    intact.product("THEIRS", 100).await;
    // Open, but not read yet.
    let registry = app.app().stores.registry.clone();
    blocking(|| {
        [broken.id, intact.id]
            .into_iter()
            .for_each(|id| registry.close(id))
    });
    let db = broken.db();
    for with_wal in [false, true] {
        if with_wal {
            broken.product("MINE-2", 100).await;
        }
        fs::copy(intact.path(), app.scratch().join("other.db")).expect("copied");
        let kept = app.scratch().join("kept.db");
        fs::rename(broken.path(), &kept).expect("moved away");
        fs::rename(app.scratch().join("other.db"), broken.path()).expect("moved there");
        let theirs = fs::read(broken.path()).expect("reads");
        for _ in 0..3 {
            let answer = broken.get("/v1/catalog/products").send().await;
            assert!(!answer.text().contains("THEIRS"), "{}", answer.text());
        }
        drop(
            broken
                .post("/v1/catalog/products")
                .json(json!({"sku": "X", "name": "X", "price_minor": 1}))
                .send()
                .await,
        );
        broken
            .get("/v1/catalog/products")
            .send()
            .await
            .refused(503, "tenant_unavailable");
        assert!(
            fs::read(broken.path()).expect("reads") == theirs,
            "and nothing is merged into it"
        );
        fs::rename(&kept, broken.path()).expect("moved back");
        let list = broken
            .get("/v1/catalog/products")
            .send()
            .await
            .expect(200)
            .json();
        assert_eq!(
            list["data"].as_array().map(Vec::len),
            Some(1 + usize::from(with_wal)),
            "{list}"
        );
    }
    drop((db, registry));
}

/// A file is copied back while the daemon runs: it looks damaged until the copy is complete.
#[tokio::test]
async fn leaves_file_alone_while_it_is_copied_back() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    shop.product("A", 100).await;
    app.stop();
    let whole = fs::read(shop.path()).expect("reads");
    fs::remove_file(shop.path()).expect("removed");
    app.resume();
    shop.get("/v1/catalog/products")
        .send()
        .await
        .refused(503, "tenant_unavailable");
    for part in [0, 50, 4_096, whole.len() / 2] {
        fs::write(shop.path(), &whole[..part]).expect("written");
        shop.get("/v1/catalog/products")
            .send()
            .await
            .refused(503, "tenant_unavailable");
        assert_eq!(fs::read(shop.path()).expect("it is there").len(), part);
    }
    fs::write(shop.path(), &whole).expect("written");
    shop.get("/v1/catalog/products").send().await.expect(200);
    assert!(!beside(&shop.path(), ".quarantined").exists());
}

#[tokio::test]
async fn rejects_data_directory_without_landlord_file() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    app.stop();
    let landlord = app.data_dir().join("landlord.db");
    let kept = app.scratch().join("landlord.db");
    fs::rename(&landlord, &kept).expect("moved away");
    let mut config = Config::default();
    config.storage.data_dir = app.data_dir().to_owned();
    let refused = blocking(|| App::start(config, false, Ports::default()))
        .err()
        .expect("there is a shop");
    assert!(
        refused.to_string().contains("landlord.db is missing"),
        "{refused}"
    );
    assert!(!landlord.exists(), "no empty one is put in its place");
    fs::rename(&kept, &landlord).expect("moved back");
    app.resume();
    shop.get("/v1/catalog/products").send().await.expect(200);
}
