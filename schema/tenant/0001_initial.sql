-- A tenant's file: one shop, complete. The file is the tenant, so there is no tenant_id column to forget.
-- Ids are 16-byte UUIDs, instants are milliseconds since 1970 in UTC, money is an integer of minor units.
-- `seq` is the order in which things happened; timestamps do not define an order.

---------------------------------------------------------------------------------------------------- the shop itself
CREATE TABLE shop (
    singleton          INTEGER PRIMARY KEY CHECK (singleton = 1),
    name               TEXT NOT NULL,
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    prices_include_tax INTEGER NOT NULL CHECK (prices_include_tax IN (0, 1)),
    seller             TEXT NOT NULL CHECK (json_valid(seller)), -- on documents; parts may be missing
    timezone           TEXT NOT NULL, -- decides the year of a number and the day of a report and of a tax rate
    version            INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL
) STRICT;
CREATE TRIGGER shop_is_one BEFORE INSERT ON shop
WHEN EXISTS (SELECT 1 FROM shop WHERE singleton = 1)
BEGIN SELECT RAISE(ABORT, 'a shop is never replaced'); END;
-- All documents are in the shop's own currency.
CREATE TRIGGER shop_keeps_its_currency BEFORE UPDATE OF currency ON shop
WHEN NEW.currency <> OLD.currency AND EXISTS (SELECT 1 FROM sales_order)
BEGIN SELECT RAISE(ABORT, 'the currency of a shop with orders never changes'); END;
CREATE TRIGGER shop_stays BEFORE DELETE ON shop
BEGIN SELECT RAISE(ABORT, 'a shop is never deleted from its file'); END;

CREATE TABLE tax_rate (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    tax_class  TEXT NOT NULL,
    name       TEXT NOT NULL,
    rate_ppm   INTEGER NOT NULL CHECK (rate_ppm BETWEEN 0 AND 1000000),
    valid_from INTEGER, -- NULL: "no tax", until the first other rate of the class
    used       INTEGER NOT NULL DEFAULT 0 CHECK (used IN (0, 1)), -- by a line of an order: it is final
    created_at INTEGER NOT NULL,
    CHECK (valid_from IS NOT NULL OR rate_ppm = 0),
    UNIQUE (tax_class, valid_from)
) STRICT;
CREATE UNIQUE INDEX tax_rate_none ON tax_rate (tax_class) WHERE valid_from IS NULL;
CREATE TRIGGER tax_rate_kept BEFORE DELETE ON tax_rate
WHEN OLD.used
BEGIN SELECT RAISE(ABORT, 'a tax rate of an order is never deleted'); END;
CREATE TRIGGER tax_rate_final BEFORE UPDATE ON tax_rate
WHEN OLD.used OR NEW.seq <> OLD.seq OR NEW.id <> OLD.id
  OR EXISTS (SELECT 1 FROM tax_rate WHERE tax_class = NEW.tax_class AND valid_from IS NEW.valid_from AND seq <> OLD.seq)
BEGIN SELECT RAISE(ABORT, 'a tax rate of an order is never changed'); END;
CREATE TRIGGER tax_rate_not_replaced BEFORE INSERT ON tax_rate
WHEN EXISTS (SELECT 1 FROM tax_rate WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM tax_rate WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM tax_rate WHERE tax_class = NEW.tax_class AND valid_from IS NEW.valid_from)
BEGIN SELECT RAISE(ABORT, 'tax rates are never replaced'); END;

-- The currencies in which a shop sells, including its own, and their exchange rates.
CREATE TABLE currency (
    seq        INTEGER PRIMARY KEY,
    code       TEXT NOT NULL UNIQUE CHECK (length(code) = 3),
    enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE currency_setting (
    singleton         INTEGER PRIMARY KEY CHECK (singleton = 1),
    rate_source       TEXT NOT NULL CHECK (rate_source IN ('manual_first', 'manual', 'published')),
    rate_max_age_days INTEGER NOT NULL CHECK (rate_max_age_days BETWEEN 1 AND 366),
    version           INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT;

-- One unit of base is numerator / denominator of quote: exact decimals. Rows are manual rates, and copies of published
-- ones that a document used. Rows never change, so the rate of a document stays the same; a correction is a later row.
CREATE TABLE exchange_rate (
    seq          INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    base         TEXT NOT NULL CHECK (length(base) = 3),
    quote        TEXT NOT NULL CHECK (length(quote) = 3),
    numerator    TEXT NOT NULL CHECK (numerator <> ''),
    denominator  TEXT NOT NULL CHECK (denominator <> ''),
    source       TEXT NOT NULL,
    effective_at INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    CHECK (base <> quote)
) STRICT;
CREATE INDEX exchange_rate_manual ON exchange_rate (base, quote, effective_at, seq) WHERE source = 'manual';
CREATE UNIQUE INDEX exchange_rate_published ON exchange_rate (base, quote, effective_at, numerator, denominator)
    WHERE source = 'ecb';
CREATE TRIGGER exchange_rate_no_delete BEFORE DELETE ON exchange_rate
BEGIN SELECT RAISE(ABORT, 'exchange rates are never deleted'); END;
CREATE TRIGGER exchange_rate_no_update BEFORE UPDATE ON exchange_rate
BEGIN SELECT RAISE(ABORT, 'exchange rates are never changed'); END;
CREATE TRIGGER exchange_rate_not_replaced BEFORE INSERT ON exchange_rate
WHEN EXISTS (SELECT 1 FROM exchange_rate WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM exchange_rate WHERE id = NEW.id)
  OR (NEW.source = 'ecb' AND EXISTS (SELECT 1 FROM exchange_rate
      WHERE source = 'ecb' AND base = NEW.base AND quote = NEW.quote
      AND effective_at = NEW.effective_at AND numerator = NEW.numerator AND denominator = NEW.denominator))
BEGIN SELECT RAISE(ABORT, 'exchange rates are never replaced'); END;

---------------------------------------------------------------------------------------------------- catalog
CREATE TABLE category (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE product (
    seq         INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    sku         TEXT NOT NULL UNIQUE,
    barcode     TEXT UNIQUE,
    name        TEXT NOT NULL,
    price_minor INTEGER NOT NULL CHECK (price_minor >= 0),
    currency    TEXT NOT NULL CHECK (length(currency) = 3),
    tax_class   TEXT NOT NULL,
    track_stock INTEGER NOT NULL CHECK (track_stock IN (0, 1)),
    category_id BLOB REFERENCES category (id),
    active      INTEGER NOT NULL CHECK (active IN (0, 1)),
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    -- A quantity of the product is an integer of 10^-quantity_scale units, here and in all other tables.
    unit           TEXT NOT NULL,
    quantity_scale INTEGER NOT NULL CHECK (quantity_scale BETWEEN 0 AND 3),
    -- Whether a quantity of the product was stored: in a cart, on a line, in a movement.
    in_use         INTEGER NOT NULL CHECK (in_use IN (0, 1))
) STRICT;
-- No trigger on INSERT: it would make each new product scan the lines that refer to products.
CREATE TRIGGER product_keeps_its_measure BEFORE UPDATE ON product
WHEN OLD.in_use = 1 AND (NEW.in_use = 0 OR NEW.unit <> OLD.unit OR NEW.quantity_scale <> OLD.quantity_scale
    OR NEW.seq <> OLD.seq OR NEW.id <> OLD.id)
BEGIN SELECT RAISE(ABORT, 'the unit and the scale of a product in use are never changed'); END;
CREATE TRIGGER product_kept BEFORE DELETE ON product
WHEN OLD.in_use = 1
BEGIN SELECT RAISE(ABORT, 'a product in use is never deleted'); END;
CREATE INDEX product_by_active ON product (active, seq);
CREATE INDEX product_by_category ON product (category_id, seq);
CREATE INDEX product_by_category_and_active ON product (category_id, active, seq);

---------------------------------------------------------------------------------------------------- inventory
CREATE TABLE stock (
    product_id BLOB PRIMARY KEY REFERENCES product (id),
    -- The rules of the shop decide how far it may fall, also below what is reserved and below zero.
    on_hand    INTEGER NOT NULL,
    reserved   INTEGER NOT NULL CHECK (reserved >= 0),
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE inventory_movement (
    seq            INTEGER PRIMARY KEY,
    id             BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    product_id     BLOB NOT NULL REFERENCES product (id),
    kind           TEXT NOT NULL,
    quantity_delta INTEGER NOT NULL CHECK (quantity_delta <> 0),
    on_hand_after  INTEGER NOT NULL,
    order_id       BLOB REFERENCES sales_order (id),
    reason         TEXT,
    at             INTEGER NOT NULL,
    CHECK (kind <> 'sale' OR order_id IS NOT NULL)
) STRICT;
CREATE INDEX inventory_movement_by_product ON inventory_movement (product_id, seq);
-- The goods of an order leave the stock once.
CREATE UNIQUE INDEX inventory_movement_of_sale ON inventory_movement (order_id, product_id) WHERE kind = 'sale';
CREATE TRIGGER inventory_movement_no_delete BEFORE DELETE ON inventory_movement
WHEN OLD.seq > coalesce((SELECT max(seq) FROM inventory_anchor WHERE product_id = OLD.product_id), 0)
  OR OLD.seq = (SELECT max(seq) FROM inventory_movement)
BEGIN SELECT RAISE(ABORT, 'stock movements are never deleted, except up to an anchor'); END;
CREATE TRIGGER inventory_movement_no_update BEFORE UPDATE ON inventory_movement
BEGIN SELECT RAISE(ABORT, 'stock movements are never changed'); END;
CREATE TRIGGER inventory_movement_not_replaced BEFORE INSERT ON inventory_movement
WHEN EXISTS (SELECT 1 FROM inventory_movement WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM inventory_movement WHERE id = NEW.id)
  OR (NEW.kind = 'sale' AND EXISTS (SELECT 1 FROM inventory_movement
      WHERE kind = 'sale' AND order_id = NEW.order_id AND product_id = NEW.product_id))
BEGIN SELECT RAISE(ABORT, 'stock movements are never replaced'); END;

-- A product's stock after its last pruned movement, so that the stock is still the sum of its movements.
CREATE TABLE inventory_anchor (
    product_id BLOB NOT NULL REFERENCES product (id),
    seq        INTEGER NOT NULL CHECK (seq > 0),
    balance    INTEGER NOT NULL,
    pruned_at  INTEGER NOT NULL,
    PRIMARY KEY (product_id, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER inventory_anchor_holds BEFORE INSERT ON inventory_anchor
WHEN NEW.seq <= coalesce((SELECT max(seq) FROM inventory_anchor WHERE product_id = NEW.product_id), 0)
  OR NOT EXISTS (SELECT 1 FROM inventory_movement
      WHERE seq = NEW.seq AND product_id = NEW.product_id AND on_hand_after = NEW.balance)
BEGIN SELECT RAISE(ABORT, 'an inventory anchor must match a movement, and be the newest of its product'); END;
-- The newest one is enough: it covers all earlier ones.
CREATE TRIGGER inventory_anchor_kept BEFORE DELETE ON inventory_anchor
WHEN OLD.seq = (SELECT max(seq) FROM inventory_anchor WHERE product_id = OLD.product_id)
BEGIN SELECT RAISE(ABORT, 'the last inventory anchor of a product is never deleted'); END;
CREATE TRIGGER inventory_anchor_no_update BEFORE UPDATE ON inventory_anchor
BEGIN SELECT RAISE(ABORT, 'inventory anchors are never changed'); END;

CREATE TABLE reservation (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    order_id   BLOB NOT NULL REFERENCES sales_order (id),
    product_id BLOB NOT NULL REFERENCES product (id),
    quantity   INTEGER NOT NULL CHECK (quantity > 0),
    status     TEXT NOT NULL CHECK (status IN ('held', 'consumed', 'released', 'expired')),
    expires_at INTEGER NOT NULL,
    UNIQUE (order_id, product_id)
) STRICT;
CREATE INDEX reservation_held ON reservation (expires_at) WHERE status = 'held';
CREATE INDEX reservation_ended ON reservation (expires_at) WHERE status <> 'held';

---------------------------------------------------------------------------------------------------- carts
CREATE TABLE cart (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    currency   TEXT NOT NULL CHECK (length(currency) = 3),
    status     TEXT NOT NULL CHECK (status IN ('open', 'converted', 'abandoned')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- A hash of the client's network: of a cart that was made without a key, until it is ordered.
    client_hash BLOB CHECK (client_hash IS NULL OR (length(client_hash) = 8 AND status <> 'converted')),
    -- Of the whole cart, in the terms of its prices.
    discount_minor  INTEGER NOT NULL DEFAULT 0 CHECK (discount_minor >= 0),
    discount_reason TEXT
) STRICT;
CREATE INDEX cart_anonymous ON cart (updated_at) WHERE client_hash IS NOT NULL;
CREATE INDEX cart_not_ordered ON cart (updated_at) WHERE status IN ('open', 'abandoned');
CREATE INDEX cart_of_client ON cart (client_hash) WHERE client_hash IS NOT NULL;
CREATE TRIGGER cart_client_erased AFTER UPDATE OF client_hash ON cart
WHEN OLD.client_hash IS NOT NULL AND NEW.client_hash IS NULL
BEGIN UPDATE keyless_usage SET carts = carts - 1 WHERE singleton = 1; END;
CREATE TRIGGER cart_client_not_set BEFORE UPDATE OF client_hash ON cart
WHEN NEW.client_hash IS NOT NULL AND OLD.client_hash IS NOT NEW.client_hash
BEGIN SELECT RAISE(ABORT, 'the client of a cart is erased and never set'); END;
CREATE TRIGGER cart_counted AFTER INSERT ON cart
WHEN NEW.client_hash IS NOT NULL
BEGIN UPDATE keyless_usage SET carts = carts + 1 WHERE singleton = 1; END;
CREATE TRIGGER cart_deleted AFTER DELETE ON cart
WHEN OLD.client_hash IS NOT NULL
BEGIN UPDATE keyless_usage SET carts = carts - 1 WHERE singleton = 1; END;

CREATE TABLE cart_item (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    cart_id    BLOB NOT NULL REFERENCES cart (id),
    product_id BLOB NOT NULL REFERENCES product (id),
    quantity   INTEGER NOT NULL CHECK (quantity > 0),
    discount_minor  INTEGER NOT NULL DEFAULT 0 CHECK (discount_minor >= 0),
    discount_reason TEXT,
    UNIQUE (cart_id, product_id)
) STRICT;

---------------------------------------------------------------------------------------------------- orders
CREATE TABLE sales_order (
    seq                INTEGER PRIMARY KEY,
    id                 BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    number             TEXT NOT NULL UNIQUE,
    channel            TEXT NOT NULL,
    status             TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'confirmed', 'shipped', 'cancelled')),
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    prices_include_tax INTEGER NOT NULL CHECK (prices_include_tax IN (0, 1)),
    -- Subtotal and discount are without tax, the tax is on what is left: total = subtotal - discount + tax.
    subtotal_minor     INTEGER NOT NULL,
    discount_minor     INTEGER NOT NULL CHECK (discount_minor >= 0),
    tax_minor          INTEGER NOT NULL,
    total_minor        INTEGER NOT NULL
                       CHECK (total_minor >= 0 AND total_minor = subtotal_minor - discount_minor + tax_minor),
    tax_lines          TEXT NOT NULL CHECK (json_valid(tax_lines)),
    email              TEXT,
    buyer              TEXT CHECK (json_valid(buyer)), -- on documents
    cart_id            BLOB UNIQUE REFERENCES cart (id),
    request_hash       BLOB CHECK (request_hash IS NULL OR length(request_hash) = 32), -- of a sale with a client id
    placed_at          INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    -- The rate of the day on which an order in a foreign currency was placed.
    exchange_rate_id   BLOB REFERENCES exchange_rate (id),
    -- A hash of the client's network: of an order that was placed without a key, until it is paid or cancelled.
    client_hash        BLOB CHECK (client_hash IS NULL OR (length(client_hash) = 8 AND status = 'pending')),
    discount_reason    TEXT -- of the discount of the whole sale
) STRICT;
CREATE INDEX sales_order_by_status ON sales_order (status, seq);
CREATE INDEX sales_order_of_client ON sales_order (client_hash, placed_at) WHERE client_hash IS NOT NULL;
CREATE TRIGGER sales_order_client_not_set BEFORE UPDATE OF client_hash ON sales_order
WHEN NEW.client_hash IS NOT NULL AND OLD.client_hash IS NOT NEW.client_hash
BEGIN SELECT RAISE(ABORT, 'the client of an order is erased and never set'); END;
-- Covers everything except the status, and the email address and the buyer, whose deletion the law may require.
CREATE TRIGGER sales_order_final BEFORE UPDATE ON sales_order
WHEN OLD.status <> 'pending' AND (
    NEW.channel <> OLD.channel OR NEW.currency <> OLD.currency OR NEW.prices_include_tax <> OLD.prices_include_tax
    OR NEW.subtotal_minor <> OLD.subtotal_minor OR NEW.discount_minor <> OLD.discount_minor
    OR NEW.tax_minor <> OLD.tax_minor
    OR NEW.total_minor <> OLD.total_minor OR NEW.tax_lines <> OLD.tax_lines OR NEW.request_hash IS NOT OLD.request_hash
    OR NEW.placed_at <> OLD.placed_at OR NEW.exchange_rate_id IS NOT OLD.exchange_rate_id
    OR NEW.discount_reason IS NOT OLD.discount_reason)
BEGIN SELECT RAISE(ABORT, 'an order that is no longer pending is never changed'); END;
-- The status only moves forward.
CREATE TRIGGER sales_order_goes_forward BEFORE UPDATE ON sales_order
WHEN NEW.status <> OLD.status
 AND OLD.status || '>' || NEW.status NOT IN ('pending>paid', 'pending>cancelled', 'paid>confirmed', 'confirmed>shipped')
BEGIN SELECT RAISE(ABORT, 'the status of an order only moves forward'); END;
CREATE TRIGGER sales_order_keeps_its_identity BEFORE UPDATE ON sales_order
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.number <> OLD.number OR NEW.cart_id IS NOT OLD.cart_id
BEGIN SELECT RAISE(ABORT, 'an order never changes its identity'); END;
-- Orders have a gapless series, so none is ever deleted, whatever its status.
CREATE TRIGGER sales_order_no_delete BEFORE DELETE ON sales_order
BEGIN SELECT RAISE(ABORT, 'orders are never deleted'); END;
CREATE TRIGGER sales_order_not_replaced BEFORE INSERT ON sales_order
WHEN EXISTS (SELECT 1 FROM sales_order WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM sales_order WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM sales_order WHERE number = NEW.number)
  OR EXISTS (SELECT 1 FROM sales_order WHERE cart_id = NEW.cart_id)
BEGIN SELECT RAISE(ABORT, 'orders are never replaced'); END;

CREATE TABLE order_line (
    seq              INTEGER PRIMARY KEY,
    id               BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    order_id         BLOB NOT NULL REFERENCES sales_order (id),
    product_id       BLOB NOT NULL REFERENCES product (id),
    sku              TEXT NOT NULL,
    name             TEXT NOT NULL,
    quantity         INTEGER NOT NULL CHECK (quantity > 0),
    unit_price_minor INTEGER NOT NULL CHECK (unit_price_minor >= 0),
    tax_class        TEXT NOT NULL,
    tax_name         TEXT NOT NULL,
    tax_rate_ppm     INTEGER NOT NULL CHECK (tax_rate_ppm BETWEEN 0 AND 1000000),
    net_minor        INTEGER NOT NULL,
    tax_minor        INTEGER NOT NULL,
    total_minor      INTEGER NOT NULL CHECK (total_minor = net_minor + tax_minor),
    -- As the product's when it was sold.
    unit             TEXT NOT NULL,
    quantity_scale   INTEGER NOT NULL CHECK (quantity_scale BETWEEN 0 AND 3),
    price_reason     TEXT,
    -- In the terms of the unit price. The shared part is the line's share of the discount of the whole sale.
    discount_minor        INTEGER NOT NULL CHECK (discount_minor >= 0),
    shared_discount_minor INTEGER NOT NULL CHECK (shared_discount_minor BETWEEN 0 AND discount_minor),
    discount_reason       TEXT
) STRICT;
CREATE INDEX order_line_by_order ON order_line (order_id, seq);
CREATE TRIGGER order_line_final BEFORE UPDATE ON order_line
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id
  OR EXISTS (SELECT 1 FROM sales_order WHERE id = OLD.order_id AND status <> 'pending')
  OR EXISTS (SELECT 1 FROM sales_order WHERE id = NEW.order_id AND status <> 'pending')
BEGIN SELECT RAISE(ABORT, 'lines of an order that is no longer pending are never changed'); END;
CREATE TRIGGER order_line_kept BEFORE DELETE ON order_line
WHEN EXISTS (SELECT 1 FROM sales_order WHERE id = OLD.order_id AND status <> 'pending')
BEGIN SELECT RAISE(ABORT, 'lines of an order that is no longer pending are never deleted'); END;
-- A till's sale is inserted as paid and gets its lines in the same transaction, so lines may be added until the
-- financial order is locked. One trigger for all conditions, because each trigger has a cost.
CREATE TRIGGER order_line_not_added BEFORE INSERT ON order_line
WHEN EXISTS (SELECT 1 FROM order_line WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM order_line WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM financial_order WHERE order_id = NEW.order_id AND locked_at IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'order lines are never replaced, and none is added after the financial order is locked'); END;

---------------------------------------------------------------------------------------------------- payments
CREATE TABLE payment (
    seq                INTEGER PRIMARY KEY,
    id                 BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    order_id           BLOB NOT NULL REFERENCES sales_order (id),
    method             TEXT NOT NULL,
    status             TEXT NOT NULL
                       CHECK (status IN ('pending', 'authorized', 'succeeded', 'failed', 'cancelled', 'unknown')),
    amount_minor       INTEGER NOT NULL CHECK (amount_minor >= 0),
    tendered_minor     INTEGER CHECK (tendered_minor IS NULL OR tendered_minor >= amount_minor),
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    provider_reference TEXT,
    failure_code       TEXT,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    succeeded_at       INTEGER
) STRICT;
CREATE INDEX payment_by_order_status ON payment (order_id, status);
-- A trigger on certain columns does not fire for a key named `rowid`, so this one and its like check every update.
CREATE TRIGGER payment_keeps_its_identity BEFORE UPDATE ON payment
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id
BEGIN SELECT RAISE(ABORT, 'a payment never changes its identity'); END;
-- Covers all columns: a later change (a refund) is a row of its own.
CREATE TRIGGER payment_succeeded_is_final BEFORE UPDATE ON payment
WHEN OLD.status = 'succeeded'
BEGIN SELECT RAISE(ABORT, 'a succeeded payment is never changed'); END;
CREATE TRIGGER payment_succeeded_is_kept BEFORE DELETE ON payment
WHEN OLD.status = 'succeeded'
BEGIN SELECT RAISE(ABORT, 'a succeeded payment is never deleted'); END;
-- REPLACE deletes the conflicting row without firing delete triggers, unless recursive_triggers is on. Hence the
-- `_not_replaced` triggers, here and below.
CREATE TRIGGER payment_succeeded_is_not_replaced BEFORE INSERT ON payment
WHEN EXISTS (SELECT 1 FROM payment WHERE seq = NEW.seq AND status = 'succeeded')
  OR EXISTS (SELECT 1 FROM payment WHERE id = NEW.id AND status = 'succeeded')
BEGIN SELECT RAISE(ABORT, 'a succeeded payment is never replaced'); END;

---------------------------------------------------------------------------------------------------- finance
CREATE TABLE financial_order (
    seq            INTEGER PRIMARY KEY,
    id             BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    order_id       BLOB NOT NULL UNIQUE REFERENCES sales_order (id),
    status         TEXT NOT NULL CHECK (status IN ('draft', 'pending', 'paid')),
    currency       TEXT NOT NULL CHECK (length(currency) = 3),
    subtotal_minor INTEGER NOT NULL,
    discount_minor INTEGER NOT NULL CHECK (discount_minor >= 0),
    tax_minor      INTEGER NOT NULL,
    total_minor    INTEGER NOT NULL
                   CHECK (total_minor >= 0 AND total_minor = subtotal_minor - discount_minor + tax_minor),
    snapshot       TEXT CHECK (snapshot IS NULL OR json_valid(snapshot)),
    snapshot_hash  BLOB CHECK (snapshot_hash IS NULL OR length(snapshot_hash) = 32),
    locked_at      INTEGER,
    paid_at        INTEGER,
    created_at     INTEGER NOT NULL,
    -- The order's rate, and the total in the shop's own currency. NULL: the order is in that currency.
    exchange_rate_id BLOB REFERENCES exchange_rate (id),
    base_currency    TEXT CHECK ((base_currency IS NULL) = (exchange_rate_id IS NULL)),
    base_total_minor INTEGER CHECK ((base_total_minor IS NULL) = (exchange_rate_id IS NULL)),
    CHECK ((locked_at IS NULL) = (snapshot IS NULL) AND (snapshot IS NULL) = (snapshot_hash IS NULL)),
    CHECK (status IN ('draft', 'pending') OR (locked_at IS NOT NULL AND paid_at IS NOT NULL))
) STRICT;
CREATE TRIGGER financial_order_keeps_its_identity BEFORE UPDATE ON financial_order
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.order_id <> OLD.order_id
BEGIN SELECT RAISE(ABORT, 'a financial order never changes its identity'); END;
CREATE TRIGGER financial_order_kept BEFORE DELETE ON financial_order
WHEN OLD.locked_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a locked financial order is never deleted'); END;
-- An order that is locked before its payment still accepts the payment, and no change after it.
CREATE TRIGGER financial_order_locked BEFORE UPDATE ON financial_order
WHEN OLD.locked_at IS NOT NULL AND (
    OLD.paid_at IS NOT NULL
    OR NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.order_id <> OLD.order_id OR NEW.currency <> OLD.currency
    OR NEW.subtotal_minor <> OLD.subtotal_minor OR NEW.discount_minor <> OLD.discount_minor
    OR NEW.tax_minor <> OLD.tax_minor
    OR NEW.total_minor <> OLD.total_minor
    OR NEW.snapshot IS NOT OLD.snapshot OR NEW.snapshot_hash IS NOT OLD.snapshot_hash
    OR NEW.locked_at IS NOT OLD.locked_at OR NEW.created_at <> OLD.created_at
    OR NEW.exchange_rate_id IS NOT OLD.exchange_rate_id OR NEW.base_currency IS NOT OLD.base_currency
    OR NEW.base_total_minor IS NOT OLD.base_total_minor
    OR NOT (NEW.status = OLD.status OR NEW.status IN ('pending', 'paid')))
BEGIN SELECT RAISE(ABORT, 'a locked financial order is never changed'); END;
CREATE TRIGGER financial_order_not_replaced BEFORE INSERT ON financial_order
WHEN EXISTS (SELECT 1 FROM financial_order WHERE seq = NEW.seq AND locked_at IS NOT NULL)
  OR EXISTS (SELECT 1 FROM financial_order WHERE id = NEW.id AND locked_at IS NOT NULL)
  OR EXISTS (SELECT 1 FROM financial_order WHERE order_id = NEW.order_id AND locked_at IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a locked financial order is never replaced'); END;

CREATE TABLE financial_transaction (
    seq                INTEGER PRIMARY KEY,
    id                 BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    financial_order_id BLOB NOT NULL REFERENCES financial_order (id),
    kind               TEXT NOT NULL CHECK (kind IN ('credit', 'debit')),
    status             TEXT NOT NULL CHECK (status IN ('completed')),
    amount_minor       INTEGER NOT NULL CHECK (amount_minor >= 0),
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    completed_at       INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX financial_transaction_one_credit ON financial_transaction (financial_order_id)
    WHERE kind = 'credit';
CREATE TRIGGER financial_transaction_no_delete BEFORE DELETE ON financial_transaction
BEGIN SELECT RAISE(ABORT, 'financial transactions are never deleted'); END;
CREATE TRIGGER financial_transaction_no_update BEFORE UPDATE ON financial_transaction
BEGIN SELECT RAISE(ABORT, 'financial transactions are never changed'); END;
CREATE TRIGGER financial_transaction_not_replaced BEFORE INSERT ON financial_transaction
WHEN EXISTS (SELECT 1 FROM financial_transaction WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM financial_transaction WHERE id = NEW.id)
  OR (NEW.kind = 'credit' AND EXISTS (SELECT 1 FROM financial_transaction
      WHERE financial_order_id = NEW.financial_order_id AND kind = 'credit'))
BEGIN SELECT RAISE(ABORT, 'financial transactions are never replaced'); END;

CREATE TABLE invoice (
    seq                INTEGER PRIMARY KEY,
    id                 BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    order_id           BLOB NOT NULL REFERENCES sales_order (id),
    financial_order_id BLOB NOT NULL REFERENCES financial_order (id),
    status             TEXT NOT NULL CHECK (status IN ('draft', 'issued')),
    series             TEXT NOT NULL,
    series_number      INTEGER NOT NULL CHECK (series_number > 0),
    number             TEXT NOT NULL UNIQUE,
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    tax_minor          INTEGER NOT NULL,
    total_minor        INTEGER NOT NULL CHECK (total_minor >= 0),
    balance_minor      INTEGER NOT NULL,
    snapshot           TEXT NOT NULL CHECK (json_valid(snapshot)),
    snapshot_hash      BLOB NOT NULL CHECK (length(snapshot_hash) = 32),
    issued_at          INTEGER NOT NULL,
    UNIQUE (series, series_number)
) STRICT;
CREATE INDEX invoice_by_order_status ON invoice (order_id, status);
CREATE TRIGGER invoice_issued BEFORE UPDATE ON invoice
WHEN OLD.status <> 'draft'
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never changed'); END;
CREATE TRIGGER invoice_kept BEFORE DELETE ON invoice
WHEN OLD.status <> 'draft'
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never deleted'); END;
CREATE TRIGGER invoice_not_pushed_out BEFORE UPDATE ON invoice
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id
  OR EXISTS (SELECT 1 FROM invoice WHERE number = NEW.number AND seq <> OLD.seq AND status <> 'draft')
  OR EXISTS (SELECT 1 FROM invoice
      WHERE series = NEW.series AND series_number = NEW.series_number AND seq <> OLD.seq AND status <> 'draft')
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never replaced'); END;
CREATE TRIGGER invoice_not_replaced BEFORE INSERT ON invoice
WHEN EXISTS (SELECT 1 FROM invoice WHERE seq = NEW.seq AND status <> 'draft')
  OR EXISTS (SELECT 1 FROM invoice WHERE id = NEW.id AND status <> 'draft')
  OR EXISTS (SELECT 1 FROM invoice WHERE number = NEW.number AND status <> 'draft')
  OR EXISTS (SELECT 1 FROM invoice
      WHERE series = NEW.series AND series_number = NEW.series_number AND status <> 'draft')
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never replaced'); END;

---------------------------------------------------------------------------------------------------- ledger
-- A transfer has one debit account, one credit account and a positive amount, so unbalanced books cannot be stored.
-- Each entry stores a hash over the previous hash, itself, its transfers and the documents that it books. A row that is
-- changed, removed or inserted breaks all later hashes.
CREATE TABLE ledger_account (
    code     TEXT NOT NULL,
    currency TEXT NOT NULL CHECK (length(currency) = 3),
    name     TEXT NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('asset', 'liability', 'revenue', 'expense')),
    PRIMARY KEY (currency, code)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER ledger_account_no_delete BEFORE DELETE ON ledger_account
BEGIN SELECT RAISE(ABORT, 'ledger accounts are never deleted'); END;
CREATE TRIGGER ledger_account_no_update BEFORE UPDATE ON ledger_account
BEGIN SELECT RAISE(ABORT, 'ledger accounts are never changed'); END;
CREATE TRIGGER ledger_account_not_replaced BEFORE INSERT ON ledger_account
WHEN EXISTS (SELECT 1 FROM ledger_account WHERE code = NEW.code AND currency = NEW.currency)
BEGIN SELECT RAISE(ABORT, 'ledger accounts are never replaced'); END;

CREATE TABLE ledger_entry (
    seq         INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    kind        TEXT NOT NULL,
    subject_id  BLOB NOT NULL CHECK (length(subject_id) = 16),
    description TEXT NOT NULL,
    booked_at   INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    hash        BLOB NOT NULL CHECK (length(hash) = 32),
    UNIQUE (kind, subject_id)
) STRICT;
CREATE INDEX ledger_entry_by_booked_at ON ledger_entry (booked_at);
CREATE TRIGGER ledger_entry_no_delete BEFORE DELETE ON ledger_entry
BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END;
CREATE TRIGGER ledger_entry_no_update BEFORE UPDATE ON ledger_entry
BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER ledger_entry_not_replaced BEFORE INSERT ON ledger_entry
WHEN EXISTS (SELECT 1 FROM ledger_entry WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM ledger_entry WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM ledger_entry WHERE kind = NEW.kind AND subject_id = NEW.subject_id)
BEGIN SELECT RAISE(ABORT, 'ledger entries are never replaced'); END;

CREATE TABLE ledger_transfer (
    seq          INTEGER PRIMARY KEY,
    entry_seq    INTEGER NOT NULL REFERENCES ledger_entry (seq),
    debit_code   TEXT NOT NULL,
    credit_code  TEXT NOT NULL CHECK (credit_code <> debit_code),
    currency     TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    FOREIGN KEY (debit_code, currency) REFERENCES ledger_account (code, currency),
    FOREIGN KEY (credit_code, currency) REFERENCES ledger_account (code, currency)
) STRICT;
CREATE INDEX ledger_transfer_by_entry ON ledger_transfer (entry_seq);
CREATE TRIGGER ledger_transfer_no_delete BEFORE DELETE ON ledger_transfer
BEGIN SELECT RAISE(ABORT, 'ledger transfers are never deleted'); END;
CREATE TRIGGER ledger_transfer_no_update BEFORE UPDATE ON ledger_transfer
BEGIN SELECT RAISE(ABORT, 'ledger transfers are never changed'); END;
CREATE TRIGGER ledger_transfer_not_replaced BEFORE INSERT ON ledger_transfer
WHEN EXISTS (SELECT 1 FROM ledger_transfer WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'ledger transfers are never replaced'); END;
CREATE TRIGGER ledger_transfer_of_newest BEFORE INSERT ON ledger_transfer
WHEN NEW.entry_seq <> (SELECT max(seq) FROM ledger_entry)
BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;

---------------------------------------------------------------------------------------------------- platform
-- Numbers of documents increase by one.
CREATE TABLE series (
    name        TEXT PRIMARY KEY,
    last_number INTEGER NOT NULL CHECK (last_number > 0)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER series_begins_at_one BEFORE INSERT ON series
WHEN NEW.last_number <> 1 OR EXISTS (SELECT 1 FROM series WHERE name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'number series begin at 1 and are never replaced'); END;
CREATE TRIGGER series_goes_on_by_one BEFORE UPDATE ON series
WHEN NEW.name <> OLD.name OR NEW.last_number <> OLD.last_number + 1
BEGIN SELECT RAISE(ABORT, 'number series increase by exactly 1 and are never renamed'); END;
CREATE TRIGGER series_no_delete BEFORE DELETE ON series
BEGIN SELECT RAISE(ABORT, 'number series are never deleted'); END;

-- The rows are large and the keys random: without a rowid, each answer would be stored in the middle of the keys' tree.
CREATE TABLE idempotency_key (
    seq          INTEGER PRIMARY KEY,
    key_hash     BLOB NOT NULL UNIQUE CHECK (length(key_hash) = 32),
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    status       INTEGER NOT NULL,
    body         BLOB NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_key_by_age ON idempotency_key (created_at);

-- The first answers to callers without a key, kept for an hour. A cart call keeps the id of its cart, from which a
-- replay is built; a checkout keeps its body.
CREATE TABLE keyless_answer (
    seq          INTEGER PRIMARY KEY,
    key_hash     BLOB NOT NULL UNIQUE CHECK (length(key_hash) = 32),
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    status       INTEGER NOT NULL,
    cart_id      BLOB CHECK (length(cart_id) = 16),
    body         BLOB,
    created_at   INTEGER NOT NULL,
    CHECK ((cart_id IS NULL) <> (body IS NULL))
) STRICT;
CREATE INDEX keyless_answer_by_age ON keyless_answer (created_at);
CREATE INDEX keyless_answer_of_cart ON keyless_answer (seq) WHERE cart_id IS NOT NULL;
CREATE TRIGGER keyless_answer_counted AFTER INSERT ON keyless_answer
BEGIN
    UPDATE keyless_usage SET answers = answers + 1,
        answer_bytes = answer_bytes + 200 + coalesce(length(NEW.body), 0)
    WHERE singleton = 1;
END;
CREATE TRIGGER keyless_answer_deleted AFTER DELETE ON keyless_answer
BEGIN
    UPDATE keyless_usage SET answers = answers - 1,
        answer_bytes = answer_bytes - 200 - coalesce(length(OLD.body), 0)
    WHERE singleton = 1;
END;
CREATE TRIGGER keyless_answer_no_update BEFORE UPDATE ON keyless_answer
BEGIN SELECT RAISE(ABORT, 'stored answers are never changed'); END;

-- The sums of what callers without a key have stored, so that no request has to count. 200 bytes stand for a row of
-- keyless_answer with its three index entries.
CREATE TABLE keyless_usage (
    singleton    INTEGER PRIMARY KEY CHECK (singleton = 1),
    carts        INTEGER NOT NULL CHECK (carts >= 0),
    answers      INTEGER NOT NULL CHECK (answers >= 0),
    answer_bytes INTEGER NOT NULL CHECK (answer_bytes >= 0)
) STRICT;
INSERT INTO keyless_usage (singleton, carts, answers, answer_bytes) VALUES (1, 0, 0, 0);

-- The epoch of the file. It increases when the file may be a copy of itself: restored, cloned, or accepted with a loss.
CREATE TABLE epoch (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    number    INTEGER NOT NULL CHECK (number > 0),
    raised_at INTEGER,
    reason    TEXT NOT NULL
) STRICT;
INSERT INTO epoch (singleton, number, reason) VALUES (1, 1, 'new file');
CREATE TRIGGER epoch_is_one BEFORE INSERT ON epoch WHEN EXISTS (SELECT 1 FROM epoch)
BEGIN SELECT RAISE(ABORT, 'a file has exactly one epoch'); END;
CREATE TRIGGER epoch_only_rises BEFORE UPDATE ON epoch WHEN NEW.number <= OLD.number
BEGIN SELECT RAISE(ABORT, 'the epoch of a file only increases'); END;
CREATE TRIGGER epoch_stays BEFORE DELETE ON epoch
BEGIN SELECT RAISE(ABORT, 'the epoch of a file is never deleted'); END;

CREATE TABLE job (
    seq          INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    queue        TEXT NOT NULL,
    kind         TEXT NOT NULL,
    payload      TEXT NOT NULL CHECK (json_valid(payload)),
    priority     INTEGER NOT NULL,
    state        TEXT NOT NULL
                 CHECK (state IN ('available', 'scheduled', 'running', 'retryable', 'completed', 'cancelled',
                     'discarded')),
    attempt      INTEGER NOT NULL CHECK (attempt >= 0),
    max_attempts INTEGER CHECK (max_attempts > 0), -- NULL: as many as the queue's settings say when it fails
    rescues      INTEGER NOT NULL,
    scheduled_at INTEGER NOT NULL,
    attempted_at INTEGER,
    finalized_at INTEGER,
    unique_key   TEXT,
    errors       TEXT NOT NULL CHECK (json_valid(errors)),
    -- The epoch in which the job was made or released. Only jobs of the file's current epoch run. Negative: the job is
    -- held because no handler runs its kind; the absolute value is its original epoch.
    epoch        INTEGER NOT NULL DEFAULT 1 CHECK (epoch <> 0)
) STRICT;
-- Finished jobs, in the order in which they are deleted.
CREATE INDEX job_completed_at ON job (finalized_at) WHERE state = 'completed';
-- Finds the few cancelled and discarded jobs among all others.
CREATE INDEX job_unsuccessful ON job (state) WHERE state IN ('cancelled', 'discarded');
CREATE INDEX job_unsuccessful_at ON job (finalized_at) WHERE state IN ('cancelled', 'discarded');
-- Ready and waiting jobs only: the indexes stay small, however many jobs have run.
CREATE INDEX job_ready ON job (queue, epoch, priority, seq) WHERE state = 'available';
CREATE INDEX job_running ON job (queue) WHERE state = 'running';
-- A held job does not block a new one with the same key.
CREATE UNIQUE INDEX job_unique ON job (unique_key, epoch)
    WHERE unique_key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable');
CREATE INDEX job_waiting ON job (queue, epoch, scheduled_at) WHERE state IN ('scheduled', 'retryable');

-- While a row exists, further failures of its kind of job are counted and not notified; a job ends the window.
CREATE TABLE alert_window (
    job_kind  TEXT NOT NULL PRIMARY KEY CHECK (length(job_kind) > 0),
    opened_at INTEGER NOT NULL,
    kept_back INTEGER NOT NULL CHECK (kept_back >= 0),
    last      TEXT CHECK (json_valid(last)),
    CHECK ((kept_back = 0) = (last IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_log (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    request_id TEXT,
    details    TEXT NOT NULL CHECK (json_valid(details)),
    prev_hash  BLOB NOT NULL CHECK (length(prev_hash) = 32),
    hash       BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
WHEN OLD.seq > coalesce((SELECT max(seq) FROM audit_anchor), 0)
BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted, except up to an anchor'); END;
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END;
CREATE TRIGGER audit_log_not_replaced BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'audit entries are never replaced'); END;

-- The start of the audit chain after pruning: the last deleted entry. The remaining entries are verified against it.
CREATE TABLE audit_anchor (
    seq       INTEGER PRIMARY KEY CHECK (seq > 0),
    hash      BLOB NOT NULL CHECK (length(hash) = 32),
    pruned_at INTEGER NOT NULL
) STRICT;
CREATE TRIGGER audit_anchor_holds BEFORE INSERT ON audit_anchor
WHEN NEW.seq <= coalesce((SELECT max(seq) FROM audit_anchor), 0)
  OR NOT EXISTS (SELECT 1 FROM audit_log WHERE seq = NEW.seq AND hash = NEW.hash)
  OR NEW.seq >= (SELECT max(seq) FROM audit_log)
BEGIN SELECT RAISE(ABORT, 'an audit anchor must match an entry before the newest one, and be the newest anchor'); END;
CREATE TRIGGER audit_anchor_no_delete BEFORE DELETE ON audit_anchor
BEGIN SELECT RAISE(ABORT, 'audit anchors are never deleted'); END;
CREATE TRIGGER audit_anchor_no_update BEFORE UPDATE ON audit_anchor
BEGIN SELECT RAISE(ABORT, 'audit anchors are never changed'); END;
