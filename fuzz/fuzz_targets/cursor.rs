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
use tillbox_fuzz::is_refusal_of_form;

/// These read what is there already, and wait for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn check(page: PageRequest) {
    assert!(page.before > 0 && (1..=PAGE_MAX).contains(&page.limit));
    // What a page ends with leads to the rows behind it.
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
    match at_once(PageQuery::from_request_parts(&mut parts, &())) {
        Ok(PageQuery(page)) => check(page),
        Err(problem) => is_refusal_of_form(&problem),
    }
    if let Err(problem) = at_once(PageBeside::from_request_parts(&mut parts, &())) {
        is_refusal_of_form(&problem);
    }
    match at_once(QueryOf::<HashMap<String, String>>::from_request_parts(
        &mut parts,
        &(),
    )) {
        Ok(_) => {}
        Err(problem) => is_refusal_of_form(&problem),
    }
    assert!(
        at_once(IfMatch::from_request_parts(&mut parts, &())).is_ok(),
        "what is none of our versions is a lost update"
    );
});
