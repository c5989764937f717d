-- Checkpoints: the last entries of the chains of each tenant's file, as last seen. A file without these entries is an
-- older copy, or its disk lost confirmed writes.
CREATE TABLE tenant_checkpoint (
    tenant_id   BLOB PRIMARY KEY REFERENCES tenant (id) ON DELETE CASCADE,
    ledger_seq  INTEGER NOT NULL CHECK (ledger_seq >= 0),
    ledger_hash BLOB NOT NULL CHECK (length(ledger_hash) = 32),
    audit_seq   INTEGER NOT NULL CHECK (audit_seq >= 0),
    audit_hash  BLOB NOT NULL CHECK (length(audit_hash) = 32),
    recorded_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The latest time seen by this instance: a clock that shows an earlier one is behind.
CREATE TABLE clock_latest (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    seen_at   INTEGER NOT NULL
) STRICT;
