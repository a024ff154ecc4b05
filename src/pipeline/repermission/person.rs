//! A person of the list as a contact: what the lines say, joined with what the database knows.

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        address::{Address, AddressHash},
        consents::{ConsentEvent, ConsentState},
        contacts::{ActivityKind, AddressKind, ContactKind, LegalForm, Relationship, SourceKind},
        dates::{Dated, When},
        eligibility::Person,
        import::{
            countries,
            lines::{Facts, Refusals, Said},
        },
        repermission::union,
        suppressions::{Scope, Suppression, SuppressionReason},
    },
    pipeline::{
        import::merge::{merge, stranger},
        suppress::latest_instant,
    },
    store::contacts::Contact,
};

/// The contact that the facts make of a person. What is known and what is said are joined, the stricter
/// of two statements holding: a file makes nobody a professional whom the database holds for a consumer.
pub fn contact(known: Option<Contact>, address: &Address, hash: AddressHash, facts: &Facts, at: &At<'_>) -> Contact {
    let mut joined = known.as_ref().map(stated).unwrap_or_default();
    union::join(&mut joined, facts, at.tz);
    let mut contact = known.unwrap_or_else(|| stranger(address, hash, at.now));
    if merge(&mut contact, &joined, at.tz) {
        contact.changed_at = at.now.as_millisecond();
    }
    contact
}

/// Where and when.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The controller's time zone.
    pub tz: &'a TimeZone,
    /// The present instant.
    pub now: Timestamp,
}

/// What the database states of a person. An unknown kind is stored as consumer, a fact that was never
/// confirmed as no: both are taken as they stand, for that is the stricter reading.
fn stated(contact: &Contact) -> Facts {
    let text = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    let date = |text: &str| Dated::read(text).known();
    Facts {
        address_kind: Some(contact.address_kind),
        kind: Some(contact.kind),
        legal_form: Some(contact.legal_form),
        relationship: Some(contact.relationship),
        first_name: text(&contact.first_name),
        last_name: text(&contact.last_name),
        company: text(&contact.company),
        job_title: text(&contact.job_title),
        country: countries::code(&contact.country),
        language: text(&contact.language),
        time_zone: text(&contact.time_zone),
        source: text(&contact.source),
        source_kind: Some(contact.source_kind).filter(|kind| *kind != SourceKind::Unknown),
        collected_at: date(&contact.collected_at),
        informed: Some(contact.informed),
        similar: Some(contact.similar_offer),
        same_entity: Some(contact.same_entity),
        refusal_offered: Some(contact.refusal_offered),
        relationship_end: date(&contact.relationship_end),
        last_activity: contact.last_activity.parse().ok(),
        last_activity_at: date(&contact.last_activity_at),
    }
}

/// Adds what the file says the person said: refusals as they will be recorded, consents with their proofs.
pub fn add_words(person: &mut Person, refusals: &[&Refusals], consents: &[&Said], at: &At<'_>) {
    for refusal in refusals {
        if let Some(since) = refusal.unsubscribed {
            person.suppressions.push(Suppression {
                scope: Scope::Global,
                value: None,
                reason: SuppressionReason::Unsubscribe,
                at: since.map(|when| latest_instant(when, at.tz, at.now)),
            });
        }
        person.consents.extend(refusal.consents.iter().filter_map(|said| event(said, at)));
    }
    person.consents.extend(consents.iter().filter_map(|said| event(said, at)));
}

/// None: it is about tracking, which no question is ever sent with.
fn event(said: &Said, at: &At<'_>) -> Option<ConsentEvent> {
    let product = Some(said.product.clone()?);
    let instant = said.at.map(|when| match said.state {
        ConsentState::Refused | ConsentState::Withdrawn => latest_instant(when, at.tz, at.now),
        ConsentState::Granted | ConsentState::Pending => when.starts_at(at.tz),
    });
    Some(ConsentEvent { product, state: said.state, at: instant, proof: said.proof, imported: true })
}

/// What a plan keeps of a person who may be asked, until the question has been put: nothing is kept of
/// anybody else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// The address.
    pub address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<ContactKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address_kind: Option<AddressKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    legal_form: Option<LegalForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relationship: Option<Relationship>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_kind: Option<SourceKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_activity: Option<ActivityKind>,
    /// The facts that are text, dates, or yes and no, by their column's name.
    facts: Vec<(String, String)>,
}

impl Kept {
    /// Keeps the facts of a person.
    pub fn of(address: &Address, facts: &Facts) -> Kept {
        let mut kept = Vec::new();
        let texts = [
            ("first_name", &facts.first_name),
            ("last_name", &facts.last_name),
            ("company", &facts.company),
            ("job_title", &facts.job_title),
            ("language", &facts.language),
            ("time_zone", &facts.time_zone),
            ("source", &facts.source),
        ];
        kept.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?))));
        kept.extend(facts.country.map(|code| ("country".to_owned(), code.to_owned())));
        let dates = [
            ("collected_at", facts.collected_at),
            ("relationship_end", facts.relationship_end),
            ("last_activity_at", facts.last_activity_at),
        ];
        kept.extend(dates.into_iter().filter_map(|(name, when)| Some((name.to_owned(), when?.to_string()))));
        let answers = [
            ("informed", facts.informed),
            ("similar", facts.similar),
            ("same_entity", facts.same_entity),
            ("refusal_offered", facts.refusal_offered),
        ];
        kept.extend(answers.into_iter().filter_map(|(name, yes)| Some((name.to_owned(), yes?.to_string()))));
        Kept {
            address: address.to_string(),
            kind: facts.kind,
            address_kind: facts.address_kind,
            legal_form: facts.legal_form,
            relationship: facts.relationship,
            source_kind: facts.source_kind,
            last_activity: facts.last_activity,
            facts: kept,
        }
    }

    /// The facts as they were read.
    pub fn facts(&self) -> Facts {
        let text = |name: &str| self.facts.iter().find(|(n, _)| n == name).map(|(_, text)| text.clone());
        let date = |name: &str| text(name).and_then(|text| text.parse::<When>().ok());
        let yes = |name: &str| text(name).map(|text| text == "true");
        Facts {
            address_kind: self.address_kind,
            kind: self.kind,
            legal_form: self.legal_form,
            relationship: self.relationship,
            first_name: text("first_name"),
            last_name: text("last_name"),
            company: text("company"),
            job_title: text("job_title"),
            country: text("country").and_then(|code| countries::code(&code)),
            language: text("language"),
            time_zone: text("time_zone"),
            source: text("source"),
            source_kind: self.source_kind,
            collected_at: date("collected_at"),
            informed: yes("informed"),
            similar: yes("similar"),
            same_entity: yes("same_entity"),
            refusal_offered: yes("refusal_offered"),
            relationship_end: date("relationship_end"),
            last_activity: self.last_activity,
            last_activity_at: date("last_activity_at"),
        }
    }
}

/// A refusal that the file holds, as the plan keeps it until it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRefusal {
    /// Slug of the product; empty for everything.
    pub product: String,
    /// It is about tracking, not about mail.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tracking: bool,
    /// Since when, in milliseconds; none: nobody knows, and it stands for ever.
    pub at: Option<i64>,
}

/// The refusals of a line, as they will be recorded.
pub fn kept_refusals(refusals: &Refusals, at: &At<'_>) -> Vec<KeptRefusal> {
    let instant = |when: Option<When>| when.map(|when| latest_instant(when, at.tz, at.now).as_millisecond());
    let everything =
        refusals.unsubscribed.map(|since| KeptRefusal { product: String::new(), tracking: false, at: instant(since) });
    let consents = refusals.consents.iter().map(|said| KeptRefusal {
        product: said.product.clone().unwrap_or_default(),
        tracking: said.product.is_none(),
        at: instant(said.at),
    });
    everything.into_iter().chain(consents).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> (TimeZone, Timestamp) {
        (TimeZone::get("Europe/Paris").unwrap(), "2026-11-18T09:00:00Z".parse().unwrap())
    }

    #[test]
    fn what_is_kept_is_read_back_whole() {
        let facts = Facts {
            address_kind: Some(AddressKind::Personal),
            kind: Some(ContactKind::Business),
            relationship: Some(Relationship::Prospect),
            company: Some("Exemple « é »".into()),
            country: Some("FR"),
            source_kind: Some(SourceKind::BusinessCard),
            collected_at: "2025-03-18".parse().ok(),
            last_activity: Some(ActivityKind::Click),
            last_activity_at: "2026-03-18T10:00:00Z".parse().ok(),
            informed: Some(false),
            ..Facts::default()
        };
        let kept = Kept::of(&Address::parse("a@b.example").unwrap(), &facts);
        let text = serde_json::to_string(&kept).unwrap();
        let back: Kept = serde_json::from_str(&text).unwrap();
        assert_eq!((back.facts(), back.address.as_str()), (facts, "a@b.example"));
    }

    #[test]
    fn a_file_makes_nobody_a_professional_whom_the_database_holds_for_a_consumer() {
        let (tz, now) = at();
        let at = At { tz: &tz, now };
        let address = Address::parse("a@b.example").unwrap();
        let hash = AddressHash([1; 32]);
        let known = Contact { kind: ContactKind::Consumer, ..stranger(&address, hash, now) };
        let facts = Facts {
            kind: Some(ContactKind::Business),
            source_kind: Some(SourceKind::DirectForm),
            country: Some("FR"),
            ..Facts::default()
        };
        let joined = contact(Some(known), &address, hash, &facts, &at);
        assert_eq!(
            (joined.kind, joined.source_kind, joined.regime.as_str()),
            (ContactKind::Consumer, SourceKind::DirectForm, "FR")
        );
        assert_eq!(contact(None, &address, hash, &facts, &at).kind, ContactKind::Business);
    }
}
