//! The body of a sale, through the daemon's parser: a command within its bounds, or a refusal that
//! says what is wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tillbox::http::fuzzing::command;
use tillbox::primitives::limits::{LINES_MAX, PAYMENTS_PER_SALE_MAX, PRICE_MINOR_MAX};
use tillbox::tenant::sales::RecordSale;
use tillbox_fuzz::assert_format_refusal;

fuzz_target!(|body: &[u8]| match command::<RecordSale>(body) {
    Ok(sale) => {
        let sent: serde_json::Value =
            serde_json::from_slice(body).expect("an accepted body is JSON");
        assert_eq!(
            sent["lines"].as_array().map(Vec::len),
            Some(sale.lines.len())
        );
        assert_eq!(
            sent["payments"].as_array().map(Vec::len),
            Some(sale.payments.len())
        );
        assert!(
            (1..=LINES_MAX).contains(&sale.lines.len())
                && (1..=PAYMENTS_PER_SALE_MAX).contains(&sale.payments.len())
        );
        let is_price = |minor: i64| (0..=PRICE_MINOR_MAX).contains(&minor);
        assert!(
            sale.payments
                .iter()
                .all(|payment| is_price(payment.amount_minor))
        );
        let of_lines = sale
            .lines
            .iter()
            .flat_map(|line| [line.unit_price_minor, line.discount_minor]);
        let mut prices = of_lines.chain([sale.discount_minor]).flatten();
        assert!(prices.all(is_price));
    }
    Err(problem) => assert_format_refusal(&problem),
});
