//! Subscriptions that wait for their confirmation, and the letters that ask for it.

use sqlx::FromRow;

use super::{Result, Sql, Tx, on};
use crate::domain::{address::AddressHash, words::words};

words! {
    /// Where the letter that asks for a confirmation stands.
    LetterState {
        /// To be sent.
        Waiting = "waiting",
        /// In a worker's hands: whatever happens to it, it is not sent again.
        Sending = "sending",
        /// The server has it.
        Sent = "sent",
        /// Refused, or nobody knows whether it left.
        Failed = "failed",
        /// Never to be sent: the address complained, is dead, or gets enough of them already.
        Withheld = "withheld",
    }
}

/// A row of `subscription`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Subscription {
    /// Key.
    pub id: i64,
    /// Slug of the product.
    pub product: String,
    /// The address in plain, until it is confirmed or the link no longer works.
    pub address: String,
    /// Keyed hash of the address.
    #[sqlx(try_from = "Vec<u8>")]
    pub address_hash: AddressHash,
    /// The language of the form.
    pub language: String,
    /// Hash of the text that was agreed to.
    pub wording: String,
    /// When the form was sent, in milliseconds.
    pub asked_at: i64,
    /// When it was confirmed, in milliseconds.
    pub confirmed_at: Option<i64>,
    /// Where the letter stands.
    #[sqlx(try_from = "String")]
    pub mail: LetterState,
    /// How often it was tried.
    pub mail_tries: i64,
    /// When it is to be tried, in milliseconds; none once it is not any more.
    pub next_mail_at: Option<i64>,
    /// Message-ID of the letter, without brackets.
    pub message_id: String,
}

const ADD: Sql = Sql::same(
    "INSERT INTO subscription (product, address, address_hash, language, wording, asked_at, confirmed_at, mail,
     mail_tries, next_mail_at, message_id) VALUES ($1, $2, $3, $4, $5, $6, NULL, $7, 0, $8, '') RETURNING id",
);
const BY_ID: Sql = Sql::same("SELECT * FROM subscription WHERE id = $1");
const SINCE: Sql = Sql::same(
    "SELECT CAST(COUNT(*) AS BIGINT), MAX(asked_at) FROM subscription
     WHERE address_hash = $1 AND asked_at > $2 AND mail <> 'withheld'",
);
const OF_PERSON: Sql = Sql::same("SELECT * FROM subscription WHERE address_hash = $1 ORDER BY id");
const IS_DUE: Sql = Sql::same(
    "SELECT EXISTS (SELECT 1 FROM subscription WHERE next_mail_at <= $1)
     OR EXISTS (SELECT 1 FROM subscription WHERE address <> '' AND asked_at < $2)",
);
const TAKE: Sql = Sql::twin(
    "UPDATE subscription SET mail = 'sending', mail_tries = mail_tries + 1, next_mail_at = NULL WHERE id IN (
     SELECT id FROM subscription WHERE next_mail_at <= $1 ORDER BY next_mail_at LIMIT $2) RETURNING *",
    "WITH picked AS MATERIALIZED (SELECT id FROM subscription WHERE next_mail_at <= $1
     ORDER BY next_mail_at LIMIT $2 FOR UPDATE SKIP LOCKED)
     UPDATE subscription s SET mail = 'sending', mail_tries = mail_tries + 1, next_mail_at = NULL
     FROM picked WHERE s.id = picked.id RETURNING s.*",
);
const MAILED: Sql = Sql::same(
    "UPDATE subscription SET mail = $2, next_mail_at = $3, message_id = $4 WHERE id = $1 AND mail = 'sending'",
);
const CONFIRM: Sql =
    Sql::same("UPDATE subscription SET confirmed_at = $2, address = '' WHERE id = $1 AND confirmed_at IS NULL");
const FORGET_OLD: Sql =
    Sql::same("UPDATE subscription SET address = '', next_mail_at = NULL WHERE address <> '' AND asked_at < $1");
const FORGET: Sql = Sql::same(
    "UPDATE subscription SET address = '', next_mail_at = NULL
     WHERE address_hash = $1 AND (address <> '' OR next_mail_at IS NOT NULL)",
);

/// A form that was sent.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// Slug of the product.
    pub product: &'a str,
    /// The address.
    pub address: &'a str,
    /// Its keyed hash.
    pub address_hash: AddressHash,
    /// The language of the form.
    pub language: &'a str,
    /// Hash of the text.
    pub wording: &'a str,
    /// Waiting, or withheld.
    pub mail: LetterState,
}

/// Records that a form was sent, and returns its id. A letter that is not withheld is due at once.
pub async fn add(tx: &mut Tx, asked: &Asked<'_>, now: i64) -> Result<i64> {
    let sql = ADD.on(tx);
    let due = (asked.mail == LetterState::Waiting).then_some(now);
    on!(tx, |c| sqlx::query_scalar(sql)
        .bind(asked.product)
        .bind(asked.address)
        .bind(asked.address_hash.0.as_slice())
        .bind(asked.language)
        .bind(asked.wording)
        .bind(now)
        .bind(asked.mail.as_str())
        .bind(due)
        .fetch_one(c)
        .await)
}

/// The subscription of this id.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<Subscription>> {
    let sql = BY_ID.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)
}

/// How many letters an address was to get since `since`, and when the last was asked for.
pub async fn since(tx: &mut Tx, hash: AddressHash, since: i64) -> Result<(i64, Option<i64>)> {
    let sql = SINCE.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(hash.0.as_slice()).bind(since).fetch_one(c).await)
}

/// Every subscription of a person, oldest first.
pub async fn of_person(tx: &mut Tx, hash: AddressHash) -> Result<Vec<Subscription>> {
    let sql = OF_PERSON.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(hash.0.as_slice()).fetch_all(c).await)
}

/// Whether a letter is due, or an address to be forgotten that was given before `asked_before`.
pub async fn is_due(tx: &mut Tx, now: i64, asked_before: i64) -> Result<bool> {
    let sql = IS_DUE.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(now).bind(asked_before).fetch_one(c).await)
}

/// Takes up to `limit` letters that are due, to be sent after the transaction is committed.
pub async fn take(tx: &mut Tx, now: i64, limit: i64) -> Result<Vec<Subscription>> {
    let sql = TAKE.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(now).bind(limit).fetch_all(c).await)
}

/// Notes what became of a letter, and when it is tried again.
pub async fn mailed(tx: &mut Tx, id: i64, state: LetterState, again: Option<i64>, message_id: &str) -> Result<()> {
    let sql = MAILED.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(id)
        .bind(state.as_str())
        .bind(again)
        .bind(message_id)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Notes that a subscription was confirmed; false when it was before.
pub async fn confirm(tx: &mut Tx, id: i64, now: i64) -> Result<bool> {
    let sql = CONFIRM.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).bind(now).execute(c).await.map(|d| d.rows_affected() == 1))
}

/// Forgets the addresses of those who did not confirm in time.
pub async fn forget_old(tx: &mut Tx, asked_before: i64) -> Result<u64> {
    let sql = FORGET_OLD.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(asked_before).execute(c).await.map(|d| d.rows_affected()))
}

/// Forgets the address of a person who is erased.
pub async fn forget(tx: &mut Tx, hash: AddressHash) -> Result<()> {
    let sql = FORGET.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(hash.0.as_slice()).execute(c).await.map(|_| ()))
}
