//! What every process shares of a scope's limits: its pace and its caps. A scope is a campaign, the
//! mail server or a provider group.
//!
//! The row of a scope's bucket is also its lock: who holds it may read and change its caps.

use std::collections::HashMap;

use serde::Serialize;

use super::{Result, Sql, Tx, on};

/// Messages of a scope in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Which scope.
    pub scope: String,
    /// Which hour or day.
    pub period: String,
    /// How many.
    pub n: i64,
    /// The end of the period, in milliseconds.
    pub ends_at: i64,
}

const HOLD: Sql = Sql::twin(
    "SELECT scope, next_at FROM bucket WHERE scope IN (SELECT value FROM json_each($1)) ORDER BY scope",
    "SELECT scope, next_at FROM bucket WHERE scope IN (SELECT value FROM json_array_elements_text(CAST($1 AS json)))
     ORDER BY scope FOR UPDATE",
);
const ADD: Sql = Sql::twin(
    "INSERT INTO bucket (scope, next_at) SELECT value, 0 FROM json_each($1) WHERE TRUE ON CONFLICT DO NOTHING",
    "INSERT INTO bucket (scope, next_at) SELECT value, 0 FROM json_array_elements_text(CAST($1 AS json))
     ORDER BY value ON CONFLICT DO NOTHING",
);
const MOVE: Sql = Sql::same("UPDATE bucket SET next_at = $2 WHERE scope = $1");
const SPENT: Sql = Sql::twin(
    "SELECT scope, period, n FROM spent WHERE scope IN (SELECT value FROM json_each($1)) AND ends_at > $2",
    "SELECT scope, period, n FROM spent
     WHERE scope IN (SELECT value FROM json_array_elements_text(CAST($1 AS json))) AND ends_at > $2",
);
const SPEND: Sql = Sql::twin(
    "INSERT INTO spent (scope, period, n, ends_at) SELECT value ->> 'scope', value ->> 'period', value ->> 'n',
     value ->> 'ends_at' FROM jsonb_each($1) WHERE TRUE
     ON CONFLICT (scope, period) DO UPDATE SET n = spent.n + excluded.n",
    "INSERT INTO spent (scope, period, n, ends_at) SELECT r.scope, r.period, r.n, r.ends_at
     FROM json_to_recordset(CAST($1 AS json)) AS r(scope text, period text, n bigint, ends_at bigint)
     ON CONFLICT (scope, period) DO UPDATE SET n = spent.n + excluded.n",
);
const FORGET: Sql = Sql::same("DELETE FROM spent WHERE ends_at < $1");

/// The instants at which the next message of each of these scopes may leave, in nanoseconds. On
/// PostgreSQL nobody else can read them this way until the transaction ends.
pub async fn hold(tx: &mut Tx, scopes: &[&str]) -> Result<HashMap<String, i64>> {
    let held = read(tx, scopes).await?;
    if held.len() == scopes.len() {
        return Ok(held);
    }
    let (sql, list) = (ADD.on(tx), super::json(scopes));
    on!(tx, |c| sqlx::query(sql).bind(list).execute(c).await.map(|_| ()))?;
    read(tx, scopes).await
}

async fn read(tx: &mut Tx, scopes: &[&str]) -> Result<HashMap<String, i64>> {
    let (sql, list) = (HOLD.on(tx), super::json(scopes));
    let rows: Vec<(String, i64)> = on!(tx, |c| sqlx::query_as(sql).bind(list).fetch_all(c).await)?;
    Ok(rows.into_iter().collect())
}

/// Says when the next message of a scope may leave.
pub async fn set(tx: &mut Tx, scope: &str, next_at: i64) -> Result<()> {
    let sql = MOVE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(scope).bind(next_at).execute(c).await.map(|_| ()))
}

/// What was spent of these scopes in periods that end after `now`: scope and period, messages.
pub async fn spent(tx: &mut Tx, scopes: &[&str], now: i64) -> Result<HashMap<(String, String), i64>> {
    let (sql, list) = (SPENT.on(tx), super::json(scopes));
    let rows: Vec<(String, String, i64)> = on!(tx, |c| sqlx::query_as(sql).bind(list).bind(now).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(scope, period, n)| ((scope, period), n)).collect())
}

/// Counts messages that are let go.
pub async fn spend(tx: &mut Tx, rows: &[Spent]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let (sql, rows) = (SPEND.on(tx), super::json(rows));
    on!(tx, |c| sqlx::query(sql).bind(rows).execute(c).await.map(|_| ()))
}

/// Forgets periods that ended before `instant`.
pub async fn forget(tx: &mut Tx, instant: i64) -> Result<()> {
    let sql = FORGET.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(instant).execute(c).await.map(|_| ()))
}
