-- Instants are milliseconds since 1970 UTC, made by the application. Text that may be unknown is ''.
-- A date that law speaks of is text: YYYY-MM-DD, or an RFC 3339 instant.

CREATE TABLE key_fingerprint (
    name        TEXT PRIMARY KEY NOT NULL,
    fingerprint TEXT NOT NULL
);

CREATE TABLE product (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug         TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    for_business BOOLEAN NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE contact (
    id               BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address          TEXT NOT NULL,
    address_hash     BYTEA NOT NULL UNIQUE,
    kind             TEXT NOT NULL,
    address_kind     TEXT NOT NULL,
    legal_form       TEXT NOT NULL,
    relationship     TEXT NOT NULL,
    first_name       TEXT NOT NULL,
    last_name        TEXT NOT NULL,
    company          TEXT NOT NULL,
    job_title        TEXT NOT NULL,
    country          TEXT NOT NULL,
    regime           TEXT NOT NULL,
    language         TEXT NOT NULL,
    time_zone        TEXT NOT NULL,
    source           TEXT NOT NULL,
    source_kind      TEXT NOT NULL,
    collected_at     TEXT NOT NULL,
    informed         BOOLEAN NOT NULL,
    similar_offer    BOOLEAN NOT NULL,
    same_entity      BOOLEAN NOT NULL,
    refusal_offered  BOOLEAN NOT NULL,
    relationship_end TEXT NOT NULL,
    last_activity    TEXT NOT NULL,
    last_activity_at TEXT NOT NULL,
    paused_until     TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    changed_at       BIGINT NOT NULL
);

-- Append-only: the state of a consent is derived from its events.
CREATE TABLE consent (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contact_id  BIGINT NOT NULL REFERENCES contact (id) ON DELETE CASCADE,
    purpose     TEXT NOT NULL,
    product     TEXT NOT NULL,
    state       TEXT NOT NULL,
    at          BIGINT,
    proof       TEXT NOT NULL,
    evidence    TEXT NOT NULL,
    origin      TEXT NOT NULL,
    recorded_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX consent_once ON consent (contact_id, purpose, product, state, COALESCE(at, -1), proof, evidence);

-- No reference to contact: a refusal outlives the person's data. Rows are never deleted, only lifted.
CREATE TABLE suppression (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope         TEXT NOT NULL,
    product       TEXT NOT NULL,
    domain        TEXT NOT NULL,
    address       TEXT NOT NULL,
    address_hash  BYTEA,
    foreign_hash  TEXT NOT NULL,
    reason        TEXT NOT NULL,
    origin        TEXT NOT NULL,
    at            BIGINT,
    campaign_id   BIGINT,
    note          TEXT NOT NULL,
    recorded_at   BIGINT NOT NULL,
    lifted_at     BIGINT,
    lifted_reason TEXT NOT NULL
);
CREATE INDEX suppression_address ON suppression (address_hash) WHERE address_hash IS NOT NULL;
CREATE INDEX suppression_domain ON suppression (domain) WHERE domain <> '';
CREATE INDEX suppression_foreign ON suppression (foreign_hash) WHERE foreign_hash <> '';

CREATE TABLE campaign (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug            TEXT NOT NULL UNIQUE,
    product         TEXT NOT NULL,
    kind            TEXT NOT NULL,
    state           TEXT NOT NULL,
    source          TEXT NOT NULL,
    format          TEXT NOT NULL,
    frozen          TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    changed_at      BIGINT NOT NULL,
    scheduled_at    BIGINT,
    launched_at     BIGINT,
    finished_at     BIGINT,
    enqueue_after   BIGINT NOT NULL,
    enqueued_at     BIGINT
);

-- The queue and its memory: one row per person asked for.
CREATE TABLE delivery (
    campaign_id     BIGINT NOT NULL,
    contact_id      BIGINT NOT NULL,
    address_hash    BYTEA NOT NULL,
    state           TEXT NOT NULL,
    code            TEXT NOT NULL,
    tracking        TEXT NOT NULL,
    rules_version   TEXT NOT NULL,
    relationship    TEXT NOT NULL,
    provider_group  TEXT NOT NULL,
    decided_at      BIGINT NOT NULL,
    worker_id       BIGINT,
    attempts        BIGINT NOT NULL,
    next_attempt_at BIGINT,
    submitted_at    BIGINT,
    ended_at        BIGINT,
    bounce_class    TEXT NOT NULL,
    reply           TEXT NOT NULL,
    PRIMARY KEY (campaign_id, contact_id)
) PARTITION BY HASH (campaign_id);
-- A delivery is updated three or four times: room on its page keeps the updates in place.
CREATE TABLE delivery_0 PARTITION OF delivery FOR VALUES WITH (MODULUS 4, REMAINDER 0)
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE delivery_1 PARTITION OF delivery FOR VALUES WITH (MODULUS 4, REMAINDER 1)
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE delivery_2 PARTITION OF delivery FOR VALUES WITH (MODULUS 4, REMAINDER 2)
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE delivery_3 PARTITION OF delivery FOR VALUES WITH (MODULUS 4, REMAINDER 3)
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
-- Whoever is erased and imported again while a campaign runs is still the same person.
CREATE UNIQUE INDEX delivery_address ON delivery (campaign_id, address_hash);
CREATE INDEX delivery_queued ON delivery (campaign_id, contact_id) WHERE state = 'queued';
CREATE INDEX delivery_deferred ON delivery (campaign_id, next_attempt_at) WHERE state = 'deferred';
CREATE INDEX delivery_in_hand ON delivery (campaign_id, worker_id) WHERE state IN ('claimed', 'submitting');
CREATE INDEX delivery_unknown ON delivery (campaign_id, contact_id) WHERE state = 'unknown';

-- What people did after the message left.
CREATE SEQUENCE event_id;
CREATE TABLE event (
    id           BIGINT NOT NULL DEFAULT nextval('event_id'),
    campaign_id  BIGINT NOT NULL,
    kind         TEXT NOT NULL,
    class        TEXT NOT NULL,
    address_hash BYTEA NOT NULL,
    at           BIGINT NOT NULL,
    PRIMARY KEY (campaign_id, id)
) PARTITION BY HASH (campaign_id);
CREATE TABLE event_0 PARTITION OF event FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE event_1 PARTITION OF event FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE event_2 PARTITION OF event FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE event_3 PARTITION OF event FOR VALUES WITH (MODULUS 4, REMAINDER 3);
CREATE INDEX event_of_campaign ON event (campaign_id, kind, at);

-- When a person was last asked for permission about a product (RP-6); survives the contact as a hash.
CREATE TABLE repermission_ask (
    address_hash BYTEA NOT NULL,
    product      TEXT NOT NULL,
    asked_at     BIGINT NOT NULL,
    PRIMARY KEY (address_hash, product)
);

CREATE TABLE worker (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    beat       BIGINT NOT NULL,
    started_at BIGINT NOT NULL
);

-- How far an import came; the same file goes on where it was interrupted.
CREATE TABLE import (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    started_at  BIGINT NOT NULL,
    finished_at BIGINT,
    lines       BIGINT NOT NULL,
    added       BIGINT NOT NULL,
    changed     BIGINT NOT NULL,
    unchanged   BIGINT NOT NULL,
    refused     BIGINT NOT NULL
);
CREATE UNIQUE INDEX import_open ON import (fingerprint) WHERE finished_at IS NULL;

CREATE TABLE import_refusal (
    import_id   BIGINT NOT NULL REFERENCES import (id) ON DELETE CASCADE,
    line        BIGINT NOT NULL,
    column_name TEXT NOT NULL,
    code        TEXT NOT NULL,
    message     TEXT NOT NULL
);
CREATE INDEX import_refusal_of ON import_refusal (import_id, line);
