-- The epoch of the file. It increases when the file may be a copy of itself: restored, cloned, or accepted with a loss.
CREATE TABLE epoch (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    number    INTEGER NOT NULL CHECK (number > 0),
    raised_at INTEGER,
    reason    TEXT NOT NULL
) STRICT;
INSERT INTO epoch (singleton, number, reason) VALUES (1, 1, 'new file');
CREATE TRIGGER epoch_only_rises BEFORE UPDATE ON epoch WHEN NEW.number <= OLD.number
BEGIN SELECT RAISE(ABORT, 'the epoch of a file only increases'); END;
CREATE TRIGGER epoch_is_one BEFORE INSERT ON epoch WHEN EXISTS (SELECT 1 FROM epoch)
BEGIN SELECT RAISE(ABORT, 'a file has exactly one epoch'); END;
CREATE TRIGGER epoch_stays BEFORE DELETE ON epoch
BEGIN SELECT RAISE(ABORT, 'the epoch of a file is never deleted'); END;

-- The epoch in which a job was made or released. Only jobs of the file's current epoch run. Negative: the job is held
-- because no handler runs its kind; the absolute value is its original epoch.
ALTER TABLE job ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1 CHECK (epoch <> 0);
DROP INDEX job_ready;
DROP INDEX job_waiting;
DROP INDEX job_unique;
CREATE INDEX job_ready ON job (queue, epoch, priority, seq) WHERE state = 'available';
CREATE INDEX job_waiting ON job (queue, epoch, scheduled_at) WHERE state IN ('scheduled', 'retryable');
-- A held job does not block a new one with the same key.
CREATE UNIQUE INDEX job_unique ON job (unique_key, epoch)
    WHERE unique_key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable');
-- Finished jobs, in the order in which they are deleted.
CREATE INDEX job_completed_at ON job (finalized_at) WHERE state = 'completed';
CREATE INDEX job_given_up_at ON job (finalized_at) WHERE state IN ('cancelled', 'discarded');
