-- While a row exists, further failures of its kind of job are counted and not notified; a job ends the window.
CREATE TABLE alert_window (
    job_kind  TEXT NOT NULL PRIMARY KEY CHECK (length(job_kind) > 0),
    opened_at INTEGER NOT NULL,
    kept_back INTEGER NOT NULL CHECK (kept_back >= 0),
    last      TEXT CHECK (json_valid(last)),
    CHECK ((kept_back = 0) = (last IS NULL))
) STRICT, WITHOUT ROWID;
