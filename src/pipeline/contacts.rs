//! One person: what is known of them, and what they said about consent.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    import::merge::merge,
    suppress::{self, Finding},
};
use crate::{
    app::App,
    domain::{
        address::Address,
        consents::{ConsentState, Proof},
        contacts::{ContactKind, LegalForm, Relationship, SourceKind},
        import::{
            columns::{self, Field, Mapping},
            dates::Order,
            lines::{Facts, LineReader},
        },
        requests::RequestKind,
        suppressions::Origin,
    },
    store::{
        self,
        consents::{self, Consent, ConsentPurpose},
        contacts::{self, Contact},
        deliveries::{self, OfContact},
        events::{self, OfPerson},
        requests,
        subscriptions::{self, Subscription},
    },
};

/// Everything about one person (GD-4).
#[derive(Debug, Serialize)]
pub struct Dossier {
    /// The address in its normal form.
    pub address: String,
    /// The profile.
    pub contact: Option<Contact>,
    /// Every event of consent, oldest first.
    pub consents: Vec<Said>,
    /// What was decided and sent.
    pub deliveries: Vec<Delivery>,
    /// What the person did after a message.
    pub events: Vec<Event>,
    /// Standing suppressions that concern the person.
    pub suppressions: Vec<Refused>,
    /// What the person asked of the operator.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
    /// Subscription forms that were sent with the address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<Subscribed>,
}

/// An event of consent.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is the column of its name, instants as RFC 3339")]
pub struct Said {
    pub purpose: ConsentPurpose,
    pub product: String,
    pub state: ConsentState,
    pub at: Option<String>,
    pub proof: Proof,
    pub evidence: String,
    pub origin: Origin,
    pub recorded_at: String,
}

/// One campaign's delivery to the person.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is the column of its name, instants as RFC 3339")]
pub struct Delivery {
    pub campaign: String,
    pub state: &'static str,
    pub code: String,
    pub tracking: String,
    pub rules_version: String,
    pub decided_at: String,
    pub attempts: i64,
    pub submitted_at: Option<String>,
    pub ended_at: Option<String>,
    pub bounce_class: String,
    pub reply: String,
}

/// Something that the person did.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is the column of its name, instants as RFC 3339")]
pub struct Event {
    pub campaign: Option<String>,
    pub kind: String,
    pub class: String,
    pub at: String,
}

/// Something that the person asked of the operator.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is the column of its name, instants as RFC 3339")]
pub struct Request {
    pub kind: RequestKind,
    pub text: String,
    pub received_at: String,
    pub due_on: String,
    pub done_at: Option<String>,
}

/// A subscription form that was sent.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is the column of its name, instants as RFC 3339")]
pub struct Subscribed {
    pub product: String,
    pub language: String,
    pub wording: String,
    pub asked_at: String,
    pub confirmed_at: Option<String>,
}

/// A standing suppression, as far as it is known whom and what it covers.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// Key, by which it can be lifted.
    pub id: i64,
    /// Scope.
    pub scope: &'static str,
    /// Slug of the product, for one that covers a product only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub product: String,
    /// The domain, for one that covers a domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Reason.
    pub reason: &'static str,
    /// Where it came from.
    pub origin: &'static str,
    /// Since when.
    pub at: Option<String>,
    /// What the operator wrote.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Whether it blocks anything now.
    pub blocks: bool,
    /// Products for which the person has lifted it by a later double opt-in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifted_for: Vec<String>,
}

/// Everything about the person of an address; of a stranger, only what blocks the address.
pub async fn dossier(app: &App, address: &Address) -> store::Result<Dossier> {
    let hash = app.keys.suppression.hash(address);
    let mut tx = app.db.read().await?;
    let contact = contacts::by_hash(&mut tx, hash).await?;
    let id = contact.as_ref().map_or(0, |c| c.id);
    let findings = suppress::check(&mut tx, &app.keys.suppression, address, app.now()).await?;
    Ok(Dossier {
        address: address.to_string(),
        contact,
        consents: consents::of_contacts(&mut tx, &[id]).await?.into_iter().map(said).collect(),
        deliveries: deliveries::of_contact(&mut tx, id).await?.into_iter().map(delivery).collect(),
        events: events::of_person(&mut tx, hash).await?.into_iter().map(event).collect(),
        suppressions: findings.into_iter().map(Refused::from).collect(),
        requests: requests::of_person(&mut tx, hash).await?.into_iter().map(request).collect(),
        subscriptions: subscriptions::of_person(&mut tx, hash).await?.into_iter().map(subscribed).collect(),
    })
}

/// What somebody said, as an operator records it.
#[derive(Debug, Clone)]
pub struct Statement {
    /// About mail or about tracking.
    pub purpose: ConsentPurpose,
    /// Slug of the product; empty for every product (a refusal only), and for tracking.
    pub product: String,
    /// Given or taken back.
    pub state: ConsentState,
    /// When.
    pub at: Timestamp,
    /// What proves it.
    pub proof: Proof,
    /// Where the proof is kept.
    pub evidence: String,
}

/// Records what the contact of `address` said. None: there is no such contact; false: it was recorded before.
pub async fn record(app: &App, address: &Address, statement: Statement) -> store::Result<Option<bool>> {
    let mut tx = app.db.write().await?;
    let Some(contact) = contacts::by_hash(&mut tx, app.keys.suppression.hash(address)).await? else {
        return Ok(None);
    };
    let event = Consent {
        contact_id: contact.id,
        purpose: statement.purpose,
        product: statement.product,
        state: statement.state,
        at: Some(statement.at.as_millisecond()),
        proof: statement.proof,
        evidence: statement.evidence,
        origin: Origin::Staff,
        recorded_at: app.now().as_millisecond(),
    };
    let new = consents::add(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(Some(new == 1))
}

/// Why a contact is not edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// Nobody has the address.
    #[error("no contact has this address")]
    Unknown,
    /// A field or value cannot be read.
    #[error("{0}")]
    Value(String),
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

/// Corrects what is known of a contact: canonical import fields and their values, an empty value forgets.
/// False when nothing changed. Consents and refusals have their own commands.
pub async fn edit(app: &App, address: &Address, changes: &[(String, String)]) -> Result<bool, EditError> {
    let (fields, facts) = read_changes(app, address, changes)?;
    let mut tx = app.db.write().await?;
    let found = contacts::by_hash(&mut tx, app.keys.suppression.hash(address)).await?;
    let before = found.ok_or(EditError::Unknown)?;
    let mut after = before.clone();
    for (field, value) in &fields {
        // A correction may move the last activity back, which an import never does.
        if value.is_empty() || *field == Field::LastActivityAt {
            forget(&mut after, field);
        }
    }
    merge(&mut after, &facts, app.tz());
    if fields.iter().all(|(field, _)| *field != Field::LastActivity) {
        after.last_activity.clone_from(&before.last_activity);
    }
    if after == before {
        return Ok(false);
    }
    after.changed_at = app.now().as_millisecond();
    contacts::save(&mut tx, &[after]).await?;
    tx.commit().await?;
    Ok(true)
}

/// Fields and the texts they are to have.
type Changes<'c> = Vec<(Field, &'c str)>;

/// Reads the values as an import reads a line.
fn read_changes<'c>(
    app: &App,
    address: &Address,
    changes: &'c [(String, String)],
) -> Result<(Changes<'c>, Facts), EditError> {
    let mut fields = Vec::new();
    for (name, value) in changes {
        let field = Field::named(name, &[]).map_err(|e| EditError::Value(e.to_string()))?;
        if matches!(field, Field::Email | Field::Tracking | Field::UnsubscribedAt | Field::Consent(..)) {
            return Err(EditError::Value(format!(
                "{field} is not edited here: consents have `ouinon consent`, refusals `ouinon suppress`, and another \
                 address is another contact"
            )));
        }
        fields.push((field, value.trim()));
    }
    let header: Vec<String> =
        std::iter::once("email".to_owned()).chain(fields.iter().map(|(field, _)| field.to_string())).collect();
    let cells: Vec<&str> = std::iter::once(address.as_str()).chain(fields.iter().map(|(_, value)| *value)).collect();
    let bad = |message: String| EditError::Value(message);
    let columns = columns::resolve(&header, &Mapping::default(), &[]).map_err(|e| bad(e.to_string()))?;
    let reader = LineReader::new(&columns, Order::Unknown, app.tz().clone(), app.now()).map_err(|f| bad(f.message))?;
    let line = reader.read(&cells, None);
    match line.fault {
        Some(fault) => Err(bad(format!("{}: {}", fault.column, fault.message))),
        None => Ok((fields, line.facts)),
    }
}

/// Makes a field say that nothing is known, which the rules read as the strictest.
fn forget(contact: &mut Contact, field: &Field) {
    match field {
        Field::Kind => contact.kind = ContactKind::Consumer,
        Field::LegalForm => contact.legal_form = LegalForm::Unknown,
        Field::Relationship => contact.relationship = Relationship::Prospect,
        Field::FirstName => contact.first_name.clear(),
        Field::LastName => contact.last_name.clear(),
        Field::Company => contact.company.clear(),
        Field::JobTitle => contact.job_title.clear(),
        Field::Country => {
            contact.country.clear();
            contact.regime.clear();
        }
        Field::Language => contact.language.clear(),
        Field::TimeZone => contact.time_zone.clear(),
        Field::Source => contact.source.clear(),
        Field::SourceKind => contact.source_kind = SourceKind::Unknown,
        Field::CollectedAt => contact.collected_at.clear(),
        Field::Informed => contact.informed = false,
        Field::Similar => contact.similar_offer = false,
        Field::SameEntity => contact.same_entity = false,
        Field::RefusalOffered => contact.refusal_offered = false,
        Field::RelationshipEnd => contact.relationship_end.clear(),
        Field::LastActivity => contact.last_activity.clear(),
        Field::LastActivityAt => contact.last_activity_at.clear(),
        Field::Email | Field::Tracking | Field::UnsubscribedAt | Field::Consent(..) => {}
    }
}

impl From<Finding> for Refused {
    fn from(found: Finding) -> Refused {
        let blocks = found.blocks();
        let Finding { entry, lifted_for, .. } = found;
        Refused {
            id: entry.id,
            scope: entry.scope.as_str(),
            product: entry.product,
            domain: entry.domain,
            reason: entry.reason.as_str(),
            origin: entry.origin.as_str(),
            at: entry.at.map(instant),
            note: entry.note,
            blocks,
            lifted_for,
        }
    }
}

fn said(event: Consent) -> Said {
    Said {
        purpose: event.purpose,
        product: event.product,
        state: event.state,
        at: event.at.map(instant),
        proof: event.proof,
        evidence: event.evidence,
        origin: event.origin,
        recorded_at: instant(event.recorded_at),
    }
}

fn delivery(d: OfContact) -> Delivery {
    Delivery {
        campaign: d.campaign,
        state: d.state.as_str(),
        code: d.code,
        tracking: d.tracking,
        rules_version: d.rules_version,
        decided_at: instant(d.decided_at),
        attempts: d.attempts,
        submitted_at: d.submitted_at.map(instant),
        ended_at: d.ended_at.map(instant),
        bounce_class: d.bounce_class,
        reply: d.reply,
    }
}

fn event(e: OfPerson) -> Event {
    Event { campaign: e.campaign, kind: e.kind, class: e.class, at: instant(e.at) }
}

fn subscribed(s: Subscription) -> Subscribed {
    Subscribed {
        product: s.product,
        language: s.language,
        wording: s.wording,
        asked_at: instant(s.asked_at),
        confirmed_at: s.confirmed_at.map(instant),
    }
}

fn request(r: requests::Request) -> Request {
    Request {
        kind: r.kind,
        text: r.text,
        received_at: instant(r.received_at),
        due_on: r.due_on,
        done_at: r.done_at.map(instant),
    }
}

/// Milliseconds as people and scripts read them.
fn instant(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |at| at.to_string())
}
