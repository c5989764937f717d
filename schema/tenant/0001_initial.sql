-- A tenant's file: one shop, complete. The file is the tenant, so there is no tenant_id column to forget.
-- Ids are 16-byte UUIDs, instants are milliseconds since 1970 in UTC, money is an integer of minor units.
-- `seq` is the order in which things happened; timestamps do not define an order.

---------------------------------------------------------------------------------------------------- the shop itself
CREATE TABLE shop (
    singleton          INTEGER PRIMARY KEY CHECK (singleton = 1),
    name               TEXT NOT NULL,
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    prices_include_tax INTEGER NOT NULL CHECK (prices_include_tax IN (0, 1)),
    version            INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL
) STRICT;

CREATE TABLE tax_rate (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    tax_class  TEXT NOT NULL,
    name       TEXT NOT NULL,
    rate_ppm   INTEGER NOT NULL CHECK (rate_ppm BETWEEN 0 AND 1000000),
    valid_from INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (tax_class, valid_from)
) STRICT;

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
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX product_by_category ON product (category_id, seq);
CREATE INDEX product_by_active ON product (active, seq);
CREATE INDEX product_by_category_and_active ON product (category_id, active, seq);

---------------------------------------------------------------------------------------------------- inventory
CREATE TABLE stock (
    product_id BLOB PRIMARY KEY REFERENCES product (id),
    on_hand    INTEGER NOT NULL CHECK (on_hand >= 0),
    reserved   INTEGER NOT NULL CHECK (reserved >= 0 AND reserved <= on_hand),
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE inventory_movement (
    seq            INTEGER PRIMARY KEY,
    id             BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    product_id     BLOB NOT NULL REFERENCES product (id),
    kind           TEXT NOT NULL CHECK (kind IN ('adjustment', 'count', 'sale')),
    quantity_delta INTEGER NOT NULL CHECK (quantity_delta <> 0),
    on_hand_after  INTEGER NOT NULL CHECK (on_hand_after >= 0),
    order_id       BLOB REFERENCES sales_order (id),
    reason         TEXT,
    at             INTEGER NOT NULL,
    CHECK ((kind = 'sale') = (order_id IS NOT NULL))
) STRICT;
CREATE INDEX inventory_movement_by_product ON inventory_movement (product_id, seq);
-- The goods of an order leave the stock once.
CREATE UNIQUE INDEX inventory_movement_of_sale ON inventory_movement (order_id, product_id) WHERE kind = 'sale';

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

---------------------------------------------------------------------------------------------------- carts
CREATE TABLE cart (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    currency   TEXT NOT NULL CHECK (length(currency) = 3),
    status     TEXT NOT NULL CHECK (status IN ('open', 'converted', 'abandoned')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE cart_item (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    cart_id    BLOB NOT NULL REFERENCES cart (id),
    product_id BLOB NOT NULL REFERENCES product (id),
    quantity   INTEGER NOT NULL CHECK (quantity > 0),
    UNIQUE (cart_id, product_id)
) STRICT;

---------------------------------------------------------------------------------------------------- orders
CREATE TABLE sales_order (
    seq                INTEGER PRIMARY KEY,
    id                 BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    number             TEXT NOT NULL UNIQUE,
    channel            TEXT NOT NULL CHECK (channel IN ('checkout', 'sale')),
    status             TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'confirmed', 'shipped', 'cancelled')),
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    prices_include_tax INTEGER NOT NULL CHECK (prices_include_tax IN (0, 1)),
    subtotal_minor     INTEGER NOT NULL,
    discount_minor     INTEGER NOT NULL,
    tax_minor          INTEGER NOT NULL,
    total_minor        INTEGER NOT NULL
                       CHECK (total_minor >= 0 AND total_minor = subtotal_minor - discount_minor + tax_minor),
    tax_lines          TEXT NOT NULL CHECK (json_valid(tax_lines)),
    email              TEXT,
    cart_id            BLOB UNIQUE REFERENCES cart (id),
    request_hash       BLOB CHECK (request_hash IS NULL OR length(request_hash) = 32), -- of a sale with a client id
    placed_at          INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL
) STRICT;
CREATE INDEX sales_order_by_status ON sales_order (status, seq);

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
    total_minor      INTEGER NOT NULL CHECK (total_minor = net_minor + tax_minor)
) STRICT;
CREATE INDEX order_line_by_order ON order_line (order_id, seq);

---------------------------------------------------------------------------------------------------- payments
CREATE TABLE payment (
    seq                INTEGER PRIMARY KEY,
    id                 BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    order_id           BLOB NOT NULL REFERENCES sales_order (id),
    method             TEXT NOT NULL CHECK (method IN ('cash', 'manual', 'test')),
    status             TEXT NOT NULL
                       CHECK (status IN ('pending', 'authorized', 'succeeded', 'failed', 'cancelled', 'refunded',
                           'unknown')),
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

-- REPLACE deletes the conflicting row without firing delete triggers, unless recursive_triggers is on. Hence the
-- `_not_replaced` triggers, here and below.
CREATE TRIGGER payment_succeeded_is_not_replaced BEFORE INSERT ON payment
WHEN EXISTS (SELECT 1 FROM payment WHERE seq = NEW.seq AND status IN ('succeeded', 'refunded'))
  OR EXISTS (SELECT 1 FROM payment WHERE id = NEW.id AND status IN ('succeeded', 'refunded'))
BEGIN SELECT RAISE(ABORT, 'a succeeded payment is never replaced'); END;
CREATE TRIGGER payment_keeps_its_identity BEFORE UPDATE OF seq, id ON payment
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id
BEGIN SELECT RAISE(ABORT, 'a payment never changes its identity'); END;
-- Covers all columns: a later change (a refund) is a row of its own.
CREATE TRIGGER payment_succeeded_is_final BEFORE UPDATE ON payment
WHEN OLD.status IN ('succeeded', 'refunded')
BEGIN SELECT RAISE(ABORT, 'a succeeded payment is never changed'); END;
CREATE TRIGGER payment_succeeded_is_kept BEFORE DELETE ON payment
WHEN OLD.status IN ('succeeded', 'refunded')
BEGIN SELECT RAISE(ABORT, 'a succeeded payment is never deleted'); END;

---------------------------------------------------------------------------------------------------- finance
CREATE TABLE financial_order (
    seq            INTEGER PRIMARY KEY,
    id             BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    order_id       BLOB NOT NULL UNIQUE REFERENCES sales_order (id),
    status         TEXT NOT NULL CHECK (status IN ('draft', 'pending', 'paid', 'refunded')),
    currency       TEXT NOT NULL CHECK (length(currency) = 3),
    subtotal_minor INTEGER NOT NULL,
    discount_minor INTEGER NOT NULL,
    tax_minor      INTEGER NOT NULL,
    total_minor    INTEGER NOT NULL
                   CHECK (total_minor >= 0 AND total_minor = subtotal_minor - discount_minor + tax_minor),
    snapshot       TEXT CHECK (snapshot IS NULL OR json_valid(snapshot)),
    snapshot_hash  BLOB CHECK (snapshot_hash IS NULL OR length(snapshot_hash) = 32),
    locked_at      INTEGER,
    paid_at        INTEGER,
    created_at     INTEGER NOT NULL,
    CHECK ((locked_at IS NULL) = (snapshot IS NULL) AND (snapshot IS NULL) = (snapshot_hash IS NULL)),
    CHECK (status IN ('draft', 'pending') OR (locked_at IS NOT NULL AND paid_at IS NOT NULL))
) STRICT;

CREATE TRIGGER financial_order_not_replaced BEFORE INSERT ON financial_order
WHEN EXISTS (SELECT 1 FROM financial_order WHERE seq = NEW.seq AND locked_at IS NOT NULL)
  OR EXISTS (SELECT 1 FROM financial_order WHERE id = NEW.id AND locked_at IS NOT NULL)
  OR EXISTS (SELECT 1 FROM financial_order WHERE order_id = NEW.order_id AND locked_at IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a locked financial order is never replaced'); END;
CREATE TRIGGER financial_order_keeps_its_identity BEFORE UPDATE OF seq, id, order_id ON financial_order
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.order_id <> OLD.order_id
BEGIN SELECT RAISE(ABORT, 'a financial order never changes its identity'); END;
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
    OR NOT (NEW.status = OLD.status OR NEW.status IN ('pending', 'paid')))
BEGIN SELECT RAISE(ABORT, 'a locked financial order is never changed'); END;
CREATE TRIGGER financial_order_kept BEFORE DELETE ON financial_order
WHEN OLD.locked_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a locked financial order is never deleted'); END;

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
CREATE TRIGGER financial_transaction_not_replaced BEFORE INSERT ON financial_transaction
WHEN EXISTS (SELECT 1 FROM financial_transaction WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM financial_transaction WHERE id = NEW.id)
  OR (NEW.kind = 'credit' AND EXISTS (SELECT 1 FROM financial_transaction
      WHERE financial_order_id = NEW.financial_order_id AND kind = 'credit'))
BEGIN SELECT RAISE(ABORT, 'financial transactions are never replaced'); END;
CREATE TRIGGER financial_transaction_no_update BEFORE UPDATE ON financial_transaction
BEGIN SELECT RAISE(ABORT, 'financial transactions are never changed'); END;
CREATE TRIGGER financial_transaction_no_delete BEFORE DELETE ON financial_transaction
BEGIN SELECT RAISE(ABORT, 'financial transactions are never deleted'); END;

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

CREATE TRIGGER invoice_not_replaced BEFORE INSERT ON invoice
WHEN EXISTS (SELECT 1 FROM invoice WHERE seq = NEW.seq AND status <> 'draft')
  OR EXISTS (SELECT 1 FROM invoice WHERE id = NEW.id AND status <> 'draft')
  OR EXISTS (SELECT 1 FROM invoice WHERE number = NEW.number AND status <> 'draft')
  OR EXISTS (SELECT 1 FROM invoice
      WHERE series = NEW.series AND series_number = NEW.series_number AND status <> 'draft')
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never replaced'); END;
CREATE TRIGGER invoice_not_pushed_out BEFORE UPDATE OF seq, id, number, series, series_number ON invoice
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id
  OR EXISTS (SELECT 1 FROM invoice WHERE number = NEW.number AND seq <> OLD.seq AND status <> 'draft')
  OR EXISTS (SELECT 1 FROM invoice
      WHERE series = NEW.series AND series_number = NEW.series_number AND seq <> OLD.seq AND status <> 'draft')
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never replaced'); END;
CREATE TRIGGER invoice_issued BEFORE UPDATE ON invoice
WHEN OLD.status <> 'draft'
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never changed'); END;
CREATE TRIGGER invoice_kept BEFORE DELETE ON invoice
WHEN OLD.status <> 'draft'
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never deleted'); END;

---------------------------------------------------------------------------------------------------- ledger
-- A transfer has one debit account, one credit account and a positive amount, so unbalanced books cannot be stored.
CREATE TABLE ledger_account (
    code     TEXT NOT NULL,
    currency TEXT NOT NULL CHECK (length(currency) = 3),
    name     TEXT NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('asset', 'liability', 'revenue', 'expense')),
    PRIMARY KEY (code, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_entry (
    seq         INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    kind        TEXT NOT NULL,
    subject_id  BLOB NOT NULL CHECK (length(subject_id) = 16),
    description TEXT NOT NULL,
    booked_at   INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (kind, subject_id)
) STRICT;
CREATE INDEX ledger_entry_by_booked_at ON ledger_entry (booked_at);

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
CREATE TRIGGER ledger_entry_not_replaced BEFORE INSERT ON ledger_entry
WHEN EXISTS (SELECT 1 FROM ledger_entry WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM ledger_entry WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM ledger_entry WHERE kind = NEW.kind AND subject_id = NEW.subject_id)
BEGIN SELECT RAISE(ABORT, 'ledger entries are never replaced'); END;
CREATE TRIGGER ledger_transfer_not_replaced BEFORE INSERT ON ledger_transfer
WHEN EXISTS (SELECT 1 FROM ledger_transfer WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'ledger transfers are never replaced'); END;
CREATE TRIGGER ledger_entry_no_update BEFORE UPDATE ON ledger_entry
BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER ledger_entry_no_delete BEFORE DELETE ON ledger_entry
BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END;
CREATE TRIGGER ledger_transfer_of_newest BEFORE INSERT ON ledger_transfer
WHEN NEW.entry_seq <> (SELECT max(seq) FROM ledger_entry)
BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER ledger_account_not_replaced BEFORE INSERT ON ledger_account
WHEN EXISTS (SELECT 1 FROM ledger_account WHERE code = NEW.code AND currency = NEW.currency)
BEGIN SELECT RAISE(ABORT, 'ledger accounts are never replaced'); END;
CREATE TRIGGER ledger_account_no_update BEFORE UPDATE ON ledger_account
BEGIN SELECT RAISE(ABORT, 'ledger accounts are never changed'); END;
CREATE TRIGGER ledger_account_no_delete BEFORE DELETE ON ledger_account
BEGIN SELECT RAISE(ABORT, 'ledger accounts are never deleted'); END;
CREATE TRIGGER ledger_transfer_no_update BEFORE UPDATE ON ledger_transfer
BEGIN SELECT RAISE(ABORT, 'ledger transfers are never changed'); END;
CREATE TRIGGER ledger_transfer_no_delete BEFORE DELETE ON ledger_transfer
BEGIN SELECT RAISE(ABORT, 'ledger transfers are never deleted'); END;

---------------------------------------------------------------------------------------------------- platform
CREATE TABLE series (
    name        TEXT PRIMARY KEY,
    last_number INTEGER NOT NULL CHECK (last_number > 0)
) STRICT, WITHOUT ROWID;

-- The rows are large and the keys random: without a rowid, each answer would be stored in the middle of the keys' tree.
CREATE TABLE idempotency_key (
    seq          INTEGER PRIMARY KEY,
    key          TEXT NOT NULL UNIQUE,
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    status       INTEGER NOT NULL,
    body         BLOB NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_key_by_age ON idempotency_key (created_at);

CREATE TABLE job (
    seq          INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    queue        TEXT NOT NULL CHECK (queue IN ('default', 'audit', 'financial', 'billing', 'low')),
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
    errors       TEXT NOT NULL CHECK (json_valid(errors))
) STRICT;
-- Ready and waiting jobs only: the indexes stay small, however many jobs have run.
CREATE INDEX job_ready ON job (queue, priority, seq) WHERE state = 'available';
CREATE INDEX job_waiting ON job (queue, scheduled_at) WHERE state IN ('scheduled', 'retryable');
CREATE INDEX job_running ON job (queue) WHERE state = 'running';
CREATE UNIQUE INDEX job_unique ON job (unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable');

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
-- REPLACE deletes the conflicting row without firing delete triggers, unless recursive_triggers is on.
CREATE TRIGGER audit_log_not_replaced BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'audit entries are never replaced'); END;
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted'); END;
