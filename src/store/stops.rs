//! Automatic stops: the numbers that a campaign is judged by, and why it was stopped.

use super::{Result, Sql, Tx, on};
use crate::domain::stops::{Numbers, Stop};

/// Why a campaign was stopped automatically.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Which stop.
    pub stop: Stop,
    /// How many there were …
    pub count: i64,
    /// … of how many.
    pub of: i64,
}

const COUNTED: Sql = Sql::same(
    "SELECT CAST(COALESCE(SUM(accepted), 0) AS BIGINT), CAST(COALESCE(SUM(bounced), 0) AS BIGINT),
     CAST(COALESCE(SUM(hard), 0) AS BIGINT), CAST(COALESCE(SUM(config), 0) AS BIGINT),
     CAST(COALESCE(SUM(content), 0) AS BIGINT),
     (SELECT CAST(COUNT(DISTINCT address_hash) AS BIGINT) FROM event WHERE campaign_id = $1 AND kind = 'complaint')
     FROM outcome_count WHERE campaign_id = $1",
);
const JUDGED: Sql = Sql::same(
    "SELECT judged_accepted, judged_bounced, judged_hard, judged_config, judged_content, judged_complaints
     FROM campaign WHERE id = $1",
);
const STOPPED: Sql = Sql::same("SELECT stop_code, stop_count, stop_of FROM campaign WHERE id = $1");
const STOP: Sql = Sql::same(
    "UPDATE campaign SET state = 'paused', changed_at = $2, stop_code = $3, stop_count = $4, stop_of = $5
     WHERE id = $1 AND state = 'running'",
);
const BEGIN_ANEW: Sql = Sql::same(
    "UPDATE campaign SET stop_code = '', stop_count = 0, stop_of = 0, judged_accepted = $2, judged_bounced = $3,
     judged_hard = $4, judged_config = $5, judged_content = $6, judged_complaints = $7
     WHERE id = $1 AND stop_code <> ''",
);

/// What a campaign has come to since its launch, or since it was resumed after a stop.
pub async fn numbers(tx: &mut Tx, campaign: i64) -> Result<Numbers> {
    let all = counted(tx, campaign).await?;
    let sql = JUDGED.on(tx);
    let judged: Option<Row> = on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_optional(c).await)?;
    let before = judged.map(of_row).unwrap_or_default();
    Ok(Numbers {
        accepted: all.accepted - before.accepted,
        bounced: all.bounced - before.bounced,
        hard: all.hard - before.hard,
        config: all.config - before.config,
        content: all.content - before.content,
        complaints: all.complaints - before.complaints,
    })
}

/// Why a campaign was stopped; none: it was not, or it was resumed.
pub async fn stopped(tx: &mut Tx, campaign: i64) -> Result<Option<Stopped>> {
    let sql = STOPPED.on(tx);
    let row: Option<(String, i64, i64)> = on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_optional(c).await)?;
    Ok(row.and_then(|(code, count, of)| Some(Stopped { stop: code.parse().ok()?, count, of })))
}

/// Pauses a running campaign and says why; false when it does not run.
pub async fn stop(tx: &mut Tx, campaign: i64, why: Stopped, now: i64) -> Result<bool> {
    let sql = STOP.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(campaign)
        .bind(now)
        .bind(why.stop.as_str())
        .bind(why.count)
        .bind(why.of)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// A campaign that was stopped is judged from here on: somebody has looked at it and lets it go on.
pub async fn begin_anew(tx: &mut Tx, campaign: i64) -> Result<()> {
    let n = counted(tx, campaign).await?;
    let sql = BEGIN_ANEW.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(campaign)
        .bind(n.accepted)
        .bind(n.bounced)
        .bind(n.hard)
        .bind(n.config)
        .bind(n.content)
        .bind(n.complaints)
        .execute(c)
        .await
        .map(|_| ()))
}

type Row = (i64, i64, i64, i64, i64, i64);

async fn counted(tx: &mut Tx, campaign: i64) -> Result<Numbers> {
    let sql = COUNTED.on(tx);
    let row: Row = on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_one(c).await)?;
    Ok(of_row(row))
}

fn of_row((accepted, bounced, hard, config, content, complaints): Row) -> Numbers {
    Numbers { accepted, bounced, hard, config, content, complaints }
}
