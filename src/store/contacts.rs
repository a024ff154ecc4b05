//! Contacts: people and mailboxes.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::{Result, Sql, Tx, on};
use crate::domain::{
    address::AddressHash,
    contacts::{ActivityKind, AddressKind, ContactKind, LegalForm, Relationship, SourceKind},
};

/// A row of `contact`. Text that is not known is empty; dates are text as `domain::dates` reads it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize, Deserialize)]
pub struct Contact {
    /// Key; 0 until stored.
    pub id: i64,
    /// The normalised address.
    pub address: String,
    /// Keyed hash of the address.
    #[sqlx(try_from = "Vec<u8>")]
    pub address_hash: AddressHash,
    /// Consumer or professional.
    #[sqlx(try_from = "String")]
    pub kind: ContactKind,
    /// Personal or generic mailbox.
    #[sqlx(try_from = "String")]
    pub address_kind: AddressKind,
    /// Legal form.
    #[sqlx(try_from = "String")]
    pub legal_form: LegalForm,
    /// Relationship with the sender.
    #[sqlx(try_from = "String")]
    pub relationship: Relationship,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Company.
    pub company: String,
    /// Job title.
    pub job_title: String,
    /// ISO 3166-1 alpha-2 code, upper case.
    pub country: String,
    /// Code of the regime that the country was mapped to at import (REG-1).
    pub regime: String,
    /// Language tag.
    pub language: String,
    /// IANA name.
    pub time_zone: String,
    /// Where the address comes from, in words.
    pub source: String,
    /// Where the address comes from, as a kind.
    #[sqlx(try_from = "String")]
    pub source_kind: SourceKind,
    /// When it was collected.
    pub collected_at: String,
    /// The person was informed at collection or since.
    #[serde(deserialize_with = "super::truth")]
    pub informed: bool,
    /// What was sold is similar to what is offered.
    #[serde(deserialize_with = "super::truth")]
    pub similar_offer: bool,
    /// Sold by the entity that sends.
    #[serde(deserialize_with = "super::truth")]
    pub same_entity: bool,
    /// A refusal was offered at collection.
    #[serde(deserialize_with = "super::truth")]
    pub refusal_offered: bool,
    /// When the relationship ended or ends.
    pub relationship_end: String,
    /// Kind of the last activity.
    pub last_activity: String,
    /// When the last activity was.
    pub last_activity_at: String,
    /// Until when the person wants silence.
    pub paused_until: String,
    /// When the row was made, in milliseconds.
    pub created_at: i64,
    /// When it last changed, in milliseconds.
    pub changed_at: i64,
}

const SAVE: Sql = Sql::twin(
    "INSERT INTO contact
     (address, address_hash, kind, address_kind, legal_form, relationship, first_name, last_name, company,
     job_title, country, regime, language, time_zone, source, source_kind, collected_at, informed,
     similar_offer, same_entity, refusal_offered, relationship_end, last_activity, last_activity_at,
     paused_until, created_at, changed_at)
     SELECT
     value ->> 'address', unhex(value ->> 'address_hash'), value ->> 'kind', value ->> 'address_kind',
     value ->> 'legal_form', value ->> 'relationship', value ->> 'first_name', value ->> 'last_name',
     value ->> 'company', value ->> 'job_title', value ->> 'country', value ->> 'regime',
     value ->> 'language', value ->> 'time_zone', value ->> 'source', value ->> 'source_kind',
     value ->> 'collected_at', value ->> 'informed', value ->> 'similar_offer', value ->> 'same_entity',
     value ->> 'refusal_offered', value ->> 'relationship_end', value ->> 'last_activity',
     value ->> 'last_activity_at', value ->> 'paused_until', value ->> 'created_at', value ->> 'changed_at'
     FROM jsonb_each($1) WHERE TRUE
     ON CONFLICT (address_hash) DO UPDATE SET
     kind = excluded.kind, address_kind = excluded.address_kind, legal_form = excluded.legal_form,
     relationship = excluded.relationship, first_name = excluded.first_name, last_name = excluded.last_name,
     company = excluded.company, job_title = excluded.job_title, country = excluded.country,
     regime = excluded.regime, language = excluded.language, time_zone = excluded.time_zone,
     source = excluded.source, source_kind = excluded.source_kind, collected_at = excluded.collected_at,
     informed = excluded.informed, similar_offer = excluded.similar_offer,
     same_entity = excluded.same_entity, refusal_offered = excluded.refusal_offered,
     relationship_end = excluded.relationship_end, last_activity = excluded.last_activity,
     last_activity_at = excluded.last_activity_at, changed_at = excluded.changed_at, version = contact.version + 1",
    "INSERT INTO contact
     (address, address_hash, kind, address_kind, legal_form, relationship, first_name, last_name, company,
     job_title, country, regime, language, time_zone, source, source_kind, collected_at, informed,
     similar_offer, same_entity, refusal_offered, relationship_end, last_activity, last_activity_at,
     paused_until, created_at, changed_at)
     SELECT
     r.address, decode(r.address_hash, 'hex'), r.kind, r.address_kind, r.legal_form, r.relationship,
     r.first_name, r.last_name, r.company, r.job_title, r.country, r.regime, r.language, r.time_zone,
     r.source, r.source_kind, r.collected_at, r.informed, r.similar_offer, r.same_entity, r.refusal_offered,
     r.relationship_end, r.last_activity, r.last_activity_at, r.paused_until, r.created_at, r.changed_at
     FROM json_to_recordset(CAST($1 AS json)) AS r(
     address text, address_hash text, kind text, address_kind text, legal_form text, relationship text,
     first_name text, last_name text, company text, job_title text, country text, regime text,
     language text, time_zone text, source text, source_kind text, collected_at text, informed boolean,
     similar_offer boolean, same_entity boolean, refusal_offered boolean, relationship_end text,
     last_activity text, last_activity_at text, paused_until text, created_at bigint, changed_at bigint)
     ON CONFLICT (address_hash) DO UPDATE SET
     kind = excluded.kind, address_kind = excluded.address_kind, legal_form = excluded.legal_form,
     relationship = excluded.relationship, first_name = excluded.first_name, last_name = excluded.last_name,
     company = excluded.company, job_title = excluded.job_title, country = excluded.country,
     regime = excluded.regime, language = excluded.language, time_zone = excluded.time_zone,
     source = excluded.source, source_kind = excluded.source_kind, collected_at = excluded.collected_at,
     informed = excluded.informed, similar_offer = excluded.similar_offer,
     same_entity = excluded.same_entity, refusal_offered = excluded.refusal_offered,
     relationship_end = excluded.relationship_end, last_activity = excluded.last_activity,
     last_activity_at = excluded.last_activity_at, changed_at = excluded.changed_at, version = contact.version + 1",
);
const BY_HASHES: Sql = Sql::twin(
    "SELECT id, address, address_hash, kind, address_kind, legal_form, relationship, first_name, last_name,
     company, job_title, country, regime, language, time_zone, source, source_kind, collected_at, informed,
     similar_offer, same_entity, refusal_offered, relationship_end, last_activity, last_activity_at,
     paused_until, created_at, changed_at
     FROM contact WHERE address_hash IN (SELECT unhex(value) FROM json_each($1))",
    "SELECT id, address, address_hash, kind, address_kind, legal_form, relationship, first_name, last_name,
     company, job_title, country, regime, language, time_zone, source, source_kind, collected_at, informed,
     similar_offer, same_entity, refusal_offered, relationship_end, last_activity, last_activity_at,
     paused_until, created_at, changed_at
     FROM contact WHERE address_hash IN (SELECT decode(value, 'hex') FROM json_array_elements_text(CAST($1 AS json)))",
);
const ADDRESSES: Sql = Sql::twin(
    "SELECT json_group_array(json_array(id, hex(address_hash), address)) AS found FROM contact
     WHERE address_hash IN (SELECT unhex(value) FROM json_each($1))",
    "SELECT CAST(COALESCE(json_agg(json_build_array(id, encode(address_hash, 'hex'), address)), '[]') AS TEXT)
     AS found FROM contact
     WHERE address_hash = ANY (ARRAY(SELECT decode(value, 'hex') FROM json_array_elements_text(CAST($1 AS json))))",
);
const BY_IDS: Sql = Sql::twin(
    "SELECT id, address, address_hash, kind, address_kind, legal_form, relationship, first_name, last_name,
     company, job_title, country, regime, language, time_zone, source, source_kind, collected_at, informed,
     similar_offer, same_entity, refusal_offered, relationship_end, last_activity, last_activity_at,
     paused_until, created_at, changed_at
     FROM contact WHERE id IN (SELECT value FROM json_each($1)) ORDER BY id",
    "SELECT id, address, address_hash, kind, address_kind, legal_form, relationship, first_name, last_name,
     company, job_title, country, regime, language, time_zone, source, source_kind, collected_at, informed,
     similar_offer, same_entity, refusal_offered, relationship_end, last_activity, last_activity_at,
     paused_until, created_at, changed_at
     FROM contact WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST($1 AS json))) ORDER BY id",
);
const PAGE: Sql = Sql::same(
    "SELECT id, address, address_hash, kind, address_kind, legal_form, relationship, first_name, last_name,
     company, job_title, country, regime, language, time_zone, source, source_kind, collected_at, informed,
     similar_offer, same_entity, refusal_offered, relationship_end, last_activity, last_activity_at,
     paused_until, created_at, changed_at
     FROM contact WHERE id > $1 ORDER BY id LIMIT $2",
);
const COUNT: Sql = Sql::same("SELECT COUNT(*) FROM contact");
const DELETE: Sql = Sql::same("DELETE FROM contact WHERE id = $1");
const PAUSE: Sql =
    Sql::same("UPDATE contact SET paused_until = $2, changed_at = $3, version = version + 1 WHERE id = $1");
const TOUCH: Sql = Sql::same(
    "UPDATE contact SET last_activity = $2, last_activity_at = $3, changed_at = $4, version = version + 1
     WHERE id = $1 AND last_activity = $5 AND last_activity_at = $6",
);

const SPEAK: Sql = Sql::same("UPDATE contact SET language = $2, changed_at = $3, version = version + 1 WHERE id = $1");
const HEARD: Sql = Sql::same(
    "UPDATE contact SET last_activity = 'form', last_activity_at = $2, changed_at = $3, version = version + 1
     WHERE id = $1",
);

const INFORM: Sql = Sql::same(
    "UPDATE contact SET informed = $2, changed_at = $3, version = version + 1
     WHERE address_hash = $1 AND informed <> $2",
);

/// Notes that a person was given the information of articles 13 and 14 (GD-3).
pub async fn inform(tx: &mut Tx, hash: AddressHash, now: i64) -> Result<()> {
    let sql = INFORM.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(hash.0.as_slice()).bind(true).bind(now).execute(c).await.map(|_| ()))
}

/// Adds contacts, or changes those that have the same address hash. Never touches a refusal or a pause.
pub async fn save(tx: &mut Tx, contacts: &[Contact]) -> Result<()> {
    if contacts.is_empty() {
        return Ok(());
    }
    let (sql, rows) = (SAVE.on(tx), super::json(contacts));
    on!(tx, |c| sqlx::query(sql).bind(rows).execute(c).await.map(|_| ()))
}

/// The contacts with these address hashes, in no order.
pub async fn by_hashes(tx: &mut Tx, hashes: &[AddressHash]) -> Result<Vec<Contact>> {
    let (sql, list) = (BY_HASHES.on(tx), super::json(hashes));
    on!(tx, |c| sqlx::query_as(sql).bind(list).fetch_all(c).await)
}

/// Key, hash and address of the contacts with these address hashes, in no order.
pub async fn addresses(tx: &mut Tx, hashes: &[AddressHash]) -> Result<Vec<(i64, AddressHash, String)>> {
    let (sql, list) = (ADDRESSES.on(tx), super::json(hashes));
    let found: String = on!(tx, |c| sqlx::query_scalar(sql).bind(list).fetch_one(c).await)?;
    super::rows(&found)
}

/// The contact with this address hash.
pub async fn by_hash(tx: &mut Tx, hash: AddressHash) -> Result<Option<Contact>> {
    Ok(by_hashes(tx, &[hash]).await?.pop())
}

/// The contacts with these ids, by id; those that are gone are left out.
pub async fn by_ids(tx: &mut Tx, ids: &[i64]) -> Result<Vec<Contact>> {
    let (sql, list) = (BY_IDS.on(tx), super::json(ids));
    on!(tx, |c| sqlx::query_as(sql).bind(list).fetch_all(c).await)
}

/// The next `limit` contacts after `id`, by id.
pub async fn page(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<Contact>> {
    let sql = PAGE.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(after).bind(limit).fetch_all(c).await)
}

/// How many contacts there are.
pub async fn count(tx: &mut Tx) -> Result<i64> {
    let sql = COUNT.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).fetch_one(c).await)
}

/// Deletes a contact and its consents. Suppressions are not among what goes.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    let sql = DELETE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).execute(c).await.map(|_| ()))
}

/// Notes until when (a date, included) the person wants silence; empty ends it.
pub async fn pause(tx: &mut Tx, id: i64, until: &str, now: i64) -> Result<()> {
    let sql = PAUSE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).bind(until).bind(now).execute(c).await.map(|_| ()))
}

/// Notes the language that the person chose.
pub async fn speak(tx: &mut Tx, id: i64, language: &str, now: i64) -> Result<()> {
    let sql = SPEAK.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).bind(language).bind(now).execute(c).await.map(|_| ()))
}

/// Notes that the person sent a form of ours at the instant `at` (RFC 3339): their last contact (RET-3).
pub async fn heard(tx: &mut Tx, id: i64, at: &str, now: i64) -> Result<()> {
    let sql = HEARD.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(id).bind(at).bind(now).execute(c).await.map(|_| ()))
}

/// Notes the last thing that a contact did, unless somebody else has noted another since it was read.
/// `at` is a date or an instant.
pub async fn touch(tx: &mut Tx, contact: &Contact, kind: ActivityKind, at: &str, now: i64) -> Result<()> {
    let sql = TOUCH.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(contact.id)
        .bind(kind.as_str())
        .bind(at)
        .bind(now)
        .bind(&contact.last_activity)
        .bind(&contact.last_activity_at)
        .execute(c)
        .await
        .map(|_| ()))
}
