//! Opens and clicks: what a delivery allows, the day of the last open, and counts without people.

use std::collections::HashMap;

use jiff::civil::Date;
use serde::Serialize;

use super::{Result, Sql, Tx, on};
use crate::domain::{address::AddressHash, eligibility::Tracking, tracking::Class};

/// One message to one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Sent {
    /// The campaign.
    pub campaign_id: i64,
    /// Keyed hash of the address.
    pub address_hash: AddressHash,
}

/// What was decided about the tracking of a message that left, and when it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave {
    /// The tracking that the message holds.
    pub tracking: Tracking,
    /// When the mail server took it, or it was last submitted: milliseconds.
    pub accepted_at: i64,
}

// On SQLite only whose delivery has no end is looked for on the wire: nearly nobody.
const LEAVES: Sql = Sql::twin(
    "WITH w AS MATERIALIZED (SELECT campaign_id, contact_id, submitted_at FROM on_wire)
     SELECT json_group_array(json_array(campaign_id, address_hash, tracking, at)) AS found FROM (
     SELECT d.campaign_id, hex(d.address_hash) AS address_hash, d.tracking, CASE WHEN d.state IN ('queued', 'claimed')
     THEN COALESCE((SELECT w.submitted_at FROM w WHERE w.campaign_id = d.campaign_id AND w.contact_id = d.contact_id),
     d.submitted_at) ELSE COALESCE(d.ended_at, d.submitted_at) END AS at
     FROM jsonb_each($1) AS j JOIN delivery d ON d.campaign_id = j.value ->> 'campaign_id'
     AND d.address_hash = unhex(j.value ->> 'address_hash')) WHERE at IS NOT NULL",
    "SELECT CAST(COALESCE(json_agg(json_build_array(d.campaign_id, encode(d.address_hash, 'hex'), d.tracking,
     COALESCE(d.ended_at, d.submitted_at))), '[]') AS TEXT) AS found
     FROM json_to_recordset(CAST($1 AS json)) AS r(campaign_id bigint, address_hash text)
     JOIN delivery d ON d.campaign_id = r.campaign_id AND d.address_hash = decode(r.address_hash, 'hex')
     WHERE d.submitted_at IS NOT NULL",
);
const DECIDED: Sql = Sql::twin(
    "WITH r AS MATERIALIZED (SELECT $1 AS campaign_id, CAST(value ->> 0 AS INTEGER) AS contact_id,
     value ->> 1 AS tracking FROM jsonb_each($2))
     UPDATE delivery SET tracking = r.tracking FROM r WHERE delivery.campaign_id = r.campaign_id
     AND delivery.contact_id = r.contact_id AND delivery.tracking <> r.tracking",
    "UPDATE delivery SET tracking = r.tracking
     FROM (SELECT CAST(value ->> 0 AS BIGINT) AS contact_id, value ->> 1 AS tracking
     FROM json_array_elements(CAST($2 AS json))) AS r
     WHERE delivery.campaign_id = $1 AND delivery.contact_id = r.contact_id AND delivery.tracking <> r.tracking",
);
const OPENED: Sql = Sql::twin(
    "INSERT INTO last_open (address_hash, day) SELECT unhex(value ->> 'address_hash'), value ->> 'day'
     FROM jsonb_each($1) WHERE TRUE
     ON CONFLICT (address_hash) DO UPDATE SET day = excluded.day WHERE excluded.day > last_open.day",
    "INSERT INTO last_open (address_hash, day) SELECT decode(r.address_hash, 'hex'), r.day
     FROM json_to_recordset(CAST($1 AS json)) AS r(address_hash text, day text)
     ON CONFLICT (address_hash) DO UPDATE SET day = excluded.day WHERE excluded.day > last_open.day",
);
const ANY: Sql = Sql::same("SELECT EXISTS (SELECT 1 FROM last_open)");
const DAYS: Sql = Sql::twin(
    "SELECT address_hash, day FROM last_open WHERE address_hash IN (SELECT unhex(value) FROM json_each($1))",
    "SELECT address_hash, day FROM last_open
     WHERE address_hash IN (SELECT decode(value, 'hex') FROM json_array_elements_text(CAST($1 AS json)))",
);
const FORGET: Sql = Sql::same("DELETE FROM last_open WHERE address_hash = $1");
const FORGET_BEFORE: Sql = Sql::same("DELETE FROM last_open WHERE day < $1");
const COUNT_ANONYMOUS: Sql = Sql::twin(
    "INSERT INTO anonymous_open (campaign_id, class, n)
     SELECT value ->> 'campaign_id', value ->> 'class', value ->> 'n' FROM json_each($1) WHERE TRUE
     ON CONFLICT (campaign_id, class) DO UPDATE SET n = anonymous_open.n + excluded.n",
    "INSERT INTO anonymous_open (campaign_id, class, n)
     SELECT r.campaign_id, r.class, r.n
     FROM json_to_recordset(CAST($1 AS json)) AS r(campaign_id bigint, class text, n bigint)
     ON CONFLICT (campaign_id, class) DO UPDATE SET n = anonymous_open.n + excluded.n",
);
const ANONYMOUS: Sql = Sql::same("SELECT class, n FROM anonymous_open WHERE campaign_id = $1");

/// Notes the tracking that was decided at the claim, where it is another than before.
pub async fn decided(tx: &mut Tx, campaign: i64, decided: &[(i64, Tracking)]) -> Result<()> {
    if decided.is_empty() {
        return Ok(());
    }
    let rows: Vec<(i64, &str)> = decided.iter().map(|(contact, tracking)| (*contact, tracking.as_str())).collect();
    let (sql, rows) = (DECIDED.on(tx), super::json(&rows));
    on!(tx, |c| sqlx::query(sql).bind(campaign).bind(rows).execute(c).await.map(|_| ()))
}

/// What is known of these messages; those that never left are missing.
pub async fn leaves(tx: &mut Tx, sent: &[Sent]) -> Result<HashMap<Sent, Leave>> {
    let (sql, rows) = (LEAVES.on(tx), super::json(sent));
    let found: String = on!(tx, |c| sqlx::query_scalar(sql).bind(rows).fetch_one(c).await)?;
    let found: Vec<(i64, AddressHash, Tracking, i64)> = super::rows(&found)?;
    let known = found.into_iter().map(|(campaign_id, address_hash, tracking, accepted_at)| {
        (Sent { campaign_id, address_hash }, Leave { tracking, accepted_at })
    });
    Ok(known.collect())
}

/// Notes the day of people's last open, over an earlier one.
pub async fn opened(tx: &mut Tx, people: &[AddressHash], day: Date) -> Result<()> {
    #[derive(Serialize)]
    struct Row {
        address_hash: AddressHash,
        day: String,
    }
    if people.is_empty() {
        return Ok(());
    }
    let rows: Vec<Row> = people.iter().map(|hash| Row { address_hash: *hash, day: day.to_string() }).collect();
    let (sql, rows) = (OPENED.on(tx), super::json(&rows));
    on!(tx, |c| sqlx::query(sql).bind(rows).execute(c).await.map(|_| ()))
}

/// The days of the last opens of these people, where any is known.
pub async fn days(tx: &mut Tx, people: &[AddressHash]) -> Result<HashMap<AddressHash, Date>> {
    let sql = ANY.on(tx);
    let any: bool = on!(tx, |c| sqlx::query_scalar(sql).fetch_one(c).await)?;
    if !any {
        return Ok(HashMap::new());
    }
    let (sql, list) = (DAYS.on(tx), super::json(people));
    let rows: Vec<(Vec<u8>, String)> = on!(tx, |c| sqlx::query_as(sql).bind(list).fetch_all(c).await)?;
    Ok(rows.into_iter().filter_map(|(hash, day)| Some((hash.try_into().ok()?, day.parse().ok()?))).collect())
}

/// Forgets the day of a person's last open.
pub async fn forget(tx: &mut Tx, person: AddressHash) -> Result<()> {
    let sql = FORGET.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(person.0.as_slice()).execute(c).await.map(|_| ()))
}

/// Forgets last opens before a day; returns how many.
pub async fn forget_before(tx: &mut Tx, day: Date) -> Result<u64> {
    let (sql, day) = (FORGET_BEFORE.on(tx), day.to_string());
    on!(tx, |c| sqlx::query(sql).bind(day).execute(c).await.map(|done| done.rows_affected()))
}

/// Adds to the counts of a campaign's common pixel.
pub async fn count_anonymous(tx: &mut Tx, counts: &[(i64, Class, i64)]) -> Result<()> {
    #[derive(Serialize)]
    struct Row {
        campaign_id: i64,
        class: Class,
        n: i64,
    }
    if counts.is_empty() {
        return Ok(());
    }
    let rows: Vec<Row> =
        counts.iter().map(|(campaign_id, class, n)| Row { campaign_id: *campaign_id, class: *class, n: *n }).collect();
    let (sql, rows) = (COUNT_ANONYMOUS.on(tx), super::json(&rows));
    on!(tx, |c| sqlx::query(sql).bind(rows).execute(c).await.map(|_| ()))
}

/// How often a campaign's common pixel was fetched, by class.
pub async fn anonymous(tx: &mut Tx, campaign: i64) -> Result<Vec<(String, i64)>> {
    let sql = ANONYMOUS.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_all(c).await)
}
