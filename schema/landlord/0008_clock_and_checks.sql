-- The cause of a suspicion about the clock, and the evidence for the clock since: a suspicion ends by itself when the
-- clock has run steadily for long enough. Suspicions of earlier versions have no cause and count as `set`.
ALTER TABLE clock_trust ADD COLUMN cause TEXT CHECK (cause IN ('behind', 'gap', 'set'));
ALTER TABLE clock_trust ADD COLUMN steady_from INTEGER; -- the clock's time after it was last set
-- how long processes have seen it run steadily since:
ALTER TABLE clock_trust ADD COLUMN steady_ms INTEGER NOT NULL DEFAULT 0 CHECK (steady_ms >= 0);
ALTER TABLE clock_trust ADD COLUMN looked_at INTEGER; -- the clock's time when steady_ms was stored
-- When the operator was notified of this suspicion, by channel.
ALTER TABLE clock_trust ADD COLUMN webhook_notified_at INTEGER;
ALTER TABLE clock_trust ADD COLUMN mail_notified_at INTEGER;

-- Tenants whose files could not be checked at the last attempt: earlier findings are not conclusive for them.
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
    reason     TEXT,    -- why the last attempt to check it failed
    tried_at   INTEGER,
    CHECK ((reason IS NULL) = (tried_at IS NULL))
) STRICT;
