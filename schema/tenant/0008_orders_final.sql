-- What is in the books refuses change whoever asks, the shell too: orders and their lines, number series and the shop's own currency now do as well, and what
-- is final cannot be pushed out by its rowid.

-- Orders have a gapless series, so none ever goes, whatever has become of it; and its status goes forward only.
CREATE TRIGGER sales_order_no_delete BEFORE DELETE ON sales_order BEGIN SELECT RAISE(ABORT, 'orders are never deleted'); END;
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
BEGIN SELECT RAISE(ABORT, 'an order never goes back'); END;
-- All but the status, and the address, which the law may want removed.
CREATE TRIGGER sales_order_final BEFORE UPDATE ON sales_order
WHEN OLD.status <> 'pending' AND (
    NEW.channel <> OLD.channel OR NEW.currency <> OLD.currency OR NEW.prices_include_tax <> OLD.prices_include_tax
    OR NEW.subtotal_minor <> OLD.subtotal_minor OR NEW.discount_minor <> OLD.discount_minor OR NEW.tax_minor <> OLD.tax_minor
    OR NEW.total_minor <> OLD.total_minor OR NEW.tax_lines <> OLD.tax_lines OR NEW.request_hash IS NOT OLD.request_hash
    OR NEW.placed_at <> OLD.placed_at OR NEW.exchange_rate_id IS NOT OLD.exchange_rate_id)
BEGIN SELECT RAISE(ABORT, 'an order that waits for its payment no more is never changed'); END;

-- A till's sale is written as paid and gets its lines in the same transaction, so lines may come until the books are done. In one trigger: each has its price.
CREATE TRIGGER order_line_not_added BEFORE INSERT ON order_line
WHEN EXISTS (SELECT 1 FROM order_line WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM order_line WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM financial_order WHERE order_id = NEW.order_id AND locked_at IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'order lines are never replaced, and an order that is in the books never gets another'); END;
CREATE TRIGGER order_line_final BEFORE UPDATE ON order_line
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id
  OR EXISTS (SELECT 1 FROM sales_order WHERE id = OLD.order_id AND status <> 'pending')
  OR EXISTS (SELECT 1 FROM sales_order WHERE id = NEW.order_id AND status <> 'pending')
BEGIN SELECT RAISE(ABORT, 'lines of an order that waits for its payment no more are never changed'); END;
CREATE TRIGGER order_line_kept BEFORE DELETE ON order_line
WHEN EXISTS (SELECT 1 FROM sales_order WHERE id = OLD.order_id AND status <> 'pending')
BEGIN SELECT RAISE(ABORT, 'lines of an order that waits for its payment no more are never deleted'); END;

-- One number after the other.
CREATE TRIGGER series_no_delete BEFORE DELETE ON series BEGIN SELECT RAISE(ABORT, 'number series are never deleted'); END;
CREATE TRIGGER series_begins_at_one BEFORE INSERT ON series
WHEN NEW.last_number <> 1 OR EXISTS (SELECT 1 FROM series WHERE name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'number series begin at 1 and are never replaced'); END;
CREATE TRIGGER series_goes_on_by_one BEFORE UPDATE ON series
WHEN NEW.name <> OLD.name OR NEW.last_number <> OLD.last_number + 1
BEGIN SELECT RAISE(ABORT, 'number series never go back and never leave a number out'); END;

-- All documents are read in the shop's own currency.
CREATE TRIGGER shop_keeps_its_currency BEFORE UPDATE OF currency ON shop
WHEN NEW.currency <> OLD.currency AND EXISTS (SELECT 1 FROM sales_order)
BEGIN SELECT RAISE(ABORT, 'the currency of a shop that has sold never changes'); END;
CREATE TRIGGER shop_is_one BEFORE INSERT ON shop
WHEN EXISTS (SELECT 1 FROM shop WHERE singleton = 1)
BEGIN SELECT RAISE(ABORT, 'a shop is never replaced'); END;
CREATE TRIGGER shop_stays BEFORE DELETE ON shop BEGIN SELECT RAISE(ABORT, 'a shop is never deleted from its file'); END;

-- A trigger on certain columns does not see a key that is named `rowid`, so these look at every update.
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
  OR EXISTS (SELECT 1 FROM invoice WHERE series = NEW.series AND series_number = NEW.series_number AND seq <> OLD.seq AND status <> 'draft')
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never replaced'); END;

-- Nor can a movement of a sale be pushed out by another of the same order and product.
DROP TRIGGER IF EXISTS inventory_movement_not_replaced;
CREATE TRIGGER inventory_movement_not_replaced BEFORE INSERT ON inventory_movement
WHEN EXISTS (SELECT 1 FROM inventory_movement WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM inventory_movement WHERE id = NEW.id)
  OR (NEW.kind = 'sale' AND EXISTS (SELECT 1 FROM inventory_movement WHERE kind = 'sale' AND order_id = NEW.order_id AND product_id = NEW.product_id))
BEGIN SELECT RAISE(ABORT, 'movements of stock are never replaced'); END;
