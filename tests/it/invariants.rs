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
        "a delivery on the wire that nobody submits any more",
        "SELECT COUNT(*) FROM on_wire w WHERE NOT EXISTS (SELECT 1 FROM delivery d WHERE d.campaign_id = w.campaign_id
         AND d.contact_id = w.contact_id AND d.state IN ('queued', 'claimed'))",
    ),
    ("a delivery on the wire of nobody", "SELECT COUNT(*) FROM on_wire WHERE worker_id NOT IN (SELECT id FROM worker)"),
    (
        "a delivery twice on the wire",
        "SELECT COUNT(*) FROM (SELECT 1 FROM on_wire GROUP BY campaign_id, contact_id HAVING COUNT(*) > 1) AS twice",
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
         BEGIN SELECT RAISE(ABORT, 'invariant broken: what may have been sent is sent again'); END;
         CREATE TRIGGER no_second_place BEFORE UPDATE OF state ON delivery WHEN NEW.state = 'submitting'
         BEGIN SELECT RAISE(ABORT, 'invariant broken: what is on the wire is written into its row'); END;
         CREATE TRIGGER no_other_end BEFORE UPDATE OF state ON delivery
         WHEN OLD.state IN ('queued', 'claimed') AND (NEW.state IN ('queued', 'claimed', 'blocked', 'cancelled')
         OR NEW.state = 'bounced' AND NEW.attempts = OLD.attempts)
         AND EXISTS (SELECT 1 FROM on_wire w WHERE w.campaign_id = OLD.campaign_id AND w.contact_id = OLD.contact_id)
         BEGIN SELECT RAISE(ABORT, 'invariant broken: what is on the wire is said never to have left'); END;
         CREATE TRIGGER no_odd_list AFTER INSERT ON wire
         WHEN EXISTS (SELECT 1 FROM on_wire w WHERE NOT EXISTS (SELECT 1 FROM delivery d
         WHERE d.campaign_id = w.campaign_id AND d.contact_id = w.contact_id AND d.state IN ('queued', 'claimed')))
         BEGIN SELECT RAISE(ABORT, 'invariant broken: what has ended is on the wire'); END;
         CREATE TRIGGER no_ended_listed AFTER UPDATE ON wire
         WHEN EXISTS (SELECT 1 FROM on_wire w WHERE NOT EXISTS (SELECT 1 FROM delivery d
         WHERE d.campaign_id = w.campaign_id AND d.contact_id = w.contact_id AND d.state IN ('queued', 'claimed')))
         BEGIN SELECT RAISE(ABORT, 'invariant broken: what has ended is on the wire'); END;
         CREATE TRIGGER no_silent_return AFTER UPDATE ON wire
         WHEN EXISTS (SELECT 1 FROM json_each(OLD.contacts) b, json_each(b.value, '$[2]') c JOIN delivery d
         ON d.campaign_id = b.value ->> 0 AND d.contact_id = c.value AND d.state IN ('queued', 'claimed')
         WHERE c.value NOT IN (SELECT w.contact_id FROM on_wire w WHERE w.campaign_id = d.campaign_id))
         BEGIN SELECT RAISE(ABORT, 'invariant broken: what is on the wire may be claimed again'); END;
         CREATE TRIGGER no_silent_end AFTER DELETE ON wire
         WHEN EXISTS (SELECT 1 FROM json_each(OLD.contacts) b, json_each(b.value, '$[2]') c JOIN delivery d
         ON d.campaign_id = b.value ->> 0 AND d.contact_id = c.value AND d.state IN ('queued', 'claimed'))
         BEGIN SELECT RAISE(ABORT, 'invariant broken: what is on the wire may be claimed again'); END;",
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
