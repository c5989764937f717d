-- Final accounting data refuses every change, also by an SQL shell: now including orders and their lines, number series
-- and the shop's own currency. Final rows cannot be replaced through their rowid.

-- Orders have a gapless series, so none is ever deleted, whatever its status. The status only moves forward.
CREATE TRIGGER sales_order_no_delete BEFORE DELETE ON sales_order
BEGIN SELECT RAISE(ABORT, 'orders are never deleted'); END;
CREATE TRIGGER sales_order_not_replaced BEFORE INSERT ON sales_order
WHEN EXISTS (SELECT 1 FROM sales_order WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM sales_order WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM sales_order WHERE number = NEW.number)
  OR EXISTS (SELECT 1 FROM sales_order WHERE cart_id = NEW.cart_id)
BEGIN SELECT RAISE(ABORT, 'orders are never replaced'); END;
CREATE TRIGGER sales_order_keeps_its_identity BEFORE UPDATE ON sales_order
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.number <> OLD.number OR NEW.cart_id IS NOT OLD.cart_id
BEGIN SELECT RAISE(ABORT, 'an order never changes its identity'); END;
CREATE TRIGGER sales_order_goes_forward BEFORE UPDATE ON sales_order
WHEN NEW.status <> OLD.status
 AND OLD.status || '>' || NEW.status NOT IN ('pending>paid', 'pending>cancelled', 'paid>confirmed', 'confirmed>shipped')
BEGIN SELECT RAISE(ABORT, 'the status of an order only moves forward'); END;
-- Covers everything except the status and the email address, whose deletion the law may require.
CREATE TRIGGER sales_order_final BEFORE UPDATE ON sales_order
WHEN OLD.status <> 'pending' AND (
    NEW.channel <> OLD.channel OR NEW.currency <> OLD.currency OR NEW.prices_include_tax <> OLD.prices_include_tax
    OR NEW.subtotal_minor <> OLD.subtotal_minor OR NEW.discount_minor <> OLD.discount_minor
    OR NEW.tax_minor <> OLD.tax_minor
    OR NEW.total_minor <> OLD.total_minor OR NEW.tax_lines <> OLD.tax_lines OR NEW.request_hash IS NOT OLD.request_hash
    OR NEW.placed_at <> OLD.placed_at OR NEW.exchange_rate_id IS NOT OLD.exchange_rate_id)
BEGIN SELECT RAISE(ABORT, 'an order that is no longer pending is never changed'); END;

-- A till's sale is inserted as paid and gets its lines in the same transaction, so lines may be added until the
-- financial order is locked. One trigger for all conditions, because each trigger has a cost.
CREATE TRIGGER order_line_not_added BEFORE INSERT ON order_line
WHEN EXISTS (SELECT 1 FROM order_line WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM order_line WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM financial_order WHERE order_id = NEW.order_id AND locked_at IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'order lines are never replaced, and none is added after the financial order is locked'); END;
CREATE TRIGGER order_line_final BEFORE UPDATE ON order_line
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id
  OR EXISTS (SELECT 1 FROM sales_order WHERE id = OLD.order_id AND status <> 'pending')
  OR EXISTS (SELECT 1 FROM sales_order WHERE id = NEW.order_id AND status <> 'pending')
BEGIN SELECT RAISE(ABORT, 'lines of an order that is no longer pending are never changed'); END;
CREATE TRIGGER order_line_kept BEFORE DELETE ON order_line
WHEN EXISTS (SELECT 1 FROM sales_order WHERE id = OLD.order_id AND status <> 'pending')
BEGIN SELECT RAISE(ABORT, 'lines of an order that is no longer pending are never deleted'); END;

-- Numbers increase by one.
CREATE TRIGGER series_no_delete BEFORE DELETE ON series
BEGIN SELECT RAISE(ABORT, 'number series are never deleted'); END;
CREATE TRIGGER series_begins_at_one BEFORE INSERT ON series
WHEN NEW.last_number <> 1 OR EXISTS (SELECT 1 FROM series WHERE name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'number series begin at 1 and are never replaced'); END;
CREATE TRIGGER series_goes_on_by_one BEFORE UPDATE ON series
WHEN NEW.name <> OLD.name OR NEW.last_number <> OLD.last_number + 1
BEGIN SELECT RAISE(ABORT, 'number series increase by exactly 1 and are never renamed'); END;

-- All documents are in the shop's own currency.
CREATE TRIGGER shop_keeps_its_currency BEFORE UPDATE OF currency ON shop
WHEN NEW.currency <> OLD.currency AND EXISTS (SELECT 1 FROM sales_order)
BEGIN SELECT RAISE(ABORT, 'the currency of a shop with orders never changes'); END;
CREATE TRIGGER shop_is_one BEFORE INSERT ON shop
WHEN EXISTS (SELECT 1 FROM shop WHERE singleton = 1)
BEGIN SELECT RAISE(ABORT, 'a shop is never replaced'); END;
CREATE TRIGGER shop_stays BEFORE DELETE ON shop BEGIN SELECT RAISE(ABORT, 'a shop is never deleted from its file'); END;

-- A trigger on certain columns does not fire for a key named `rowid`, so these check every update.
DROP TRIGGER IF EXISTS payment_keeps_its_identity;
CREATE TRIGGER payment_keeps_its_identity BEFORE UPDATE ON payment
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id
BEGIN SELECT RAISE(ABORT, 'a payment never changes its identity'); END;
DROP TRIGGER IF EXISTS financial_order_keeps_its_identity;
CREATE TRIGGER financial_order_keeps_its_identity BEFORE UPDATE ON financial_order
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.order_id <> OLD.order_id
BEGIN SELECT RAISE(ABORT, 'a financial order never changes its identity'); END;
DROP TRIGGER IF EXISTS invoice_not_pushed_out;
CREATE TRIGGER invoice_not_pushed_out BEFORE UPDATE ON invoice
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id
  OR EXISTS (SELECT 1 FROM invoice WHERE number = NEW.number AND seq <> OLD.seq AND status <> 'draft')
  OR EXISTS (SELECT 1 FROM invoice
      WHERE series = NEW.series AND series_number = NEW.series_number AND seq <> OLD.seq AND status <> 'draft')
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never replaced'); END;

-- A movement of a sale cannot be replaced by another one of the same order and product.
DROP TRIGGER IF EXISTS inventory_movement_not_replaced;
CREATE TRIGGER inventory_movement_not_replaced BEFORE INSERT ON inventory_movement
WHEN EXISTS (SELECT 1 FROM inventory_movement WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM inventory_movement WHERE id = NEW.id)
  OR (NEW.kind = 'sale' AND EXISTS (SELECT 1 FROM inventory_movement
      WHERE kind = 'sale' AND order_id = NEW.order_id AND product_id = NEW.product_id))
BEGIN SELECT RAISE(ABORT, 'stock movements are never replaced'); END;
