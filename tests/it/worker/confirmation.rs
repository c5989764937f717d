//! The order confirmation: from the sale to the mail.

use std::fs;

use serde_json::json;
use tillbox::worker::handlers;

use super::{jobs, run};
use crate::support::{TestApp, TestShop};

const KIND: &str = "orders.confirmation";

async fn sell(shop: &TestShop, email: Option<&str>) {
    let product = shop.product("A-1", 250).await;
    let mut sale = json!({
        "lines": [{"product_id": product, "quantity": 2}],
        "payments": [{"method": "cash", "amount_minor": 500}],
    });
    if let Some(email) = email {
        sale["email"] = json!(email);
    }
    shop.post("/v1/sales")
        .key("sale-1")
        .json(sale)
        .send()
        .await
        .expect(201);
}

/// Names and contents of the sent mail.
fn outbox(app: &TestApp) -> Vec<(String, String)> {
    let dir = app.app().config.outbox_dir();
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("the outbox lists its files");
        let text = fs::read_to_string(entry.path()).expect("a mail is text");
        (
            entry.file_name().into_string().expect("a plain name"),
            text.replace("\r\n", "\n"),
        )
    };
    entries.map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn confirms_sale_with_address_once() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    sell(&shop, Some("ada@example.org")).await;
    run(&app, handlers::ALL);
    assert_eq!(jobs(&shop, KIND), ["completed|1|0"]);
    let mails = outbox(&app);
    let [(name, mail)] = &mails[..] else {
        panic!("{mails:?}")
    };
    let id = name.strip_suffix(".eml").unwrap();
    assert!(
        mail.contains("To: ada@example.org\n") && mail.contains("at Shop corner"),
        "{mail}"
    );
    assert!(mail.contains(&format!("Message-ID: <{id}@")), "{mail}");
    run(&app, handlers::ALL);
    assert_eq!(outbox(&app), mails);
}

#[tokio::test(flavor = "multi_thread")]
async fn resends_interrupted_confirmation_as_same_message() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    sell(&shop, Some("ada@example.org")).await;
    run(&app, handlers::ALL);
    let first = outbox(&app);
    // The state after the process died between the sending of the mail and its completion.
    app.stop();
    shop.raw(&format!(
        "UPDATE job SET state = 'running', finalized_at = NULL WHERE kind = '{KIND}'"
    ))
    .unwrap();
    fs::remove_dir_all(app.data_dir().join("outbox")).unwrap();
    app.resume();
    run(&app, handlers::ALL);
    assert_eq!(jobs(&shop, KIND), ["completed|1|1"]);
    assert_eq!(outbox(&app), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_nothing_for_sale_without_address() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    sell(&shop, None).await;
    run(&app, handlers::ALL);
    assert_eq!(jobs(&shop, KIND), [""; 0]);
    assert_eq!(outbox(&app), []);
}
