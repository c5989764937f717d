//! Changes of the format of invoice numbers while the shop sells.

use tillbox::primitives::id::ProductId;
use tillbox::primitives::{NumberFormat, Quantity, Refusal as _};
use tillbox::tenant::Policy;
use tillbox::tenant::payments::Method;
use tillbox::tenant::sales::{RecordSale, SaleLine, SalePayment, record};

use crate::support::{TestApp, TestShop};

/// The number of the next sale's invoice under a format, or the code of its refusal.
fn sell(shop: &TestShop, product: &str, format: &str) -> Result<String, &'static str> {
    let policy = Policy {
        invoice_number: NumberFormat::parse(format).expect("a format"),
        storefront: shop.app.app().policy.storefront,
        test_payments: false,
    };
    let sale = RecordSale {
        id: None,
        sold_at: None,
        lines: vec![SaleLine {
            id: None,
            product_id: ProductId::parse(product).expect("an id"),
            quantity: Quantity::new(1).expect("one"),
            unit_price_minor: None,
            price_reason: None,
            discount_minor: None,
            discount_reason: None,
        }],
        discount_minor: None,
        discount_reason: None,
        payments: vec![SalePayment {
            id: None,
            method: Method::Cash,
            amount_minor: 450,
        }],
        email: None,
        buyer: None,
    };
    let sold = shop.write(move |work| {
        // The write is undone, as a refusal undoes its work.
        Ok(work
            .nested(|work| record(work, &policy, &Default::default(), &sale))
            .map(|recorded| recorded.settlement.invoice.number)
            .map_err(|refused| refused.code()))
    });
    sold.expect("the storage works")
}

#[tokio::test]
async fn continues_numbers_without_gap_when_format_changes() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    for (format, number) in [
        ("INV-{year}-{seq:06}", "INV-2026-000001"),
        ("INV-2026-{seq:06}", "INV-2026-000002"),
        ("INV-{year}-{seq:03}", "INV-2026-003"),
        ("R{seq}", "R1"),
        ("INV-{year}-{seq}", "INV-2026-4"),
        ("R{seq:02}", "R02"),
    ] {
        assert_eq!(sell(&shop, &tea, format).as_deref(), Ok(number), "{format}");
    }
    shop.assert_integrity();
}

#[tokio::test]
async fn rejects_format_that_collides_with_earlier_numbers() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    for number in 1..=11 {
        assert_eq!(sell(&shop, &tea, "R{seq}"), Ok(format!("R{number}")));
    }
    assert_eq!(
        sell(&shop, &tea, "R1{seq}"),
        Err("invoice_number_taken"),
        "R11 is there"
    );
    assert_eq!(
        sell(&shop, &tea, "R{seq}").as_deref(),
        Ok("R12"),
        "nothing is lost"
    );
    shop.assert_integrity();
}
