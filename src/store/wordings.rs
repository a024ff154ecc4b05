//! The texts that people said yes to, as they stood. Rows are added, never changed or deleted.

use serde::Serialize;
use sqlx::FromRow;

use super::{Result, Sql, Tx, on};

/// A row of `wording`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct Wording {
    /// What it is for: `form:PRODUCT`, `preferences`, `tracking` …
    pub name: String,
    /// `fr` or `en`.
    pub language: String,
    /// SHA-256 of the text in hexadecimal.
    pub hash: String,
    /// Counts up from 1 within name and language.
    pub version: i64,
    /// The text.
    pub text: String,
    /// When it was first chosen or said yes to, in milliseconds.
    pub created_at: i64,
    /// When an operator chose it last, in milliseconds; none for the program's own.
    pub chosen_at: Option<i64>,
}

const ADD: Sql = Sql::same(
    "INSERT INTO wording (name, language, hash, version, text, created_at, chosen_at)
     SELECT $1, $2, $3, (SELECT COALESCE(MAX(version), 0) + 1 FROM wording WHERE name = $1 AND language = $2),
     $4, $5, NULL WHERE TRUE ON CONFLICT DO NOTHING",
);
const CHOOSE: Sql = Sql::same("UPDATE wording SET chosen_at = $4 WHERE name = $1 AND language = $2 AND hash = $3");
const BY_HASH: Sql = Sql::same("SELECT * FROM wording WHERE name = $1 AND language = $2 AND hash = $3");
const CHOSEN: Sql = Sql::same(
    "SELECT * FROM wording WHERE name = $1 AND language = $2 AND chosen_at IS NOT NULL
     ORDER BY chosen_at DESC, version DESC LIMIT 1",
);
const OF_NAME: Sql = Sql::same("SELECT * FROM wording WHERE name = $1 ORDER BY language, version");

/// Keeps a text; one that is kept already stays as it is.
pub async fn add(tx: &mut Tx, name: &str, language: &str, hash: &str, text: &str, now: i64) -> Result<()> {
    let sql = ADD.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(name).bind(language).bind(hash).bind(text).bind(now).execute(c).await.map(|_| ()))
}

/// Makes a kept text the one in force.
pub async fn choose(tx: &mut Tx, name: &str, language: &str, hash: &str, now: i64) -> Result<()> {
    let sql = CHOOSE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(name).bind(language).bind(hash).bind(now).execute(c).await.map(|_| ()))
}

/// The kept text of this hash.
pub async fn by_hash(tx: &mut Tx, name: &str, language: &str, hash: &str) -> Result<Option<Wording>> {
    let sql = BY_HASH.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(name).bind(language).bind(hash).fetch_optional(c).await)
}

/// The text that an operator chose, if one did.
pub async fn chosen(tx: &mut Tx, name: &str, language: &str) -> Result<Option<Wording>> {
    let sql = CHOSEN.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(name).bind(language).fetch_optional(c).await)
}

/// Every text of a name, by language and version.
pub async fn of_name(tx: &mut Tx, name: &str) -> Result<Vec<Wording>> {
    let sql = OF_NAME.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(name).fetch_all(c).await)
}
