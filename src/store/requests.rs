//! What people asked of the operator: copies, corrections, erasures.

use serde::Serialize;
use sqlx::FromRow;

use super::{Result, Sql, Tx, on};
use crate::domain::{address::AddressHash, requests::RequestKind};

/// A request, with the address while there is a contact.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct Request {
    /// Key.
    pub id: i64,
    /// What is asked for.
    #[sqlx(try_from = "String")]
    pub kind: RequestKind,
    /// Whose request it is.
    #[sqlx(try_from = "Vec<u8>")]
    #[serde(skip)]
    pub address_hash: AddressHash,
    /// The address on file; none once the contact is gone.
    pub address: Option<String>,
    /// Id of the campaign whose link was followed, if any.
    pub campaign_id: Option<i64>,
    /// What the person wrote.
    pub text: String,
    /// When, in milliseconds.
    pub received_at: i64,
    /// The last day for an answer, in the controller's time zone.
    pub due_on: String,
    /// When it was dealt with, in milliseconds.
    pub done_at: Option<i64>,
    /// What the operator wrote.
    pub note: String,
}

const ADD: Sql = Sql::same(
    "INSERT INTO request (kind, address_hash, campaign_id, text, received_at, due_on, done_at, note)
     VALUES ($1, $2, $3, $4, $5, $6, NULL, '') RETURNING id",
);
const ALL: Sql = Sql::same(
    "SELECT r.id, r.kind, r.address_hash, c.address, r.campaign_id, r.text, r.received_at, r.due_on, r.done_at, r.note
     FROM request r LEFT JOIN contact c ON c.address_hash = r.address_hash ORDER BY r.due_on, r.id",
);
const BY_ID: Sql = Sql::same(
    "SELECT r.id, r.kind, r.address_hash, c.address, r.campaign_id, r.text, r.received_at, r.due_on, r.done_at, r.note
     FROM request r LEFT JOIN contact c ON c.address_hash = r.address_hash WHERE r.id = $1",
);
const OF_PERSON: Sql = Sql::same(
    "SELECT r.id, r.kind, r.address_hash, c.address, r.campaign_id, r.text, r.received_at, r.due_on, r.done_at, r.note
     FROM request r LEFT JOIN contact c ON c.address_hash = r.address_hash WHERE r.address_hash = $1 ORDER BY r.id",
);
const DONE: Sql = Sql::same("UPDATE request SET done_at = $2, note = $3 WHERE id = $1 AND done_at IS NULL");
const FORGET: Sql = Sql::same("UPDATE request SET text = '' WHERE address_hash = $1 AND text <> ''");

/// Records a request and returns its id.
pub async fn add(
    tx: &mut Tx,
    kind: RequestKind,
    hash: AddressHash,
    campaign: Option<i64>,
    text: &str,
    (now, due_on): (i64, &str),
) -> Result<i64> {
    let sql = ADD.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql)
        .bind(kind.as_str())
        .bind(hash.0.as_slice())
        .bind(campaign)
        .bind(text)
        .bind(now)
        .bind(due_on)
        .fetch_one(c)
        .await)
}

/// Every request, the first due first.
pub async fn all(tx: &mut Tx) -> Result<Vec<Request>> {
    let sql = ALL.on(tx);
    on!(tx, |c| sqlx::query_as(sql).fetch_all(c).await)
}

/// The request of this id.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<Request>> {
    let sql = BY_ID.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)
}

/// Every request of a person, oldest first.
pub async fn of_person(tx: &mut Tx, hash: AddressHash) -> Result<Vec<Request>> {
    let sql = OF_PERSON.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(hash.0.as_slice()).fetch_all(c).await)
}

/// Notes that a request was dealt with; false when it was before.
pub async fn done(tx: &mut Tx, id: i64, note: &str, now: i64) -> Result<bool> {
    let sql = DONE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).bind(now).bind(note).execute(c).await.map(|d| d.rows_affected() == 1))
}

/// Forgets what a person wrote: the requests themselves go on, known by the keyed hash.
pub async fn forget(tx: &mut Tx, hash: AddressHash) -> Result<()> {
    let sql = FORGET.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(hash.0.as_slice()).execute(c).await.map(|_| ()))
}
