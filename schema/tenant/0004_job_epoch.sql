-- Which life of the file this is. It rises when the file is taken for a copy of itself: restored, cloned, or accepted although it lacks something.
CREATE TABLE epoch (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    number    INTEGER NOT NULL CHECK (number > 0),
    raised_at INTEGER,
    reason    TEXT NOT NULL
) STRICT;
INSERT INTO epoch (singleton, number, reason) VALUES (1, 1, 'new file');
CREATE TRIGGER epoch_only_rises BEFORE UPDATE ON epoch WHEN NEW.number <= OLD.number
BEGIN SELECT RAISE(ABORT, 'the epoch of a file only rises'); END;
CREATE TRIGGER epoch_is_one BEFORE INSERT ON epoch WHEN EXISTS (SELECT 1 FROM epoch)
BEGIN SELECT RAISE(ABORT, 'a file has one epoch, which only rises'); END;
CREATE TRIGGER epoch_stays BEFORE DELETE ON epoch BEGIN SELECT RAISE(ABORT, 'a file has an epoch'); END;

-- The epoch a job was made in, or released into. Only those of the file's own run. Below zero: held because nothing runs its kind; what it had is the
-- number without its sign.
ALTER TABLE job ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1 CHECK (epoch <> 0);
DROP INDEX job_ready;
DROP INDEX job_waiting;
DROP INDEX job_unique;
CREATE INDEX job_ready ON job (queue, epoch, priority, seq) WHERE state = 'available';
CREATE INDEX job_waiting ON job (queue, epoch, scheduled_at) WHERE state IN ('scheduled', 'retryable');
-- One that is held does not stand in the way of a new one.
CREATE UNIQUE INDEX job_unique ON job (unique_key, epoch) WHERE unique_key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable');
-- What has ended, in the order in which it goes.
CREATE INDEX job_completed_at ON job (finalized_at) WHERE state = 'completed';
CREATE INDEX job_given_up_at ON job (finalized_at) WHERE state IN ('cancelled', 'discarded');
