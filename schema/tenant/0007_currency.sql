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
    source       TEXT NOT NULL CHECK (source IN ('manual', 'ecb')),
    effective_at INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    CHECK (base <> quote)
) STRICT;
CREATE INDEX exchange_rate_manual ON exchange_rate (base, quote, effective_at, seq) WHERE source = 'manual';
CREATE UNIQUE INDEX exchange_rate_published ON exchange_rate (base, quote, effective_at, numerator, denominator)
    WHERE source = 'ecb';
CREATE TRIGGER exchange_rate_not_replaced BEFORE INSERT ON exchange_rate
WHEN EXISTS (SELECT 1 FROM exchange_rate WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM exchange_rate WHERE id = NEW.id)
  OR (NEW.source = 'ecb' AND EXISTS (SELECT 1 FROM exchange_rate
      WHERE source = 'ecb' AND base = NEW.base AND quote = NEW.quote
      AND effective_at = NEW.effective_at AND numerator = NEW.numerator AND denominator = NEW.denominator))
BEGIN SELECT RAISE(ABORT, 'exchange rates are never replaced'); END;
CREATE TRIGGER exchange_rate_no_update BEFORE UPDATE ON exchange_rate
BEGIN SELECT RAISE(ABORT, 'exchange rates are never changed'); END;
CREATE TRIGGER exchange_rate_no_delete BEFORE DELETE ON exchange_rate
BEGIN SELECT RAISE(ABORT, 'exchange rates are never deleted'); END;

-- Existing shops keep the currencies in which they sell.
INSERT INTO currency (code, enabled, created_at, updated_at)
    SELECT currency, 1, updated_at, updated_at FROM shop
    UNION SELECT p.currency, 1, s.updated_at, s.updated_at FROM product p JOIN shop s;
INSERT INTO currency_setting (singleton, rate_source, rate_max_age_days, version, updated_at)
    SELECT 1, 'manual_first', 7, 1, updated_at FROM shop;

-- An order in a foreign currency has the rate of the day on which it was placed. Its financial order has the same rate,
-- and the total in the shop's own currency. Orders in the shop's own currency have none, and neither have orders from
-- before this version.
ALTER TABLE sales_order ADD COLUMN exchange_rate_id BLOB REFERENCES exchange_rate (id);
ALTER TABLE financial_order ADD COLUMN exchange_rate_id BLOB REFERENCES exchange_rate (id);
ALTER TABLE financial_order ADD COLUMN base_currency TEXT CHECK ((base_currency IS NULL) = (exchange_rate_id IS NULL));
ALTER TABLE financial_order ADD COLUMN base_total_minor INTEGER
    CHECK ((base_total_minor IS NULL) = (exchange_rate_id IS NULL));
DROP TRIGGER IF EXISTS financial_order_locked;
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
