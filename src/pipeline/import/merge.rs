//! What a line changes in what is known of a person: a value replaces, an empty cell never erases.

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    domain::{
        address::{Address, AddressHash},
        contacts::{AddressKind, ContactKind, LegalForm, Relationship, SourceKind},
        dates::{Dated, When},
        import::lines::Facts,
        regimes::regime_of_country,
    },
    store::contacts::Contact,
};

/// A person of whom nothing is known but the address: the strictest of everything.
pub fn stranger(address: &Address, hash: AddressHash, now: Timestamp) -> Contact {
    Contact {
        id: 0,
        address: address.to_string(),
        address_hash: hash,
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
        created_at: now.as_millisecond(),
        changed_at: now.as_millisecond(),
    }
}

/// Writes the facts into the contact; true when anything changed.
pub fn merge(contact: &mut Contact, facts: &Facts, tz: &TimeZone) -> bool {
    let changes = [
        put(&mut contact.address_kind, facts.address_kind),
        put(&mut contact.kind, facts.kind),
        put(&mut contact.legal_form, facts.legal_form),
        put(&mut contact.relationship, facts.relationship),
        write(&mut contact.first_name, facts.first_name.as_deref()),
        write(&mut contact.last_name, facts.last_name.as_deref()),
        write(&mut contact.company, facts.company.as_deref()),
        write(&mut contact.job_title, facts.job_title.as_deref()),
        write(&mut contact.country, facts.country),
        // A country without rules stays as it is: no regime of that name is known, and nothing is sent.
        write(&mut contact.regime, facts.country.map(|c| regime_of_country(c).unwrap_or(c))),
        write(&mut contact.language, facts.language.as_deref()),
        write(&mut contact.time_zone, facts.time_zone.as_deref()),
        write(&mut contact.source, facts.source.as_deref()),
        put(&mut contact.source_kind, facts.source_kind),
        date(&mut contact.collected_at, facts.collected_at),
        put(&mut contact.informed, facts.informed),
        put(&mut contact.similar_offer, facts.similar),
        put(&mut contact.same_entity, facts.same_entity),
        put(&mut contact.refusal_offered, facts.refusal_offered),
        date(&mut contact.relationship_end, facts.relationship_end),
        activity(contact, facts, tz),
    ];
    changes.contains(&true)
}

/// The last activity is the later one; its kind and its date are one statement and move together.
fn activity(contact: &mut Contact, facts: &Facts, tz: &TimeZone) -> bool {
    let known = Dated::read(&contact.last_activity_at).known();
    let kind = facts.last_activity.map(|kind| kind.as_str());
    match (known, facts.last_activity_at) {
        (None, None) => write(&mut contact.last_activity, kind),
        (Some(_), None) => false,
        (Some(known), Some(said)) if known.starts_at(tz) > said.starts_at(tz) => false,
        (Some(known), Some(said)) if known == said => write(&mut contact.last_activity, kind),
        (_, Some(said)) => {
            // A kind that is not said is not that of an earlier activity.
            let kind = kind.unwrap_or_default();
            let kind_changes = contact.last_activity != kind;
            kind.clone_into(&mut contact.last_activity);
            date(&mut contact.last_activity_at, Some(said)) || kind_changes
        }
    }
}

fn put<T: PartialEq>(field: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) if *field != value => {
            *field = value;
            true
        }
        _ => false,
    }
}

fn write(field: &mut String, value: Option<&str>) -> bool {
    match value {
        Some(value) if field != value => {
            value.clone_into(field);
            true
        }
        _ => false,
    }
}

fn date(field: &mut String, value: Option<When>) -> bool {
    write(field, value.map(|when| when.to_string()).as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::contacts::ActivityKind;

    fn when(text: &str) -> Option<When> {
        Some(text.parse().unwrap())
    }

    fn contact() -> Contact {
        let address = Address::parse("marie@example.net").unwrap();
        stranger(&address, AddressHash([0; 32]), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_value_replaces_and_an_empty_one_never_erases() {
        let mut contact = contact();
        let facts = Facts {
            kind: Some(ContactKind::Business),
            company: Some("Acme".into()),
            country: Some("BE"),
            collected_at: when("2025-03-18"),
            ..Facts::default()
        };
        assert!(merge(&mut contact, &facts, &TimeZone::UTC));
        assert_eq!((contact.regime.as_str(), contact.collected_at.as_str()), ("EU_DEFAULT", "2025-03-18"));
        let before = contact.clone();
        assert!(!merge(&mut contact, &facts, &TimeZone::UTC), "the same again changes nothing");
        assert!(!merge(&mut contact, &Facts::default(), &TimeZone::UTC));
        assert_eq!(contact, before);
        assert!(merge(&mut contact, &Facts { country: Some("JP"), ..Facts::default() }, &TimeZone::UTC));
        assert_eq!((contact.country.as_str(), contact.regime.as_str(), contact.company.as_str()), ("JP", "JP", "Acme"));
    }

    #[test]
    fn the_later_activity_stays_with_its_own_kind() {
        let said = |kind: Option<ActivityKind>, at: &str| Facts {
            last_activity: kind,
            last_activity_at: when(at).filter(|_| at != "1900-01-01"),
            ..Facts::default()
        };
        let mut contact = contact();
        let mut then = |facts: Facts| {
            let changed = merge(&mut contact, &facts, &TimeZone::UTC);
            assert!(!merge(&mut contact, &facts, &TimeZone::UTC), "the same again changes nothing");
            format!("{changed} {} {}", contact.last_activity, contact.last_activity_at)
        };
        let undated = "1900-01-01";
        assert_eq!(then(said(Some(ActivityKind::Click), undated)), "true click ");
        assert_eq!(then(said(Some(ActivityKind::Purchase), "2025-03-18")), "true purchase 2025-03-18");
        assert_eq!(then(said(Some(ActivityKind::Click), undated)), "false purchase 2025-03-18");
        assert_eq!(then(said(Some(ActivityKind::Login), "2024-01-01")), "false purchase 2025-03-18");
        assert_eq!(then(said(Some(ActivityKind::Reply), "2025-03-18")), "true reply 2025-03-18");
        assert_eq!(then(said(None, "2025-03-19")), "true  2025-03-19");
    }
}
