//! What became of submissions, counted as they end: for stops, recovery and metrics, without reading
//! the deliveries. Each worker adds to rows of its own, so none waits for another.

use serde::Serialize;
use sqlx::FromRow;

use super::{Result, Sql, Tx, on};

/// Outcomes of one campaign in one provider group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, FromRow)]
pub struct Counts {
    /// Key of the campaign.
    pub campaign_id: i64,
    /// Which group.
    pub provider_group: String,
    /// Taken by the server.
    pub accepted: i64,
    /// Refused for now.
    pub deferred: i64,
    /// Refused for good.
    pub bounced: i64,
    /// Of these, because the address does not exist.
    pub hard: i64,
    /// Refused for want of authentication, for now or for good.
    pub config: i64,
    /// Refused for what the message is.
    pub content: i64,
}

const ADD: Sql = Sql::twin(
    "INSERT INTO outcome_count (campaign_id, provider_group, worker_id, accepted, deferred, bounced, hard, config,
     content) SELECT value ->> 'campaign_id', value ->> 'provider_group', $1, value ->> 'accepted',
     value ->> 'deferred', value ->> 'bounced', value ->> 'hard', value ->> 'config', value ->> 'content'
     FROM jsonb_each($2) WHERE TRUE
     ON CONFLICT (campaign_id, provider_group, worker_id) DO UPDATE SET
     accepted = outcome_count.accepted + excluded.accepted, deferred = outcome_count.deferred + excluded.deferred,
     bounced = outcome_count.bounced + excluded.bounced, hard = outcome_count.hard + excluded.hard,
     config = outcome_count.config + excluded.config, content = outcome_count.content + excluded.content",
    "INSERT INTO outcome_count (campaign_id, provider_group, worker_id, accepted, deferred, bounced, hard, config,
     content) SELECT r.campaign_id, r.provider_group, $1, r.accepted, r.deferred, r.bounced, r.hard, r.config, r.content
     FROM json_to_recordset(CAST($2 AS json)) AS r(campaign_id bigint, provider_group text, accepted bigint,
     deferred bigint, bounced bigint, hard bigint, config bigint, content bigint)
     ON CONFLICT (campaign_id, provider_group, worker_id) DO UPDATE SET
     accepted = outcome_count.accepted + excluded.accepted, deferred = outcome_count.deferred + excluded.deferred,
     bounced = outcome_count.bounced + excluded.bounced, hard = outcome_count.hard + excluded.hard,
     config = outcome_count.config + excluded.config, content = outcome_count.content + excluded.content",
);
const BY_GROUP: Sql = Sql::same(
    "SELECT CAST(0 AS BIGINT) AS campaign_id, provider_group, CAST(SUM(accepted) AS BIGINT) AS accepted,
     CAST(SUM(deferred) AS BIGINT) AS deferred, CAST(SUM(bounced) AS BIGINT) AS bounced,
     CAST(SUM(hard) AS BIGINT) AS hard, CAST(SUM(config) AS BIGINT) AS config, CAST(SUM(content) AS BIGINT) AS content
     FROM outcome_count GROUP BY provider_group ORDER BY provider_group",
);
const ACCEPTED_BY: Sql =
    Sql::same("SELECT CAST(COALESCE(SUM(accepted), 0) AS BIGINT) FROM outcome_count WHERE provider_group = $1");

/// Adds to the counts of a worker.
pub async fn add(tx: &mut Tx, worker: i64, counts: &[Counts]) -> Result<()> {
    if counts.is_empty() {
        return Ok(());
    }
    let (sql, rows) = (ADD.on(tx), super::json(counts));
    on!(tx, |c| sqlx::query(sql).bind(worker).bind(rows).execute(c).await.map(|_| ()))
}

/// The outcomes of all campaigns together, by group; their campaign is 0.
pub async fn by_group(tx: &mut Tx) -> Result<Vec<Counts>> {
    let sql = BY_GROUP.on(tx);
    on!(tx, |c| sqlx::query_as(sql).fetch_all(c).await)
}

/// How many messages a group has ever accepted.
pub async fn accepted_by(tx: &mut Tx, group: &str) -> Result<i64> {
    let sql = ACCEPTED_BY.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(group).fetch_one(c).await)
}
