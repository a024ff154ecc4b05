//! The suppression list. Rows are added and lifted, never deleted; no row refers to a contact.
//!
//! Only `pipeline::suppress` writes here.

use serde::{Deserialize, Deserializer, Serialize};
use sqlx::FromRow;

use super::{Result, Sql, Tx, events::Event, on};
use crate::domain::{
    address::AddressHash,
    suppressions::{Origin, Scope, SuppressionReason},
};

/// A row of `suppression`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize, Deserialize)]
pub struct Entry {
    /// Key, growing with time; 0 until stored.
    pub id: i64,
    /// What it covers.
    #[sqlx(try_from = "String")]
    pub scope: Scope,
    /// Slug of the product, for that scope.
    pub product: String,
    /// The domain, for that scope.
    pub domain: String,
    /// The address in plain, while it may be kept.
    pub address: String,
    /// Keyed hash of the address (SUP-5); none for a domain and for another's hash.
    #[serde(deserialize_with = "bytes")]
    pub address_hash: Option<Vec<u8>>,
    /// Another's hash of the address, as `sha256:HEX` or `md5:HEX`; else empty.
    pub foreign_hash: String,
    /// Why.
    #[sqlx(try_from = "String")]
    pub reason: SuppressionReason,
    /// Where it came from.
    #[sqlx(try_from = "String")]
    pub origin: Origin,
    /// Since when, in milliseconds. None cannot be lifted by the person (SUP-6).
    pub at: Option<i64>,
    /// Campaign whose message led to it.
    pub campaign_id: Option<i64>,
    /// What the operator wrote.
    pub note: String,
    /// When it was recorded, in milliseconds.
    pub recorded_at: i64,
    /// When it was lifted by hand, in milliseconds.
    pub lifted_at: Option<i64>,
    /// Why it was lifted.
    pub lifted_reason: String,
}

impl Entry {
    /// The keyed hash, typed.
    pub fn hash(&self) -> Option<AddressHash> {
        self.address_hash.as_deref().and_then(|bytes| bytes.try_into().ok()).map(AddressHash)
    }
}

/// With what the report counts of them: it is one journey to the database for both. The rows are numbered as
/// they are written, in the order that is asked for; neither engine promises to answer in it.
const ADD: Sql = Sql::twin(
    "INSERT INTO suppression (scope, product, domain, address, address_hash, foreign_hash, reason, origin, at,
     campaign_id, note, recorded_at, lifted_at, lifted_reason)
     SELECT value ->> 'scope', value ->> 'product', value ->> 'domain', value ->> 'address',
     unhex(value ->> 'hash'), value ->> 'foreign_hash', value ->> 'reason', value ->> 'origin', value ->> 'at',
     value ->> 'campaign_id', value ->> 'note', value ->> 'recorded_at', NULL, '' FROM jsonb_each($1) ORDER BY rowid
     RETURNING id;
     INSERT INTO event (campaign_id, kind, class, address_hash, at)
     SELECT value ->> 'campaign_id', value ->> 'kind', value ->> 'class', unhex(value ->> 'address_hash'),
     value ->> 'at' FROM jsonb_each($2)",
    "WITH counted AS (INSERT INTO event (campaign_id, kind, class, address_hash, at)
     SELECT r.campaign_id, r.kind, r.class, decode(r.address_hash, 'hex'), r.at
     FROM json_to_recordset(CAST($2 AS json)) AS r(campaign_id bigint, kind text, class text, address_hash text,
     at bigint))
     INSERT INTO suppression (scope, product, domain, address, address_hash, foreign_hash, reason, origin, at,
     campaign_id, note, recorded_at, lifted_at, lifted_reason)
     SELECT r.scope, r.product, r.domain, r.address, decode(r.hash, 'hex'), r.foreign_hash, r.reason, r.origin,
     r.at, r.campaign_id, r.note, r.recorded_at, NULL, ''
     FROM ROWS FROM (json_to_recordset(CAST($1 AS json)) AS (scope text, product text, domain text, address text,
     hash text, foreign_hash text, reason text, origin text, at bigint, campaign_id bigint, note text,
     recorded_at bigint)) WITH ORDINALITY AS r(scope, product, domain, address, hash, foreign_hash, reason, origin,
     at, campaign_id, note, recorded_at, place) ORDER BY r.place RETURNING id",
);
/// What a new refusal of these people has to be held against, as one row; entries in the order of the fields
/// of [`Entry`].
const KNOWN: Sql = Sql::twin(
    "SELECT (SELECT json_group_array(json_array(s.id, s.scope, s.product, s.domain, s.address, hex(s.address_hash),
     s.foreign_hash, s.reason, s.origin, s.at, s.campaign_id, s.note, s.recorded_at, s.lifted_at, s.lifted_reason)
     ORDER BY s.id)
     FROM json_each($1) AS j CROSS JOIN suppression s ON s.address_hash = unhex(j.value)
     WHERE s.lifted_at IS NULL) AS standing,
     (SELECT json_group_array(json_array(c.id, hex(c.address_hash), c.address))
     FROM json_each($1) AS j CROSS JOIN contact c ON c.address_hash = unhex(j.value)) AS people",
    "SELECT CAST(COALESCE((SELECT json_agg(json_build_array(id, scope, product, domain, address,
     encode(address_hash, 'hex'), foreign_hash, reason, origin, at, campaign_id, note, recorded_at, lifted_at,
     lifted_reason) ORDER BY id) FROM suppression WHERE lifted_at IS NULL AND address_hash = ANY
     (ARRAY(SELECT decode(value, 'hex') FROM json_array_elements_text(CAST($1 AS json))))), '[]') AS TEXT) AS standing,
     CAST(COALESCE((SELECT json_agg(json_build_array(id, encode(address_hash, 'hex'), address)) FROM contact
     WHERE address_hash = ANY
     (ARRAY(SELECT decode(value, 'hex') FROM json_array_elements_text(CAST($1 AS json))))), '[]') AS TEXT) AS people",
);
/// PostgreSQL: an array, and not a list that is joined, or a plan made before the table grew walks all of it.
const STANDING: Sql = Sql::twin(
    "SELECT * FROM suppression WHERE lifted_at IS NULL AND id IN (
     SELECT id FROM suppression WHERE address_hash IN (SELECT unhex(value) FROM json_each($1))
     UNION SELECT id FROM suppression WHERE domain <> '' AND domain IN (SELECT value FROM json_each($2))
     UNION SELECT id FROM suppression WHERE foreign_hash <> '' AND foreign_hash IN (SELECT value FROM json_each($3)))
     ORDER BY id",
    "SELECT * FROM suppression WHERE lifted_at IS NULL AND id IN (
     SELECT id FROM suppression WHERE address_hash = ANY
     (ARRAY(SELECT decode(value, 'hex') FROM json_array_elements_text(CAST($1 AS json))))
     UNION SELECT id FROM suppression WHERE domain <> '' AND domain = ANY
     (ARRAY(SELECT value FROM json_array_elements_text(CAST($2 AS json))))
     UNION SELECT id FROM suppression WHERE foreign_hash <> '' AND foreign_hash = ANY
     (ARRAY(SELECT value FROM json_array_elements_text(CAST($3 AS json))))) ORDER BY id",
);
const BY_ID: Sql = Sql::same("SELECT * FROM suppression WHERE id = $1");
const PAGE: Sql = Sql::same("SELECT * FROM suppression WHERE id > $1 ORDER BY id LIMIT $2");
const LIFT: Sql =
    Sql::same("UPDATE suppression SET lifted_at = $2, lifted_reason = $3 WHERE id = $1 AND lifted_at IS NULL");
const FORGET_ADDRESS: Sql = Sql::same(
    "UPDATE suppression SET address = '', scope = CASE WHEN scope IN ('global', 'address') THEN 'hash' ELSE scope END
     WHERE address_hash = $1",
);
/// SQLite has one writer; PostgreSQL would let two transactions write the same refusal side by side.
const LOCK: Sql = Sql::twin(
    "SELECT value FROM json_each($1)",
    "SELECT pg_advisory_xact_lock(1937076848, CAST(value AS INTEGER)) FROM json_array_elements_text(CAST($1 AS json))",
);
const HOLD: Sql = Sql::twin(
    "SELECT value FROM json_each($1)",
    "SELECT pg_advisory_xact_lock_shared(1937076848, CAST(value AS INTEGER))
     FROM json_array_elements_text(CAST($1 AS json))",
);
const NEWEST: Sql = Sql::same("SELECT COALESCE(MAX(id), 0) FROM suppression");
const HAS_FOREIGN: Sql = Sql::same("SELECT EXISTS (SELECT 1 FROM suppression WHERE foreign_hash <> '')");

/// A row as the statement reads it: bytes as hexadecimal text.
#[derive(Serialize)]
struct Row<'a> {
    scope: Scope,
    product: &'a str,
    domain: &'a str,
    address: &'a str,
    hash: Option<AddressHash>,
    foreign_hash: &'a str,
    reason: SuppressionReason,
    origin: Origin,
    at: Option<i64>,
    campaign_id: Option<i64>,
    note: &'a str,
    recorded_at: i64,
}

impl Row<'_> {
    fn of(e: &Entry) -> Row<'_> {
        Row {
            scope: e.scope,
            product: &e.product,
            domain: &e.domain,
            address: &e.address,
            hash: e.hash(),
            foreign_hash: &e.foreign_hash,
            reason: e.reason,
            origin: e.origin,
            at: e.at,
            campaign_id: e.campaign_id,
            note: &e.note,
            recorded_at: e.recorded_at,
        }
    }
}

/// As the statements answer it: hexadecimal digits.
fn bytes<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<Option<Vec<u8>>, D::Error> {
    Ok(Option::<AddressHash>::deserialize(d)?.map(|hash| hash.0.to_vec()))
}

/// Adds an entry and returns its id.
pub async fn add(tx: &mut Tx, e: &Entry) -> Result<i64> {
    Ok(add_all(tx, std::slice::from_ref(e), &[]).await?.first().copied().unwrap_or_default())
}

/// Adds entries, and the events that count them, in one statement; returns the ids of the entries in their order.
pub async fn add_all(tx: &mut Tx, entries: &[Entry], counted: &[Event]) -> Result<Vec<i64>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> = entries.iter().map(Row::of).collect();
    let (sql, rows, counted) = (ADD.on(tx), super::json(&rows), super::json(counted));
    let mut ids: Vec<i64> = on!(tx, |c| sqlx::query_scalar(sql).bind(rows).bind(counted).fetch_all(c).await)?;
    ids.sort_unstable();
    Ok(ids)
}

/// The standing entries about these very people, oldest first, and their contacts: key, hash and address.
pub async fn known(tx: &mut Tx, hashes: &[AddressHash]) -> Result<(Vec<Entry>, Vec<(i64, AddressHash, String)>)> {
    if hashes.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let (sql, list) = (KNOWN.on(tx), super::json(hashes));
    let (standing, people): (String, String) = on!(tx, |c| sqlx::query_as(sql).bind(list).fetch_one(c).await)?;
    Ok((super::rows(&standing)?, super::rows(&people)?))
}

/// The standing entries that may concern these addresses: by hash, domain, or another's hash.
/// It narrows; `decide` matches.
pub async fn standing(
    tx: &mut Tx,
    hashes: &[AddressHash],
    domains: &[String],
    foreign_hashes: &[String],
) -> Result<Vec<Entry>> {
    let (sql, hashes, domains, foreign) =
        (STANDING.on(tx), super::json(hashes), super::json(domains), super::json(foreign_hashes));
    on!(tx, |c| sqlx::query_as(sql).bind(hashes).bind(domains).bind(foreign).fetch_all(c).await)
}

/// Makes other transactions that write about the same people or domains wait until this one ends.
/// `slots` stand for them: small numbers, in growing order so that no two wait for each other.
pub async fn lock(tx: &mut Tx, slots: &std::collections::BTreeSet<u8>) -> Result<()> {
    if has_one_writer(tx) {
        return Ok(());
    }
    let (sql, list) = (LOCK.on(tx), super::json(slots));
    on!(tx, |c| sqlx::query(sql).bind(list).execute(c).await.map(|_| ()))
}

/// Makes transactions that write about these people wait until this one, which reads, ends; others
/// that read go on. Whoever is told that a refusal is on disk is told after what was decided before.
pub async fn hold(tx: &mut Tx, slots: &std::collections::BTreeSet<u8>) -> Result<()> {
    if has_one_writer(tx) {
        return Ok(());
    }
    let (sql, list) = (HOLD.on(tx), super::json(slots));
    on!(tx, |c| sqlx::query(sql).bind(list).execute(c).await.map(|_| ()))
}

/// Then a transaction that writes has waited for every other already.
fn has_one_writer(tx: &Tx) -> bool {
    matches!(tx, Tx::Lite(_))
}

/// The entry of this id, lifted or not.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<Entry>> {
    let sql = BY_ID.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)
}

/// The next `limit` entries after `id`, lifted ones too.
pub async fn page(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<Entry>> {
    let sql = PAGE.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(after).bind(limit).fetch_all(c).await)
}

/// Lifts an entry, leaving it with its trace; false when it was not standing.
pub async fn lift(tx: &mut Tx, id: i64, reason: &str, now: i64) -> Result<bool> {
    let sql = LIFT.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).bind(now).bind(reason).execute(c).await.map(|d| d.rows_affected() == 1))
}

/// Forgets the plain address of a person's entries; they go on as keyed hashes (GD-4).
pub async fn forget_address(tx: &mut Tx, hash: AddressHash) -> Result<()> {
    let sql = FORGET_ADDRESS.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(hash.0.as_slice()).execute(c).await.map(|_| ()))
}

/// The id of the newest entry; grows with every refusal.
pub async fn newest(tx: &mut Tx) -> Result<i64> {
    let sql = NEWEST.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).fetch_one(c).await)
}

/// Whether any entry is another's hash, so that addresses must be hashed their way too.
pub async fn has_foreign(tx: &mut Tx) -> Result<bool> {
    let sql = HAS_FOREIGN.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).fetch_one(c).await)
}
