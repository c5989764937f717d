-- Rate-limit buckets that a restart must not reset: the emptiest of some groups of routes, until they are full again.
CREATE TABLE rate_bucket (
    policy  TEXT NOT NULL CHECK (policy <> ''),
    address TEXT NOT NULL CHECK (address <> ''),
    full_at INTEGER NOT NULL,
    PRIMARY KEY (policy, address)
) STRICT, WITHOUT ROWID;
