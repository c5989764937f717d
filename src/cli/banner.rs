//! The banner of `serve --dev`: the address, the key, and commands to paste into another terminal.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anstyle::{AnsiColor, Style};

use super::demo::Demo;

const TITLE: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const LABEL: Style = Style::new().bold();
const VALUE: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Cyan)));
const REMARK: Style = Style::new().dimmed();

/// Shows errors but no progress; the prompt follows on its own line.
const CURL: &str = r"curl -sSw '\n'";
/// The quantity in the example sale.
const QUANTITY: i64 = 2;

/// Renders the banner with colours; the stream strips them without a terminal.
pub fn render(address: SocketAddr, data_dir: &str, demo: &Demo) -> String {
    let url = format!("http://{address}");
    let mut text = format!(
        "\n{TITLE}Tillbox is running.{TITLE:#} {REMARK}It has a demo shop to try things out; stop \
         it with Ctrl-C.{REMARK:#}\n\n"
    );
    for (label, value) in [
        ("URL", url.as_str()),
        ("Demo key", &demo.key),
        ("Data", data_dir),
    ] {
        writeln(
            &mut text,
            format_args!("  {LABEL}{label:<10}{LABEL:#}{VALUE}{value}{VALUE:#}"),
        );
    }
    for (remark, command) in commands(&url, demo) {
        writeln(
            &mut text,
            format_args!("\n{REMARK}# {remark}{REMARK:#}\n{command}"),
        );
    }
    text.push('\n');
    text
}

fn writeln(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string never fails");
}

fn commands(url: &str, demo: &Demo) -> Vec<(String, String)> {
    let key = &demo.key;
    let product = &demo.product;
    let get = |remark: &str, path: &str| {
        (
            remark.to_owned(),
            format!("{CURL} {url}{path} -H 'Authorization: Bearer {key}'"),
        )
    };
    let amount = product.price.minor().saturating_mul(QUANTITY);
    let body = format!(
        r#"{{"lines":[{{"product_id":"{}","quantity":{QUANTITY}}}],"payments":[{{"method":"cash","amount_minor":{amount}}}]}}"#,
        product.id
    );
    let sale = format!(
        "{CURL} -X POST {url}/v1/sales -H 'Authorization: Bearer {key}' -H 'Content-Type: \
         application/json' \
         -H \"Idempotency-Key: $(uuidgen 2>/dev/null || cat /proc/sys/kernel/random/uuid)\" -d \
         '{body}'"
    );
    vec![
        get("list the products", "/v1/catalog/products"),
        (format!("sell {QUANTITY} × {}", product.name), sale),
        get("list the invoices", "/v1/invoices"),
        get(
            "show the books: debits equal credits",
            "/v1/ledger/trial-balance",
        ),
        (
            "list all API calls".to_owned(),
            format!("{CURL} {url}/openapi.json"),
        ),
    ]
}
