//! The guarantees of the harness.

use std::time::Duration;

use serde_json::json;
use tillbox::outbound::http::{AnswerPart, Bounds, Call, CallError, Target};
use tillbox::outbound::reach::Reach;

use super::{TestApp, logs};

#[test]
fn gives_two_apps_different_ids() {
    let (first, second) = (TestApp::start(), TestApp::start());
    assert_ne!(first.tenant("a").id, second.tenant("a").id);
}

#[test]
fn enables_test_payments_only_in_dev_mode() {
    assert!(TestApp::start_dev().app().policy.test_payments);
    assert!(!TestApp::start().app().policy.test_payments);
}

#[tokio::test]
async fn keeps_clock_still_over_restart() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    app.advance(std::time::Duration::from_secs(90));
    app.restart();
    shop.product("A", 1).await;
    assert_eq!(app.now().to_string(), "2026-01-15T10:01:30Z");
    assert_eq!(
        shop.rows("SELECT created_at FROM product"),
        [app.now().as_millis().to_string()]
    );
}

#[tokio::test]
async fn finds_lines_of_tenant_and_sends_headers() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let body = json!({"sku": "A", "name": "A", "price_minor": 1});
    shop.post("/v1/catalog/products")
        .key("once")
        .json(body)
        .send()
        .await
        .expect(201);
    let lines = logs().of_tenant(&shop.id.to_string()).saying("request");
    assert_eq!(lines.lines().len(), 1, "{lines:?}");
    assert_eq!(lines.lines()[0]["status"], 201);
    assert!(app.scratch().is_dir() && app.data_dir().starts_with(app.scratch()));
}

#[test]
fn refuses_calls_without_script() {
    let app = TestApp::start();
    let call = Call {
        method: http::Method::GET,
        target: Target::parse("https://somewhere.example/").expect("a URL"),
        headers: Vec::new(),
        body: Vec::new(),
        bounds: Bounds {
            total: Duration::from_secs(1),
            connect: Duration::from_secs(1),
            answer: AnswerPart::Body(1),
            reach: Reach::Public,
        },
    };
    assert!(matches!(
        app.app().ports.outbound.call(&call),
        Err(CallError::Transport(_))
    ));
    app.world().answers(|_| Err(CallError::Timeout));
    assert_eq!(
        app.app().ports.outbound.call(&call),
        Err(CallError::Timeout)
    );
    assert_eq!(app.world().calls().len(), 2);
}
