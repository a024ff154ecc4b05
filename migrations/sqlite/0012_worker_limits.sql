-- A mark of the limits that a worker keeps: all workers should keep the same.
ALTER TABLE worker ADD COLUMN limits TEXT NOT NULL DEFAULT '';
