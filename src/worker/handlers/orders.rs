//! Sends the confirmation of an order: rendered from the tenant's file, passed to the mailer.
//!
//! The mail's id and date come from the job and the order, so that a second attempt sends the same
//! message.

use std::fmt::Write as _;

use super::{OutboundJob, payload};
use crate::outbound::mail::Mail;
use crate::primitives::Money;
use crate::primitives::id::JobId;
use crate::tenant::confirmation::{self, Confirmation, ConfirmationJob};
use crate::worker::JobError;

/// The longest product name in a line of the mail, in characters. With a quantity and an amount,
/// the line fits into 72 columns.
const NAME_CHARS_MAX: usize = 40;

pub(super) fn send_confirmation(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
    let ConfirmationJob { order_id } = payload(outbound_job.payload)?;
    let found = outbound_job
        .db
        .read(move |view| confirmation::confirmation(view, order_id))
        .wait()?;
    // The address was erased in the meantime, so no mail is sent.
    let Some(confirmation) = found else {
        return Ok(());
    };
    let mail = mail(outbound_job.job_id, &confirmation);
    outbound_job
        .mailer
        .send(&mail, outbound_job.remaining())
        .map_err(JobError::from)
}

fn mail(job_id: JobId, confirmation: &Confirmation) -> Mail {
    Mail {
        to: confirmation.to.to_string(),
        subject: format!(
            "Your order {} at {}",
            confirmation.number, confirmation.shop
        ),
        text: text(confirmation),
        message_id: format!("order-confirmation.{job_id}"),
        date_ms: confirmation.placed_at.as_millis(),
    }
}

fn text(confirmation: &Confirmation) -> String {
    let mut facts = vec![
        ("Order", confirmation.number.clone()),
        ("Date", confirmation.day.to_string()),
    ];
    facts.extend(
        confirmation
            .invoice_number
            .clone()
            .map(|number| ("Invoice", number)),
    );
    let mut text = format!(
        "Hello,\n\nthank you for your order at {}.\nIt is paid, and this is what you bought:\n\n",
        confirmation.shop
    );
    for (label, value) in facts {
        line(&mut text, format_args!("  {label:<8} {value}"));
    }
    text.push('\n');
    table(&mut text, confirmation);
    let _ = write!(
        text,
        "\nPlease keep this mail: the order's number helps us to find your order\nwhen you have a \
         question.\n\nYours,\n{}\n",
        confirmation.shop
    );
    text
}

/// Appends the lines and the totals, with quantities and amounts aligned to the right.
fn table(text: &mut String, confirmation: &Confirmation) {
    let rows: Vec<(String, String, String)> = confirmation.lines.iter().map(row).collect();
    let mut sums = vec![("Total", confirmation.total.to_string())];
    if !confirmation.tax.is_zero() {
        sums.push(("of which tax", confirmation.tax.to_string()));
    }
    let width = |texts: &mut dyn Iterator<Item = &str>| {
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let quantities = width(&mut rows.iter().map(|(quantity, _, _)| quantity.as_str()));
    let labels = rows.iter().map(|(_, name, _)| name.as_str());
    let names = width(&mut labels.chain(sums.iter().map(|(label, _)| *label)));
    let all = rows.iter().map(|(_, _, amount)| amount.as_str());
    let amounts = width(&mut all.chain(sums.iter().map(|(_, amount)| amount.as_str())));
    for (quantity, name, amount) in &rows {
        line(
            text,
            format_args!("  {quantity:>quantities$}  {name:<names$}  {amount:>amounts$}"),
        );
    }
    line(
        text,
        format_args!("  {:-<1$}", "", quantities + names + amounts + 4),
    );
    for (label, amount) in &sums {
        line(
            text,
            format_args!("  {:quantities$}  {label:<names$}  {amount:>amounts$}", ""),
        );
    }
}

fn row((name, quantity, total): &(String, String, Money)) -> (String, String, String) {
    let mut shown: String = name.chars().take(NAME_CHARS_MAX).collect();
    if name.chars().count() > NAME_CHARS_MAX {
        shown.pop();
        shown.push('…');
    }
    (format!("{quantity} ×"), shown, total.to_string())
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::{Currency, Email, Name, Timestamp};

    fn money(minor: i64) -> Money {
        Money::new(minor, Currency::parse("EUR").unwrap()).unwrap()
    }

    fn confirmation() -> Confirmation {
        Confirmation {
            to: Email::parse("ada@example.org").unwrap(),
            shop: Name::parse("Café Müller").unwrap(),
            number: "1042".to_owned(),
            placed_at: Timestamp::parse("2026-01-15T10:00:00Z").unwrap(),
            day: crate::primitives::Day::parse("2026-01-15").unwrap(),
            lines: vec![
                ("Crème brûlée".to_owned(), "2".to_owned(), money(980)),
                (
                    "A grinder with a name that is longer than any label can hold".to_owned(),
                    "1".to_owned(),
                    money(129_900),
                ),
                ("Paper filters".to_owned(), "100".to_owned(), money(1_000)),
            ],
            tax: money(21_056),
            total: money(131_880),
            invoice_number: Some("INV-2026-000042".to_owned()),
        }
    }

    #[test]
    fn renders_confirmation() {
        insta::assert_snapshot!(text(&confirmation()), @r"
        Hello,

        thank you for your order at Café Müller.
        It is paid, and this is what you bought:

          Order    1042
          Date     2026-01-15
          Invoice  INV-2026-000042

            2 ×  Crème brûlée                                 9.80 EUR
            1 ×  A grinder with a name that is longer th…  1299.00 EUR
          100 ×  Paper filters                               10.00 EUR
          ------------------------------------------------------------
                 Total                                     1318.80 EUR
                 of which tax                               210.56 EUR

        Please keep this mail: the order's number helps us to find your order
        when you have a question.

        Yours,
        Café Müller
        ");
    }

    #[test]
    fn omits_tax_and_invoice_when_absent() {
        let confirmation = Confirmation {
            tax: money(0),
            invoice_number: None,
            ..confirmation()
        };
        let text = text(&confirmation);
        assert!(!text.contains("tax") && !text.contains("Invoice"), "{text}");
    }

    #[test]
    fn derives_message_id_and_date_from_job() {
        let job_id = JobId::from_bytes([7; 16]);
        let mail = mail(job_id, &confirmation());
        assert_eq!(mail.message_id, format!("order-confirmation.{job_id}"));
        assert_eq!(mail.subject, "Your order 1042 at Café Müller");
        assert_eq!(
            (mail.to.as_str(), mail.date_ms),
            ("ada@example.org", 1_768_471_200_000)
        );
    }
}
