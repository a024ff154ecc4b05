//! Deliveries: the queue, and the memory of who was asked for, what was decided and what became of it.
//!
//! Every change names the state it starts from and the worker that holds the row, so that whoever
//! comes late changes nothing.

mod counts;
mod wire;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::{
    Result, Sql, Tx,
    lanes::{self, Lane},
    on,
};
use crate::domain::{address::AddressHash, bounces::Past, campaigns::DeliveryState, contacts::Relationship};

pub use counts::{Tally, accepted_series, accepted_since, tally, tracked, unknowns};
pub use wire::{Wire, orphans, record_late, still_submitting};

/// A decided recipient, to be written as a delivery.
#[derive(Debug, Clone, Serialize)]
pub struct Decided {
    /// Key of the contact.
    pub contact_id: i64,
    /// Keyed hash of the address.
    pub address_hash: AddressHash,
    /// Queued or blocked.
    pub state: DeliveryState,
    /// Code of the basis or reason.
    pub code: &'static str,
    /// Tracking that was decided.
    pub tracking: &'static str,
    /// Version of the rules.
    pub rules_version: &'static str,
    /// Relationship at that moment, for the report.
    pub relationship: Relationship,
    /// Group of mailbox providers.
    pub provider_group: String,
    /// IANA name of the time zone whose hours it keeps; empty is the controller's.
    pub zone: String,
}

/// A claimed delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Claimed {
    /// Key of the contact.
    pub contact_id: i64,
    /// Submissions so far.
    pub attempts: i64,
    /// When it was first submitted, in milliseconds.
    pub first_submitted_at: Option<i64>,
}

/// What became of a submission.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Key of the contact.
    pub contact_id: i64,
    /// Accepted, deferred, bounced or unknown.
    pub state: DeliveryState,
    /// When a deferred one is tried again, in milliseconds.
    pub next_attempt_at: Option<i64>,
    /// When it ended, in milliseconds.
    pub ended_at: Option<i64>,
    /// Class of the bounce; else empty.
    pub bounce_class: String,
    /// The server's answer.
    pub reply: String,
    /// Submissions that were counted and never left: 0 or 1.
    pub unsent: i64,
}

impl Outcome {
    /// Due again at once: it was marked as submitting and never left, so it was no attempt.
    pub fn postponed(contact_id: i64, now: i64) -> Outcome {
        Outcome {
            contact_id,
            state: DeliveryState::Deferred,
            next_attempt_at: Some(now),
            ended_at: None,
            bounce_class: String::new(),
            reply: String::new(),
            unsent: 1,
        }
    }
}

/// A decision that changed between queue and submission.
#[derive(Debug, Clone, Serialize)]
pub struct Changed {
    /// Key of the contact.
    pub contact_id: i64,
    /// Blocked, or cancelled when the contact is gone.
    pub state: DeliveryState,
    /// Code of the reason.
    pub code: &'static str,
}

/// A delivery that nobody knows the end of.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct Unknown {
    /// Key of the contact.
    pub contact_id: i64,
    /// The address, while the contact exists.
    pub address: String,
    /// When it was submitted, in milliseconds.
    pub submitted_at: Option<i64>,
}

/// What was decided and done for one person, by campaign.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct OfContact {
    /// Slug of the campaign.
    pub campaign: String,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub state: DeliveryState,
    /// Code of the basis or reason.
    pub code: String,
    /// Tracking that was decided.
    pub tracking: String,
    /// Version of the rules.
    pub rules_version: String,
    /// When it was decided, in milliseconds.
    pub decided_at: i64,
    /// Submissions.
    pub attempts: i64,
    /// When it was submitted, in milliseconds.
    pub submitted_at: Option<i64>,
    /// When it ended, in milliseconds.
    pub ended_at: Option<i64>,
    /// Class of the bounce; else empty.
    pub bounce_class: String,
    /// The server's answer.
    pub reply: String,
}

const ENQUEUE: Sql = Sql::twin(
    "INSERT INTO delivery (campaign_id, contact_id, address_hash, state, code, tracking, rules_version, relationship,
     provider_group, zone, decided_at, worker_id, attempts, next_attempt_at, submitted_at, ended_at, bounce_class, reply)
     SELECT $1, value ->> 'contact_id', unhex(value ->> 'address_hash'), value ->> 'state', value ->> 'code',
     value ->> 'tracking', value ->> 'rules_version', value ->> 'relationship', value ->> 'provider_group',
     value ->> 'zone', $2, NULL, 0, NULL, NULL, NULL, '', '' FROM jsonb_each($3) WHERE TRUE ON CONFLICT DO NOTHING",
    "INSERT INTO delivery (campaign_id, contact_id, address_hash, state, code, tracking, rules_version, relationship,
     provider_group, zone, decided_at, worker_id, attempts, next_attempt_at, submitted_at, ended_at, bounce_class, reply)
     SELECT $1, r.contact_id, decode(r.address_hash, 'hex'), r.state, r.code, r.tracking, r.rules_version,
     r.relationship, r.provider_group, r.zone, $2, NULL, 0, NULL, NULL, NULL, '', ''
     FROM json_to_recordset(CAST($3 AS json)) AS r(contact_id bigint, address_hash text, state text, code text,
     tracking text, rules_version text, relationship text, provider_group text, zone text) ON CONFLICT DO NOTHING",
);
// Here and below, on PostgreSQL: an array of keys and comparisons that no partial index answers. The index of what
// is in hand holds the dead entries of all that was, and the planner, not knowing, would read them every time.
const RELEASE: Sql = Sql::twin(
    "UPDATE delivery SET state = 'queued', worker_id = NULL
     WHERE campaign_id = $1 AND worker_id = $2 AND state = 'claimed'
     AND contact_id IN (SELECT value FROM json_each($3))
     AND contact_id NOT IN (SELECT w.contact_id FROM on_wire w WHERE w.campaign_id = $1)",
    "UPDATE delivery SET state = 'queued', worker_id = NULL
     WHERE campaign_id = $1 AND worker_id IS NOT DISTINCT FROM $2 AND state IS NOT DISTINCT FROM 'claimed'
     AND contact_id = ANY (ARRAY(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST($3 AS json))))",
);
// Here and below, on SQLite: what its only sender has in hand is still queued on disk, unless it was tried before.
// Without the fence of MATERIALIZED the planner knows the campaign first, walks over all of its deliveries, and looks
// for each among the rows.
const CHANGE: Sql = Sql::twin(
    "WITH r AS MATERIALIZED (SELECT $1 AS campaign_id, CAST(value ->> 'contact_id' AS INTEGER) AS contact_id,
     value ->> 'state' AS state, value ->> 'code' AS code FROM jsonb_each($4))
     UPDATE delivery SET state = r.state, code = r.code, decided_at = $3, ended_at = $3, worker_id = NULL FROM r
     WHERE delivery.campaign_id = r.campaign_id AND delivery.contact_id = r.contact_id
     AND CASE delivery.state WHEN 'queued' THEN TRUE WHEN 'claimed' THEN delivery.worker_id = $2 END
     AND delivery.contact_id NOT IN (SELECT w.contact_id FROM on_wire w WHERE w.campaign_id = $1)",
    "UPDATE delivery SET state = r.state, code = r.code, decided_at = $3, ended_at = $3, worker_id = NULL
     FROM json_to_recordset(CAST($4 AS json)) AS r(contact_id bigint, state text, code text)
     WHERE delivery.campaign_id = $1 AND delivery.contact_id = r.contact_id
     AND delivery.contact_id = ANY (ARRAY(SELECT CAST(value ->> 'contact_id' AS BIGINT)
     FROM json_array_elements(CAST($4 AS json))))
     AND delivery.worker_id IS NOT DISTINCT FROM $2 AND delivery.state IS NOT DISTINCT FROM 'claimed'",
);
// Without statistics SQLite would rather look at every delivery of the campaign than at the few of an index.
const CANCEL_DEFERRED: Sql = Sql::twin(
    "UPDATE delivery INDEXED BY delivery_deferred SET state = 'cancelled', ended_at = $2 WHERE campaign_id = $1 AND state = 'deferred'",
    "UPDATE delivery SET state = 'cancelled', ended_at = $2 WHERE campaign_id = $1 AND state = 'deferred'",
);
const IS_OPEN: Sql = Sql::twin(
    "SELECT EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_queued WHERE campaign_id = $1 AND state = 'queued')
     OR EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_deferred WHERE campaign_id = $1 AND state = 'deferred')
     OR EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_in_hand WHERE campaign_id = $1 AND worker_id IS NOT NULL)",
    "SELECT EXISTS (SELECT 1 FROM delivery WHERE campaign_id = $1 AND state = 'queued')
     OR EXISTS (SELECT 1 FROM delivery WHERE campaign_id = $1 AND state = 'deferred')
     OR EXISTS (SELECT 1 FROM delivery WHERE campaign_id = $1 AND worker_id IS NOT NULL)",
);
const FAIL: Sql = Sql::twin(
    "UPDATE delivery SET state = 'bounced', bounce_class = 'content', reply = $4, ended_at = $5, worker_id = NULL
     WHERE campaign_id = $1 AND contact_id = $3
     AND CASE state WHEN 'queued' THEN TRUE WHEN 'claimed' THEN worker_id = $2 END
     AND contact_id NOT IN (SELECT w.contact_id FROM on_wire w WHERE w.campaign_id = $1)",
    "UPDATE delivery SET state = 'bounced', bounce_class = 'content', reply = $4, ended_at = $5, worker_id = NULL
     WHERE campaign_id = $1 AND worker_id = $2 AND contact_id = $3 AND state = 'claimed'",
);
const ABANDON_CLAIMED: Sql = Sql::same(
    "UPDATE delivery SET state = 'queued', worker_id = NULL
     WHERE worker_id = $1 AND state = 'claimed'",
);
const CANCEL: Sql = Sql::same(
    "UPDATE delivery SET state = 'cancelled', worker_id = NULL, ended_at = $2
     WHERE campaign_id = $1 AND state IN ('queued', 'claimed', 'deferred')
     AND contact_id NOT IN (SELECT w.contact_id FROM on_wire w WHERE w.campaign_id = $1)",
);
const CANCEL_CONTACT: Sql = Sql::same(
    "UPDATE delivery SET state = 'cancelled', worker_id = NULL, ended_at = $2
     WHERE campaign_id IN (SELECT id FROM campaign) AND contact_id = $1
     AND state IN ('queued', 'claimed', 'deferred')
     AND NOT EXISTS (SELECT 1 FROM on_wire w WHERE w.campaign_id = delivery.campaign_id AND w.contact_id = $1)",
);
const FORGET_CONTACT: Sql = Sql::same(
    "UPDATE delivery SET reply = '' WHERE campaign_id IN (SELECT id FROM campaign) AND contact_id = $1 AND reply <> ''",
);
// Here and below: who is on the wire is being submitted, whatever the row says.
const OF_CONTACT: Sql = Sql::same(
    "WITH w AS MATERIALIZED (SELECT campaign_id, contact_id, submitted_at FROM on_wire WHERE contact_id = $1)
     SELECT c.slug AS campaign, CASE WHEN w.contact_id IS NULL THEN d.state ELSE 'submitting' END AS state, d.code,
     d.tracking, d.rules_version, d.decided_at, d.attempts + CASE WHEN w.contact_id IS NULL THEN 0 ELSE 1 END AS attempts,
     COALESCE(w.submitted_at, d.submitted_at) AS submitted_at, d.ended_at, d.bounce_class, d.reply
     FROM campaign c JOIN delivery d ON d.campaign_id = c.id AND d.contact_id = $1
     LEFT JOIN w ON w.campaign_id = d.campaign_id ORDER BY c.id",
);
/// CROSS JOIN: SQLite keeps its order, the few campaigns first.
const JUST_LEFT: Sql = Sql::same(
    "WITH w AS MATERIALIZED (SELECT campaign_id, contact_id, submitted_at FROM on_wire)
     SELECT c.product, MAX(COALESCE(w.submitted_at, d.submitted_at)) AS submitted_at
     FROM campaign c CROSS JOIN delivery d
     LEFT JOIN w ON w.campaign_id = d.campaign_id AND w.contact_id = d.contact_id
     WHERE d.campaign_id = c.id AND d.address_hash = $1 AND c.id <> $2 AND (c.finished_at IS NULL OR c.finished_at >= $3)
     AND COALESCE(w.submitted_at, d.submitted_at) >= $3
     AND (w.contact_id IS NOT NULL OR d.state IN ('submitting', 'accepted', 'unknown'))
     GROUP BY c.product ORDER BY c.product",
);
const OF_PERSON: Sql = Sql::same(
    "WITH w AS MATERIALIZED (SELECT contact_id, submitted_at FROM on_wire WHERE campaign_id = $1)
     SELECT CASE WHEN w.contact_id IS NULL THEN d.state ELSE 'submitting' END AS state, d.code,
     COALESCE(w.submitted_at, d.submitted_at) AS submitted_at FROM delivery d
     LEFT JOIN w ON w.contact_id = d.contact_id WHERE d.campaign_id = $1 AND d.address_hash = $2",
);
/// Of each lane, when the first of it is due, and until when its group stands still.
const NEXT_ATTEMPTS: Sql = Sql::twin(
    "SELECT (SELECT MIN(next_attempt_at) FROM delivery INDEXED BY delivery_deferred WHERE campaign_id = $1
     AND state = 'deferred' AND provider_group = l.provider_group AND zone = l.zone) AS next_attempt_at,
     COALESCE((SELECT suspended_until FROM provider_group g WHERE g.name = l.provider_group), 0) AS suspended_until
     FROM lane l WHERE l.campaign_id = $1",
    "SELECT (SELECT MIN(next_attempt_at) FROM delivery d WHERE d.campaign_id = $1 AND d.state = 'deferred'
     AND d.provider_group = l.provider_group AND d.zone = l.zone) AS next_attempt_at,
     COALESCE((SELECT suspended_until FROM provider_group g WHERE g.name = l.provider_group), 0) AS suspended_until
     FROM lane l WHERE l.campaign_id = $1",
);
// What says nothing of the mailbox, such as a block of the sender, neither counts nor begins the row anew.
const PAST: Sql = Sql::same(
    "SELECT campaign_id, ended_at, state = 'bounced' AND bounce_class IN ('soft', 'full', 'unknown') FROM delivery
     WHERE campaign_id IN (SELECT id FROM campaign) AND contact_id = $1 AND address_hash = $2
     AND (state = 'accepted' OR state = 'bounced' AND bounce_class IN ('soft', 'full', 'unknown', 'hard'))
     AND ended_at IS NOT NULL ORDER BY ended_at DESC, campaign_id DESC LIMIT 50",
);
const UNKNOWN: Sql = Sql::twin(
    "SELECT d.contact_id, COALESCE(c.address, '') AS address, d.submitted_at FROM delivery d INDEXED BY delivery_unknown
     LEFT JOIN contact c ON c.id = d.contact_id
     WHERE d.campaign_id = $1 AND d.state = 'unknown' ORDER BY d.contact_id LIMIT $2",
    "SELECT d.contact_id, COALESCE(c.address, '') AS address, d.submitted_at FROM delivery d
     LEFT JOIN contact c ON c.id = d.contact_id
     WHERE d.campaign_id = $1 AND d.state = 'unknown' ORDER BY d.contact_id LIMIT $2",
);
const RESOLVE: Sql = Sql::same(
    "UPDATE delivery SET state = $3, ended_at = $4
     WHERE campaign_id = $1 AND address_hash = $2 AND state = 'unknown'",
);
/// Writes a delivery for each, and returns how many were new: an address asked for once is not asked again.
pub async fn enqueue(tx: &mut Tx, campaign: i64, rows: &[Decided], now: i64) -> Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let lanes = rows.iter().filter(|row| row.state == DeliveryState::Queued);
    let lanes: BTreeSet<Lane> =
        lanes.map(|row| Lane { provider_group: row.provider_group.clone(), zone: row.zone.clone() }).collect();
    lanes::add(tx, campaign, &lanes.into_iter().collect::<Vec<_>>()).await?;
    let (sql, rows) = (ENQUEUE.on(tx), super::json(rows));
    on!(tx, |c| sqlx::query(sql).bind(campaign).bind(now).bind(rows).execute(c).await.map(|d| d.rows_affected()))
}

/// Gives claimed deliveries back to the queue.
pub async fn release(tx: &mut Tx, campaign: i64, worker: i64, contacts: &[i64]) -> Result<u64> {
    if contacts.is_empty() {
        return Ok(0);
    }
    let (sql, list) = (RELEASE.on(tx), super::json(contacts));
    on!(tx, |c| sqlx::query(sql).bind(campaign).bind(worker).bind(list).execute(c).await.map(|d| d.rows_affected()))
}

/// Ends claimed deliveries that may not be sent any more.
pub async fn change(tx: &mut Tx, campaign: i64, worker: i64, changes: &[Changed], now: i64) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let (sql, rows) = (CHANGE.on(tx), super::json(changes));
    on!(tx, |c| sqlx::query(sql).bind(campaign).bind(worker).bind(now).bind(rows).execute(c).await.map(|_| ()))
}

/// Cancels what was deferred after its campaign was cancelled.
pub async fn cancel_deferred(tx: &mut Tx, campaign: i64, now: i64) -> Result<()> {
    let sql = CANCEL_DEFERRED.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(campaign).bind(now).execute(c).await.map(|_| ()))
}

/// Whether anything is left to send, now or later.
pub async fn is_open(tx: &mut Tx, campaign: i64) -> Result<bool> {
    let sql = IS_OPEN.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(campaign).fetch_one(c).await)
}

/// Ends a claimed delivery whose message cannot be made.
pub async fn fail(tx: &mut Tx, campaign: i64, worker: i64, contact: i64, why: &str, now: i64) -> Result<()> {
    let sql = FAIL.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(campaign)
        .bind(worker)
        .bind(contact)
        .bind(why)
        .bind(now)
        .execute(c)
        .await
        .map(|_| ()))
}

/// What a dead worker held: claimed goes back to the queue, submitting becomes unknown.
/// Returns how many of each.
pub async fn abandon(tx: &mut Tx, worker: i64, now: i64) -> Result<(u64, u64)> {
    let unknown = wire::abandon(tx, worker, now).await?;
    let sql = ABANDON_CLAIMED.on(tx);
    let requeued = on!(tx, |c| sqlx::query(sql).bind(worker).execute(c).await.map(|done| done.rows_affected()))?;
    Ok((requeued, unknown))
}

/// Cancels what a campaign has not submitted yet.
pub async fn cancel(tx: &mut Tx, campaign: i64, now: i64) -> Result<u64> {
    let sql = CANCEL.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(campaign).bind(now).execute(c).await.map(|done| done.rows_affected()))
}

/// Cancels what no campaign has submitted yet to a contact that is being erased.
pub async fn cancel_contact(tx: &mut Tx, contact: i64, now: i64) -> Result<u64> {
    let sql = CANCEL_CONTACT.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(contact).bind(now).execute(c).await.map(|done| done.rows_affected()))
}

/// Forgets what servers answered about a contact: such answers quote the address.
pub async fn forget_contact(tx: &mut Tx, contact: i64) -> Result<()> {
    let sql = FORGET_CONTACT.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(contact).execute(c).await.map(|_| ()))
}

/// Everything that was decided and done for a contact, oldest campaign first.
pub async fn of_contact(tx: &mut Tx, contact: i64) -> Result<Vec<OfContact>> {
    let sql = OF_CONTACT.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(contact).fetch_all(c).await)
}

/// What left for a person since `since`, by product: slug, and when the last of it was submitted. The
/// message of campaign `but` is in the person's hands already.
pub async fn just_left(tx: &mut Tx, hash: AddressHash, but: i64, since: i64) -> Result<Vec<(String, i64)>> {
    let sql = JUST_LEFT.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(hash.0.as_slice()).bind(but).bind(since).fetch_all(c).await)
}

/// One campaign's delivery to a person.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct OfPerson {
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub state: DeliveryState,
    /// Code of the basis or reason.
    pub code: String,
    /// When it was submitted, in milliseconds.
    pub submitted_at: Option<i64>,
}

/// The delivery of a campaign to the person of this address hash.
pub async fn of_person(tx: &mut Tx, campaign: i64, hash: AddressHash) -> Result<Option<OfPerson>> {
    let sql = OF_PERSON.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).bind(hash.0.as_slice()).fetch_optional(c).await)
}

/// When the next deferred delivery is tried, in milliseconds: not before its group goes on.
pub async fn next_attempt(tx: &mut Tx, campaign: i64) -> Result<Option<i64>> {
    let sql = NEXT_ATTEMPTS.on(tx);
    let lanes: Vec<(Option<i64>, i64)> = on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_all(c).await)?;
    Ok(lanes.into_iter().filter_map(|(due, stands_until)| Some(due?.max(stands_until))).min())
}

/// What became of the last messages to a contact at this address, the newest first.
pub async fn past(tx: &mut Tx, contact: i64, hash: AddressHash) -> Result<Vec<Past>> {
    let sql = PAST.on(tx);
    let rows: Vec<(i64, i64, bool)> =
        on!(tx, |c| sqlx::query_as(sql).bind(contact).bind(hash.0.as_slice()).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(campaign, at, soft)| Past { campaign, at, soft }).collect())
}

/// The first `limit` deliveries that nobody knows the end of.
pub async fn unknown(tx: &mut Tx, campaign: i64, limit: i64) -> Result<Vec<Unknown>> {
    let sql = UNKNOWN.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).bind(limit).fetch_all(c).await)
}

/// Ends an unknown delivery by a person's word: accepted, bounced or cancelled; never sent again. It is found by its
/// address, for its contact may be erased.
pub async fn resolve(tx: &mut Tx, campaign: i64, person: AddressHash, to: DeliveryState, now: i64) -> Result<bool> {
    let sql = RESOLVE.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(campaign)
        .bind(person.0.as_slice())
        .bind(to.as_str())
        .bind(now)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}
