-- Each ledger entry holds a hash over the one before, itself, its transfers and the documents that it books, so that a row that is changed, left
-- out or put in between breaks every hash after it. NULL: booked by a version that did not chain.
ALTER TABLE ledger_entry ADD COLUMN hash BLOB CHECK (hash IS NULL OR length(hash) = 32);
CREATE TRIGGER ledger_entry_is_chained BEFORE INSERT ON ledger_entry
WHEN NEW.hash IS NULL
BEGIN SELECT RAISE(ABORT, 'a ledger entry holds the hash of the one before'); END;
