-- What the process does by the clock on the wall, each with the instant up to which it is done: what came round since then and was missed is made up
-- for once.
CREATE TABLE task_run (
    task       TEXT PRIMARY KEY CHECK (task <> ''),
    done_up_to INTEGER NOT NULL,
    ran_at     INTEGER -- NULL: never yet
) STRICT, WITHOUT ROWID;

-- Whether the clock is trusted. What deletes by age rests while it is not, until the operator says that the clock is right.
CREATE TABLE clock_trust (
    singleton  INTEGER PRIMARY KEY CHECK (singleton = 1),
    trusted_at INTEGER NOT NULL, -- the last instant at which nothing spoke against it, to the day
    suspect_at INTEGER,          -- what it showed when something did
    suspicion      TEXT,
    CHECK ((suspect_at IS NULL) = (suspicion IS NULL))
) STRICT;

-- What was found when each shop's file was last checked. The stamp is that of the file then: one that still has it has not been written to.
CREATE TABLE tenant_check (
    tenant_id  BLOB PRIMARY KEY REFERENCES tenant (id) ON DELETE CASCADE,
    stamp      TEXT NOT NULL,
    mismatches INTEGER NOT NULL CHECK (mismatches >= 0),
    findings   TEXT NOT NULL CHECK (json_valid(findings)), -- the first few
    checked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every event that Stripe has sent, so that each is dealt with once.
CREATE TABLE stripe_event (
    id           TEXT PRIMARY KEY CHECK (id <> ''),
    type         TEXT NOT NULL,
    payload      TEXT NOT NULL CHECK (json_valid(payload)),
    received_at  INTEGER NOT NULL,
    processed_at INTEGER
) STRICT;
-- One that was not dealt with is no trace yet, and is kept.
CREATE INDEX stripe_event_processed ON stripe_event (received_at) WHERE processed_at IS NOT NULL;

-- Where the audit chain begins since it was pruned: the last entry that went. What is left is held against it.
CREATE TABLE audit_anchor (
    seq       INTEGER PRIMARY KEY CHECK (seq > 0),
    hash      BLOB NOT NULL CHECK (length(hash) = 32),
    pruned_at INTEGER NOT NULL
) STRICT;
CREATE TRIGGER audit_anchor_holds BEFORE INSERT ON audit_anchor
WHEN NEW.seq <= coalesce((SELECT max(seq) FROM audit_anchor), 0)
  OR NOT EXISTS (SELECT 1 FROM audit_log WHERE seq = NEW.seq AND hash = NEW.hash)
  OR NEW.seq >= (SELECT max(seq) FROM audit_log)
BEGIN SELECT RAISE(ABORT, 'an audit anchor is the place and the hash of an entry that has others behind it, and lies beyond all anchors before'); END;
CREATE TRIGGER audit_anchor_no_update BEFORE UPDATE ON audit_anchor BEGIN SELECT RAISE(ABORT, 'audit anchors are never changed'); END;
CREATE TRIGGER audit_anchor_no_delete BEFORE DELETE ON audit_anchor BEGIN SELECT RAISE(ABORT, 'audit anchors are never deleted'); END;
DROP TRIGGER audit_log_no_delete;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
WHEN OLD.seq > coalesce((SELECT max(seq) FROM audit_anchor), 0)
BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted but for those before an anchor'); END;
