-- Grows with every change of a contact: who has read the row can tell whether it still stands.
ALTER TABLE contact ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
