-- When the next message of a scope may leave, in nanoseconds: one row is the shared pace of every process.
CREATE TABLE bucket (
    scope   TEXT PRIMARY KEY NOT NULL,
    next_at BIGINT NOT NULL
);

-- How many messages of a scope were let go in an hour or a day.
CREATE TABLE spent (
    scope   TEXT NOT NULL,
    period  TEXT NOT NULL,
    n       BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    PRIMARY KEY (scope, period)
);

-- Groups of mailbox providers that pushed back: suspended, then on probation. A group without a row is well.
CREATE TABLE provider_group (
    name            TEXT PRIMARY KEY NOT NULL,
    suspended_until BIGINT NOT NULL,
    strikes         BIGINT NOT NULL,
    step            BIGINT NOT NULL,
    stepped_at      BIGINT NOT NULL,
    seen_per_hour   BIGINT NOT NULL,
    base_per_hour   BIGINT NOT NULL,
    accepted        BIGINT NOT NULL,
    class           TEXT NOT NULL,
    reply           TEXT NOT NULL
);

-- What became of submissions, counted. Each worker has rows of its own, so that none waits for another.
CREATE TABLE outcome_count (
    campaign_id    BIGINT NOT NULL,
    provider_group TEXT NOT NULL,
    worker_id      BIGINT NOT NULL,
    accepted       BIGINT NOT NULL,
    deferred       BIGINT NOT NULL,
    bounced        BIGINT NOT NULL,
    hard           BIGINT NOT NULL,
    config         BIGINT NOT NULL,
    content        BIGINT NOT NULL,
    PRIMARY KEY (campaign_id, provider_group, worker_id)
);

-- The lanes of a campaign: a group and a time zone, claimed apart, so that one that waits holds up no other.
CREATE TABLE lane (
    campaign_id    BIGINT NOT NULL,
    provider_group TEXT NOT NULL,
    zone           TEXT NOT NULL,
    PRIMARY KEY (campaign_id, provider_group, zone)
);

-- What DNS told of recipients' domains: whose mailboxes they are.
CREATE TABLE mail_domain (
    domain         TEXT PRIMARY KEY NOT NULL,
    provider_group TEXT NOT NULL,
    learnt_at      BIGINT NOT NULL
);

ALTER TABLE delivery ADD COLUMN zone TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN first_submitted_at BIGINT;
DROP INDEX delivery_queued;
DROP INDEX delivery_deferred;
CREATE INDEX delivery_queued ON delivery (campaign_id, provider_group, zone, contact_id) WHERE state = 'queued';
CREATE INDEX delivery_deferred ON delivery (campaign_id, provider_group, zone, next_attempt_at)
    WHERE state = 'deferred';
INSERT INTO lane (campaign_id, provider_group, zone)
    SELECT DISTINCT campaign_id, provider_group, zone FROM delivery WHERE state IN ('queued', 'claimed', 'deferred');

-- Why a campaign was stopped automatically, and from where its numbers are judged anew after it was resumed.
ALTER TABLE campaign ADD COLUMN stop_code TEXT NOT NULL DEFAULT '';
ALTER TABLE campaign ADD COLUMN stop_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN stop_of BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_accepted BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_bounced BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_hard BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_config BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_content BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaign ADD COLUMN judged_complaints BIGINT NOT NULL DEFAULT 0;
