//! Explain: the decision about one person, with its evidence and what would change it.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{
    app::App,
    domain::{
        address::Address,
        campaigns::{CampaignKind, Elements, Sector, Terms, TrackingRequest},
        contacts::{AddressKind, ContactKind, LegalForm, Relationship, SourceKind},
        eligibility::{self, Outcome, Person},
        lang::Lang,
    },
    store::{
        self, Tx, consents,
        consents::Consent,
        contacts::{self, Contact},
        facts,
        products::Product,
    },
};

/// A decision explained.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The address in its normal form.
    pub address: String,
    /// Slug of the product.
    pub product: String,
    /// The kind of campaign that was judged.
    pub kind: CampaignKind,
    /// The instant that was judged.
    pub at: String,
    /// Whether the address belongs to a contact.
    pub known: bool,
    /// SEND or BLOCK.
    pub decision: &'static str,
    /// Basis or reason.
    pub code: &'static str,
    /// Tracking that would be allowed.
    pub tracking: &'static str,
    /// The rules that decided.
    pub rule_ids: Vec<&'static str>,
    /// Their version.
    pub rules_version: &'static str,
    /// In one sentence.
    pub sentence: Both,
    /// What would change it.
    pub remedy: Option<Both>,
    /// What is known of the person.
    #[serde(serialize_with = "with_instants")]
    pub evidence: Option<Contact>,
    /// Every event of consent.
    #[serde(serialize_with = "with_instants")]
    pub consents: Vec<Consent>,
    /// Standing suppressions that concern the address.
    pub suppressions: Vec<Refused>,
}

/// A text in both languages.
#[derive(Debug, Serialize)]
pub struct Both {
    /// French.
    pub fr: String,
    /// English.
    pub en: String,
}

/// A suppression as it may be shown.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// Scope.
    pub scope: &'static str,
    /// Product or domain, when that is its scope.
    pub value: Option<String>,
    /// Reason.
    pub reason: &'static str,
    /// Since when.
    pub at: Option<String>,
}

/// Rows as they stand, but their instants as text (RFC 3339), as everywhere else.
fn with_instants<T: Serialize, S: Serializer>(rows: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut rows = serde_json::to_value(rows).map_err(serde::ser::Error::custom)?;
    write_instants(&mut rows);
    rows.serialize(serializer)
}

fn write_instants(rows: &mut serde_json::Value) {
    match rows {
        serde_json::Value::Array(rows) => rows.iter_mut().for_each(write_instants),
        serde_json::Value::Object(row) => {
            for name in ["at", "recorded_at", "created_at", "changed_at"] {
                let at = row.get(name).and_then(serde_json::Value::as_i64);
                if let Some(at) = at.and_then(|millis| Timestamp::from_millisecond(millis).ok()) {
                    row.insert(name.to_owned(), at.to_string().into());
                }
            }
        }
        _ => {}
    }
}

/// Explains what would be decided about `address` for `product` at `now`.
pub async fn explain(
    app: &App,
    address: &Address,
    product: &Product,
    kind: CampaignKind,
    now: Timestamp,
) -> store::Result<Explanation> {
    let mut tx = app.db.read().await?;
    let contact = contacts::by_hash(&mut tx, app.keys.suppression.hash(address)).await?;
    let (person, consents) = facts_of(&mut tx, app, address, contact.as_ref(), &product.slug).await?;
    let decision = eligibility::decide(&app.rules, &terms(app, product, kind), &person, now);
    let both = |text: &dyn Fn(Lang) -> String| Both { fr: text(Lang::Fr), en: text(Lang::En) };
    Ok(Explanation {
        address: address.to_string(),
        product: product.slug.clone(),
        kind,
        at: now.to_string(),
        known: contact.is_some(),
        decision: if decision.outcome.is_send() { "SEND" } else { "BLOCK" },
        code: decision.outcome.code(),
        tracking: decision.tracking.as_str(),
        rule_ids: decision.rule_ids.to_vec(),
        rules_version: decision.rules_version,
        sentence: both(&|lang| decision.sentence(lang)),
        remedy: match decision.outcome {
            Outcome::Send(_) => None,
            Outcome::Block(reason) => Some(both(&|lang| reason.remedy(lang).to_owned())),
        },
        evidence: contact,
        consents,
        suppressions: person
            .suppressions
            .iter()
            .map(|s| Refused {
                scope: s.scope.as_str(),
                value: s.value.clone(),
                reason: s.reason.as_str(),
                at: s.at.map(|at| at.to_string()),
            })
            .collect(),
    })
}

async fn facts_of(
    tx: &mut Tx,
    app: &App,
    address: &Address,
    contact: Option<&Contact>,
    product: &str,
) -> store::Result<(Person, Vec<Consent>)> {
    let stranger;
    let contact = match contact {
        Some(contact) => contact,
        None => {
            stranger = nobody(app, address);
            &stranger
        }
    };
    let person = facts::of(tx, std::slice::from_ref(contact), product).await?.remove(0);
    let consents = consents::of_contacts(tx, &[contact.id]).await?;
    Ok((person, consents))
}

/// A person of whom nothing is known but the address, and perhaps a refusal.
pub(super) fn nobody(app: &App, address: &Address) -> Contact {
    Contact {
        id: 0,
        address: address.to_string(),
        address_hash: app.keys.suppression.hash(address),
        kind: ContactKind::Consumer,
        address_kind: AddressKind::Personal,
        legal_form: LegalForm::Unknown,
        relationship: Relationship::Prospect,
        first_name: String::new(),
        last_name: String::new(),
        company: String::new(),
        job_title: String::new(),
        country: String::new(),
        regime: String::new(),
        language: String::new(),
        time_zone: String::new(),
        source: String::new(),
        source_kind: SourceKind::Unknown,
        collected_at: String::new(),
        informed: false,
        similar_offer: false,
        same_entity: false,
        refusal_offered: false,
        relationship_end: String::new(),
        last_activity: String::new(),
        last_activity_at: String::new(),
        paused_until: String::new(),
        created_at: 0,
        changed_at: 0,
    }
}

/// The terms of a campaign of this kind that is written as it should be.
fn terms(app: &App, product: &Product, kind: CampaignKind) -> Terms {
    Terms {
        kind,
        product: product.slug.clone(),
        profession_related: product.for_business,
        sector: Sector::None,
        has_promo: kind != CampaignKind::Service,
        art14_notice: false,
        elements: Elements { identity: true, optout: true, postal: !app.config.controller.postal_address.is_empty() },
        tracking: TrackingRequest::None,
    }
}
