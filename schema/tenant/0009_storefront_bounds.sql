-- Bounds for callers without a key: their answers are kept apart, and their carts and unpaid orders say from which client they came.

-- The first answers to callers without a key, kept for an hour. A cart call keeps the id of its cart, from which a replay is built; a checkout keeps its body.
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
CREATE TRIGGER keyless_answer_no_update BEFORE UPDATE ON keyless_answer
BEGIN SELECT RAISE(ABORT, 'stored answers are never changed'); END;

-- A hash of the client's network: of a cart that was made without a key, until it is ordered; of an order that was placed without a key, until it is paid or cancelled.
ALTER TABLE cart ADD COLUMN client_hash BLOB CHECK (client_hash IS NULL OR (length(client_hash) = 8 AND status <> 'converted'));
CREATE INDEX cart_of_client ON cart (client_hash) WHERE client_hash IS NOT NULL;
CREATE INDEX cart_anonymous ON cart (updated_at) WHERE client_hash IS NOT NULL;
ALTER TABLE sales_order ADD COLUMN client_hash BLOB CHECK (client_hash IS NULL OR (length(client_hash) = 8 AND status = 'pending'));
CREATE INDEX sales_order_of_client ON sales_order (client_hash, placed_at) WHERE client_hash IS NOT NULL;

-- The sums of what callers without a key have stored, so that no request has to count. 200 bytes stand for a row of keyless_answer with its three index entries.
CREATE TABLE keyless_usage (
    singleton    INTEGER PRIMARY KEY CHECK (singleton = 1),
    carts        INTEGER NOT NULL CHECK (carts >= 0),
    answers      INTEGER NOT NULL CHECK (answers >= 0),
    answer_bytes INTEGER NOT NULL CHECK (answer_bytes >= 0)
) STRICT;
INSERT INTO keyless_usage (singleton, carts, answers, answer_bytes) VALUES (1, 0, 0, 0);
CREATE TRIGGER keyless_answer_counted AFTER INSERT ON keyless_answer
BEGIN UPDATE keyless_usage SET answers = answers + 1, answer_bytes = answer_bytes + 200 + coalesce(length(NEW.body), 0) WHERE singleton = 1; END;
CREATE TRIGGER keyless_answer_deleted AFTER DELETE ON keyless_answer
BEGIN UPDATE keyless_usage SET answers = answers - 1, answer_bytes = answer_bytes - 200 - coalesce(length(OLD.body), 0) WHERE singleton = 1; END;
CREATE TRIGGER cart_counted AFTER INSERT ON cart WHEN NEW.client_hash IS NOT NULL
BEGIN UPDATE keyless_usage SET carts = carts + 1 WHERE singleton = 1; END;
CREATE TRIGGER cart_deleted AFTER DELETE ON cart WHEN OLD.client_hash IS NOT NULL
BEGIN UPDATE keyless_usage SET carts = carts - 1 WHERE singleton = 1; END;
CREATE TRIGGER cart_client_erased AFTER UPDATE OF client_hash ON cart WHEN OLD.client_hash IS NOT NULL AND NEW.client_hash IS NULL
BEGIN UPDATE keyless_usage SET carts = carts - 1 WHERE singleton = 1; END;
CREATE TRIGGER cart_client_not_set BEFORE UPDATE OF client_hash ON cart WHEN NEW.client_hash IS NOT NULL AND OLD.client_hash IS NOT NEW.client_hash
BEGIN SELECT RAISE(ABORT, 'the client of a cart is erased and never set'); END;
CREATE TRIGGER sales_order_client_not_set BEFORE UPDATE OF client_hash ON sales_order WHEN NEW.client_hash IS NOT NULL AND OLD.client_hash IS NOT NEW.client_hash
BEGIN SELECT RAISE(ABORT, 'the client of an order is erased and never set'); END;
