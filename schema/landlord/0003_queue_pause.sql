-- Queues paused by an operator until they are resumed, across restarts. An unknown queue name has no effect.
CREATE TABLE queue_pause (
    queue     TEXT PRIMARY KEY CHECK (queue <> ''),
    paused_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
