//! On the wire: deliveries whose message may be leaving at this moment, and what becomes of them.
//!
//! Nothing leaves before this is on disk, and whoever is interrupted meanwhile leaves an end that nobody knows. On
//! PostgreSQL the delivery's own row says it, `submitting`, and keeps other workers away. On SQLite, which has one
//! sender, one row of the table `wire` lists them all, written once a commit, and the delivery's own row is written
//! once, when its end is known: until then it stays as it was claimed (decision 0011).

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::FromRow;

use super::Outcome;
use crate::{
    domain::campaigns::DeliveryState,
    store::{Result, Sql, Tx, json, on, rows},
};

/// What a worker has on the wire. What a transaction changes in it is true once that is committed: after one that failed
/// it is to be read again.
#[derive(Debug)]
pub struct Wire {
    worker: i64,
    /// On SQLite everything that is on the wire.
    all: Vec<OnWire>,
    /// What was marked since it was last written.
    marked: Vec<(i64, i64)>,
    has_changed: bool,
}

/// A delivery on the wire.
#[derive(Debug, FromRow)]
struct OnWire {
    campaign_id: i64,
    contact_id: i64,
    submitted_at: i64,
}

/// Whom to mark as submitting, and since when.
#[derive(Serialize)]
struct Going<'a> {
    at: i64,
    contacts: &'a [i64],
}

/// An outcome, and when what it is of was submitted; None: its own row says so.
#[derive(Serialize)]
struct CameBack<'a> {
    #[serde(flatten)]
    outcome: &'a Outcome,
    submitted_at: Option<i64>,
}

/// What the server took, which is nearly everything: what differs from message to message, and no more.
#[derive(Serialize)]
struct Taken<'a> {
    contact_id: i64,
    submitted_at: Option<i64>,
    ended_at: Option<i64>,
    reply: &'a str,
}

// On SQLite it only says whose they still are: the list is written when it is complete. On PostgreSQL what is read from
// the text in a query of its own is read once, not for each row.
const SUBMITTING: Sql = Sql::twin(
    "SELECT json_group_array(contact_id) FROM delivery
     WHERE campaign_id = $1 AND contact_id IN (SELECT value FROM json_each($3, '$.contacts'))
     AND CASE state WHEN 'queued' THEN TRUE WHEN 'claimed' THEN worker_id = $2 END",
    "WITH marked AS (UPDATE delivery SET state = 'submitting', attempts = attempts + 1,
     submitted_at = (SELECT CAST(CAST($3 AS json) ->> 'at' AS BIGINT)),
     first_submitted_at = COALESCE(first_submitted_at, (SELECT CAST(CAST($3 AS json) ->> 'at' AS BIGINT)))
     WHERE campaign_id = $1 AND worker_id IS NOT DISTINCT FROM $2 AND state IS NOT DISTINCT FROM 'claimed'
     AND contact_id = ANY (ARRAY(SELECT CAST(value AS BIGINT)
     FROM json_array_elements_text(CAST($3 AS json) -> 'contacts'))) RETURNING contact_id)
     SELECT CAST(COALESCE(json_agg(contact_id), '[]') AS TEXT) FROM marked",
);
const STILL_SUBMITTING: Sql = Sql::twin(
    "SELECT contact_id FROM on_wire WHERE campaign_id = $1 AND worker_id = $2
     AND contact_id IN (SELECT value FROM json_each($3))",
    "SELECT contact_id FROM delivery WHERE campaign_id = $1 AND worker_id = $2 AND state = 'submitting'
     AND contact_id IN (SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST($3 AS json)))",
);
// On SQLite, here and below: without the fence of MATERIALIZED the planner knows the campaign first, walks over all of
// its deliveries, and looks for each among the rows.
const RECORD: Sql = Sql::twin(
    "WITH r AS MATERIALIZED (SELECT $1 AS campaign_id, CAST(value ->> 'contact_id' AS INTEGER) AS contact_id,
     value ->> 'state' AS state, value ->> 'next_attempt_at' AS next_attempt_at, value ->> 'ended_at' AS ended_at,
     value ->> 'bounce_class' AS bounce_class, value ->> 'reply' AS reply, value ->> 'unsent' AS unsent,
     value ->> 'submitted_at' AS submitted_at FROM jsonb_each($3))
     UPDATE delivery SET state = r.state, next_attempt_at = r.next_attempt_at, ended_at = r.ended_at,
     bounce_class = r.bounce_class, reply = r.reply, worker_id = NULL, attempts = attempts + 1 - r.unsent,
     submitted_at = CASE r.unsent WHEN 0 THEN r.submitted_at ELSE delivery.submitted_at END,
     first_submitted_at = COALESCE(first_submitted_at, CASE r.unsent WHEN 0 THEN r.submitted_at END) FROM r
     WHERE delivery.campaign_id = r.campaign_id AND delivery.contact_id = r.contact_id
     AND CASE delivery.state WHEN 'queued' THEN TRUE WHEN 'claimed' THEN delivery.worker_id = $2 END",
    "UPDATE delivery SET state = r.state, next_attempt_at = r.next_attempt_at, ended_at = r.ended_at,
     bounce_class = r.bounce_class, reply = r.reply, worker_id = NULL, attempts = attempts - r.unsent,
     first_submitted_at = CASE WHEN attempts > r.unsent THEN first_submitted_at END,
     submitted_at = CASE WHEN attempts > r.unsent THEN submitted_at END
     FROM json_to_recordset(CAST($3 AS json)) AS r(contact_id bigint, state text, next_attempt_at bigint,
     ended_at bigint, bounce_class text, reply text, unsent bigint)
     WHERE delivery.campaign_id = $1 AND delivery.contact_id = r.contact_id
     AND delivery.contact_id = ANY (ARRAY(SELECT CAST(value ->> 'contact_id' AS BIGINT)
     FROM json_array_elements(CAST($3 AS json))))
     AND delivery.worker_id IS NOT DISTINCT FROM $2 AND delivery.state IS NOT DISTINCT FROM 'submitting'",
);
const RECORD_TAKEN: Sql = Sql::twin(
    "WITH r AS MATERIALIZED (SELECT $1 AS campaign_id, CAST(value ->> 'contact_id' AS INTEGER) AS contact_id,
     value ->> 'submitted_at' AS submitted_at, value ->> 'ended_at' AS ended_at, value ->> 'reply' AS reply
     FROM jsonb_each($3))
     UPDATE delivery SET state = 'accepted', next_attempt_at = NULL, ended_at = r.ended_at, bounce_class = '',
     reply = r.reply, worker_id = NULL, attempts = attempts + 1, submitted_at = r.submitted_at,
     first_submitted_at = COALESCE(first_submitted_at, r.submitted_at) FROM r
     WHERE delivery.campaign_id = r.campaign_id AND delivery.contact_id = r.contact_id
     AND CASE delivery.state WHEN 'queued' THEN TRUE WHEN 'claimed' THEN delivery.worker_id = $2 END",
    "UPDATE delivery SET state = 'accepted', next_attempt_at = NULL, ended_at = r.ended_at, bounce_class = '',
     reply = r.reply, worker_id = NULL
     FROM json_to_recordset(CAST($3 AS json)) AS r(contact_id bigint, ended_at bigint, reply text)
     WHERE delivery.campaign_id = $1 AND delivery.contact_id = r.contact_id
     AND delivery.contact_id = ANY (ARRAY(SELECT CAST(value ->> 'contact_id' AS BIGINT)
     FROM json_array_elements(CAST($3 AS json))))
     AND delivery.worker_id IS NOT DISTINCT FROM $2 AND delivery.state IS NOT DISTINCT FROM 'submitting'",
);
const RECORD_LATE: Sql = Sql::twin(
    "WITH r AS MATERIALIZED (SELECT $1 AS campaign_id, CAST(value ->> 'contact_id' AS INTEGER) AS contact_id,
     value ->> 'state' AS state, value ->> 'ended_at' AS ended_at, value ->> 'bounce_class' AS bounce_class,
     value ->> 'reply' AS reply FROM jsonb_each($2))
     UPDATE delivery SET state = r.state, ended_at = r.ended_at, bounce_class = r.bounce_class, reply = r.reply FROM r
     WHERE delivery.campaign_id = r.campaign_id AND delivery.contact_id = r.contact_id
     AND delivery.state = 'unknown' AND r.state IN ('accepted', 'bounced')",
    "UPDATE delivery SET state = r.state, ended_at = r.ended_at, bounce_class = r.bounce_class, reply = r.reply
     FROM json_to_recordset(CAST($2 AS json)) AS r(contact_id bigint, state text, ended_at bigint,
     bounce_class text, reply text)
     WHERE delivery.campaign_id = $1 AND delivery.state = 'unknown' AND delivery.contact_id = r.contact_id
     AND r.state IN ('accepted', 'bounced')",
);
const READ: Sql = Sql::same("SELECT campaign_id, contact_id, submitted_at FROM on_wire WHERE worker_id = $1");
const WRITE: Sql = Sql::same(
    "INSERT INTO wire (worker_id, contacts) VALUES ($1, $2)
     ON CONFLICT (worker_id) DO UPDATE SET contacts = excluded.contacts",
);
const CLEAR: Sql = Sql::same("DELETE FROM wire WHERE worker_id = $1");
const ABANDON_LISTED: Sql = Sql::same(
    "WITH w AS MATERIALIZED (SELECT campaign_id, contact_id, submitted_at FROM on_wire WHERE worker_id = $1)
     UPDATE delivery SET state = 'unknown', worker_id = NULL, ended_at = $2, attempts = attempts + 1,
     submitted_at = w.submitted_at, first_submitted_at = COALESCE(first_submitted_at, w.submitted_at) FROM w
     WHERE delivery.campaign_id = w.campaign_id AND delivery.contact_id = w.contact_id
     AND delivery.state IN ('queued', 'claimed')",
);
// What its rows say: on SQLite those of a sender of the release before that was still running when the database was
// changed over.
const ABANDON: Sql = Sql::same(
    "UPDATE delivery SET state = 'unknown', worker_id = NULL, ended_at = $2
     WHERE worker_id = $1 AND state = 'submitting'",
);
const ORPHANS: Sql =
    Sql::same("SELECT worker_id FROM wire WHERE worker_id NOT IN (SELECT id FROM worker) ORDER BY worker_id");

impl Wire {
    /// Of a worker that has nothing on the wire.
    pub fn new(worker: i64) -> Wire {
        Wire { worker, all: Vec::new(), marked: Vec::new(), has_changed: false }
    }

    /// As it is on disk: after a commit whose answer was lost, that is to be asked.
    pub async fn read(tx: &mut Tx, worker: i64) -> Result<Wire> {
        let sql = READ.on(tx);
        let all = on!(tx, |c| sqlx::query_as(sql).bind(worker).fetch_all(c).await)?;
        Ok(Wire { all, ..Wire::new(worker) })
    }

    /// Nothing of it is the worker's any more: it was taken for dead, and others have ended what it had. What is on
    /// disk in its name is for them to remove.
    pub fn lose(&mut self) {
        (self.has_changed, self.all) = (false, Vec::new());
    }

    /// Marks claimed deliveries as being submitted that still are the worker's to submit. [`Wire::write`] says which.
    pub async fn submitting(&mut self, tx: &mut Tx, campaign: i64, contacts: &[i64], now: i64) -> Result<()> {
        if contacts.is_empty() {
            return Ok(());
        }
        let (sql, going) = (SUBMITTING.on(tx), json(&Going { at: now, contacts }));
        let mine: String =
            on!(tx, |c| sqlx::query_scalar(sql).bind(campaign).bind(self.worker).bind(going).fetch_one(c).await)?;
        let mut mine: Vec<i64> = rows(&mine)?;
        if let Tx::Lite(_) = tx {
            // Whoever is on the wire already does not go once more.
            let others = self.all.iter().filter(|on| on.campaign_id == campaign);
            let others: HashSet<i64> = others.map(|on| on.contact_id).collect();
            mine.retain(|contact| !others.contains(contact));
            self.all.extend(mine.iter().map(|contact_id| OnWire {
                campaign_id: campaign,
                contact_id: *contact_id,
                submitted_at: now,
            }));
            self.has_changed = true;
        }
        self.marked.extend(mine.into_iter().map(|contact| (campaign, contact)));
        Ok(())
    }

    /// Those that a commit has marked whose answer was lost, and that never went, may go now.
    pub fn still_may_go(&mut self, campaign: i64, contacts: &[i64]) {
        self.marked.extend(contacts.iter().map(|contact| (campaign, *contact)));
    }

    /// Records what became of submissions, and returns of how many it was the worker's to say.
    pub async fn record(&mut self, tx: &mut Tx, campaign: i64, outcomes: &[&Outcome]) -> Result<u64> {
        let back = match tx {
            Tx::Lite(_) => self.take_back(campaign, outcomes),
            Tx::Pg(_) => outcomes.iter().map(|outcome| CameBack { outcome, submitted_at: None }).collect(),
        };
        let (mut taken, mut others) = (Vec::with_capacity(back.len()), Vec::new());
        for back in back {
            match back.taken() {
                Some(plain) => taken.push(plain),
                None => others.push(back),
            }
        }
        let mut recorded = 0;
        for (sql, rows) in [(RECORD_TAKEN, json(&taken)), (RECORD, json(&others))] {
            if rows == "[]" {
                continue;
            }
            let sql = sql.on(tx);
            recorded += on!(tx, |c| sqlx::query(sql)
                .bind(campaign)
                .bind(self.worker)
                .bind(rows)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
        }
        Ok(recorded)
    }

    /// Takes them off the list, and returns those that stood on it.
    fn take_back<'a>(&mut self, campaign: i64, outcomes: &[&'a Outcome]) -> Vec<CameBack<'a>> {
        let mut ended: HashMap<i64, &Outcome> = outcomes.iter().map(|outcome| (outcome.contact_id, *outcome)).collect();
        let mut back = Vec::with_capacity(outcomes.len());
        self.all.retain(|on| {
            let outcome = if on.campaign_id == campaign { ended.remove(&on.contact_id) } else { None };
            back.extend(outcome.map(|outcome| CameBack { outcome, submitted_at: Some(on.submitted_at) }));
            outcome.is_none()
        });
        self.has_changed |= !back.is_empty();
        back
    }

    /// Writes what changed, and returns campaign and contact of those that were marked since it was last written. Only
    /// these may be sent, and only after the transaction is committed.
    pub async fn write(&mut self, tx: &mut Tx) -> Result<Vec<(i64, i64)>> {
        if std::mem::take(&mut self.has_changed) {
            let worker = self.worker;
            if self.all.is_empty() {
                let sql = CLEAR.on(tx);
                on!(tx, |c| sqlx::query(sql).bind(worker).execute(c).await.map(|_| ()))?;
            } else {
                let (sql, list) = (WRITE.on(tx), self.listed());
                on!(tx, |c| sqlx::query(sql).bind(worker).bind(list).execute(c).await.map(|_| ()))?;
            }
        }
        Ok(std::mem::take(&mut self.marked))
    }

    /// As the table holds it: `[[campaign, submitted_at, [contact, …]], …]`.
    fn listed(&self) -> String {
        let together = self.all.chunk_by(|a, b| (a.campaign_id, a.submitted_at) == (b.campaign_id, b.submitted_at));
        let groups = together.map(|some| {
            (some[0].campaign_id, some[0].submitted_at, some.iter().map(|on| on.contact_id).collect::<Vec<_>>())
        });
        json(&groups.collect::<Vec<_>>())
    }
}

impl<'a> CameBack<'a> {
    /// None: there is more to say of it than that the server has it, and its answer.
    fn taken(&self) -> Option<Taken<'a>> {
        match self.outcome {
            Outcome {
                contact_id,
                state: DeliveryState::Accepted,
                next_attempt_at: None,
                ended_at,
                bounce_class,
                reply,
                unsent: 0,
            } if bounce_class.is_empty() => {
                Some(Taken { contact_id: *contact_id, submitted_at: self.submitted_at, ended_at: *ended_at, reply })
            }
            _ => None,
        }
    }
}

/// Which of these the worker has marked as submitting.
pub async fn still_submitting(tx: &mut Tx, campaign: i64, worker: i64, contacts: &[i64]) -> Result<Vec<i64>> {
    let (sql, list) = (STILL_SUBMITTING.on(tx), json(contacts));
    on!(tx, |c| sqlx::query_scalar(sql).bind(campaign).bind(worker).bind(list).fetch_all(c).await)
}

/// Records what a worker learnt of submissions after others had taken it for dead: the server's word
/// ends what would stay unknown. A refusal that may pass stays unknown, for unknown is never sent again.
pub async fn record_late(tx: &mut Tx, campaign: i64, outcomes: &[&Outcome]) -> Result<u64> {
    let (sql, rows) = (RECORD_LATE.on(tx), json(outcomes));
    on!(tx, |c| sqlx::query(sql).bind(campaign).bind(rows).execute(c).await.map(|d| d.rows_affected()))
}

/// Workers that are off the list of workers and have left something on the wire: on SQLite a sender of the release before
/// that ended after the database was changed over.
pub async fn orphans(tx: &mut Tx) -> Result<Vec<i64>> {
    let sql = ORPHANS.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).fetch_all(c).await)
}

/// What a dead worker had on the wire becomes unknown. Returns how many.
pub(super) async fn abandon(tx: &mut Tx, worker: i64, now: i64) -> Result<u64> {
    let mut unknown = 0;
    for sql in [ABANDON_LISTED, ABANDON].map(|sql| sql.on(tx)) {
        unknown +=
            on!(tx, |c| sqlx::query(sql).bind(worker).bind(now).execute(c).await.map(|done| done.rows_affected()))?;
    }
    let sql = CLEAR.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(worker).execute(c).await.map(|_| ()))?;
    Ok(unknown)
}
