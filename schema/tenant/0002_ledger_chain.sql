-- Each ledger entry stores a hash over the previous hash, itself, its transfers and the documents that it books. A row
-- that is changed, removed or inserted breaks all later hashes. NULL: booked by a version without the chain.
ALTER TABLE ledger_entry ADD COLUMN hash BLOB CHECK (hash IS NULL OR length(hash) = 32);
CREATE TRIGGER ledger_entry_is_chained BEFORE INSERT ON ledger_entry
WHEN NEW.hash IS NULL
BEGIN SELECT RAISE(ABORT, 'a ledger entry must have a hash'); END;
