//! Tests of `/v1/invoices`.

use serde_json::{Value, json};

use crate::support::TestApp;

/// An unused id.
const NOBODY: &str = "01890000-0000-7000-8000-000000000001";

fn numbers(page: &Value) -> Vec<String> {
    let invoices = page["data"].as_array().expect("a list");
    invoices
        .iter()
        .map(|invoice| invoice["number"].as_str().expect("a number").to_owned())
        .collect()
}

#[tokio::test]
async fn shows_invoice_as_issued() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    let done = shop.sell(&[(&tea, 2)]).await;
    let change = json!({"name": "Another name"});
    shop.patch("/v1/settings/shop")
        .json(change)
        .send()
        .await
        .expect(200);
    shop.patch(&format!("/v1/catalog/products/{tea}"))
        .json(json!({"sku": "COFFEE"}))
        .send()
        .await
        .expect(200);
    app.restart();
    let path = format!(
        "/v1/invoices/{}",
        done["invoice"]["id"].as_str().expect("an id")
    );
    assert_eq!(
        shop.get(&path).send().await.expect(200).json(),
        done["invoice"]
    );
    assert_eq!(
        shop.get("/v1/invoices").send().await.expect(200).json()["data"],
        json!([done["invoice"]])
    );
    shop.get(&format!("/v1/invoices/{NOBODY}"))
        .send()
        .await
        .refused(404, "invoice_not_found");
    shop.get("/v1/invoices/INV-2026-000001")
        .send()
        .await
        .refused(400, "malformed_id");
}

#[tokio::test]
async fn numbers_each_year_from_one_without_gaps() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 6).await;
    let sale = |at: &str, quantity: i64, amount: i64| {
        json!({"sold_at": at,
        "lines": [{"product_id": tea, "quantity": quantity}], "payments": [{"method": "manual",
        "amount_minor": amount}]})
    };
    for (number, (year, expected)) in [
        ("2024", "INV-2024-000001"),
        ("2025", "INV-2025-000001"),
        ("2024", "INV-2024-000002"),
        ("2025", "INV-2025-000002"),
        ("2025", "INV-2025-000003"),
    ]
    .into_iter()
    .enumerate()
    {
        let at = format!("{year}-06-01T12:00:00Z");
        // Each is rejected at another stage.
        shop.sale("none", sale(&at, 100, 45_000))
            .await
            .refused(409, "out_of_stock");
        shop.sale("none", sale(&at, 1, 449))
            .await
            .refused(422, "payment_insufficient");
        let sold = shop
            .sale(&format!("s-{number}"), sale(&at, 1, 450))
            .await
            .expect(201);
        assert_eq!(sold.string("/invoice/number"), expected);
    }
    assert_eq!(
        shop.rows("SELECT name, last_number FROM series ORDER BY name"),
        ["invoice/INV-2024-#|2", "invoice/INV-2025-#|3", "order|5"]
    );
    shop.assert_integrity();
}

#[tokio::test]
async fn continues_numbers_over_years_without_year_in_format() {
    let app = TestApp::with(false, |config| {
        config.invoicing.number_format = "R/{seq:04}".to_owned()
    });
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    for (number, year) in ["2024", "2025", "2024"].into_iter().enumerate() {
        let body = json!({"sold_at": format!("{year}-06-01T12:00:00Z"),
            "lines": [{"product_id": tea, "quantity": 1}],
                          "payments": [{"method": "cash", "amount_minor": 450}]});
        let sold = shop.sale(&format!("s-{number}"), body).await.expect(201);
        assert_eq!(
            sold.string("/invoice/number"),
            format!("R/000{}", number + 1)
        );
    }
    shop.assert_integrity();
}

#[tokio::test]
async fn keeps_pages_stable_while_invoices_are_issued() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let tea = shop.product("TEA", 450).await;
    for _ in 0..3 {
        shop.sell(&[(&tea, 1)]).await;
    }
    let first = shop
        .get("/v1/invoices?limit=2")
        .send()
        .await
        .expect(200)
        .json();
    shop.sell(&[(&tea, 1)]).await;
    let path = format!(
        "/v1/invoices?limit=2&cursor={}",
        first["next_cursor"].as_str().expect("more")
    );
    let second = shop.get(&path).send().await.expect(200).json();
    assert_eq!(numbers(&first), ["INV-2026-000003", "INV-2026-000002"]);
    assert_eq!(
        (numbers(&second), &second["next_cursor"]),
        (vec!["INV-2026-000001".to_owned()], &Value::Null)
    );
}
