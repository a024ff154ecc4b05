//! Fingerprints of the keys a database was written with, so that no process works with others.

use super::{Result, Sql, Tx, on};

const ALL: Sql = Sql::same("SELECT name, fingerprint FROM key_fingerprint");
const NOTE: Sql =
    Sql::same("INSERT INTO key_fingerprint (name, fingerprint) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING");
const RENOTE: Sql = Sql::same(
    "INSERT INTO key_fingerprint (name, fingerprint) VALUES ($1, $2)
     ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint",
);
const FORGET: Sql = Sql::same("DELETE FROM key_fingerprint WHERE name = $1");

/// Every noted key: name and fingerprint.
pub async fn all(tx: &mut Tx) -> Result<Vec<(String, String)>> {
    let sql = ALL.on(tx);
    on!(tx, |c| sqlx::query_as(sql).fetch_all(c).await)
}

/// Notes the fingerprint of the key `name`; false when one is noted already, which stays as it is.
pub async fn note(tx: &mut Tx, name: &str, fingerprint: &str) -> Result<bool> {
    let sql = NOTE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(name).bind(fingerprint).execute(c).await.map(|done| done.rows_affected() == 1))
}

/// Notes the fingerprint of the key `name` in place of the one that is noted.
pub async fn replace(tx: &mut Tx, name: &str, fingerprint: &str) -> Result<()> {
    let sql = RENOTE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(name).bind(fingerprint).execute(c).await.map(|_| ()))
}

/// Waits until nobody else changes keys, and holds others back until the transaction ends.
pub async fn take_turns(tx: &mut Tx) -> Result<()> {
    // Who inserts the same name waits for the transaction that has; nothing of it remains.
    replace(tx, "turn", "").await?;
    forget(tx, "turn").await.map(|_| ())
}

/// Forgets what is noted of the key `name`; false when nothing was.
pub async fn forget(tx: &mut Tx, name: &str) -> Result<bool> {
    let sql = FORGET.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(name).execute(c).await.map(|done| done.rows_affected() == 1))
}
