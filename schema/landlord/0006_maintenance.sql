-- Scheduled tasks, each with the time up to which it is done: runs missed since then are made up for by a single run.
CREATE TABLE task_run (
    task       TEXT PRIMARY KEY CHECK (task <> ''),
    done_up_to INTEGER NOT NULL,
    ran_at     INTEGER -- NULL: never yet
) STRICT, WITHOUT ROWID;

-- Whether the clock is trusted. While it is not, nothing is deleted by age.
CREATE TABLE clock_trust (
    singleton  INTEGER PRIMARY KEY CHECK (singleton = 1),
    trusted_at INTEGER NOT NULL, -- the last time at which the clock was trusted, with the precision of a day
    suspect_at INTEGER,          -- the time that the clock showed when the suspicion began
    suspicion  TEXT,
    CHECK ((suspect_at IS NULL) = (suspicion IS NULL))
) STRICT;

-- The last integrity check of each tenant's file. The stamp is the file's at that time: with the same stamp, a file has
-- not been written to since.
CREATE TABLE tenant_check (
    tenant_id  BLOB PRIMARY KEY REFERENCES tenant (id) ON DELETE CASCADE,
    stamp      TEXT NOT NULL,
    mismatches INTEGER NOT NULL CHECK (mismatches >= 0),
    findings   TEXT NOT NULL CHECK (json_valid(findings)), -- the first few
    checked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Events received from Stripe, so that each is processed once.
CREATE TABLE stripe_event (
    id           TEXT PRIMARY KEY CHECK (id <> ''),
    type         TEXT NOT NULL,
    payload      TEXT NOT NULL CHECK (json_valid(payload)),
    received_at  INTEGER NOT NULL,
    processed_at INTEGER
) STRICT;
-- Unprocessed events are always kept.
CREATE INDEX stripe_event_processed ON stripe_event (received_at) WHERE processed_at IS NOT NULL;

-- The start of the audit chain after pruning: the last deleted entry. The remaining chain is verified against it.
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
