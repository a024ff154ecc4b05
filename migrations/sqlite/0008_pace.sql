-- When the next message of a scope may leave, in nanoseconds: one row is the shared pace of every process.
CREATE TABLE bucket (
    scope   TEXT PRIMARY KEY NOT NULL,
    next_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How many messages of a scope were let go in an hour or a day.
CREATE TABLE spent (
    scope   TEXT NOT NULL,
    period  TEXT NOT NULL,
    n       INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    PRIMARY KEY (scope, period)
) STRICT, WITHOUT ROWID;

-- Groups of mailbox providers that pushed back: suspended, then on probation. A group without a row is well.
CREATE TABLE provider_group (
    name            TEXT PRIMARY KEY NOT NULL,
    suspended_until INTEGER NOT NULL,
    strikes         INTEGER NOT NULL,
    step            INTEGER NOT NULL,
    stepped_at      INTEGER NOT NULL,
    seen_per_hour   INTEGER NOT NULL,
    base_per_hour   INTEGER NOT NULL,
    accepted        INTEGER NOT NULL,
    class           TEXT NOT NULL,
    reply           TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What became of submissions, counted. Each worker has rows of its own, so that none waits for another.
CREATE TABLE outcome_count (
    campaign_id    INTEGER NOT NULL,
    provider_group TEXT NOT NULL,
    worker_id      INTEGER NOT NULL,
    accepted       INTEGER NOT NULL,
    deferred       INTEGER NOT NULL,
    bounced        INTEGER NOT NULL,
    hard           INTEGER NOT NULL,
    config         INTEGER NOT NULL,
    content        INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, provider_group, worker_id)
) STRICT, WITHOUT ROWID;

-- The lanes of a campaign: a group and a time zone, claimed apart, so that one that waits holds up no other.
CREATE TABLE lane (
    campaign_id    INTEGER NOT NULL,
    provider_group TEXT NOT NULL,
    zone           TEXT NOT NULL,
    PRIMARY KEY (campaign_id, provider_group, zone)
) STRICT, WITHOUT ROWID;

-- What DNS told of recipients' domains: whose mailboxes they are.
CREATE TABLE mail_domain (
    domain         TEXT PRIMARY KEY NOT NULL,
    provider_group TEXT NOT NULL,
    learnt_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE delivery ADD COLUMN zone TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN first_submitted_at INTEGER;
DROP INDEX delivery_queued;
DROP INDEX delivery_deferred;
CREATE INDEX delivery_queued ON delivery (campaign_id, provider_group, zone, contact_id) WHERE state = 'queued';
CREATE INDEX delivery_deferred ON delivery (campaign_id, provider_group, zone, next_attempt_at)
    WHERE state = 'deferred';
INSERT INTO lane (campaign_id, provider_group, zone)
    SELECT DISTINCT campaign_id, provider_group, zone FROM delivery WHERE state IN ('queued', 'claimed', 'deferred');

-- Why a campaign was stopped automatically, and from where its numbers are judged anew after it was resumed.
ALTER TABLE campaign ADD COLUMN stop_code TEXT NOT NULL DEFAULT '';
ALTER TABLE campaign ADD COLUMN stop_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN stop_of INTEGER NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_accepted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_bounced INTEGER NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_hard INTEGER NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_config INTEGER NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_content INTEGER NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_complaints INTEGER NOT NULL DEFAULT 0;
