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
CREATE TRIGGER audit_anchor_no_update BEFORE UPDATE ON audit_anchor
BEGIN SELECT RAISE(ABORT, 'audit anchors are never changed'); END;
CREATE TRIGGER audit_anchor_no_delete BEFORE DELETE ON audit_anchor
BEGIN SELECT RAISE(ABORT, 'audit anchors are never deleted'); END;
DROP TRIGGER audit_log_no_delete;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
WHEN OLD.seq > coalesce((SELECT max(seq) FROM audit_anchor), 0)
BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted, except up to an anchor'); END;

-- A product's stock after its last pruned movement, so that the stock is still the sum of its movements.
CREATE TABLE inventory_anchor (
    product_id BLOB NOT NULL REFERENCES product (id),
    seq        INTEGER NOT NULL CHECK (seq > 0),
    balance    INTEGER NOT NULL CHECK (balance >= 0),
    pruned_at  INTEGER NOT NULL,
    PRIMARY KEY (product_id, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER inventory_anchor_holds BEFORE INSERT ON inventory_anchor
WHEN NEW.seq <= coalesce((SELECT max(seq) FROM inventory_anchor WHERE product_id = NEW.product_id), 0)
  OR NOT EXISTS (SELECT 1 FROM inventory_movement
      WHERE seq = NEW.seq AND product_id = NEW.product_id AND on_hand_after = NEW.balance)
BEGIN SELECT RAISE(ABORT, 'an inventory anchor must match a movement, and be the newest of its product'); END;
CREATE TRIGGER inventory_anchor_no_update BEFORE UPDATE ON inventory_anchor
BEGIN SELECT RAISE(ABORT, 'inventory anchors are never changed'); END;
-- The newest one is enough: it covers all earlier ones.
CREATE TRIGGER inventory_anchor_kept BEFORE DELETE ON inventory_anchor
WHEN OLD.seq = (SELECT max(seq) FROM inventory_anchor WHERE product_id = OLD.product_id)
BEGIN SELECT RAISE(ABORT, 'the last inventory anchor of a product is never deleted'); END;

CREATE TRIGGER inventory_movement_not_replaced BEFORE INSERT ON inventory_movement
WHEN EXISTS (SELECT 1 FROM inventory_movement WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM inventory_movement WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'stock movements are never replaced'); END;
CREATE TRIGGER inventory_movement_no_update BEFORE UPDATE ON inventory_movement
BEGIN SELECT RAISE(ABORT, 'stock movements are never changed'); END;
CREATE TRIGGER inventory_movement_no_delete BEFORE DELETE ON inventory_movement
WHEN OLD.seq > coalesce((SELECT max(seq) FROM inventory_anchor WHERE product_id = OLD.product_id), 0)
  OR OLD.seq = (SELECT max(seq) FROM inventory_movement)
BEGIN SELECT RAISE(ABORT, 'stock movements are never deleted, except up to an anchor'); END;

CREATE INDEX cart_left ON cart (updated_at) WHERE status IN ('open', 'abandoned');
CREATE INDEX reservation_over ON reservation (expires_at) WHERE status <> 'held';
