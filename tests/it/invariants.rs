//! What must hold in the database of every story, whatever happened in it.

use ouinon::store::Db;
use sqlx::AssertSqlSafe;

/// A query that finds nothing, and what it would have found.
const NEVER: &[(&str, &str)] = &[
    (
        "a person with two deliveries of one campaign",
        "SELECT COUNT(*) FROM (SELECT 1 FROM delivery GROUP BY campaign_id, address_hash HAVING COUNT(*) > 1) AS twice",
    ),
    (
        "a delivery in a state that no vocabulary knows",
        "SELECT COUNT(*) FROM delivery WHERE state NOT IN ('queued', 'claimed', 'submitting', 'accepted', 'deferred',
         'bounced', 'blocked', 'unknown', 'cancelled')",
    ),
    (
        "a delivery of no campaign",
        "SELECT COUNT(*) FROM delivery d WHERE NOT EXISTS (SELECT 1 FROM campaign c WHERE c.id = d.campaign_id)",
    ),
    (
        "a delivery without a basis or reason, or without the version of the rules that decided it",
        "SELECT COUNT(*) FROM delivery WHERE code = '' OR rules_version = ''",
    ),
    (
        "a delivery that a worker holds in a state in which nobody may, or that nobody holds in one where one must",
        "SELECT COUNT(*) FROM delivery WHERE (worker_id IS NOT NULL) <> (state IN ('claimed', 'submitting'))",
    ),
    (
        // But for one that passed the gate and was held back: it waits to be due, and has not been submitted.
        "a submitted delivery without a count or an instant of submission",
        "SELECT COUNT(*) FROM delivery WHERE state IN ('submitting', 'accepted', 'deferred', 'bounced', 'unknown')
         AND (attempts = 0 OR submitted_at IS NULL)
         AND NOT (state = 'deferred' AND reply = '' AND attempts = 0 AND submitted_at IS NULL)",
    ),
    (
        "a deferred delivery that is never due",
        "SELECT COUNT(*) FROM delivery WHERE state = 'deferred' AND next_attempt_at IS NULL",
    ),
    (
        "a delivery after an end that is none, or an end without its instant",
        "SELECT COUNT(*) FROM delivery WHERE (state IN ('queued', 'claimed', 'submitting', 'deferred')
         AND ended_at IS NOT NULL) OR (state IN ('accepted', 'bounced', 'unknown', 'cancelled') AND ended_at IS NULL)",
    ),
    (
        "a finished campaign with something left to do",
        "SELECT COUNT(*) FROM campaign c WHERE c.state = 'finished' AND (c.enqueued_at IS NULL OR EXISTS (
         SELECT 1 FROM delivery d WHERE d.campaign_id = c.id
         AND d.state IN ('queued', 'claimed', 'submitting', 'deferred')))",
    ),
    (
        "a suppression that no longer says whom it is about",
        "SELECT COUNT(*) FROM suppression WHERE address_hash IS NULL AND domain = '' AND foreign_hash = ''",
    ),
    (
        "a lifted suppression without the reason",
        "SELECT COUNT(*) FROM suppression WHERE (lifted_at IS NOT NULL) <> (lifted_reason <> '')",
    ),
    (
        "a consent of nobody",
        "SELECT COUNT(*) FROM consent WHERE NOT EXISTS (SELECT 1 FROM contact c WHERE c.id = consent.contact_id)",
    ),
];

/// Triggers that fail whatever deletes a suppression, or makes a delivery sendable again once it may have
/// been sent or has ended. The product has no triggers; these are the story's witnesses.
const WITNESSES: (&str, &str) = (
    "CREATE TRIGGER no_delete BEFORE DELETE ON suppression
         BEGIN SELECT RAISE(ABORT, 'invariant broken: a suppression is deleted'); END;
         CREATE TRIGGER no_return BEFORE UPDATE OF state ON delivery
         WHEN NEW.state IN ('queued', 'claimed', 'submitting')
         AND OLD.state IN ('accepted', 'bounced', 'blocked', 'unknown', 'cancelled')
         BEGIN SELECT RAISE(ABORT, 'invariant broken: a delivery comes back from its end'); END;
         CREATE TRIGGER no_retry BEFORE UPDATE OF state ON delivery
         WHEN NEW.state IN ('queued', 'claimed') AND OLD.state = 'submitting'
         BEGIN SELECT RAISE(ABORT, 'invariant broken: what may have been sent is sent again'); END;",
    "CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN RAISE EXCEPTION ''invariant broken: %'', TG_ARGV[0]; END';
         CREATE TRIGGER no_delete BEFORE DELETE ON suppression
         FOR EACH ROW EXECUTE FUNCTION witness('a suppression is deleted');
         CREATE TRIGGER no_return BEFORE UPDATE OF state ON delivery FOR EACH ROW
         WHEN (NEW.state IN ('queued', 'claimed', 'submitting')
         AND OLD.state IN ('accepted', 'bounced', 'blocked', 'unknown', 'cancelled'))
         EXECUTE FUNCTION witness('a delivery comes back from its end');
         CREATE TRIGGER no_retry BEFORE UPDATE OF state ON delivery FOR EACH ROW
         WHEN (NEW.state IN ('queued', 'claimed') AND OLD.state = 'submitting')
         EXECUTE FUNCTION witness('what may have been sent is sent again')",
);

/// Sets the witnesses on a fresh database.
pub async fn watch(db: &Db) {
    let set = match db {
        Db::Lite { writer, .. } => {
            sqlx::raw_sql(WITNESSES.0).execute(&mut *writer.hold().await.unwrap()).await.map(|_| ())
        }
        Db::Pg(pool) => sqlx::raw_sql(WITNESSES.1).execute(pool).await.map(|_| ()),
    };
    set.expect("the witnesses are set");
}

/// Checks the invariants of `ARCHITECTURE.md` that can be read off the data.
pub async fn check(db: &Db) {
    for (what, sql) in NEVER {
        let found = number(db, sql).await;
        assert_eq!(found, 0, "invariant broken: {what} ({found} rows)");
    }
}

/// The one number that a query answers.
pub async fn number(db: &Db, sql: &str) -> i64 {
    let result = match db {
        Db::Lite { readers, .. } => sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(readers).await,
        Db::Pg(pool) => sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await,
    };
    result.unwrap_or_else(|e| panic!("{sql}: {e}"))
}
