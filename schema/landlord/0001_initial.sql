-- The landlord's file: the directory of tenants. A tenant's own data is in the tenant's file, never here.

---------------------------------------------------------------------------------------------------- tenants
CREATE TABLE tenant (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    slug       TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    currency   TEXT NOT NULL CHECK (length(currency) = 3),
    -- creating and deleting are left by a crash: the next start undoes the first and completes the second.
    status     TEXT NOT NULL CHECK (status IN ('creating', 'active', 'suspended', 'deleting')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tenant_domain (
    host      TEXT PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX tenant_domain_by_tenant ON tenant_domain (tenant_id);

CREATE TABLE api_key (
    seq          INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    tenant_id    BLOB REFERENCES tenant (id) ON DELETE CASCADE, -- NULL: a landlord key
    name         TEXT NOT NULL,
    prefix       TEXT NOT NULL UNIQUE,
    hash         BLOB NOT NULL CHECK (length(hash) = 32),
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;
CREATE INDEX api_key_by_tenant ON api_key (tenant_id, seq);

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

-- Queues paused by an operator for one tenant; `queue_pause` has those paused for all tenants.
CREATE TABLE tenant_pause (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    queue     TEXT NOT NULL CHECK (queue <> ''),
    paused_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, queue)
) STRICT, WITHOUT ROWID;

-- The last integrity check of each tenant's file. The stamp is the file's at that time: with the same stamp, a file has
-- not been written to since.
CREATE TABLE tenant_check (
    tenant_id  BLOB PRIMARY KEY REFERENCES tenant (id) ON DELETE CASCADE,
    stamp      TEXT NOT NULL,
    mismatches INTEGER NOT NULL CHECK (mismatches >= 0),
    findings   TEXT NOT NULL CHECK (json_valid(findings)), -- the first few
    checked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Tenants whose files could not be checked at the last attempt: earlier findings are not conclusive for them.
CREATE TABLE tenant_unchecked (
    tenant_id BLOB PRIMARY KEY REFERENCES tenant (id) ON DELETE CASCADE,
    reason    TEXT NOT NULL CHECK (reason <> ''),
    tried_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

---------------------------------------------------------------------------------------------------- clock and tasks
-- The latest time seen by this instance: a clock that shows an earlier one is behind.
CREATE TABLE clock_latest (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    seen_at   INTEGER NOT NULL
) STRICT;

-- Whether the clock is trusted. While it is not, nothing is deleted by age.
CREATE TABLE clock_trust (
    singleton  INTEGER PRIMARY KEY CHECK (singleton = 1),
    trusted_at INTEGER NOT NULL, -- the last time at which the clock was trusted, with the precision of a day
    suspect_at INTEGER,          -- the time that the clock showed when the suspicion began
    suspicion  TEXT,
    cause      TEXT CHECK (cause IN ('behind', 'gap', 'set')),
    -- A suspicion ends by itself when the clock has run steadily for long enough: since when, how long processes have
    -- seen it run steadily, and when it was last checked.
    steady_from INTEGER,
    steady_ms   INTEGER NOT NULL DEFAULT 0 CHECK (steady_ms >= 0),
    checked_at  INTEGER,
    CHECK ((suspect_at IS NULL) = (suspicion IS NULL))
) STRICT;

-- When the operator was notified of a present alert, by channel.
CREATE TABLE alert_notice (
    alert       TEXT NOT NULL CHECK (alert <> ''),
    channel     TEXT NOT NULL CHECK (channel <> ''),
    notified_at INTEGER NOT NULL,
    PRIMARY KEY (alert, channel)
) STRICT, WITHOUT ROWID;

-- Scheduled tasks, each with the time up to which it is done: runs missed since then are made up for by a single run.
CREATE TABLE task_run (
    task       TEXT PRIMARY KEY CHECK (task <> ''),
    done_up_to INTEGER NOT NULL,
    ran_at     INTEGER -- NULL: never yet
) STRICT, WITHOUT ROWID;

-- The last integrity check of this file.
CREATE TABLE landlord_check (
    singleton  INTEGER PRIMARY KEY CHECK (singleton = 1),
    mismatches INTEGER NOT NULL CHECK (mismatches >= 0),
    findings   TEXT NOT NULL CHECK (json_valid(findings)), -- the first few
    checked_at INTEGER, -- NULL: never yet
    reason     TEXT,    -- why the last attempt to check it failed
    tried_at   INTEGER,
    CHECK ((reason IS NULL) = (tried_at IS NULL))
) STRICT;

-- One row that GET /health writes and reads back.
CREATE TABLE health_probe (
    singleton    INTEGER PRIMARY KEY CHECK (singleton = 1),
    heartbeat_at INTEGER NOT NULL
) STRICT;

---------------------------------------------------------------------------------------------------- exchange rates
-- Published exchange rates, one copy for all tenants: the amount of a currency for one euro, by day of publication. A
-- tenant's documents keep a copy of the rate they used in the tenant's own file. Rows never change: a correction is a
-- later row for the same day, and the last row counts.
CREATE TABLE published_rate (
    seq         INTEGER PRIMARY KEY,
    source      TEXT NOT NULL,
    day         TEXT NOT NULL CHECK (length(day) = 10),
    currency    TEXT NOT NULL CHECK (length(currency) = 3),
    rate        TEXT NOT NULL CHECK (rate <> ''),
    imported_at INTEGER NOT NULL
) STRICT;
CREATE INDEX published_rate_by_currency ON published_rate (currency, day, seq, rate);
CREATE TRIGGER published_rate_no_delete BEFORE DELETE ON published_rate
BEGIN SELECT RAISE(ABORT, 'published rates are never deleted'); END;
CREATE TRIGGER published_rate_no_update BEFORE UPDATE ON published_rate
BEGIN SELECT RAISE(ABORT, 'published rates are never changed'); END;
CREATE TRIGGER published_rate_not_replaced BEFORE INSERT ON published_rate
WHEN EXISTS (SELECT 1 FROM published_rate WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'published rates are never replaced'); END;

-- The schedule of the daily fetch, kept across restarts so that frequent restarts do not cause more requests.
CREATE TABLE rate_fetch (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    next_at   INTEGER NOT NULL,
    failures  INTEGER NOT NULL CHECK (failures >= 0)
) STRICT;

---------------------------------------------------------------------------------------------------- Stripe
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

---------------------------------------------------------------------------------------------------- limits and queues
-- Rate-limit buckets that a restart must not reset: the emptiest of some groups of routes, until they are full again.
CREATE TABLE rate_bucket (
    policy  TEXT NOT NULL CHECK (policy <> ''),
    address TEXT NOT NULL CHECK (address <> ''),
    full_at INTEGER NOT NULL,
    PRIMARY KEY (policy, address)
) STRICT, WITHOUT ROWID;

-- Queues paused by an operator until they are resumed, across restarts. An unknown queue name has no effect.
CREATE TABLE queue_pause (
    queue     TEXT PRIMARY KEY CHECK (queue <> ''),
    paused_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

---------------------------------------------------------------------------------------------------- audit
CREATE TABLE audit_log (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    request_id TEXT,
    details    TEXT NOT NULL CHECK (json_valid(details)),
    prev_hash  BLOB NOT NULL CHECK (length(prev_hash) = 32),
    hash       BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
WHEN OLD.seq > coalesce((SELECT max(seq) FROM audit_anchor), 0)
BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted, except up to an anchor'); END;
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END;
-- REPLACE deletes the row in its way without firing delete triggers, unless recursive_triggers is on.
CREATE TRIGGER audit_log_not_replaced BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'audit entries are never replaced'); END;

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
CREATE TRIGGER audit_anchor_no_delete BEFORE DELETE ON audit_anchor
BEGIN SELECT RAISE(ABORT, 'audit anchors are never deleted'); END;
CREATE TRIGGER audit_anchor_no_update BEFORE UPDATE ON audit_anchor
BEGIN SELECT RAISE(ABORT, 'audit anchors are never changed'); END;
