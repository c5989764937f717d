-- The landlord's file: the directory of tenants. A tenant's own data is in the tenant's file, never here.

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

-- One row that GET /health writes and reads back.
CREATE TABLE health_probe (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    heartbeat_at INTEGER NOT NULL
) STRICT;

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
-- REPLACE deletes the row in its way without firing delete triggers, unless recursive_triggers is on.
CREATE TRIGGER audit_log_not_replaced BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'audit entries are never replaced'); END;
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted'); END;
