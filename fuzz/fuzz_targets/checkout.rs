//! The body of a checkout, through the daemon's parser: a command, or a refusal that says what is
//! wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tillbox::http::fuzzing::command;
use tillbox::tenant::checkout::PlaceOrder;
use tillbox_fuzz::assert_format_refusal;

fuzz_target!(|body: &[u8]| match command::<PlaceOrder>(body) {
    Ok(order) => {
        assert!(
            serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|body| body.is_object())
        );
        assert!(order.email.as_str().contains('@'));
    }
    Err(problem) => assert_format_refusal(&problem),
});
