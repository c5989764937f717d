-- The queues that an operator has paused for one shop, as `queue_pause` has those that are paused for all.
CREATE TABLE tenant_pause (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    queue     TEXT NOT NULL CHECK (queue <> ''),
    paused_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, queue)
) STRICT, WITHOUT ROWID;
