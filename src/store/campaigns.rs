//! Campaigns and where they stand.

use sqlx::FromRow;

use super::{Result, Sql, Tx, on};
use crate::domain::{
    campaign_file::{BodyFormat, CampaignFile},
    campaigns::{CampaignKind, CampaignState},
};

/// A row of `campaign`. What it says stands in `source`, the campaign file as it was given.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Campaign {
    /// Key.
    pub id: i64,
    /// Name in files and commands.
    pub slug: String,
    /// Slug of its product.
    pub product: String,
    /// What it is.
    #[sqlx(try_from = "String")]
    pub kind: CampaignKind,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub state: CampaignState,
    /// The campaign file.
    pub source: String,
    /// How its body is written.
    #[sqlx(try_from = "String")]
    pub format: BodyFormat,
    /// What it sends, frozen at launch (JSON); empty before.
    pub frozen: String,
    /// When it starts by itself, in milliseconds.
    pub scheduled_at: Option<i64>,
    /// When it started, in milliseconds.
    pub launched_at: Option<i64>,
    /// When nothing was left to send, in milliseconds.
    pub finished_at: Option<i64>,
    /// Id of the last contact that enqueueing has dealt with.
    pub enqueue_after: i64,
    /// When enqueueing ended, in milliseconds.
    pub enqueued_at: Option<i64>,
}

const ADD: Sql = Sql::same(
    "INSERT INTO campaign (slug, product, kind, state, source, format, frozen, created_at, changed_at,
     scheduled_at, launched_at, finished_at, enqueue_after, enqueued_at)
     VALUES ($1, $2, $3, 'draft', $4, $5, '', $6, $6, NULL, NULL, NULL, 0, NULL) ON CONFLICT (slug) DO NOTHING",
);
const EDIT: Sql = Sql::same(
    "UPDATE campaign SET product = $2, kind = $3, source = $4, format = $5, changed_at = $6
     WHERE slug = $1 AND state = 'draft'",
);
const ALL: Sql = Sql::same("SELECT * FROM campaign ORDER BY id");
const BY_SLUG: Sql = Sql::same("SELECT * FROM campaign WHERE slug = $1");
const BY_ID: Sql = Sql::same("SELECT * FROM campaign WHERE id = $1");
const STANDING: Sql = Sql::same("SELECT state, enqueued_at FROM campaign WHERE id = $1");
const IN_STATE: Sql = Sql::same("SELECT * FROM campaign WHERE state = $1 ORDER BY id");
const SCHEDULE: Sql = Sql::same(
    "UPDATE campaign SET state = 'scheduled', frozen = $2, scheduled_at = $3, changed_at = $4
     WHERE id = $1 AND state = 'draft'",
);
const START_DUE: Sql = Sql::same(
    "UPDATE campaign SET state = 'running', launched_at = $1, changed_at = $1
     WHERE state = 'scheduled' AND scheduled_at <= $1",
);
const MOVE: Sql = Sql::same("UPDATE campaign SET state = $3, changed_at = $4 WHERE id = $1 AND state = $2");
const ENQUEUED: Sql = Sql::same(
    "UPDATE campaign SET enqueue_after = $3, enqueued_at = $4
     WHERE id = $1 AND enqueue_after = $2 AND enqueued_at IS NULL AND state = 'running'",
);
const FINISH: Sql = Sql::twin(
    "UPDATE campaign SET state = 'finished', finished_at = $2, changed_at = $2
     WHERE id = $1 AND state = 'running' AND enqueued_at IS NOT NULL
     AND NOT EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_queued WHERE campaign_id = $1 AND state = 'queued')
     AND NOT EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_deferred WHERE campaign_id = $1 AND state = 'deferred')
     AND NOT EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_in_hand WHERE campaign_id = $1 AND worker_id IS NOT NULL)",
    "UPDATE campaign SET state = 'finished', finished_at = $2, changed_at = $2
     WHERE id = $1 AND state = 'running' AND enqueued_at IS NOT NULL
     AND NOT EXISTS (SELECT 1 FROM delivery WHERE campaign_id = $1 AND state = 'queued')
     AND NOT EXISTS (SELECT 1 FROM delivery WHERE campaign_id = $1 AND state = 'deferred')
     AND NOT EXISTS (SELECT 1 FROM delivery WHERE campaign_id = $1 AND worker_id IS NOT NULL)",
);
const LOCK: Sql =
    Sql::twin("SELECT state FROM campaign WHERE id = $1", "SELECT state FROM campaign WHERE id = $1 FOR SHARE");

/// Adds a draft; false when the slug is taken.
pub async fn add(tx: &mut Tx, file: &CampaignFile, source: &str, now: i64) -> Result<bool> {
    let sql = ADD.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(&file.slug)
        .bind(&file.product)
        .bind(file.kind.as_str())
        .bind(source)
        .bind(file.format.as_str())
        .bind(now)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Replaces what a draft says; false when it is no draft any more.
pub async fn edit(tx: &mut Tx, file: &CampaignFile, source: &str, now: i64) -> Result<bool> {
    let sql = EDIT.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(&file.slug)
        .bind(&file.product)
        .bind(file.kind.as_str())
        .bind(source)
        .bind(file.format.as_str())
        .bind(now)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Every campaign, oldest first.
pub async fn all(tx: &mut Tx) -> Result<Vec<Campaign>> {
    let sql = ALL.on(tx);
    on!(tx, |c| sqlx::query_as(sql).fetch_all(c).await)
}

/// The campaign of this slug.
pub async fn by_slug(tx: &mut Tx, slug: &str) -> Result<Option<Campaign>> {
    let sql = BY_SLUG.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(slug).fetch_optional(c).await)
}

/// The campaign of this id.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<Campaign>> {
    let sql = BY_ID.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)
}

/// Where a campaign stands, and when enqueueing ended, in milliseconds.
pub async fn standing(tx: &mut Tx, id: i64) -> Result<Option<(CampaignState, Option<i64>)>> {
    let sql = STANDING.on(tx);
    let row: Option<(String, Option<i64>)> = on!(tx, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)?;
    Ok(row.and_then(|(state, enqueued_at)| Some((state.parse().ok()?, enqueued_at))))
}

/// The campaigns in this state, oldest first.
pub async fn in_state(tx: &mut Tx, state: CampaignState) -> Result<Vec<Campaign>> {
    let sql = IN_STATE.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(state.as_str()).fetch_all(c).await)
}

/// Freezes what a draft sends and makes it start at `at`; false when it is no draft.
pub async fn schedule(tx: &mut Tx, id: i64, frozen: &str, at: i64, now: i64) -> Result<bool> {
    let sql = SCHEDULE.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(id)
        .bind(frozen)
        .bind(at)
        .bind(now)
        .execute(c)
        .await
        .map(|d| d.rows_affected() == 1))
}

/// Starts every scheduled campaign whose time has come, and returns how many.
pub async fn start_due(tx: &mut Tx, now: i64) -> Result<u64> {
    let sql = START_DUE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(now).execute(c).await.map(|done| done.rows_affected()))
}

/// Moves a campaign from one state to another; false when it was not in the first.
pub async fn move_state(tx: &mut Tx, id: i64, from: CampaignState, to: CampaignState, now: i64) -> Result<bool> {
    let sql = MOVE.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(id)
        .bind(from.as_str())
        .bind(to.as_str())
        .bind(now)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Notes how far enqueueing came, in the transaction that wrote the deliveries. False when another
/// worker was there first, or the campaign no longer runs: then the transaction must not commit.
pub async fn enqueued(tx: &mut Tx, id: i64, from: i64, to: i64, ended_at: Option<i64>) -> Result<bool> {
    let sql = ENQUEUED.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(id)
        .bind(from)
        .bind(to)
        .bind(ended_at)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Finishes a campaign of which nothing is left to send; false when something is.
pub async fn finish(tx: &mut Tx, id: i64, now: i64) -> Result<bool> {
    let sql = FINISH.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).bind(now).execute(c).await.map(|done| done.rows_affected() == 1))
}

/// Reads a campaign's state and keeps it from changing until the transaction ends.
pub async fn hold_state(tx: &mut Tx, id: i64) -> Result<Option<CampaignState>> {
    let sql = LOCK.on(tx);
    let word: Option<String> = on!(tx, |c| sqlx::query_scalar(sql).bind(id).fetch_optional(c).await)?;
    Ok(word.and_then(|w| w.parse().ok()))
}
