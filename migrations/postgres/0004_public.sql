-- Whether everybody may see that there is such a product: the choices of a recipient, the form.
ALTER TABLE product ADD COLUMN public BOOLEAN NOT NULL DEFAULT TRUE;

-- The texts that people said yes to, as they stood (GD-2). Never changed, never deleted: consents name them.
-- The text in force of a name and language is the one that was chosen last; without any, the program's own.
CREATE TABLE wording (
    name       TEXT NOT NULL,
    language   TEXT NOT NULL,
    hash       TEXT NOT NULL,
    version    BIGINT NOT NULL,
    text       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    chosen_at  BIGINT,
    PRIMARY KEY (name, language, hash)
);

-- What people ask of the operator by the pages, with the day until which it must be done (GD-4).
CREATE TABLE request (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         TEXT NOT NULL,
    address_hash BYTEA NOT NULL,
    campaign_id  BIGINT,
    text         TEXT NOT NULL,
    received_at  BIGINT NOT NULL,
    due_on       TEXT NOT NULL,
    done_at      BIGINT,
    note         TEXT NOT NULL
);
CREATE INDEX request_of ON request (address_hash);

-- Who asked by a form to receive mail about a product, until they confirm (double opt-in). The plain
-- address is kept no longer than the link works.
CREATE TABLE subscription (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product      TEXT NOT NULL,
    address      TEXT NOT NULL,
    address_hash BYTEA NOT NULL,
    language     TEXT NOT NULL,
    wording      TEXT NOT NULL,
    asked_at     BIGINT NOT NULL,
    confirmed_at BIGINT,
    mail         TEXT NOT NULL,
    mail_tries   BIGINT NOT NULL,
    next_mail_at BIGINT,
    message_id   TEXT NOT NULL
);
CREATE INDEX subscription_of ON subscription (address_hash, asked_at);
CREATE INDEX subscription_waiting ON subscription (next_mail_at) WHERE next_mail_at IS NOT NULL;
CREATE INDEX subscription_kept ON subscription (asked_at) WHERE address <> '';
