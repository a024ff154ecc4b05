-- Whether everybody may see that there is such a product: the choices of a recipient, the form.
ALTER TABLE product ADD COLUMN public INTEGER NOT NULL DEFAULT 1;

-- The texts that people said yes to, as they stood (GD-2). Never changed, never deleted: consents name them.
-- The text in force of a name and language is the one that was chosen last; without any, the program's own.
CREATE TABLE wording (
    name       TEXT NOT NULL,
    language   TEXT NOT NULL,
    hash       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    text       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    chosen_at  INTEGER,
    PRIMARY KEY (name, language, hash)
) STRICT, WITHOUT ROWID;

-- What people ask of the operator by the pages, with the day until which it must be done (GD-4).
CREATE TABLE request (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT NOT NULL,
    address_hash BLOB NOT NULL,
    campaign_id  INTEGER,
    text         TEXT NOT NULL,
    received_at  INTEGER NOT NULL,
    due_on       TEXT NOT NULL,
    done_at      INTEGER,
    note         TEXT NOT NULL
) STRICT;
CREATE INDEX request_of ON request (address_hash);

-- Who asked by a form to receive mail about a product, until they confirm (double opt-in). The plain
-- address is kept no longer than the link works.
CREATE TABLE subscription (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    product      TEXT NOT NULL,
    address      TEXT NOT NULL,
    address_hash BLOB NOT NULL,
    language     TEXT NOT NULL,
    wording      TEXT NOT NULL,
    asked_at     INTEGER NOT NULL,
    confirmed_at INTEGER,
    mail         TEXT NOT NULL,
    mail_tries   INTEGER NOT NULL,
    next_mail_at INTEGER,
    message_id   TEXT NOT NULL
) STRICT;
CREATE INDEX subscription_of ON subscription (address_hash, asked_at);
CREATE INDEX subscription_waiting ON subscription (next_mail_at) WHERE next_mail_at IS NOT NULL;
CREATE INDEX subscription_kept ON subscription (asked_at) WHERE address <> '';
