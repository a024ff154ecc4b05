//! Workers and their heartbeat: a number that grows, so that no clock is compared with another.

use std::collections::HashMap;

use super::{Result, Sql, Tx, on};
use crate::domain::campaigns::CampaignState;

const ADD: Sql = Sql::same("INSERT INTO worker (beat, started_at) VALUES (0, $1) RETURNING id");
const BEAT: Sql = Sql::same("UPDATE worker SET beat = beat + 1, trouble = $2 WHERE id = $1");
const HOLD: Sql = Sql::twin(
    "SELECT EXISTS (SELECT 1 FROM worker WHERE id = $1)",
    "SELECT EXISTS (SELECT 1 FROM worker WHERE id = $1 FOR KEY SHARE)",
);
const HOLD_WITH: Sql = Sql::twin(
    "SELECT campaign.id, campaign.state FROM worker, campaign
     WHERE worker.id = $1 AND campaign.id IN (SELECT value FROM json_each($2))",
    "SELECT campaign.id, campaign.state FROM worker, campaign
     WHERE worker.id = $1 AND campaign.id IN (SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST($2 AS json)))
     FOR KEY SHARE OF worker FOR SHARE OF campaign",
);
const ALL: Sql = Sql::same("SELECT id, beat FROM worker ORDER BY id");
const TROUBLES: Sql = Sql::same("SELECT trouble FROM worker WHERE trouble <> '' ORDER BY id");
const KEEPS: Sql = Sql::same("UPDATE worker SET limits = $2 WHERE id = $1");
const LIMITS: Sql = Sql::same("SELECT CAST(COUNT(DISTINCT limits) AS BIGINT) FROM worker WHERE limits <> ''");
const REMOVE: Sql = Sql::same("DELETE FROM worker WHERE id = $1");

/// Registers a worker and returns its id.
pub async fn add(tx: &mut Tx, now: i64) -> Result<i64> {
    let sql = ADD.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(now).fetch_one(c).await)
}

/// Shows that the worker lives, and what keeps it from the mail server, if anything does; false when others have declared
/// it dead.
pub async fn beat(tx: &mut Tx, id: i64, trouble: &str) -> Result<bool> {
    let sql = BEAT.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).bind(trouble).execute(c).await.map(|done| done.rows_affected() == 1))
}

/// Whether the worker is on the list; if it is, it stays there until the transaction ends. Whoever was
/// taken for dead must claim and submit nothing: what it holds is others' by now.
pub async fn hold(tx: &mut Tx, id: i64) -> Result<bool> {
    let sql = HOLD.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(id).fetch_one(c).await)
}

/// [`hold`] and the states of these campaigns, which stay as they are until the transaction ends, in one
/// go. None: the worker is off the list, or there is no such campaign at all; then ask one by one.
pub async fn hold_with(tx: &mut Tx, id: i64, campaigns: &[i64]) -> Result<Option<HashMap<i64, CampaignState>>> {
    let (sql, list) = (HOLD_WITH.on(tx), super::json(campaigns));
    let rows: Vec<(i64, String)> = on!(tx, |c| sqlx::query_as(sql).bind(id).bind(list).fetch_all(c).await)?;
    let states = rows.into_iter().map(|(id, state)| match state.parse() {
        Ok(state) => Ok((id, state)),
        Err(error) => Err(sqlx::Error::Decode(Box::new(error))),
    });
    let states: HashMap<i64, CampaignState> = states.collect::<Result<_>>()?;
    Ok(Some(states).filter(|states| !states.is_empty()))
}

/// Every registered worker with its heartbeat.
pub async fn all(tx: &mut Tx) -> Result<Vec<(i64, i64)>> {
    let sql = ALL.on(tx);
    on!(tx, |c| sqlx::query_as(sql).fetch_all(c).await)
}

/// What keeps workers from the mail server, one each that has trouble.
pub async fn troubles(tx: &mut Tx) -> Result<Vec<String>> {
    let sql = TROUBLES.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).fetch_all(c).await)
}

/// Notes which limits a worker keeps: the mark of its settings.
pub async fn keeps(tx: &mut Tx, id: i64, limits: &str) -> Result<()> {
    let sql = KEEPS.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).bind(limits).execute(c).await.map(|_| ()))
}

/// How many different settings of limits the workers keep: more than one, and no limit is what anybody set.
pub async fn limits(tx: &mut Tx) -> Result<i64> {
    let sql = LIMITS.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).fetch_one(c).await)
}

/// Takes a worker off the list: it left, or it is dead.
pub async fn remove(tx: &mut Tx, id: i64) -> Result<()> {
    let sql = REMOVE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).execute(c).await.map(|_| ()))
}
