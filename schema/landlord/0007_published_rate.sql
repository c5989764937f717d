-- Published exchange rates, one copy for all tenants: the amount of a currency for one euro, by day of publication. A
-- tenant's documents keep a copy of the rate they used in the tenant's own file. Rows never change: a correction is a
-- later row for the same day, and the last row counts.
CREATE TABLE published_rate (
    seq         INTEGER PRIMARY KEY,
    source      TEXT NOT NULL CHECK (source IN ('ecb')),
    day         TEXT NOT NULL CHECK (length(day) = 10),
    currency    TEXT NOT NULL CHECK (length(currency) = 3),
    rate        TEXT NOT NULL CHECK (rate <> ''),
    imported_at INTEGER NOT NULL
) STRICT;
CREATE INDEX published_rate_by_currency ON published_rate (currency, day, seq, rate);
CREATE TRIGGER published_rate_not_replaced BEFORE INSERT ON published_rate
WHEN EXISTS (SELECT 1 FROM published_rate WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'published rates are never replaced'); END;
CREATE TRIGGER published_rate_no_update BEFORE UPDATE ON published_rate
BEGIN SELECT RAISE(ABORT, 'published rates are never changed'); END;
CREATE TRIGGER published_rate_no_delete BEFORE DELETE ON published_rate
BEGIN SELECT RAISE(ABORT, 'published rates are never deleted'); END;

-- The schedule of the daily fetch, kept across restarts so that frequent restarts do not cause more requests.
CREATE TABLE rate_fetch (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    next_at   INTEGER NOT NULL,
    failures  INTEGER NOT NULL CHECK (failures >= 0)
) STRICT;
