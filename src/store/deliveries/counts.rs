//! How many deliveries of a campaign stand where: for status, report and metrics.

use std::collections::BTreeMap;

use sqlx::FromRow;

use crate::{
    domain::campaigns::DeliveryState,
    store::{Result, Sql, Tx, on},
};

/// How many deliveries stand where, and why.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Tally {
    /// State.
    #[sqlx(try_from = "String")]
    pub state: DeliveryState,
    /// Code of the basis or reason.
    pub code: String,
    /// Relationship with the sender.
    pub relationship: String,
    /// Group of mailbox providers.
    pub provider_group: String,
    /// How many.
    pub n: i64,
}

// SQLite groups by sorting, and keeps in memory what it sorts: a part of a campaign at a time.
const PART_ENDS: Sql = Sql::twin(
    "SELECT MAX(contact_id) FROM (SELECT contact_id FROM delivery WHERE campaign_id = $1 AND contact_id > $2
     ORDER BY contact_id LIMIT 50000)",
    "SELECT MAX(contact_id) FROM delivery WHERE campaign_id = $1 AND contact_id > $2",
);
const TALLY: Sql = Sql::same(
    "SELECT state, code, relationship, provider_group, CAST(COUNT(*) AS BIGINT) AS n FROM delivery
     WHERE campaign_id = $1 AND contact_id > $2 AND contact_id <= $3
     GROUP BY state, code, relationship, provider_group",
);
/// What the rows of those on the wire say of them: they are being submitted.
const ON_THE_WIRE: Sql = Sql::same(
    "SELECT d.state, d.code, d.relationship, d.provider_group, CAST(COUNT(*) AS BIGINT) AS n
     FROM on_wire w CROSS JOIN delivery d
     WHERE w.campaign_id = $1 AND d.campaign_id = $1 AND d.contact_id = w.contact_id
     GROUP BY d.state, d.code, d.relationship, d.provider_group",
);
const ACCEPTED_SERIES: Sql = Sql::same(
    "SELECT (ended_at - $2) / 60000 AS minute, CAST(COUNT(*) AS BIGINT) FROM delivery
     WHERE campaign_id = $1 AND contact_id > $3 AND contact_id <= $4 AND state = 'accepted' AND ended_at >= $2
     GROUP BY minute",
);
const ACCEPTED_SINCE: Sql = Sql::same(
    "SELECT CAST(COUNT(*) AS BIGINT) FROM delivery
     WHERE campaign_id = $1 AND state = 'accepted' AND ended_at > $2",
);
const UNKNOWNS: Sql = Sql::twin(
    "SELECT campaign_id, CAST(COUNT(*) AS BIGINT) FROM delivery INDEXED BY delivery_unknown WHERE state = 'unknown'
     GROUP BY campaign_id",
    "SELECT campaign_id, COUNT(*) FROM delivery WHERE state = 'unknown' GROUP BY campaign_id",
);
const TRACKED: Sql = Sql::same(
    "SELECT CAST(COUNT(*) AS BIGINT) FROM delivery
     WHERE campaign_id = $1 AND state = 'accepted' AND tracking = 'individual'",
);

/// Campaigns with deliveries that nobody knows the end of, and how many.
pub async fn unknowns(tx: &mut Tx) -> Result<Vec<(i64, i64)>> {
    let sql = UNKNOWNS.on(tx);
    on!(tx, |c| sqlx::query_as(sql).fetch_all(c).await)
}

/// How many deliveries of a campaign stand where. Their sum is what was asked.
pub async fn tally(tx: &mut Tx, campaign: i64) -> Result<Vec<Tally>> {
    let (sql, mut sums) = (TALLY.on(tx), BTreeMap::new());
    for (from, to) in parts(tx, campaign).await? {
        let part: Vec<Tally> = on!(tx, |c| sqlx::query_as(sql).bind(campaign).bind(from).bind(to).fetch_all(c).await)?;
        for Tally { state, code, relationship, provider_group, n } in part {
            *sums.entry((state, code, relationship, provider_group)).or_default() += n;
        }
    }
    let sql = ON_THE_WIRE.on(tx);
    let on_the_wire: Vec<Tally> = on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_all(c).await)?;
    for Tally { state, code, relationship, provider_group, n } in on_the_wire {
        let mut count = |state, n| {
            *sums.entry((state, code.clone(), relationship.clone(), provider_group.clone())).or_default() += n;
        };
        count(state, -n);
        count(DeliveryState::Submitting, n);
    }
    sums.retain(|_, n| *n > 0);
    let line =
        |((state, code, relationship, provider_group), n)| Tally { state, code, relationship, provider_group, n };
    Ok(sums.into_iter().map(line).collect())
}

/// The contacts of a campaign in parts: behind which each begins, and with which it ends.
async fn parts(tx: &mut Tx, campaign: i64) -> Result<Vec<(i64, i64)>> {
    let (sql, mut parts, mut from) = (PART_ENDS.on(tx), Vec::new(), i64::MIN);
    loop {
        let to: Option<i64> = on!(tx, |c| sqlx::query_scalar(sql).bind(campaign).bind(from).fetch_one(c).await)?;
        let Some(to) = to else { return Ok(parts) };
        parts.push((from, to));
        from = to;
    }
}

/// Accepted messages per minute since `start`: minute, messages.
pub async fn accepted_series(tx: &mut Tx, campaign: i64, start: i64) -> Result<Vec<(i64, i64)>> {
    let (sql, mut series) = (ACCEPTED_SERIES.on(tx), BTreeMap::new());
    for (from, to) in parts(tx, campaign).await? {
        let part: Vec<(i64, i64)> =
            on!(tx, |c| sqlx::query_as(sql).bind(campaign).bind(start).bind(from).bind(to).fetch_all(c).await)?;
        part.into_iter().for_each(|(minute, n)| *series.entry(minute).or_default() += n);
    }
    Ok(series.into_iter().collect())
}

/// How many messages were accepted after `instant`.
pub async fn accepted_since(tx: &mut Tx, campaign: i64, instant: i64) -> Result<i64> {
    let sql = ACCEPTED_SINCE.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(campaign).bind(instant).fetch_one(c).await)
}

/// How many accepted messages carry individual tracking: the base of the opens.
pub async fn tracked(tx: &mut Tx, campaign: i64) -> Result<i64> {
    let sql = TRACKED.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(campaign).fetch_one(c).await)
}
