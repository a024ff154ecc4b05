-- What each worker has on the wire: its campaigns, when, and whose messages, as one text that is written once a commit.
-- A delivery's own row is written once, when its end is known: until then it stays as it was claimed.
CREATE TABLE wire (
    worker_id INTEGER PRIMARY KEY NOT NULL,
    contacts  TEXT NOT NULL
) STRICT;
CREATE VIEW on_wire AS
    SELECT w.worker_id AS worker_id, b.value ->> 0 AS campaign_id, c.value AS contact_id, b.value ->> 1 AS submitted_at
    FROM wire w, json_each(w.contacts) b, json_each(b.value, '$[2]') c;

INSERT INTO wire (worker_id, contacts)
    SELECT worker_id, json_group_array(json_array(campaign_id, submitted_at, json_array(contact_id))) FROM delivery
    WHERE worker_id IS NOT NULL AND state = 'submitting' GROUP BY worker_id;
UPDATE delivery SET state = 'claimed', attempts = attempts - 1,
    first_submitted_at = CASE WHEN attempts > 1 THEN first_submitted_at END
    WHERE worker_id IS NOT NULL AND state = 'submitting';
