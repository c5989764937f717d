-- The queues that an operator has paused, until somebody resumes them: over restarts too. A name that this version does not know pauses nothing.
CREATE TABLE queue_pause (
    queue     TEXT PRIMARY KEY CHECK (queue <> ''),
    paused_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
