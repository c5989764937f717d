-- Queues paused by an operator for one tenant; `queue_pause` has those paused for all tenants.
CREATE TABLE tenant_pause (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    queue     TEXT NOT NULL CHECK (queue <> ''),
    paused_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, queue)
) STRICT, WITHOUT ROWID;
