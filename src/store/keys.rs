//! Fingerprints of the keys a database was written with, so that no process works with others.

use super::{Result, Sql, Tx, on};

const ALL: Sql = Sql::same("SELECT name, fingerprint FROM key_fingerprint");
const NOTE: Sql =
    Sql::same("INSERT INTO key_fingerprint (name, fingerprint) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING");

/// Every noted key: name and fingerprint.
pub async fn all(tx: &mut Tx) -> Result<Vec<(String, String)>> {
    let sql = ALL.on(tx);
    on!(tx, |c| sqlx::query_as(sql).fetch_all(c).await)
}

/// Notes the fingerprint of the key `name`; one that is noted already stays as it is.
pub async fn note(tx: &mut Tx, name: &str, fingerprint: &str) -> Result<()> {
    let sql = NOTE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(name).bind(fingerprint).execute(c).await.map(|_| ()))
}
