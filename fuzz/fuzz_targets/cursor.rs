//! Cursors, pages and filters in a query, and the version in `If-Match`.
#![no_main]

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::extract::FromRequestParts;
use http::Request;
use libfuzzer_sys::fuzz_target;
use tillbox::http::extract::{IfMatch, PageBeside, PageQuery, QueryOf};
use tillbox::platform::page::{Page, PageRequest};
use tillbox::primitives::limits::PAGE_MAX;
use tillbox_fuzz::assert_format_refusal;

/// Polls once. These extractors never wait.
fn poll_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn check(page: PageRequest) {
    assert!(page.before > 0 && (1..=PAGE_MAX).contains(&page.limit));
    // The cursor at the end of a page leads to the following rows.
    if page.before > 1 {
        let cut = Page::cut(
            vec![(page.before, ()), (page.before - 1, ())],
            PageRequest { limit: 1, ..page },
        );
        let next = cut.next_cursor.expect("there is a second row");
        assert_eq!(
            PageRequest::parse(None, Some(&next)).map(|next| next.before),
            Ok(page.before)
        );
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(page) = PageRequest::parse(Some(1), Some(text)) {
        check(page);
    }
    let Ok(request) = Request::builder()
        .uri(format!("/x?{text}"))
        .header("if-match", data)
        .body(())
    else {
        return;
    };
    let (mut parts, ()) = request.into_parts();
    match poll_once(PageQuery::from_request_parts(&mut parts, &())) {
        Ok(PageQuery(page)) => check(page),
        Err(problem) => assert_format_refusal(&problem),
    }
    if let Err(problem) = poll_once(PageBeside::from_request_parts(&mut parts, &())) {
        assert_format_refusal(&problem);
    }
    match poll_once(QueryOf::<HashMap<String, String>>::from_request_parts(
        &mut parts,
        &(),
    )) {
        Ok(_) => {}
        Err(problem) => assert_format_refusal(&problem),
    }
    assert!(
        poll_once(IfMatch::from_request_parts(&mut parts, &())).is_ok(),
        "an unknown version counts as a stale one"
    );
});
