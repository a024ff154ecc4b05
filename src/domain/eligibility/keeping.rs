//! Not whether a person may be written to, but whether their data may be kept (RET-1, RET-7, RP-5).

use jiff::Timestamp;

use super::{
    Case, Outcome, Person, Reason, Rules, basis,
    consent::{self, Standing},
    retention,
};
use crate::domain::{
    campaigns::Terms,
    contacts::{ContactKind, Relationship},
    regimes,
};

/// Why the data of this person must go; None: they may be kept. `terms` are those of a question about each
/// product there is.
///
/// Past retention, or without a date that could show it is not (RET-7); and consumers with whom there is no
/// relation and who have proven no consent to any product, of whom not even the question may be asked
/// (RP-5). A country without known rules has the retention of the European ones. Refusals outlive all of it.
pub fn must_go(rules: &Rules, terms: &[Terms], person: &Person, now: Timestamp) -> Option<Reason> {
    let regime = regimes::find(&person.regime);
    let today = rules.tz.to_datetime(now).date();
    let strict = regime.or_else(|| regimes::find("EU_DEFAULT"))?;
    let address = person.address.as_ref()?;
    let case = |terms| Case { rules, terms, person, address, regime: strict, now, today };
    let ended = retention::has_ended(&case(terms.first()?));
    if let Some(Outcome::Block(reason)) = ended.map(|ruling| ruling.outcome) {
        return Some(reason);
    }
    let stranger = matches!(person.relationship, Relationship::Prospect | Relationship::Partner);
    let protected = regime.is_some_and(|regime| regime.retention_months.is_some());
    if person.kind != ContactKind::Consumer || !stranger || !protected {
        return None;
    }
    let nothing = terms.iter().all(|terms| {
        let case = case(terms);
        consent::standing(&case) != Standing::Pending && !basis::of(&case).outcome.is_send()
    });
    nothing.then_some(Reason::NoConsent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        address::{Address, SuppressionKey},
        campaigns::{CampaignKind, Elements, Sector, TrackingRequest},
        consents::{ConsentEvent, ConsentState, Proof},
        contacts::{AddressKind, LegalForm, SourceKind, TrackingConsent},
        dates::Dated,
        eligibility::Settings,
    };

    fn terms(product: &str) -> Terms {
        Terms {
            kind: CampaignKind::Repermission,
            product: product.into(),
            profession_related: true,
            sector: Sector::None,
            has_promo: true,
            art14_notice: true,
            elements: Elements { identity: true, optout: true, postal: true },
            tracking: TrackingRequest::None,
        }
    }

    fn person(kind: ContactKind, collected: &str) -> Person {
        Person {
            address: Address::parse("a@b.example").ok(),
            regime: "FR".into(),
            kind,
            address_kind: AddressKind::Personal,
            legal_form: LegalForm::Unknown,
            relationship: Relationship::Prospect,
            similar: false,
            same_entity: false,
            refusal_offered: false,
            source: SourceKind::DirectForm,
            informed: false,
            collected_at: Dated::read(collected),
            relationship_end: Dated::Unknown,
            last_activity: None,
            last_activity_at: Dated::Unknown,
            consents: vec![],
            suppressions: vec![],
            tracking: TrackingConsent::None,
            repermission_last_at: Dated::Unknown,
            paused_until: None,
            last_open: None,
        }
    }

    fn said(state: ConsentState, proof: Proof) -> ConsentEvent {
        let at = "2026-01-01T00:00:00Z".parse().ok();
        ConsentEvent { product: Some("crm".into()), state, at, proof, imported: false }
    }

    #[test]
    fn what_must_go_and_what_may_stay() {
        let now: Timestamp = "2026-11-18T09:00:00Z".parse().unwrap();
        let rules = |days| Rules {
            tz: jiff::tz::TimeZone::UTC,
            suppression_key: SuppressionKey::new(*b"test"),
            settings: Settings { end_of_term_recontact_days: days, ..Settings::default() },
        };
        let all = [terms("crm"), terms("other")];
        let go = |person: &Person| must_go(&rules(0), &all, person, now);
        let business = |collected| person(ContactKind::Business, collected);
        assert_eq!(go(&business("2024-01-01")), None);
        assert_eq!(go(&business("2023-11-18")), None, "the last day is included");
        assert_eq!(go(&business("2023-11-17")), Some(Reason::RetentionExpired));
        assert_eq!(must_go(&rules(30), &all, &business("2023-11-17"), now), None, "RET-4: it may still be asked");
        assert_eq!(go(&business("")), Some(Reason::RetentionUnknown));
        let consumer = person(ContactKind::Consumer, "2026-01-01");
        assert_eq!(go(&consumer), Some(Reason::NoConsent));
        assert_eq!(must_go(&rules(0), &[], &consumer, now), None, "without a product nothing can be judged");
        let with = |event| Person { consents: vec![event], ..consumer.clone() };
        assert_eq!(go(&with(said(ConsentState::Granted, Proof::Full))), None);
        assert_eq!(go(&with(said(ConsentState::Pending, Proof::None))), None);
        assert_eq!(go(&with(said(ConsentState::Granted, Proof::None))), Some(Reason::NoConsent));
        assert_eq!(go(&Person { relationship: Relationship::Customer, ..consumer.clone() }), None);
        assert_eq!(go(&Person { regime: "US".into(), ..consumer.clone() }), None);
        assert_eq!(go(&Person { regime: String::new(), ..business("2020-01-01") }), Some(Reason::RetentionExpired));
    }
}
