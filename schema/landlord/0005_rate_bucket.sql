-- Who has asked so often that a restart must not let them begin anew: the emptiest buckets of some groups of routes, until they are full again.
CREATE TABLE rate_bucket (
    policy  TEXT NOT NULL CHECK (policy <> ''),
    address TEXT NOT NULL CHECK (address <> ''),
    full_at INTEGER NOT NULL,
    PRIMARY KEY (policy, address)
) STRICT, WITHOUT ROWID;
