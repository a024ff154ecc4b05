-- What keeps a worker from the mail server; empty: nothing that it knows of.
ALTER TABLE worker ADD COLUMN trouble TEXT NOT NULL DEFAULT '';
