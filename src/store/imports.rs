//! How far imports came, so that the same file goes on where it was interrupted.

use sqlx::FromRow;

use super::{Result, Sql, Tx, on};

/// A row of `import`: what was done with the first `lines` lines of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow, Default)]
pub struct Progress {
    /// Key.
    pub id: i64,
    /// Lines dealt with, without the header.
    pub lines: i64,
    /// Contacts that were new.
    pub added: i64,
    /// Contacts that changed.
    pub changed: i64,
    /// Contacts that were there already.
    pub unchanged: i64,
    /// Lines that were refused.
    pub refused: i64,
}

/// A refused line.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, serde::Serialize, serde::Deserialize)]
pub struct Refusal {
    /// Line of the file, the header being line 1.
    pub line: i64,
    /// The column at fault; empty when it is the whole line.
    #[serde(rename = "column")]
    pub column_name: String,
    /// Stable code.
    pub code: String,
    /// What is wrong and the way out.
    pub message: String,
}

const OPEN: Sql = Sql::same(
    "SELECT id, lines, added, changed, unchanged, refused FROM import WHERE fingerprint = $1 AND finished_at IS NULL",
);
const START: Sql = Sql::same(
    "INSERT INTO import (fingerprint, started_at, finished_at, lines, added, changed, unchanged, refused)
     VALUES ($1, $2, NULL, 0, 0, 0, 0, 0) RETURNING id",
);
const ADVANCE: Sql = Sql::same(
    "UPDATE import SET lines = $2, added = $3, changed = $4, unchanged = $5, refused = $6
     WHERE id = $1 AND lines = $7 AND finished_at IS NULL",
);
const FINISH: Sql = Sql::same("UPDATE import SET finished_at = $2 WHERE id = $1");
const REFUSE: Sql = Sql::twin(
    "INSERT INTO import_refusal (import_id, line, column_name, code, message)
     SELECT $1, value ->> 'line', value ->> 'column', value ->> 'code', value ->> 'message' FROM jsonb_each($2)",
    "INSERT INTO import_refusal (import_id, line, column_name, code, message)
     SELECT $1, r.line, r.\"column\", r.code, r.message FROM json_to_recordset(CAST($2 AS json))
     AS r(line bigint, \"column\" text, code text, message text)",
);
const REFUSALS: Sql = Sql::same(
    "SELECT line, column_name, code, message FROM import_refusal WHERE import_id = $1 AND line > $2
     ORDER BY line LIMIT $3",
);

/// The interrupted import of this fingerprint, if there is one.
pub async fn open(tx: &mut Tx, fingerprint: &str) -> Result<Option<Progress>> {
    let sql = OPEN.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(fingerprint).fetch_optional(c).await)
}

/// Starts an import and returns its id.
pub async fn start(tx: &mut Tx, fingerprint: &str, now: i64) -> Result<i64> {
    let sql = START.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(fingerprint).bind(now).fetch_one(c).await)
}

/// Notes how far the import is, in the transaction that did the work since `from` lines. False when
/// another process was there first: then the transaction must not commit.
pub async fn advance(tx: &mut Tx, p: &Progress, from: i64) -> Result<bool> {
    let sql = ADVANCE.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(p.id)
        .bind(p.lines)
        .bind(p.added)
        .bind(p.changed)
        .bind(p.unchanged)
        .bind(p.refused)
        .bind(from)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Ends an import.
pub async fn finish(tx: &mut Tx, id: i64, now: i64) -> Result<()> {
    let sql = FINISH.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).bind(now).execute(c).await.map(|_| ()))
}

/// Keeps refused lines, so that the report of a resumed import names them all.
pub async fn refuse(tx: &mut Tx, id: i64, refusals: &[Refusal]) -> Result<()> {
    if refusals.is_empty() {
        return Ok(());
    }
    let (sql, rows) = (REFUSE.on(tx), super::json(refusals));
    on!(tx, |c| sqlx::query(sql).bind(id).bind(rows).execute(c).await.map(|_| ()))
}

/// The next `limit` refused lines of an import after `line`.
pub async fn refusals(tx: &mut Tx, id: i64, line: i64, limit: i64) -> Result<Vec<Refusal>> {
    let sql = REFUSALS.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(id).bind(line).bind(limit).fetch_all(c).await)
}
