//! What DNS told of recipients' domains: whose mailboxes they are.

use serde::Serialize;

use super::{Result, Sql, Tx, on};

const GROUPS: Sql = Sql::twin(
    "SELECT domain, provider_group FROM mail_domain
     WHERE domain IN (SELECT value FROM json_each($1)) AND learnt_at > $2",
    "SELECT domain, provider_group FROM mail_domain
     WHERE domain IN (SELECT value FROM json_array_elements_text(CAST($1 AS json))) AND learnt_at > $2",
);
const LEARN: Sql = Sql::twin(
    "INSERT INTO mail_domain (domain, provider_group, learnt_at)
     SELECT value ->> 'domain', value ->> 'provider_group', $2 FROM json_each($1) WHERE TRUE
     ON CONFLICT (domain) DO UPDATE SET provider_group = excluded.provider_group, learnt_at = excluded.learnt_at",
    "INSERT INTO mail_domain (domain, provider_group, learnt_at)
     SELECT r.domain, r.provider_group, $2
     FROM json_to_recordset(CAST($1 AS json)) AS r(domain text, provider_group text) ORDER BY r.domain
     ON CONFLICT (domain) DO UPDATE SET provider_group = excluded.provider_group, learnt_at = excluded.learnt_at",
);
const FORGET: Sql = Sql::same("DELETE FROM mail_domain WHERE learnt_at < $1");

#[derive(Serialize)]
struct Row<'a> {
    domain: &'a str,
    provider_group: &'a str,
}

/// The groups of those of `domains` of which something was learnt after `since`, in milliseconds.
pub async fn groups(tx: &mut Tx, domains: &[&str], since: i64) -> Result<Vec<(String, String)>> {
    let (sql, list) = (GROUPS.on(tx), super::json(domains));
    on!(tx, |c| sqlx::query_as(sql).bind(list).bind(since).fetch_all(c).await)
}

/// Keeps what was learnt: domain and group.
pub async fn learn(tx: &mut Tx, learnt: &[(String, &str)], now: i64) -> Result<()> {
    if learnt.is_empty() {
        return Ok(());
    }
    let rows: Vec<Row<'_>> = learnt.iter().map(|(domain, group)| Row { domain, provider_group: group }).collect();
    let (sql, rows) = (LEARN.on(tx), super::json(&rows));
    on!(tx, |c| sqlx::query(sql).bind(rows).bind(now).execute(c).await.map(|_| ()))
}

/// Forgets what was learnt before `instant`.
pub async fn forget(tx: &mut Tx, instant: i64) -> Result<()> {
    let sql = FORGET.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(instant).execute(c).await.map(|_| ()))
}
