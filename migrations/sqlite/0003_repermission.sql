-- An old list, sorted: what was read and how, what was decided, and how the question is sent.
CREATE TABLE repermission_plan (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    product     TEXT NOT NULL,
    state       TEXT NOT NULL,
    made_at     INTEGER NOT NULL,
    as_of       INTEGER NOT NULL,
    document    TEXT NOT NULL,
    campaign_id INTEGER,
    waves       TEXT NOT NULL,
    askable     INTEGER NOT NULL,
    asked       INTEGER NOT NULL,
    wave        INTEGER NOT NULL,
    wave_ended_at INTEGER,
    stopped_by  TEXT NOT NULL,
    applied_at  INTEGER,
    forgotten_at INTEGER
) STRICT;
CREATE INDEX repermission_plan_campaign ON repermission_plan (campaign_id) WHERE campaign_id IS NOT NULL;

-- A line and its group. The person's data stand here only while the person may be asked and has not been.
CREATE TABLE repermission_line (
    plan_id      INTEGER NOT NULL REFERENCES repermission_plan (id) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    file         INTEGER NOT NULL,
    line         INTEGER NOT NULL,
    sorted_into  TEXT NOT NULL,
    code         TEXT NOT NULL,
    rules        TEXT NOT NULL,
    address_hash BLOB,
    person       TEXT NOT NULL,
    refusals     TEXT NOT NULL,
    asked        TEXT NOT NULL,
    PRIMARY KEY (plan_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX repermission_line_askable ON repermission_line (plan_id, position) WHERE sorted_into = 'askable';
CREATE INDEX repermission_line_refusals ON repermission_line (plan_id, position) WHERE refusals <> '';
CREATE INDEX repermission_line_person ON repermission_line (address_hash) WHERE person <> '';
