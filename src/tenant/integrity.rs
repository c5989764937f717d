//! Consistency checks of a tenant's file. Each check compares two facts that were written in
//! different places. A check reports mismatches and never repairs them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::currency::{self, RateOrigin};
use super::inventory::MovementKind;
use super::ledger::AccountCode;
use super::orders::Channel;
use super::payments::Method;
use super::{chain_ends, finance};
use crate::platform::audit;
use crate::platform::queue::Queue;
use crate::primitives::{Currency, Digest, Unit};
use crate::storage::{
    FileKind, Row, StorageError, StorageErrorKind, TenantView, View, migrate, params, statements,
};
use crate::tenancy::checkpoints::ChainEnds;

statements! {
    // Not `quick_check`, which does not compare indexes with their tables: a read through an index
    // would not notice a rotten bit in the row.
    PAGES = "SELECT * FROM pragma_integrity_check LIMIT 10";
    FOREIGN_KEYS = "SELECT \"table\" || ' row ' || coalesce(rowid, '?') || ' refers to no row of ' \
        || parent FROM pragma_foreign_key_check LIMIT 50";
    // Tables with exactly one row. No row refers to them, so no other check would notice that they
    // are missing.
    SINGLE_ROWS = "SELECT 'the shop has no row: nobody can sell there, and its currency is not \
        known' WHERE NOT EXISTS (SELECT 1 FROM shop)
                 UNION ALL SELECT 'the settings of currencies have no row' WHERE NOT EXISTS \
                 (SELECT 1 FROM currency_setting)
                 UNION ALL SELECT 'the epoch of the file has no row' WHERE NOT EXISTS (SELECT 1 \
                 FROM epoch)
                 UNION ALL SELECT 'the sums of what callers without a key have stored have no row' \
                 WHERE NOT EXISTS (SELECT 1 FROM keyless_usage)";
    SNAPSHOTS = "SELECT 'financial order ' || lower(hex(id)) AS document, snapshot, \
        snapshot_hash FROM financial_order WHERE locked_at IS NOT NULL
                 UNION ALL SELECT 'invoice ' || number, snapshot, snapshot_hash FROM invoice WHERE \
                 status <> 'draft'";
    SNAPSHOT_TOTALS = "SELECT 'financial order ' || lower(hex(id)) || ' has ' || total_minor || ', \
        its snapshot ' || json_extract(snapshot, '$.total_minor')
                 FROM financial_order WHERE locked_at IS NOT NULL AND (total_minor, tax_minor, \
                 subtotal_minor, discount_minor)
                   IS NOT (json_extract(snapshot, '$.total_minor'), json_extract(snapshot, \
                   '$.tax_minor'), json_extract(snapshot, '$.subtotal_minor'), \
                   json_extract(snapshot, '$.discount_minor'))
                 UNION ALL SELECT 'invoice ' || number || ' has ' || total_minor || ', its \
                 snapshot ' || json_extract(snapshot, '$.total_minor')
                 FROM invoice WHERE status <> 'draft' AND (total_minor, tax_minor, number, \
                 issued_at)
                   IS NOT (json_extract(snapshot, '$.total_minor'), json_extract(snapshot, \
                   '$.tax_minor'), json_extract(snapshot, '$.number'),
                           CAST(round(unixepoch(json_extract(snapshot, '$.issued_at'), 'subsec') * \
                           1000) AS INTEGER))";
    ORDER_LINES = "SELECT 'order ' || o.number || ' is not what was locked as ' || \
        coalesce(json_extract(f.snapshot, '$.order_number'), 'nothing')
                 FROM financial_order f JOIN sales_order o ON o.id = f.order_id WHERE f.locked_at \
                 IS NOT NULL AND (o.number, o.prices_include_tax, o.placed_at, o.discount_reason,
                   (SELECT json_group_array(json_array(t.value ->> 'name', t.value ->> 'rate_ppm', \
                   t.value ->> 'net_minor', t.value ->> 'tax_minor', t.value ->> \
                   'discount_minor') ORDER BY t.key)
                    FROM json_each(o.tax_lines) t),
                   (SELECT json_group_array(json_array(lower(hex(l.product_id)), l.sku, l.name, \
                   l.quantity, l.unit_price_minor, l.tax_class, l.tax_name, l.tax_rate_ppm, \
                   l.net_minor, l.tax_minor, l.total_minor, l.unit, \
                   l.quantity_scale, l.price_reason, l.discount_minor, l.shared_discount_minor, \
                   l.discount_reason) ORDER BY l.seq)
                    FROM order_line l WHERE l.order_id = o.id))
                   IS NOT (json_extract(f.snapshot, '$.order_number'), json_extract(f.snapshot, \
                   '$.prices_include_tax'),
                           CAST(round(unixepoch(json_extract(f.snapshot, '$.placed_at'), 'subsec') \
                           * 1000) AS INTEGER), json_extract(f.snapshot, '$.discount_reason'),
                   (SELECT json_group_array(json_array(t.value ->> 'name', t.value ->> 'rate_ppm', \
                   t.value ->> 'net_minor', t.value ->> 'tax_minor', t.value ->> \
                   'discount_minor') ORDER BY t.key)
                    FROM json_each(f.snapshot, '$.tax_lines') t),
                   (SELECT json_group_array(json_array(replace(s.value ->> 'product_id', '-', ''), \
                   s.value ->> 'sku', s.value ->> 'name', s.value ->> 'quantity', s.value ->> \
                   'unit_price_minor', s.value ->> 'tax_class',
                      s.value ->> 'tax_name', s.value ->> 'tax_rate_ppm', s.value ->> 'net_minor', \
                      s.value ->> 'tax_minor', s.value ->> 'total_minor', s.value ->> 'unit', \
                      s.value ->> 'quantity_scale', s.value ->> 'price_reason', s.value ->> \
                      'discount_minor', s.value ->> 'shared_discount_minor', s.value ->> \
                      'discount_reason') ORDER BY s.key)
                    FROM json_each(f.snapshot, '$.lines') s))";
    ORDER_SUMS = "SELECT 'order ' || o.number || ': its lines sum to ' || \
        coalesce(sum(l.total_minor), 0) || ', it says ' || o.total_minor
                 FROM sales_order o LEFT JOIN order_line l ON l.order_id = o.id GROUP BY o.id
                 HAVING coalesce(sum(l.total_minor), 0) <> o.total_minor OR \
                 coalesce(sum(l.tax_minor), 0) <> o.tax_minor OR coalesce(sum(l.net_minor), 0) <> \
                 o.subtotal_minor - o.discount_minor";
    // `whole` is the integer of one whole unit. The product with its remainder is rounded half up,
    // and fits an integer.
    LINE_SUMS = "SELECT 'order ' || o.number || ': line ' || l.seq || ' is over ' || l.quantity || \
        ' / ' || l.whole || ' times ' || l.unit_price_minor || ' less ' || l.discount_minor || ', \
        and says otherwise'
                 FROM (SELECT *, CASE quantity_scale WHEN 0 THEN 1 WHEN 1 THEN 10 WHEN 2 THEN 100 \
                 ELSE 1000 END AS whole FROM order_line) l JOIN sales_order o ON o.id = l.order_id
                 WHERE l.quantity / l.whole * l.unit_price_minor + (2 * (l.quantity % l.whole) * \
                 l.unit_price_minor + l.whole) / (2 * l.whole) - l.discount_minor <> CASE WHEN \
                 o.prices_include_tax THEN l.total_minor ELSE l.net_minor END";
    // The subtotal is computed again from the lines, per rate as when they were priced: `listed` is
    // their price before discounts, `parts` the millionths of the net amount that it is.
    DISCOUNTS = "SELECT 'order ' || number || ': its lines are worth ' || sum(net) || ' before \
        discounts and tax, it says ' || subtotal_minor
                 FROM (SELECT *, CASE WHEN included THEN listed - (listed / parts * rate_ppm + (2 \
                 * (listed % parts) * rate_ppm + parts) / (2 * parts)) ELSE listed END AS net
                   FROM (SELECT o.seq, o.number, o.subtotal_minor, o.prices_include_tax AS \
                   included, l.tax_rate_ppm AS rate_ppm, 1000000 + l.tax_rate_ppm AS parts,
                     sum(CASE WHEN o.prices_include_tax THEN l.total_minor ELSE l.net_minor END + \
                     l.discount_minor) AS listed
                     FROM order_line l JOIN sales_order o ON o.id = l.order_id GROUP BY o.seq, \
                     l.tax_rate_ppm, l.tax_name))
                 GROUP BY seq HAVING sum(net) <> subtotal_minor";
    MEASURES = "SELECT 'order ' || o.number || ': line ' || l.seq || ' is in ' || l.unit || ' \
        with scale ' || l.quantity_scale || ', its product in ' || p.unit || ' with scale ' || \
        p.quantity_scale
                 FROM order_line l JOIN sales_order o ON o.id = l.order_id JOIN product p ON p.id \
                 = l.product_id
                 WHERE (l.unit, l.quantity_scale, 1) IS NOT (p.unit, p.quantity_scale, p.in_use)";
    TAX_LINES = "SELECT 'order ' || o.number || ': its tax lines do not sum to its tax, its \
        discount or its net amount' FROM sales_order o
                 WHERE (SELECT (coalesce(sum(t.value ->> 'tax_minor'), 0), coalesce(sum(t.value \
                 ->> 'discount_minor'), 0), coalesce(sum(t.value ->> 'net_minor'), 0)) <> \
                 (o.tax_minor, o.discount_minor, o.subtotal_minor - o.discount_minor) FROM \
                 json_each(o.tax_lines) t)";
    ORDERS_AND_BOOKS = "SELECT 'order ' || o.number || ' is ' || o.status || ' and has ' || (f.id \
        IS NOT NULL) || ' paid financial order(s), '
                   || (SELECT count(*) FROM invoice i WHERE i.order_id = o.id AND i.status = \
                   'issued') || ' invoice(s)'
                 FROM sales_order o LEFT JOIN financial_order f ON f.order_id = o.id AND \
                 f.status = 'paid'
                 WHERE (o.status IN ('paid', 'confirmed', 'shipped')) <> (f.id IS NOT NULL)
                   OR (f.id IS NOT NULL AND (f.total_minor, f.tax_minor, f.currency, \
                   f.subtotal_minor, f.discount_minor) <> (o.total_minor, o.tax_minor, o.currency, \
                   o.subtotal_minor, o.discount_minor))
                   OR (SELECT count(*) FROM invoice i WHERE i.order_id = o.id AND i.status = \
                   'issued') <> (f.id IS NOT NULL)";
    INVOICES = "SELECT 'invoice ' || i.number || ' is over ' || i.total_minor || ', its financial \
        order over ' || f.total_minor
                 FROM invoice i JOIN financial_order f ON f.id = i.financial_order_id
                 WHERE (i.total_minor, i.tax_minor, i.order_id, i.currency) <> (f.total_minor, \
                 f.tax_minor, f.order_id, f.currency) OR i.balance_minor <> 0
                   OR json_extract(i.snapshot, '$.lines', '$.tax_lines', '$.subtotal_minor', \
                   '$.discount_minor', '$.discount_reason', '$.prices_include_tax') IS NOT \
                   json_extract(f.snapshot, '$.lines', '$.tax_lines', '$.subtotal_minor', \
                   '$.discount_minor', '$.discount_reason', '$.prices_include_tax')";
    PAYMENTS = "SELECT 'order ' || o.number || ' is ' || o.status || ' over ' || o.total_minor || \
        ', paid were ' || coalesce(sum(p.amount_minor), 0)
                 FROM sales_order o LEFT JOIN payment p ON p.order_id = o.id AND p.status = \
                 'succeeded' GROUP BY o.id
                 HAVING coalesce(sum(p.amount_minor), 0) <> CASE WHEN o.status IN ('paid', \
                 'confirmed', 'shipped') THEN o.total_minor ELSE 0 END
                   OR coalesce(max(p.currency <> o.currency), 0)";
    TRANSACTIONS = "SELECT 'financial order ' || lower(hex(f.id)) || ' is over ' || f.total_minor \
        || ', its credit over ' || coalesce(sum(t.amount_minor), 0)
                 FROM financial_order f LEFT JOIN financial_transaction t ON t.financial_order_id \
                 = f.id AND t.kind = 'credit'
                 WHERE f.status = 'paid' GROUP BY f.id HAVING count(t.id) <> 1 OR \
                 sum(t.amount_minor) <> f.total_minor OR max(t.currency <> f.currency)
                   OR max(t.completed_at) <> f.paid_at";
    DOCUMENT_RATES = "SELECT 'financial order ' || lower(hex(f.id)) || ' and its order or its \
        snapshot have different exchange rates'
                 FROM financial_order f JOIN sales_order o ON o.id = f.order_id
                 WHERE f.exchange_rate_id IS NOT o.exchange_rate_id
                   OR (f.base_currency, f.base_total_minor, lower(hex(f.exchange_rate_id)))
                      IS NOT (json_extract(f.snapshot, '$.base_currency'), \
                      json_extract(f.snapshot, '$.base_total_minor'),
                              coalesce(replace(json_extract(f.snapshot, '$.exchange_rate.id'), \
                              '-', ''), lower(hex(NULL))))";
    ACCOUNTS = "SELECT code, name, kind, currency FROM ledger_account ORDER BY code, currency";
    // Nothing gives money back.
    DEBITS = "SELECT 'money went out for financial order ' || lower(hex(financial_order_id))
        FROM financial_transaction WHERE kind = 'debit'";
    LEDGER = "SELECT 'financial order ' || lower(hex(f.id)) || ' is over ' || f.total_minor || ', \
        its ledger entry moved ' || coalesce(sum(t.amount_minor), 0)
                   || ' or moved it elsewhere'
                 FROM financial_order f LEFT JOIN ledger_entry e ON e.kind = 'order_paid' AND \
                 e.subject_id = f.id LEFT JOIN ledger_transfer t ON t.entry_seq = e.seq
                 WHERE f.status = 'paid' GROUP BY f.id
                 HAVING count(DISTINCT e.seq) <> 1 OR min(e.booked_at) <> f.paid_at OR \
                 coalesce(max(t.currency <> f.currency), 0)
                   OR coalesce(sum(t.amount_minor), 0) <> f.total_minor
                   OR coalesce(sum(t.amount_minor) FILTER (WHERE t.credit_code = ?1), 0) <> \
                   f.tax_minor
                   OR coalesce(sum(t.amount_minor) FILTER (WHERE t.credit_code = ?2), 0) <> \
                   f.total_minor - f.tax_minor";
    // The transfers of each paid order debit the accounts of its payments' methods.
    PAYMENT_ACCOUNTS = "WITH method (name, account) AS (SELECT value ->> 0, value ->> 1 FROM \
        json_each(?1))
                 SELECT 'financial order ' || lower(hex(id)) || ': account ' || account || ' was \
                 debited ' || sum(debited) || ', its payments are over ' || sum(paid)
                 FROM (SELECT f.id, m.account, p.amount_minor AS paid, 0 AS debited
                       FROM financial_order f JOIN payment p ON p.order_id = f.order_id AND \
                       p.status = 'succeeded' JOIN method m ON m.name = p.method WHERE f.status = \
                       'paid'
                       UNION ALL SELECT f.id, t.debit_code, 0, t.amount_minor
                       FROM financial_order f JOIN ledger_entry e ON e.kind = 'order_paid' AND \
                       e.subject_id = f.id JOIN ledger_transfer t ON t.entry_seq = e.seq WHERE \
                       f.status = 'paid')
                 GROUP BY id, account HAVING sum(debited) <> sum(paid)";
    // Words that no enum has, in columns whose lists may grow.
    VOCABULARIES = "SELECT 'payment ' || seq || ': unknown method ' || method FROM payment WHERE \
        method NOT IN (SELECT value FROM json_each(?1))
                 UNION ALL SELECT 'job ' || seq || ': unknown queue ' || queue FROM job WHERE \
                 queue NOT IN (SELECT value FROM json_each(?2))
                 UNION ALL SELECT 'stock movement ' || seq || ': unknown kind ' || kind FROM \
                 inventory_movement WHERE kind NOT IN (SELECT value FROM json_each(?3))
                 UNION ALL SELECT 'order ' || number || ': unknown channel ' || channel FROM \
                 sales_order WHERE channel NOT IN (SELECT value FROM json_each(?4))
                 UNION ALL SELECT 'exchange rate ' || seq || ': unknown source ' || source FROM \
                 exchange_rate WHERE source NOT IN (SELECT value FROM json_each(?5))
                 UNION ALL SELECT 'product ' || sku || ': unknown unit ' || unit FROM product \
                 WHERE unit NOT IN (SELECT value FROM json_each(?6))
                 UNION ALL SELECT 'order line ' || seq || ': unknown unit ' || unit FROM \
                 order_line WHERE unit NOT IN (SELECT value FROM json_each(?6))";
    ENTRIES = "SELECT 'ledger entry ' || e.seq || ' of kind ' || e.kind || ' is the booking of \
        nothing' FROM ledger_entry e
                 WHERE e.kind <> 'order_paid' OR NOT EXISTS (SELECT 1 FROM financial_order f WHERE \
                 f.id = e.subject_id)";
    INVOICE_SERIES = "SELECT 'series ' || s.name || ' stands at ' || s.last_number || ', it has ' \
        || count(i.seq) || ' invoices from ' || coalesce(min(i.series_number), 0) || ' to ' || \
        coalesce(max(i.series_number), 0)
                 FROM (SELECT name, last_number FROM series WHERE name LIKE 'invoice/%'
                       UNION ALL SELECT DISTINCT series, 0 FROM invoice WHERE series NOT IN \
                       (SELECT name FROM series)) s
                 LEFT JOIN invoice i ON i.series = s.name GROUP BY s.name
                 HAVING count(i.seq) <> s.last_number OR min(i.series_number) <> 1 OR \
                 max(i.series_number) <> s.last_number";
    ORDER_SERIES = "SELECT 'series order stands at ' || s.last_number || ', there are ' || \
        s.orders || ' orders, and ' || s.beyond || ' of them beyond it'
                 FROM (SELECT last.last_number, count(o.seq) AS orders, \
                 coalesce(sum(CAST(substr(o.number, 5) AS INTEGER) NOT BETWEEN 1 AND \
                 last.last_number), 0) AS beyond
                       FROM (SELECT coalesce(max(last_number), 0) AS last_number FROM series WHERE \
                       name = 'order') last LEFT JOIN sales_order o) s
                 WHERE s.last_number <> s.orders OR s.beyond <> 0";
    STOCK = "SELECT 'product ' || sku || ': on hand ' || on_hand || ', what was pruned left ' || \
        pruned || ', its movements sum to ' || moved
                 FROM (SELECT p.sku, coalesce(s.on_hand, 0) AS on_hand, \
                 coalesce(sum(m.quantity_delta), 0) AS moved,
                         coalesce((SELECT a.balance FROM inventory_anchor a WHERE a.product_id = \
                         p.id ORDER BY a.seq DESC LIMIT 1), 0) AS pruned
                       FROM product p LEFT JOIN stock s ON s.product_id = p.id LEFT JOIN \
                       inventory_movement m ON m.product_id = p.id GROUP BY p.id)
                 WHERE pruned + moved <> on_hand";
    MOVEMENTS = "SELECT 'product ' || p.sku || ': after its movement ' || m.seq || ' there were ' \
        || m.on_hand_after || ', by the movements up to it ' || m.moved
                 FROM (SELECT seq, product_id, on_hand_after, sum(quantity_delta) OVER (PARTITION \
                 BY product_id ORDER BY seq)
                         + coalesce((SELECT a.balance FROM inventory_anchor a WHERE a.product_id = \
                         i.product_id ORDER BY a.seq DESC LIMIT 1), 0) AS moved
                       FROM inventory_movement i) m
                 JOIN product p ON p.id = m.product_id WHERE m.moved <> m.on_hand_after
                 UNION ALL SELECT 'product ' || p.sku || ': its movement ' || m.seq || ' was \
                 pruned, and is there'
                 FROM inventory_anchor a JOIN inventory_movement m ON m.product_id = a.product_id \
                 AND m.seq <= a.seq JOIN product p ON p.id = a.product_id";
    RESERVED = "SELECT 'product ' || p.sku || ': reserved ' || coalesce(s.reserved, 0) || ', its \
        reservations sum to ' || coalesce(sum(r.quantity), 0)
                 FROM product p LEFT JOIN stock s ON s.product_id = p.id LEFT JOIN reservation r \
                 ON r.product_id = p.id AND r.status = 'held'
                 GROUP BY p.id HAVING coalesce(sum(r.quantity), 0) <> coalesce(s.reserved, 0)";
    SOLD = "SELECT 'order ' || o.number || ': a reservation is ' || r.status FROM reservation r \
        JOIN sales_order o ON o.id = r.order_id
                 WHERE (o.status IN ('paid', 'confirmed', 'shipped') AND r.status <> 'consumed')
                    OR (o.status = 'pending' AND r.status NOT IN ('held', 'expired')) OR (o.status \
                    = 'cancelled' AND r.status NOT IN ('released', 'expired'))";
}

/// Findings listed per check: the first ones show where to look.
const FINDINGS_PER_CHECK_MAX: usize = 50;

/// Two facts that do not agree.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Mismatch {
    pub check: &'static str,
    pub detail: String,
}

/// The result of the checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Every check that ran, with the number of its findings.
    pub checks: BTreeMap<&'static str, usize>,
    /// Empty when the file is consistent.
    pub mismatches: Vec<Mismatch>,
    /// Remarks for the reader, such as the entry from which a pruned trail was verified.
    pub notes: Vec<String>,
}

/// Checks whose statement returns one row per finding.
const CHECKS: &[(&str, &crate::storage::Statement)] = &[
    ("foreign keys", &FOREIGN_KEYS),
    ("single rows", &SINGLE_ROWS),
    ("snapshot totals", &SNAPSHOT_TOTALS),
    ("order lines", &ORDER_LINES),
    ("order sums", &ORDER_SUMS),
    ("line sums", &LINE_SUMS),
    ("measures", &MEASURES),
    ("discounts", &DISCOUNTS),
    ("tax lines", &TAX_LINES),
    ("orders and books", &ORDERS_AND_BOOKS),
    ("invoices", &INVOICES),
    ("payments", &PAYMENTS),
    ("financial transactions", &TRANSACTIONS),
    ("debits", &DEBITS),
    ("document rates", &DOCUMENT_RATES),
    ("ledger entries", &ENTRIES),
    ("invoice numbers", &INVOICE_SERIES),
    ("order numbers", &ORDER_SERIES),
    ("stock", &STOCK),
    ("stock movements", &MOVEMENTS),
    ("reserved stock", &RESERVED),
    ("reservations", &SOLD),
];

impl Report {
    /// Whether nothing was found.
    pub fn passes(&self) -> bool {
        self.mismatches.is_empty()
    }

    pub(crate) fn add(&mut self, check: &'static str, details: Vec<String>) {
        self.checks.insert(check, details.len());
        self.mismatches
            .extend(details.into_iter().map(|detail| Mismatch { check, detail }));
    }
}

/// Runs all checks. A long read: use the reader with a deadline.
pub fn check(view: &TenantView) -> Result<Report, StorageError> {
    let mut report = Report::default();
    let text = |row: &Row<'_>| row.get::<_, String>(0);
    let pages = view.all(&PAGES, [], text)?;
    report.add("schema", migrate::schema_differences(view)?);
    report.add(
        "pages",
        pages.into_iter().filter(|line| line != "ok").collect(),
    );
    for (name, statement) in CHECKS {
        report.add(name, tolerate_wrong_types(view.all(statement, [], text))?);
    }
    report.add("ledger", tolerate_wrong_types(ledger(view))?);
    report.add(
        "payment accounts",
        tolerate_wrong_types(payment_accounts(view))?,
    );
    report.add("vocabularies", tolerate_wrong_types(vocabularies(view))?);
    report.add("snapshots", tolerate_wrong_types(snapshots(view))?);
    report.add(
        "exchange rates",
        tolerate_wrong_types(currency::list_mismatches(view))?,
    );
    report.add("accounts", tolerate_wrong_types(accounts(view))?);
    report.add("ledger chain", tolerate_wrong_types(ledger_chain(view))?);
    audit_chain(view, &mut report)?;
    Ok(report)
}

/// Turns a value of the wrong type into a finding, so that it does not stop the other checks.
pub(crate) fn tolerate_wrong_types(
    found: Result<Vec<String>, StorageError>,
) -> Result<Vec<String>, StorageError> {
    match found {
        Err(error) if error.kind() == StorageErrorKind::Other => Ok(vec![
            "a value has another type than its column and cannot be read".to_owned(),
        ]),
        found => found,
    }
}

fn ledger(view: &TenantView) -> Result<Vec<String>, StorageError> {
    let accounts = params![AccountCode::TaxPayable, AccountCode::Revenue];
    view.all(&LEDGER, accounts, |row| row.get(0))
}

fn payment_accounts(view: &TenantView) -> Result<Vec<String>, StorageError> {
    let account = |method: &Method| json!([method, method.rules().account]);
    let accounts: Value = Method::ALL.iter().map(account).collect();
    let accounts = params![accounts.to_string()];
    view.all(&PAYMENT_ACCOUNTS, accounts, |row| row.get(0))
}

fn vocabularies(view: &TenantView) -> Result<Vec<String>, StorageError> {
    let words = params![
        json!(Method::ALL).to_string(),
        json!(Queue::ALL).to_string(),
        json!(MovementKind::ALL).to_string(),
        json!(Channel::ALL).to_string(),
        json!(RateOrigin::ALL).to_string(),
        json!(Unit::ALL).to_string(),
    ];
    view.all(&VOCABULARIES, words, |row| row.get(0))
}

fn ledger_chain(view: &TenantView) -> Result<Vec<String>, StorageError> {
    let broken = finance::verify_ledger(view)?.into_iter();
    let lines =
        broken.map(|seq| format!("ledger entry {seq} or what it books is not what was chained"));
    Ok(lines.take(FINDINGS_PER_CHECK_MAX).collect())
}

/// Walks the audit chain of a tenant's or the landlord's file.
pub(crate) fn audit_chain<K: FileKind>(
    view: &View<'_, K>,
    report: &mut Report,
) -> Result<(), StorageError> {
    let mut pruned_to = 0;
    let walked = audit::verify(view).map(|found| {
        pruned_to = found.pruned_to;
        let line = found
            .broken
            .map(|seq| format!("the audit chain is broken at entry {seq}"));
        line.into_iter().collect()
    });
    report.add("audit chain", tolerate_wrong_types(walked)?);
    if pruned_to > 0 {
        report.notes.push(format!(
            "audit trail verified from entry {}, pruned before",
            pruned_to + 1
        ));
    }
    Ok(())
}

/// Checks that the file still has the links of its checkpoint in the landlord's file.
pub fn check_checkpoint(
    view: &TenantView,
    checkpoint: Option<&ChainEnds>,
    report: &mut Report,
) -> Result<(), StorageError> {
    let mismatch = match checkpoint {
        Some(ends) if !chain_ends::holds(view, ends)? => Some(format!(
            "the landlord knew of ledger entry {} and audit entry {}, which are not there as they \
             were",
            ends.ledger.seq, ends.audit.seq
        )),
        _ => None,
    };
    report.add("checkpoint", mismatch.into_iter().collect());
    Ok(())
}

/// Accounts that differ from the chart of accounts.
fn accounts(view: &TenantView) -> Result<Vec<String>, StorageError> {
    let found = view.all(&ACCOUNTS, [], |row| {
        Ok((
            row.get("code")?,
            row.get("name")?,
            row.get("kind")?,
            row.get("currency")?,
        ))
    })?;
    let is_wrong = |(code, name, kind, currency): &(String, String, String, String)| {
        let ours = AccountCode::parse(code).map(AccountCode::name_and_kind);
        ours != Some((name, kind)) || Currency::parse(currency).is_err()
    };
    let wrong = found.into_iter().filter(is_wrong);
    Ok(wrong
        .map(|(code, name, kind, currency)| {
            format!(
                "account {code} in {currency} is `{name}` ({kind}), which the chart does not know"
            )
        })
        .collect())
}

/// Snapshots whose text does not match the locked hash.
fn snapshots(view: &TenantView) -> Result<Vec<String>, StorageError> {
    let wrong = view.all(&SNAPSHOTS, params![], |row| {
        let (what, text): (String, String) = (row.get("document")?, row.get("snapshot")?);
        let hash: Digest = row.get("snapshot_hash")?;
        Ok((Digest::of(text.as_bytes()) != hash).then(|| {
            format!("{what}: its snapshot does not have the hash that was locked with it")
        }))
    })?;
    Ok(wrong.into_iter().flatten().collect())
}
