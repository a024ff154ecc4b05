//! What people did after a message left: unsubscribes, complaints, opens, clicks.

use serde::Serialize;

use super::{Result, Sql, Tx, on};
use crate::domain::{address::AddressHash, words::words};

words! {
    /// What happened.
    EventKind {
        /// The person refused.
        Unsubscribe = "unsubscribe",
        /// The person complained.
        Complaint = "complaint",
        /// The person said yes to the question of a re-permission.
        Yes = "yes",
        /// The pixel was fetched.
        Open = "open",
        /// A tracked link was followed.
        Click = "click",
        /// The person took back their own unsubscribe, right after it (SUP-7).
        Undo = "undo",
        /// Why the person unsubscribed, in a word of ours: the class.
        Why = "reason",
    }
}

const ADD: Sql = Sql::twin(
    "INSERT INTO event (campaign_id, kind, class, address_hash, at)
     SELECT value ->> 'campaign_id', value ->> 'kind', value ->> 'class', unhex(value ->> 'address_hash'), value ->> 'at'
     FROM jsonb_each($1)",
    "INSERT INTO event (campaign_id, kind, class, address_hash, at)
     SELECT r.campaign_id, r.kind, r.class, decode(r.address_hash, 'hex'), r.at
     FROM json_to_recordset(CAST($1 AS json)) AS r(campaign_id bigint, kind text, class text, address_hash text,
     at bigint)",
);
const HAS_SINCE: Sql = Sql::same(
    "SELECT EXISTS (SELECT 1 FROM event WHERE campaign_id = $1 AND kind = $2 AND address_hash = $3 AND at >= $4)",
);
const MARK_MACHINE: Sql = Sql::same(
    "UPDATE event SET class = 'machine' WHERE campaign_id = $1 AND kind = 'click' AND at BETWEEN $3 AND $4
     AND address_hash = $2",
);
const CLICKS_OF_PEOPLE: Sql = Sql::same(
    "SELECT address_hash, MAX(at) FROM event WHERE kind = 'click' AND at > $1 AND at <= $2 AND class = 'human'
     GROUP BY address_hash",
);
const FORGET_TRACKS: Sql = Sql::same("DELETE FROM event WHERE kind IN ('open', 'click') AND address_hash = $1");
const FORGET_OPENS_BEFORE: Sql = Sql::same("DELETE FROM event WHERE kind = 'open' AND at < $1");
const FORGET_CLICKS_BEFORE: Sql = Sql::same("DELETE FROM event WHERE kind = 'click' AND at < $1");
const COUNT: Sql = Sql::same(
    "SELECT kind, class, CAST(COUNT(DISTINCT address_hash) AS BIGINT) FROM event WHERE campaign_id = $1
     GROUP BY kind, class",
);
const SERIES: Sql = Sql::same(
    "SELECT (at - $2) / 60000 AS minute, kind, CAST(COUNT(*) AS BIGINT) FROM event WHERE campaign_id = $1 AND at >= $2
     GROUP BY minute, kind ORDER BY minute, kind",
);

const UNSUBSCRIBES_BY: Sql = Sql::same(
    "SELECT d.relationship, d.provider_group, CAST(COUNT(DISTINCT e.address_hash) AS BIGINT)
     FROM event e JOIN delivery d ON d.campaign_id = e.campaign_id AND d.address_hash = e.address_hash
     WHERE e.campaign_id = $1 AND e.kind = 'unsubscribe' GROUP BY d.relationship, d.provider_group",
);

const OF_PERSON: Sql = Sql::same(
    "SELECT c.slug AS campaign, e.kind, e.class, e.at FROM event e LEFT JOIN campaign c ON c.id = e.campaign_id
     WHERE e.address_hash = $1 ORDER BY e.at, e.id",
);

/// What one person did.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OfPerson {
    /// Slug of the campaign, while there is one.
    pub campaign: Option<String>,
    /// What.
    pub kind: String,
    /// Class of an open or click; else empty.
    pub class: String,
    /// When, in milliseconds.
    pub at: i64,
}

/// Something that happened, to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The campaign whose message led to it.
    pub campaign_id: i64,
    /// What.
    pub kind: EventKind,
    /// Class of an open or click; else empty.
    pub class: &'static str,
    /// Keyed hash of the address.
    pub address_hash: AddressHash,
    /// When, in milliseconds.
    pub at: i64,
}

/// Records events, in one statement.
pub async fn add(tx: &mut Tx, events: &[Event]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let (sql, rows) = (ADD.on(tx), super::json(events));
    on!(tx, |c| sqlx::query(sql).bind(rows).execute(c).await.map(|_| ()))
}

/// Whether a person has an event of the kind and campaign since `since`.
pub async fn has_since(tx: &mut Tx, campaign: i64, kind: EventKind, hash: AddressHash, since: i64) -> Result<bool> {
    let sql = HAS_SINCE.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql)
        .bind(campaign)
        .bind(kind.as_str())
        .bind(hash.0.as_slice())
        .bind(since)
        .fetch_one(c)
        .await)
}

/// Says of the clicks of one message between two instants that a machine made them.
pub async fn mark_machine(tx: &mut Tx, campaign: i64, person: AddressHash, from: i64, to: i64) -> Result<()> {
    let sql = MARK_MACHINE.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(campaign)
        .bind(person.0.as_slice())
        .bind(from)
        .bind(to)
        .execute(c)
        .await
        .map(|_| ()))
}

/// The last click of each person after an instant and until another, those of machines left out.
pub async fn clicks_of_people(tx: &mut Tx, after: i64, until: i64) -> Result<Vec<(AddressHash, i64)>> {
    let sql = CLICKS_OF_PEOPLE.on(tx);
    let rows: Vec<(Vec<u8>, i64)> = on!(tx, |c| sqlx::query_as(sql).bind(after).bind(until).fetch_all(c).await)?;
    Ok(rows.into_iter().filter_map(|(hash, at)| Some((hash.try_into().ok()?, at))).collect())
}

/// Forgets a person's opens and clicks. Refusals and complaints stay.
pub async fn forget_tracks(tx: &mut Tx, person: AddressHash) -> Result<()> {
    let sql = FORGET_TRACKS.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(person.0.as_slice()).execute(c).await.map(|_| ()))
}

/// Forgets everybody's opens and clicks before an instant; returns how many.
pub async fn forget_tracks_before(tx: &mut Tx, at: i64) -> Result<u64> {
    let sql = FORGET_OPENS_BEFORE.on(tx);
    let opens = on!(tx, |c| sqlx::query(sql).bind(at).execute(c).await.map(|done| done.rows_affected()))?;
    let sql = FORGET_CLICKS_BEFORE.on(tx);
    let clicks = on!(tx, |c| sqlx::query(sql).bind(at).execute(c).await.map(|done| done.rows_affected()))?;
    Ok(opens + clicks)
}

/// How many people did what: kind, class, people.
pub async fn count(tx: &mut Tx, campaign: i64) -> Result<Vec<(String, String, i64)>> {
    let sql = COUNT.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_all(c).await)
}

/// Events per minute since `start`: minute, kind, events.
pub async fn series(tx: &mut Tx, campaign: i64, start: i64) -> Result<Vec<(i64, String, i64)>> {
    let sql = SERIES.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).bind(start).fetch_all(c).await)
}

/// People who unsubscribed: relationship, provider group, people.
pub async fn unsubscribes_by(tx: &mut Tx, campaign: i64) -> Result<Vec<(String, String, i64)>> {
    let sql = UNSUBSCRIBES_BY.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_all(c).await)
}

/// Everything that a person did, oldest first.
pub async fn of_person(tx: &mut Tx, hash: AddressHash) -> Result<Vec<OfPerson>> {
    let sql = OF_PERSON.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(hash.0.as_slice()).fetch_all(c).await)
}
