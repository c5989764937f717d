//! A tenant exists or does not, wherever a crash interrupts its creation or deletion.

use std::fs;

use tillbox::primitives::{Origin, Refusal as _, Slug};

use crate::support::{TestApp, blocking};

const ID: &str = "019bc0de-0000-7000-8000-000000000001";

fn insert_tenant(app: &TestApp, status: &str) {
    let hex = ID.replace('-', "");
    let sql = format!(
        "INSERT INTO tenant (id, slug, name, currency, status, created_at, updated_at) VALUES \
         (x'{hex}', 'half', 'Half', 'EUR', '{status}', 0, 0);
         INSERT INTO tenant_domain (host, tenant_id) VALUES ('half.shop.test', x'{hex}');"
    );
    app.landlord_raw(&sql).expect("the row goes in");
}

#[tokio::test]
async fn removes_half_created_tenant_at_next_start() {
    let app = TestApp::start();
    let whole = app.tenant("whole");
    app.stop();
    insert_tenant(&app, "creating");
    let tenants = app.data_dir().join("tenants");
    for (suffix, content) in [
        (".db.tmp", "half a file"),
        (".db.tmp-wal", "x"),
        (".db", "whole but not seeded"),
        (".db-wal", "y"),
    ] {
        fs::write(tenants.join(format!("{ID}{suffix}")), content).expect("written");
    }
    app.resume();
    let left: Vec<_> = fs::read_dir(&tenants)
        .expect("reads")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .collect();
    assert!(
        left.iter()
            .all(|name| name.starts_with(&whole.id.to_string())),
        "{left:?}"
    );
    assert_eq!(app.landlord_rows("SELECT slug FROM tenant"), ["whole"]);
    assert_eq!(
        app.landlord_rows("SELECT count(*) FROM tenant_domain WHERE host = 'half.shop.test'"),
        ["0"]
    );
    app.get("/v1/catalog/products")
        .header("x-tillbox-tenant", "half")
        .send()
        .await
        .refused(404, "tenant_not_found");
    whole.product("A", 1).await;
    // Its name is free again.
    app.tenant("half").product("A", 1).await;
}

#[test]
fn finishes_half_done_deletion_at_next_start() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    app.stop();
    app.landlord_raw("UPDATE tenant SET status = 'deleting'")
        .expect("marked");
    app.resume();
    assert!(!shop.path().exists());
    assert!(app.landlord_rows("SELECT slug FROM tenant").is_empty());
    assert!(app.landlord_rows("SELECT prefix FROM api_key").is_empty());
    let actions = app.landlord_rows("SELECT action FROM audit_log ORDER BY seq DESC LIMIT 1");
    assert_eq!(actions, ["tenant.deleted"]);
}

#[test]
fn leaves_nothing_of_deleted_tenant() {
    let app = TestApp::start();
    let (gone, kept) = (app.tenant("gone"), app.tenant("kept"));
    let tenants = app.data_dir().join("tenants");
    for suffix in [
        ".quarantined",
        ".quarantined-wal",
        ".quarantined-2",
        ".pre-v2",
        ".tmp",
    ] {
        fs::write(tenants.join(format!("{}.db{suffix}", gone.id)), "a trace").expect("written");
    }
    let (running, slug) = (app.app(), gone.slug.clone());
    blocking(|| {
        running
            .stores
            .provisioner
            .delete(&Origin::operator(), &slug)
    })
    .expect("deleted");
    let left: Vec<_> = fs::read_dir(&tenants)
        .expect("reads")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(left.contains(&kept.path()));
    let traces: Vec<_> = left
        .iter()
        .filter(|path| path.to_string_lossy().contains(&gone.id.to_string()))
        .collect();
    assert!(traces.is_empty(), "{traces:?}");
}

#[test]
fn rejects_deletion_of_tenant_being_created() {
    let app = TestApp::start();
    insert_tenant(&app, "creating");
    let (running, slug) = (app.app(), Slug::parse("half").expect("a slug"));
    let refused = blocking(|| {
        running
            .stores
            .provisioner
            .delete(&Origin::operator(), &slug)
    })
    .expect_err("it is being made");
    assert_eq!(refused.code(), "tenant_status");
    assert_eq!(app.landlord_rows("SELECT status FROM tenant"), ["creating"]);
}

#[tokio::test]
async fn starts_when_half_created_tenant_cannot_be_removed() {
    let app = TestApp::start();
    let (stuck, well) = (app.tenant("stuck"), app.tenant("well"));
    app.stop();
    app.landlord_raw("UPDATE tenant SET status = 'deleting' WHERE slug = 'stuck'")
        .expect("marked");
    let trap = app
        .data_dir()
        .join("tenants")
        .join(format!("{}.db-trap", stuck.id));
    fs::create_dir(&trap).expect("made");
    app.resume();
    well.product("A", 1).await;
    assert_eq!(
        app.landlord_rows("SELECT status FROM tenant WHERE slug = 'stuck'"),
        ["deleting"]
    );
    fs::remove_dir(&trap).expect("removed");
    app.restart();
    assert_eq!(app.landlord_rows("SELECT slug FROM tenant"), ["well"]);
}
