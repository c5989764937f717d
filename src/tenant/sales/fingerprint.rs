//! Digests of sales whose ids the client chose. A digest is compared for as long as the file
//! exists, so its form is fixed: a new part is appended only where it is used, and the digests in
//! the tests below never change.
//!
//! The product's id stands for the unit and the scale of a quantity: they never change once it is
//! sold.

use super::model::{ImportSale, RecordSale};
use crate::primitives::Digest;

/// The digest of a recorded sale.
pub(super) fn of_record(sale: &RecordSale) -> Digest {
    let mut parts = Parts::new("sale/1");
    parts
        .optional(sale.id)
        .optional(sale.sold_at.map(|at| at.as_millis()))
        .optional(sale.email.as_ref());
    parts.add(sale.lines.len());
    for line in &sale.lines {
        parts
            .optional(line.id)
            .add(line.product_id)
            .add(line.quantity.get())
            .optional(line.unit_price_minor)
            .named("price_reason", line.price_reason.as_ref())
            .named("discount", line.discount_minor)
            .named("discount_reason", line.discount_reason.as_ref());
    }
    parts.add(sale.payments.len());
    for payment in &sale.payments {
        parts
            .optional(payment.id)
            .add(payment.method)
            .add(payment.amount_minor);
    }
    if let Some(buyer) = &sale.buyer {
        let buyer = serde_json::to_string(buyer).expect("a party holds texts only");
        parts.add("buyer").add(buyer);
    }
    parts
        .named("discount", sale.discount_minor)
        .named("discount_reason", sale.discount_reason.as_ref());
    parts.digest()
}

/// The digest of an imported sale: over the data of the other system, so that renaming a product
/// here changes nothing.
pub(super) fn of_import(sale: &ImportSale) -> Digest {
    let mut parts = Parts::new("import/1");
    parts
        .add(&sale.number)
        .add(sale.sold_at.as_millis())
        .add(sale.total_minor)
        .add(sale.lines.len());
    for line in &sale.lines {
        parts
            .add(&line.sku)
            .add(line.quantity.get())
            .add(line.unit_price_minor);
    }
    parts.digest()
}

struct Parts(Vec<String>);

impl Parts {
    fn new(form: &str) -> Self {
        Self(vec![form.to_owned()])
    }

    fn add(&mut self, part: impl ToString) -> &mut Self {
        self.0.push(part.to_string());
        self
    }

    /// Distinguishes an absent value from an empty one.
    fn optional(&mut self, part: Option<impl ToString>) -> &mut Self {
        match part {
            Some(part) => self.add(format!("={}", part.to_string())),
            None => self.add("-"),
        }
    }

    /// Appends a value with its name, where there is one. The name keeps it apart from the fixed
    /// parts, none of which begins with a letter and has an equals sign.
    fn named(&mut self, name: &str, part: Option<impl ToString>) -> &mut Self {
        if let Some(part) = part {
            self.add(format!("{name}={}", part.to_string()));
        }
        self
    }

    fn digest(&self) -> Digest {
        Digest::of_parts(&self.0.iter().map(String::as_bytes).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::id::{OrderId, ProductId};
    use crate::primitives::{Note, Quantity, Sku, Timestamp};
    use crate::tenant::party::Party;
    use crate::tenant::payments::Method;
    use crate::tenant::sales::{ImportLine, SaleLine, SalePayment};

    fn sale() -> RecordSale {
        let line = SaleLine {
            id: None,
            product_id: ProductId::from_bytes([2; 16]),
            quantity: Quantity::new(3).expect("good"),
            unit_price_minor: Some(99),
            price_reason: None,
            discount_minor: None,
            discount_reason: None,
        };
        let payment = SalePayment {
            id: None,
            method: Method::Cash,
            amount_minor: 297,
        };
        RecordSale {
            id: Some(OrderId::from_bytes([1; 16])),
            sold_at: Some(Timestamp::from_millis_clamped(1_700_000_000_000)),
            lines: vec![line],
            discount_minor: None,
            discount_reason: None,
            payments: vec![payment],
            email: None,
            buyer: None,
        }
    }

    #[test]
    fn keeps_digests_of_earlier_versions() {
        assert_eq!(
            of_record(&sale()).to_string(),
            "2786ed4d35cfe9ed556fb300c912ce933e1aa1ba3562ec778a951ca2b817de69"
        );
        let import = ImportSale {
            number: "1".to_owned(),
            sold_at: Timestamp::from_millis_clamped(1_609_459_200_000),
            total_minor: 198,
            lines: vec![ImportLine {
                sku: Sku::parse("TRK-00002").expect("good"),
                quantity: Quantity::new(2).expect("good"),
                unit_price_minor: 99,
            }],
        };
        assert_eq!(
            of_import(&import).to_string(),
            "415f1827a7d39bcd6af6240c4fe36a592877e086fa059714efa660131cc35c37"
        );
    }

    #[test]
    fn changes_digest_when_any_part_differs() {
        let changed = |change: fn(&mut RecordSale)| {
            let mut sale = sale();
            change(&mut sale);
            of_record(&sale)
        };
        let digests = [
            of_record(&sale()),
            changed(|sale| sale.sold_at = None),
            changed(|sale| sale.lines[0].quantity = Quantity::new(4).expect("good")),
            changed(|sale| sale.lines[0].unit_price_minor = None),
            changed(|sale| sale.lines[0].discount_minor = Some(0)),
            changed(|sale| sale.lines[0].discount_minor = Some(5)),
            changed(|sale| sale.lines[0].discount_reason = Note::parse("5").ok()),
            changed(|sale| sale.lines[0].price_reason = Note::parse("5").ok()),
            changed(|sale| sale.discount_minor = Some(5)),
            changed(|sale| sale.discount_reason = Note::parse("5").ok()),
            changed(|sale| sale.payments[0].method = Method::Manual),
            changed(|sale| sale.payments[0].amount_minor += 1),
            changed(|sale| sale.email = crate::primitives::Email::parse("a@b.c").ok()),
            changed(|sale| sale.buyer = Some(Party::default())),
            changed(|sale| {
                let name = crate::primitives::Name::parse("Ada").ok();
                sale.buyer = Some(Party {
                    name,
                    ..Party::default()
                });
            }),
        ];
        let distinct: std::collections::HashSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
    }
}
