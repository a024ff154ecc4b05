//! The lanes of a campaign's queue: a provider group and a time zone. Each is claimed by itself, so that
//! one that waits holds up no other, and is not read while it waits.

use serde::Serialize;
use sqlx::FromRow;

use super::{Result, Sql, Tx, deliveries::Claimed, on};

/// A lane, and how far it was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, FromRow)]
pub struct Lane {
    /// Group of mailbox providers.
    pub provider_group: String,
    /// IANA name of the recipients' time zone; empty is the controller's.
    pub zone: String,
}

/// What waits in a lane.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Waiting {
    /// Group of mailbox providers.
    pub provider_group: String,
    /// The recipients' time zone.
    pub zone: String,
    /// Whether anything is queued behind the bound.
    pub queued: bool,
    /// When the next deferred one is due, in milliseconds.
    pub next_attempt_at: Option<i64>,
}

/// A lane and the contact behind which to look.
#[derive(Debug, Clone, Serialize)]
pub struct Bound<'a> {
    /// Group of mailbox providers.
    pub provider_group: &'a str,
    /// The recipients' time zone.
    pub zone: &'a str,
    /// Key of a contact.
    pub past: i64,
}

const ADD: Sql = Sql::twin(
    "INSERT INTO lane (campaign_id, provider_group, zone) SELECT $1, value ->> 'provider_group', value ->> 'zone'
     FROM jsonb_each($2) WHERE TRUE ON CONFLICT DO NOTHING",
    "INSERT INTO lane (campaign_id, provider_group, zone) SELECT $1, r.provider_group, r.zone
     FROM json_to_recordset(CAST($2 AS json)) AS r(provider_group text, zone text) ON CONFLICT DO NOTHING",
);
const OF_CAMPAIGN: Sql =
    Sql::same("SELECT provider_group, zone FROM lane WHERE campaign_id = $1 ORDER BY provider_group, zone");
// The bound spares a walk over every row already claimed, and the named index one over other lanes: without
// statistics SQLite would rather walk over the campaign. Who is on the wire is still queued there on disk.
const WAITING: Sql = Sql::twin(
    "SELECT value ->> 'provider_group' AS provider_group, value ->> 'zone' AS zone,
     EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_queued WHERE campaign_id = $1 AND state = 'queued'
     AND provider_group = value ->> 'provider_group' AND zone = value ->> 'zone'
     AND contact_id > value ->> 'past'
     AND contact_id NOT IN (SELECT w.contact_id FROM on_wire w WHERE w.campaign_id = $1)) AS queued,
     (SELECT MIN(next_attempt_at) FROM delivery INDEXED BY delivery_deferred
     WHERE campaign_id = $1 AND state = 'deferred'
     AND provider_group = value ->> 'provider_group' AND zone = value ->> 'zone') AS next_attempt_at
     FROM jsonb_each($2)",
    "SELECT l.provider_group, l.zone, EXISTS (SELECT 1 FROM delivery d WHERE d.campaign_id = $1 AND d.state = 'queued'
     AND d.provider_group = l.provider_group AND d.zone = l.zone AND d.contact_id > l.past) AS queued,
     (SELECT MIN(d.next_attempt_at) FROM delivery d WHERE d.campaign_id = $1 AND d.state = 'deferred'
     AND d.provider_group = l.provider_group AND d.zone = l.zone) AS next_attempt_at
     FROM json_to_recordset(CAST($2 AS json)) AS l(provider_group text, zone text, past bigint)",
);
// Read as one text: row by row, the driver copies each value, and wakes the reader for each row.
const QUEUED: Sql = Sql::twin(
    "SELECT json_group_array(json_array(contact_id, attempts, first_submitted_at)) FROM (
     SELECT contact_id, attempts, first_submitted_at FROM delivery INDEXED BY delivery_queued
     WHERE campaign_id = $1 AND state = 'queued' AND provider_group = $2 AND zone = $3 AND contact_id > $4
     AND contact_id NOT IN (SELECT w.contact_id FROM on_wire w WHERE w.campaign_id = $1) ORDER BY contact_id LIMIT $5)",
    "SELECT CAST(COALESCE(json_agg(json_build_array(contact_id, attempts, first_submitted_at)), '[]') AS TEXT) FROM (
     SELECT contact_id, attempts, first_submitted_at FROM delivery
     WHERE campaign_id = $1 AND state = 'queued' AND provider_group = $2 AND zone = $3 AND contact_id > $4
     ORDER BY contact_id LIMIT $5 FOR UPDATE SKIP LOCKED) AS picked",
);
const DUE: Sql = Sql::twin(
    "SELECT json_group_array(json_array(contact_id, attempts, first_submitted_at)) FROM (
     SELECT contact_id, attempts, first_submitted_at FROM delivery INDEXED BY delivery_deferred
     WHERE campaign_id = $1 AND state = 'deferred' AND provider_group = $2 AND zone = $3 AND next_attempt_at <= $4
     ORDER BY next_attempt_at LIMIT $5)",
    "SELECT CAST(COALESCE(json_agg(json_build_array(contact_id, attempts, first_submitted_at)), '[]') AS TEXT) FROM (
     SELECT contact_id, attempts, first_submitted_at FROM delivery
     WHERE campaign_id = $1 AND state = 'deferred' AND provider_group = $2 AND zone = $3 AND next_attempt_at <= $4
     ORDER BY next_attempt_at LIMIT $5 FOR UPDATE SKIP LOCKED) AS picked",
);
// They cannot have changed: SQLite has one writer, and PostgreSQL has locked them.
const CLAIM: Sql = Sql::twin(
    "UPDATE delivery SET state = 'claimed', worker_id = $2 WHERE campaign_id = $1 AND contact_id IN (
     SELECT value ->> 0 FROM json_each($3))",
    "UPDATE delivery SET state = 'claimed', worker_id = $2 WHERE campaign_id = $1
     AND contact_id = ANY (ARRAY(SELECT CAST(value ->> 0 AS BIGINT) FROM json_array_elements(CAST($3 AS json))))",
);

/// Notes that a campaign has deliveries in these lanes.
pub async fn add(tx: &mut Tx, campaign: i64, lanes: &[Lane]) -> Result<()> {
    let (sql, rows) = (ADD.on(tx), super::json(lanes));
    on!(tx, |c| sqlx::query(sql).bind(campaign).bind(rows).execute(c).await.map(|_| ()))
}

/// The lanes of a campaign.
pub async fn of_campaign(tx: &mut Tx, campaign: i64) -> Result<Vec<Lane>> {
    let sql = OF_CAMPAIGN.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_all(c).await)
}

/// What waits in each of these lanes.
pub async fn waiting(tx: &mut Tx, campaign: i64, lanes: &[Bound<'_>]) -> Result<Vec<Waiting>> {
    let (sql, rows) = (WAITING.on(tx), super::json(lanes));
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).bind(rows).fetch_all(c).await)
}

/// Takes up to `limit` queued deliveries of a lane after contact `past`, by contact. On SQLite they stay queued on
/// disk until they are submitted, and may be taken again: its only sender knows whom it has in hand.
pub async fn claim(tx: &mut Tx, campaign: i64, worker: i64, lane: &Bound<'_>, limit: i64) -> Result<Vec<Claimed>> {
    let picked = pick(tx, QUEUED, campaign, lane, lane.past, limit).await?;
    match tx {
        Tx::Lite(_) => super::rows(&picked),
        Tx::Pg(_) => mark(tx, campaign, worker, picked).await,
    }
}

/// Takes up to `limit` deferred deliveries of a lane whose time has come, the longest due first.
pub async fn claim_due(
    tx: &mut Tx,
    campaign: i64,
    worker: i64,
    lane: &Bound<'_>,
    now: i64,
    limit: i64,
) -> Result<Vec<Claimed>> {
    let picked = pick(tx, DUE, campaign, lane, now, limit).await?;
    mark(tx, campaign, worker, picked).await
}

/// What a claim may take, as one text.
async fn pick(tx: &mut Tx, which: Sql, campaign: i64, lane: &Bound<'_>, bound: i64, limit: i64) -> Result<String> {
    let sql = which.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql)
        .bind(campaign)
        .bind(lane.provider_group)
        .bind(lane.zone)
        .bind(bound)
        .bind(limit)
        .fetch_one(c)
        .await)
}

/// Notes on disk that a worker has these in hand.
async fn mark(tx: &mut Tx, campaign: i64, worker: i64, picked: String) -> Result<Vec<Claimed>> {
    let rows: Vec<Claimed> = super::rows(&picked)?;
    if !rows.is_empty() {
        let sql = CLAIM.on(tx);
        on!(tx, |c| sqlx::query(sql).bind(campaign).bind(worker).bind(picked).execute(c).await.map(|_| ()))?;
    }
    Ok(rows)
}
