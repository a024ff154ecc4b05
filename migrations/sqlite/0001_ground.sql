-- Instants are milliseconds since 1970 UTC, made by the application. Text that may be unknown is ''.
-- A date that law speaks of is text: YYYY-MM-DD, or an RFC 3339 instant.

CREATE TABLE key_fingerprint (
    name        TEXT PRIMARY KEY NOT NULL,
    fingerprint TEXT NOT NULL
) STRICT;

CREATE TABLE product (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    slug         TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    for_business INTEGER NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE contact (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    address          TEXT NOT NULL,
    address_hash     BLOB NOT NULL UNIQUE,
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
    informed         INTEGER NOT NULL,
    similar_offer    INTEGER NOT NULL,
    same_entity      INTEGER NOT NULL,
    refusal_offered  INTEGER NOT NULL,
    relationship_end TEXT NOT NULL,
    last_activity    TEXT NOT NULL,
    last_activity_at TEXT NOT NULL,
    paused_until     TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    changed_at       INTEGER NOT NULL
) STRICT;

-- Append-only: the state of a consent is derived from its events.
CREATE TABLE consent (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    contact_id  INTEGER NOT NULL REFERENCES contact (id) ON DELETE CASCADE,
    purpose     TEXT NOT NULL,
    product     TEXT NOT NULL,
    state       TEXT NOT NULL,
    at          INTEGER,
    proof       TEXT NOT NULL,
    evidence    TEXT NOT NULL,
    origin      TEXT NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX consent_once ON consent (contact_id, purpose, product, state, COALESCE(at, -1), proof, evidence);

-- No reference to contact: a refusal outlives the person's data. Rows are never deleted, only lifted.
CREATE TABLE suppression (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    scope         TEXT NOT NULL,
    product       TEXT NOT NULL,
    domain        TEXT NOT NULL,
    address       TEXT NOT NULL,
    address_hash  BLOB,
    foreign_hash  TEXT NOT NULL,
    reason        TEXT NOT NULL,
    origin        TEXT NOT NULL,
    at            INTEGER,
    campaign_id   INTEGER,
    note          TEXT NOT NULL,
    recorded_at   INTEGER NOT NULL,
    lifted_at     INTEGER,
    lifted_reason TEXT NOT NULL
) STRICT;
CREATE INDEX suppression_address ON suppression (address_hash) WHERE address_hash IS NOT NULL;
CREATE INDEX suppression_domain ON suppression (domain) WHERE domain <> '';
CREATE INDEX suppression_foreign ON suppression (foreign_hash) WHERE foreign_hash <> '';

CREATE TABLE campaign (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    slug            TEXT NOT NULL UNIQUE,
    product         TEXT NOT NULL,
    kind            TEXT NOT NULL,
    state           TEXT NOT NULL,
    source          TEXT NOT NULL,
    format          TEXT NOT NULL,
    frozen          TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    changed_at      INTEGER NOT NULL,
    scheduled_at    INTEGER,
    launched_at     INTEGER,
    finished_at     INTEGER,
    enqueue_after   INTEGER NOT NULL,
    enqueued_at     INTEGER
) STRICT;

-- The queue and its memory: one row per person asked for.
CREATE TABLE delivery (
    campaign_id     INTEGER NOT NULL,
    contact_id      INTEGER NOT NULL,
    address_hash    BLOB NOT NULL,
    state           TEXT NOT NULL,
    code            TEXT NOT NULL,
    tracking        TEXT NOT NULL,
    rules_version   TEXT NOT NULL,
    relationship    TEXT NOT NULL,
    provider_group  TEXT NOT NULL,
    decided_at      INTEGER NOT NULL,
    worker_id       INTEGER,
    attempts        INTEGER NOT NULL,
    next_attempt_at INTEGER,
    submitted_at    INTEGER,
    ended_at        INTEGER,
    bounce_class    TEXT NOT NULL,
    reply           TEXT NOT NULL,
    PRIMARY KEY (campaign_id, contact_id)
) STRICT, WITHOUT ROWID;
-- Whoever is erased and imported again while a campaign runs is still the same person.
CREATE UNIQUE INDEX delivery_address ON delivery (campaign_id, address_hash);
CREATE INDEX delivery_queued ON delivery (campaign_id, contact_id) WHERE state = 'queued';
CREATE INDEX delivery_deferred ON delivery (campaign_id, next_attempt_at) WHERE state = 'deferred';
CREATE INDEX delivery_in_hand ON delivery (campaign_id, worker_id) WHERE state IN ('claimed', 'submitting');
CREATE INDEX delivery_unknown ON delivery (campaign_id, contact_id) WHERE state = 'unknown';

-- What people did after the message left.
CREATE TABLE event (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id  INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    class        TEXT NOT NULL,
    address_hash BLOB NOT NULL,
    at           INTEGER NOT NULL
) STRICT;
CREATE INDEX event_of_campaign ON event (campaign_id, kind, at);

-- When a person was last asked for permission about a product (RP-6); survives the contact as a hash.
CREATE TABLE repermission_ask (
    address_hash BLOB NOT NULL,
    product      TEXT NOT NULL,
    asked_at     INTEGER NOT NULL,
    PRIMARY KEY (address_hash, product)
) STRICT, WITHOUT ROWID;

CREATE TABLE worker (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    beat       INTEGER NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;

-- How far an import came; the same file goes on where it was interrupted.
CREATE TABLE import (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    lines       INTEGER NOT NULL,
    added       INTEGER NOT NULL,
    changed     INTEGER NOT NULL,
    unchanged   INTEGER NOT NULL,
    refused     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX import_open ON import (fingerprint) WHERE finished_at IS NULL;

CREATE TABLE import_refusal (
    import_id   INTEGER NOT NULL REFERENCES import (id) ON DELETE CASCADE,
    line        INTEGER NOT NULL,
    column_name TEXT NOT NULL,
    code        TEXT NOT NULL,
    message     TEXT NOT NULL
) STRICT;
CREATE INDEX import_refusal_of ON import_refusal (import_id, line);
