-- SQLite notes here what each worker has on the wire. Here it stays empty: the delivery's own row says it, `submitting`.
CREATE TABLE wire (
    worker_id BIGINT PRIMARY KEY NOT NULL,
    contacts  TEXT NOT NULL
);
CREATE VIEW on_wire AS
    SELECT w.worker_id, CAST(NULL AS BIGINT) AS campaign_id, CAST(NULL AS BIGINT) AS contact_id,
    CAST(NULL AS BIGINT) AS submitted_at FROM wire w WHERE FALSE;
