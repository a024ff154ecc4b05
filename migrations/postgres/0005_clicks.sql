-- The day of a person's last open, overwritten each time (TRK-2).
CREATE TABLE last_open (
    address_hash BYTEA PRIMARY KEY NOT NULL,
    day          TEXT NOT NULL
);

-- Fetches of the pixel that is the same for everybody: counts, and nobody in them (TRK-8).
CREATE TABLE anonymous_open (
    campaign_id BIGINT NOT NULL,
    class       TEXT NOT NULL,
    n           BIGINT NOT NULL,
    PRIMARY KEY (campaign_id, class)
);

-- Clicks become last contacts once they are known to be a person's.
CREATE INDEX event_click ON event (at) WHERE kind = 'click';
-- Opens and clicks are forgotten with retention.
CREATE INDEX event_open ON event (at) WHERE kind = 'open';
