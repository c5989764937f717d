-- What an operator looks for: few rows among all that have run.
CREATE INDEX job_given_up ON job (state) WHERE state IN ('cancelled', 'discarded');
