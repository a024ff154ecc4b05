//! Provider groups that pushed back, and how they stand.

use sqlx::FromRow;

use super::{Result, Sql, Tx, on};
use crate::domain::{pushback::Standing, replies::ReplyClass};

/// A row of `provider_group`.
#[derive(Debug, Clone, FromRow)]
struct Row {
    name: String,
    suspended_until: i64,
    strikes: i64,
    step: i64,
    stepped_at: i64,
    seen_per_hour: i64,
    base_per_hour: i64,
    accepted: i64,
    #[sqlx(try_from = "String")]
    class: ReplyClass,
    reply: String,
}

const ALL: Sql = Sql::same(
    "SELECT name, suspended_until, strikes, step, stepped_at, seen_per_hour, base_per_hour, accepted, class, reply
     FROM provider_group ORDER BY name",
);
const HOLD: Sql = Sql::twin(
    "SELECT name, suspended_until, strikes, step, stepped_at, seen_per_hour, base_per_hour, accepted, class, reply
     FROM provider_group WHERE name = $1",
    "SELECT name, suspended_until, strikes, step, stepped_at, seen_per_hour, base_per_hour, accepted, class, reply
     FROM provider_group WHERE name = $1 FOR UPDATE",
);
const PUT: Sql = Sql::same(
    "INSERT INTO provider_group (name, suspended_until, strikes, step, stepped_at, seen_per_hour, base_per_hour,
     accepted, class, reply) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     ON CONFLICT (name) DO UPDATE SET suspended_until = excluded.suspended_until, strikes = excluded.strikes,
     step = excluded.step, stepped_at = excluded.stepped_at, seen_per_hour = excluded.seen_per_hour,
     base_per_hour = excluded.base_per_hour, accepted = excluded.accepted, class = excluded.class,
     reply = excluded.reply",
);
const REMOVE: Sql = Sql::same("DELETE FROM provider_group WHERE name = $1 AND stepped_at = $2");

/// Every group that has pushed back and is not well yet.
pub async fn all(tx: &mut Tx) -> Result<Vec<(String, Standing)>> {
    let sql = ALL.on(tx);
    let rows: Vec<Row> = on!(tx, |c| sqlx::query_as(sql).fetch_all(c).await)?;
    Ok(rows.into_iter().map(Row::into_standing).collect())
}

/// How a group stands; it stands so until the transaction ends. None: it is well.
pub async fn hold(tx: &mut Tx, name: &str) -> Result<Option<Standing>> {
    let sql = HOLD.on(tx);
    let row: Option<Row> = on!(tx, |c| sqlx::query_as(sql).bind(name).fetch_optional(c).await)?;
    Ok(row.map(|row| row.into_standing().1))
}

/// Writes how a group stands.
pub async fn put(tx: &mut Tx, name: &str, s: &Standing) -> Result<()> {
    let sql = PUT.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(name)
        .bind(s.suspended_until)
        .bind(s.strikes)
        .bind(s.step)
        .bind(s.stepped_at)
        .bind(s.seen_per_hour)
        .bind(s.base_per_hour)
        .bind(s.accepted)
        .bind(s.class.as_str())
        .bind(&s.reply)
        .execute(c)
        .await
        .map(|_| ()))
}

/// A group is well again, unless something happened to it since its window began at `stepped_at`.
pub async fn remove(tx: &mut Tx, name: &str, stepped_at: i64) -> Result<bool> {
    let sql = REMOVE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(name).bind(stepped_at).execute(c).await.map(|d| d.rows_affected() == 1))
}

impl Row {
    fn into_standing(self) -> (String, Standing) {
        let standing = Standing {
            suspended_until: self.suspended_until,
            strikes: self.strikes,
            step: self.step,
            stepped_at: self.stepped_at,
            seen_per_hour: self.seen_per_hour,
            base_per_hour: self.base_per_hour,
            accepted: self.accepted,
            class: self.class,
            reply: self.reply,
        };
        (self.name, standing)
    }
}
