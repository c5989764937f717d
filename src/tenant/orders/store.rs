//! SQL and row mapping of the orders.

use rusqlite::types::FromSqlError;

use super::model::{NewOrder, Order, OrderStatus};
use crate::platform::page::{PageRequest, with_seq};
use crate::platform::series;
use crate::primitives::id::{OrderId, OrderLineId};
use crate::primitives::{ClientHash, Currency, Digest, Timestamp};
use crate::storage::{
    Row, Rows, StorageError, TenantView, TenantWork, measure, money, named_params, params,
    statements,
};
use crate::tenant::pricing::PricedLine;
use crate::tenant::tax;

/// Columns that [`line`] reads.
macro_rules! line_columns {
    () => {
        "l.id, l.product_id, l.sku, l.name, l.quantity, l.unit_price_minor, o.currency, \
         l.tax_class, l.tax_name, l.tax_rate_ppm, l.net_minor, l.tax_minor, l.total_minor, \
         l.unit, l.quantity_scale, l.price_reason, l.discount_minor, l.shared_discount_minor, \
         l.discount_reason"
    };
}

/// Columns that [`order`] reads.
macro_rules! order_columns {
    () => {
        "id, number, channel, status, currency, prices_include_tax, subtotal_minor, \
         discount_minor, tax_minor, total_minor, tax_lines, email, buyer, placed_at, \
         exchange_rate_id, discount_reason, updated_at"
    };
}

statements! {
    INSERT = "INSERT INTO sales_order (id, number, channel, status, currency, prices_include_tax, \
        subtotal_minor, discount_minor, tax_minor, total_minor,
              tax_lines, email, buyer, cart_id, request_hash, placed_at, exchange_rate_id, \
              client_hash, updated_at, discount_reason)
              VALUES (:id, :number, :channel, :status, :currency, :prices_include_tax, :subtotal, \
              :discount, :tax, :total,
              :tax_lines, :email, :buyer, :cart_id, :request_hash, :placed_at, :exchange_rate_id, \
              :client, :now, :discount_reason)";
    INSERT_LINE = "INSERT INTO order_line (id, order_id, product_id, sku, name, quantity, \
        unit_price_minor, tax_class, tax_name, tax_rate_ppm, net_minor, tax_minor, total_minor, \
        unit, quantity_scale, price_reason, discount_minor, shared_discount_minor, \
        discount_reason)
              VALUES (:id, :order_id, :product_id, :sku, :name, :quantity, :unit_price, \
              :tax_class, :tax_name, :tax_rate, :net, :tax, :total, :unit, :quantity_scale, \
              :price_reason, :discount, :shared_discount, :discount_reason)";
    FIND = concat!("SELECT ", order_columns!(), " FROM sales_order WHERE id = ?1");
    ID_OF_NUMBER = "SELECT id FROM sales_order WHERE number = ?1";
    LINES = concat!("SELECT ", line_columns!(), " FROM order_line l JOIN sales_order o ON o.id = \
        l.order_id WHERE l.order_id = ?1 ORDER BY l.seq");
    PAGE = concat!("SELECT ", order_columns!(), ", seq FROM sales_order WHERE seq < ?1 ORDER BY \
        seq DESC LIMIT ?2");
    PAGE_OF_STATUS = concat!("SELECT ", order_columns!(), ", seq FROM sales_order WHERE status = \
        ?3 AND seq < ?1 ORDER BY seq DESC LIMIT ?2");
    LINES_OF_RANGE = concat!("SELECT ", line_columns!(), ", o.seq FROM sales_order \
        o CROSS JOIN order_line l ON l.order_id = o.id WHERE o.seq BETWEEN ?1 AND ?2 \
        ORDER BY o.seq, l.seq");
    LINES_OF_STATUS_RANGE = concat!("SELECT ", line_columns!(), ", o.seq FROM \
        sales_order o CROSS JOIN order_line l ON l.order_id = o.id WHERE o.status = ?3 AND o.seq \
        BETWEEN ?1 AND ?2 ORDER BY o.seq, l.seq");
    // No transition leads back to pending, so the client is not needed any more.
    SET_STATUS = "UPDATE sales_order SET status = ?2, updated_at = ?3, client_hash = NULL WHERE id \
        = ?1 AND status = ?4";
    COUNT_UNPAID = "SELECT count(*) FROM sales_order WHERE client_hash = ?1 AND placed_at > ?2";
    CLIENT_OF = "SELECT client_hash FROM sales_order WHERE id = ?1";
    UNPAID_OF_CLIENT = "SELECT id FROM sales_order WHERE client_hash = ?1 ORDER BY placed_at LIMIT \
        ?2";
    UNPAID_OF_ALL = "SELECT id FROM sales_order WHERE client_hash IS NOT NULL ORDER BY \
        client_hash, placed_at LIMIT ?1";
    REQUEST_HASH = "SELECT request_hash FROM sales_order WHERE id = ?1";
    LINE_EXISTS = "SELECT 1 FROM order_line WHERE id = ?1";
}

const SERIES: &str = "order";

fn order(row: &Row<'_>) -> rusqlite::Result<Order> {
    let currency: Currency = row.get("currency")?;
    let tax_lines: String = row.get("tax_lines")?;
    Ok(Order {
        id: row.get("id")?,
        number: row.get("number")?,
        channel: row.get("channel")?,
        status: row.get("status")?,
        currency,
        prices_include_tax: row.get("prices_include_tax")?,
        subtotal: money(row, "subtotal_minor", currency)?,
        discount: money(row, "discount_minor", currency)?,
        tax: money(row, "tax_minor", currency)?,
        total: money(row, "total_minor", currency)?,
        tax_lines: serde_json::from_str(&tax_lines).map_err(FromSqlError::other)?,
        email: row.get("email")?,
        buyer: row.get("buyer")?,
        placed_at: row.get("placed_at")?,
        exchange_rate_id: row.get("exchange_rate_id")?,
        updated_at: row.get("updated_at")?,
        discount_reason: row.get("discount_reason")?,
        lines: Vec::new(),
    })
}

fn line(row: &Row<'_>) -> rusqlite::Result<PricedLine> {
    let currency: Currency = row.get("currency")?;
    Ok(PricedLine {
        id: row.get("id")?,
        product_id: row.get("product_id")?,
        sku: row.get("sku")?,
        name: row.get("name")?,
        quantity: row.get("quantity")?,
        unit_price: money(row, "unit_price_minor", currency)?,
        tax_class: row.get("tax_class")?,
        tax_name: row.get("tax_name")?,
        tax_rate: row.get("tax_rate_ppm")?,
        net: money(row, "net_minor", currency)?,
        tax: money(row, "tax_minor", currency)?,
        total: money(row, "total_minor", currency)?,
        measure: measure(row)?,
        price_reason: row.get("price_reason")?,
        discount: money(row, "discount_minor", currency)?,
        shared_discount: money(row, "shared_discount_minor", currency)?,
        discount_reason: row.get("discount_reason")?,
    })
}

/// Inserts an order and its lines, under the next number.
pub fn insert_order(work: &mut TenantWork, new: NewOrder<'_>) -> Result<Order, StorageError> {
    tax::mark_used(work, &new.priced.new_rates)?;
    let number = format!("ORD-{:06}", series::next(work, SERIES)?);
    let (now, priced) = (work.now(), &new.priced);
    let tax_lines = serde_json::to_string(&priced.tax_lines).expect("tax lines are plain data");
    let row = named_params! {
        ":id": new.id, ":number": number, ":channel": new.channel, ":status": new.status,
            ":currency": priced.total.currency(),
        ":prices_include_tax": new.prices_include_tax, ":subtotal": priced.subtotal.minor(),
            ":tax": priced.tax.minor(),
        ":total": priced.total.minor(), ":tax_lines": tax_lines, ":email": new.email,
            ":buyer": new.buyer,
            ":cart_id": new.cart_id,
        ":request_hash": new.request_hash, ":placed_at": new.placed_at,
            ":exchange_rate_id": new.exchange_rate_id, ":client": new.client,
        ":now": now, ":discount": priced.discount.minor(),
            ":discount_reason": new.discount_reason,
    };
    work.insert(&INSERT, row)?;
    priced
        .lines
        .iter()
        .try_for_each(|line| insert_line(work, new.id, line))?;
    let currency = priced.total.currency();
    Ok(Order {
        id: new.id,
        number,
        channel: new.channel,
        status: new.status,
        currency,
        prices_include_tax: new.prices_include_tax,
        subtotal: priced.subtotal,
        discount: priced.discount,
        discount_reason: new.discount_reason,
        tax: priced.tax,
        total: priced.total,
        email: new.email,
        buyer: new.buyer,
        placed_at: new.placed_at,
        updated_at: now,
        exchange_rate_id: new.exchange_rate_id,
        tax_lines: new.priced.tax_lines,
        lines: new.priced.lines,
    })
}

fn insert_line(
    work: &mut TenantWork,
    order_id: OrderId,
    line: &PricedLine,
) -> Result<(), StorageError> {
    let row = named_params! {
        ":id": line.id, ":order_id": order_id, ":product_id": line.product_id, ":sku": line.sku,
            ":name": line.name, ":quantity": line.quantity,
        ":unit_price": line.unit_price.minor(), ":tax_class": line.tax_class,
            ":tax_name": line.tax_name, ":tax_rate": line.tax_rate,
        ":net": line.net.minor(), ":tax": line.tax.minor(), ":total": line.total.minor(),
        ":unit": line.measure.unit, ":quantity_scale": line.measure.scale,
            ":price_reason": line.price_reason, ":discount": line.discount.minor(),
        ":shared_discount": line.shared_discount.minor(),
            ":discount_reason": line.discount_reason,
    };
    work.insert(&INSERT_LINE, row)
}

pub(super) fn find(view: &TenantView, id: OrderId) -> Result<Option<Order>, StorageError> {
    let Some(mut found) = view.find(&FIND, params![id], order)? else {
        return Ok(None);
    };
    found.lines = view.all(&LINES, params![id], line)?;
    Ok(Some(found))
}

pub(super) fn id_of_number(
    view: &TenantView,
    number: &str,
) -> Result<Option<OrderId>, StorageError> {
    view.find(&ID_OF_NUMBER, params![number], |row| row.get(0))
}

/// The orders of a page with their lines: two statements for a page of any size.
pub(super) fn page(
    view: &TenantView,
    page: PageRequest,
    status: Option<OrderStatus>,
) -> Result<Vec<(i64, Order)>, StorageError> {
    let place = with_seq(order);
    let mut orders = match status {
        None => view.all(&PAGE, params![page.before, page.fetch()], place)?,
        Some(status) => view.all(
            &PAGE_OF_STATUS,
            params![page.before, page.fetch(), status],
            place,
        )?,
    };
    let (Some((last, _)), Some((first, _))) = (orders.last(), orders.first()) else {
        return Ok(orders);
    };
    let of_line = with_seq(line);
    let lines = match status {
        None => view.all(&LINES_OF_RANGE, params![last, first], of_line)?,
        Some(status) => view.all(
            &LINES_OF_STATUS_RANGE,
            params![last, first, status],
            of_line,
        )?,
    };
    for (seq, line) in lines {
        let at = orders
            .binary_search_by(|(place, _)| seq.cmp(place))
            .expect("the range holds the page's orders only");
        orders[at].1.lines.push(line);
    }
    Ok(orders)
}

pub(super) fn set_status(
    work: &mut TenantWork,
    order: &mut Order,
    status: OrderStatus,
) -> Result<(), StorageError> {
    let now = work.now();
    work.change(
        &SET_STATUS,
        params![order.id, status, now, order.status],
        Rows::Exactly(1),
    )?;
    (order.status, order.updated_at) = (status, now);
    Ok(())
}

/// Counts the unpaid orders of a client that were placed after `since`.
pub(super) fn count_unpaid(
    view: &TenantView,
    client: ClientHash,
    since: Timestamp,
) -> Result<i64, StorageError> {
    view.one(&COUNT_UNPAID, params![client, since], |row| row.get(0))
}

/// The client of an order; `None` when there is no such order or it has no client.
pub(in crate::tenant) fn client_of(
    view: &TenantView,
    id: OrderId,
) -> Result<Option<Option<ClientHash>>, StorageError> {
    view.find(&CLIENT_OF, params![id], |row| row.get(0))
}

/// Unpaid orders that were placed without a key: those of one client, the oldest first, or all.
pub(in crate::tenant) fn list_unpaid(
    view: &TenantView,
    client: Option<ClientHash>,
    limit: u32,
) -> Result<Vec<OrderId>, StorageError> {
    match client {
        Some(client) => view.all(&UNPAID_OF_CLIENT, params![client, limit], |row| row.get(0)),
        None => view.all(&UNPAID_OF_ALL, params![limit], |row| row.get(0)),
    }
}

/// Whether an order with this id exists, and the hash of the request if a client chose the id.
pub fn request_hash(
    view: &TenantView,
    id: OrderId,
) -> Result<Option<Option<Digest>>, StorageError> {
    view.find(&REQUEST_HASH, params![id], |row| row.get(0))
}

/// Whether a line with this id exists.
pub fn is_line_known(view: &TenantView, id: OrderLineId) -> Result<bool, StorageError> {
    Ok(view.find(&LINE_EXISTS, params![id], |_| Ok(()))?.is_some())
}
