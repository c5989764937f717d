-- Finds the few cancelled and discarded jobs among all others.
CREATE INDEX job_given_up ON job (state) WHERE state IN ('cancelled', 'discarded');
