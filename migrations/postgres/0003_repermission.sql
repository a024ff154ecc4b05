-- An old list, sorted: what was read and how, what was decided, and how the question is sent.
CREATE TABLE repermission_plan (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product     TEXT NOT NULL,
    state       TEXT NOT NULL,
    made_at     BIGINT NOT NULL,
    as_of       BIGINT NOT NULL,
    document    TEXT NOT NULL,
    campaign_id BIGINT,
    waves       TEXT NOT NULL,
    askable     BIGINT NOT NULL,
    asked       BIGINT NOT NULL,
    wave        BIGINT NOT NULL,
    wave_ended_at BIGINT,
    stopped_by  TEXT NOT NULL,
    applied_at  BIGINT,
    forgotten_at BIGINT
);
CREATE INDEX repermission_plan_campaign ON repermission_plan (campaign_id) WHERE campaign_id IS NOT NULL;

-- A line and its group. The person's data stand here only while the person may be asked and has not been.
CREATE TABLE repermission_line (
    plan_id      BIGINT NOT NULL REFERENCES repermission_plan (id) ON DELETE CASCADE,
    position     BIGINT NOT NULL,
    file         BIGINT NOT NULL,
    line         BIGINT NOT NULL,
    sorted_into  TEXT NOT NULL,
    code         TEXT NOT NULL,
    rules        TEXT NOT NULL,
    address_hash BYTEA,
    person       TEXT NOT NULL,
    refusals     TEXT NOT NULL,
    asked        TEXT NOT NULL,
    PRIMARY KEY (plan_id, position)
);
CREATE INDEX repermission_line_askable ON repermission_line (plan_id, position) WHERE sorted_into = 'askable';
CREATE INDEX repermission_line_refusals ON repermission_line (plan_id, position) WHERE refusals <> '';
CREATE INDEX repermission_line_person ON repermission_line (address_hash) WHERE person <> '';
