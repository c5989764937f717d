-- How a suspicion about the clock came, and what speaks for the clock since: suspicion that came at a start ends by itself when nothing has spoken against the clock
-- for long enough. Those from before this version have no cause; they are taken for clocks that were set.
ALTER TABLE clock_trust ADD COLUMN cause TEXT CHECK (cause IN ('behind', 'gap', 'set'));
ALTER TABLE clock_trust ADD COLUMN steady_from INTEGER; -- what it showed when it was last moved by what did not pass
ALTER TABLE clock_trust ADD COLUMN steady_ms INTEGER NOT NULL DEFAULT 0 CHECK (steady_ms >= 0); -- for how long a process has seen it go well since
ALTER TABLE clock_trust ADD COLUMN looked_at INTEGER; -- what it showed when that was written
-- Who was told of this suspicion, and when.
ALTER TABLE clock_trust ADD COLUMN webhook_notified_at INTEGER;
ALTER TABLE clock_trust ADD COLUMN mail_notified_at INTEGER;

-- The shops whose files could not be checked when that was last tried: what an earlier check has found says nothing about them.
CREATE TABLE tenant_unchecked (
    tenant_id BLOB PRIMARY KEY REFERENCES tenant (id) ON DELETE CASCADE,
    reason    TEXT NOT NULL CHECK (reason <> ''),
    tried_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The same for this file.
CREATE TABLE landlord_check (
    singleton  INTEGER PRIMARY KEY CHECK (singleton = 1),
    mismatches INTEGER NOT NULL CHECK (mismatches >= 0),
    findings   TEXT NOT NULL CHECK (json_valid(findings)), -- the first few
    checked_at INTEGER, -- NULL: never yet
    reason     TEXT,    -- why it could not be checked when that was last tried
    tried_at   INTEGER,
    CHECK ((reason IS NULL) = (tried_at IS NULL))
) STRICT;
