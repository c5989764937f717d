//! The effects of a paid order happen once, however often they are requested.

use tillbox::primitives::id::OrderId;
use tillbox::storage::TenantWork;
use tillbox::tenant::finance::{self, SettleRefused, Settlement};
use tillbox::tenant::inventory::Goods;
use tillbox::tenant::{orders, payments};

use crate::support::sale::rows;
use crate::support::{TestApp, TestShop, blocking, logs};

/// Settles a paid order in a write of its own.
fn order_paid(shop: &TestShop, order: &str) -> Settlement {
    let (id, policy, db) = (
        OrderId::parse(order).expect("an id"),
        shop.app.app().policy.clone(),
        shop.db(),
    );
    let handle = move |work: &mut TenantWork| -> Result<Settlement, SettleRefused> {
        let order = orders::find_order(work, id)?.expect("it is there");
        let payments = payments::list_payments_of_order(work, id)?;
        let at = work.now();
        finance::settle(work, &policy, order, &payments, Goods::Held, at)
    };
    blocking(|| {
        db.write(tillbox::primitives::Origin::system(), handle)
            .wait()
    })
    .expect("it settles")
}

#[tokio::test]
async fn settles_order_once_when_asked_repeatedly() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    let done = shop.sell(&[(&tea, 2)]).await;
    let order = done["order"]["id"].as_str().expect("an id");
    let before = shop.census();
    for _ in 0..2 {
        app.advance(std::time::Duration::from_secs(3_600));
        let again = order_paid(&shop, order);
        assert_eq!(again.invoice.id.to_string(), done["invoice"]["id"]);
        assert_eq!(
            again.financial_order.id.to_string(),
            done["financial_order"]["id"]
        );
    }
    assert_eq!(
        shop.grown_since(&before),
        rows([]),
        "no row and no job more"
    );
    for table in [
        "financial_order",
        "invoice",
        "financial_transaction",
        "ledger_entry",
    ] {
        assert_eq!(
            shop.count(&format!("SELECT count(*) FROM {table}")),
            1,
            "{table}"
        );
    }
    assert_eq!(shop.stock(&tea).await, [8, 0, 8]);
    let facts = logs().of_tenant(&shop.id.to_string());
    assert_eq!(facts.saying("invoice issued").lines().len(), 1);
    assert_eq!(
        logs()
            .of_tenant(&shop.id.to_string())
            .saying("payment succeeded")
            .lines()
            .len(),
        1
    );
    shop.assert_integrity();
}
