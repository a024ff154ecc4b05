//! Events of consent, append-only.

use serde::{Deserialize, Serialize};

use super::{Result, Sql, Tx, on};
use crate::domain::{
    consents::{ConsentState, Proof},
    suppressions::Origin,
    words::words,
};

words! {
    /// What a consent is for.
    ConsentPurpose {
        /// Mail about a product.
        Mail = "mail",
        /// Individual tracking (TRK-5).
        Tracking = "tracking",
    }
}

/// A row of `consent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Whose.
    pub contact_id: i64,
    /// For what.
    pub purpose: ConsentPurpose,
    /// Slug of the product; empty for all, and for tracking.
    pub product: String,
    /// What was said.
    pub state: ConsentState,
    /// When, in milliseconds.
    pub at: Option<i64>,
    /// What proves it.
    pub proof: Proof,
    /// Where the proof is kept.
    pub evidence: String,
    /// How the event came here.
    pub origin: Origin,
    /// When it was recorded, in milliseconds.
    pub recorded_at: i64,
}

impl Consent {
    /// The yes of a person to mail about a product, by a link that came by mail to their address and a
    /// press on a page of ours: double opt-in (SUP-7, RP-8).
    pub fn confirmed(contact_id: i64, product: String, evidence: String, now: i64) -> Consent {
        Consent {
            contact_id,
            purpose: ConsentPurpose::Mail,
            product,
            state: ConsentState::Granted,
            at: Some(now),
            proof: Proof::Doi,
            evidence,
            origin: Origin::Page,
            recorded_at: now,
        }
    }
}

const ADD: Sql = Sql::twin(
    "INSERT INTO consent (contact_id, purpose, product, state, at, proof, evidence, origin, recorded_at)
     SELECT value ->> 'contact_id', value ->> 'purpose', value ->> 'product', value ->> 'state', value ->> 'at',
     value ->> 'proof', value ->> 'evidence', value ->> 'origin', value ->> 'recorded_at'
     FROM jsonb_each($1) WHERE TRUE ON CONFLICT DO NOTHING",
    "INSERT INTO consent (contact_id, purpose, product, state, at, proof, evidence, origin, recorded_at)
     SELECT r.contact_id, r.purpose, r.product, r.state, r.at, r.proof, r.evidence, r.origin, r.recorded_at
     FROM json_to_recordset(CAST($1 AS json)) AS r(contact_id bigint, purpose text, product text, state text,
     at bigint, proof text, evidence text, origin text, recorded_at bigint) ON CONFLICT DO NOTHING",
);
const OF_CONTACTS: Sql = Sql::twin(
    "SELECT json_group_array(json_array(contact_id, purpose, product, state, at, proof, evidence, origin, recorded_at)
     ORDER BY contact_id, id) AS found FROM consent WHERE contact_id IN (SELECT value FROM json_each($1))",
    "SELECT CAST(COALESCE(json_agg(json_build_array(contact_id, purpose, product, state, at, proof, evidence, origin,
     recorded_at) ORDER BY contact_id, id), '[]') AS TEXT)
     AS found FROM consent
     WHERE contact_id IN (SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST($1 AS json)))",
);

/// Appends events; one that is already there is left alone. Returns how many were new.
pub async fn add(tx: &mut Tx, events: &[Consent]) -> Result<u64> {
    if events.is_empty() {
        return Ok(0);
    }
    let (sql, rows) = (ADD.on(tx), super::json(events));
    on!(tx, |c| sqlx::query(sql).bind(rows).execute(c).await.map(|done| done.rows_affected()))
}

/// Every event of these contacts, oldest record first.
pub async fn of_contacts(tx: &mut Tx, ids: &[i64]) -> Result<Vec<Consent>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let (sql, list) = (OF_CONTACTS.on(tx), super::json(ids));
    let found: String = on!(tx, |c| sqlx::query_scalar(sql).bind(list).fetch_one(c).await)?;
    super::rows(&found)
}
