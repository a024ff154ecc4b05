//! What holds for every person and campaign, and the two blocks that no table can express.

use std::collections::HashSet;

use jiff::{Timestamp, civil::date, tz::TimeZone};
use proptest::{
    bool::weighted, collection::vec, option, prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner,
};

use super::*;
use crate::domain::{
    address::{Address, SuppressionKey},
    campaigns::{Elements, Sector, TrackingRequest},
    consents::{ConsentEvent, ConsentState, Proof},
    contacts::{ActivityKind, AddressKind, ContactKind, LegalForm, Relationship, SourceKind, TrackingConsent},
    dates::{Dated, When},
    regimes::{self, Choice},
    suppressions::{Scope, Suppression, SuppressionReason},
};

const PRODUCTS: [&str; 2] = ["crm", "hosting"];

#[test]
fn a_pause_lasts_through_its_last_day_and_spares_service_mail() {
    let rules = rules();
    let mut person = professional("FR");
    person.paused_until = Some(date(2026, 11, 18));
    let code = |person: &Person, terms: &Terms, now| decide(&rules, terms, person, now).outcome.code();
    assert_eq!(code(&person, &marketing(), now()), "PAUSED_BY_PERSON");
    assert_eq!(code(&person, &terms(CampaignKind::Repermission), now()), "PAUSED_BY_PERSON");
    let midnight_in_paris = "2026-11-18T23:00:00Z".parse().unwrap();
    assert_eq!(code(&person, &marketing(), midnight_in_paris), "LEGITIMATE_INTEREST_B2B");
    person.relationship = Relationship::Customer;
    assert_eq!(code(&person, &terms(CampaignKind::Service), now()), "SERVICE");
}

#[test]
fn a_pause_stands_after_a_refusal_and_before_retention() {
    let mut person = professional("FR");
    person.paused_until = Some(date(2027, 1, 1));
    person.collected_at = Dated::read("2015-01-01");
    assert_eq!(decide(&rules(), &marketing(), &person, now()).outcome.code(), "PAUSED_BY_PERSON");
    person.consents = vec![event(ConsentState::Refused, Some("2026-06-01T10:00:00Z"), Proof::None)];
    assert_eq!(decide(&rules(), &marketing(), &person, now()).outcome.code(), "CONSENT_WITHDRAWN");
}

#[test]
fn a_sunset_stands_after_the_re_permission_silence_and_before_the_basis() {
    let rules = with_sunset();
    // Collected on 10 March; it is November.
    let mut person = professional("FR");
    let code = |person: &Person, terms: &Terms| decide(&rules, terms, person, now()).outcome.code();
    assert_eq!(code(&person, &marketing()), "SUNSET");
    // An open is no contact, but a sign; a click is both; the last day is included.
    person.last_open = Some(date(2026, 3, 18));
    assert_eq!(code(&person, &marketing()), "LEGITIMATE_INTEREST_B2B");
    person.last_open = Some(date(2026, 3, 17));
    assert_eq!(code(&person, &marketing()), "SUNSET");
    (person.last_activity, person.last_activity_at) = (Some(ActivityKind::Click), Dated::read("2026-09-01"));
    assert_eq!(code(&person, &marketing()), "LEGITIMATE_INTEREST_B2B");
    person.last_activity = Some(ActivityKind::Open);
    assert_eq!(code(&person, &marketing()), "SUNSET");
    person.repermission_last_at = Dated::read("2026-10-01T10:00:00Z");
    assert_eq!(code(&person, &terms(CampaignKind::Repermission)), "REPERMISSION_COOLDOWN");
    person.informed = false;
    assert_eq!(code(&person, &marketing()), "NOT_INFORMED");
    person.relationship = Relationship::Customer;
    assert_eq!(code(&person, &terms(CampaignKind::Service)), "SERVICE");
}

#[test]
fn a_soft_limit_blocks_marketing_like_an_operators_entry_and_is_lifted_by_hand() {
    let mut person = professional("FR");
    person.relationship = Relationship::Customer;
    person.suppressions = vec![suppression(Scope::Address, SuppressionReason::SoftLimit, "2026-05-02T08:00:00Z")];
    person.consents = vec![event(ConsentState::Granted, Some("2026-09-01T10:00:00Z"), Proof::Doi)];
    assert_eq!(decide(&rules(), &marketing(), &person, now()).outcome.code(), "SUPPRESSED_GLOBAL");
    assert!(decide(&rules(), &terms(CampaignKind::Service), &person, now()).outcome.is_send());
}

#[test]
fn a_card_from_an_event_counts_like_a_business_card() {
    let mut person = professional("CA");
    person.source = SourceKind::Event;
    assert_eq!(decide(&rules(), &marketing(), &person, now()).outcome.code(), "IMPLIED_CONSENT");
    person.informed = false;
    assert_eq!(decide(&rules(), &marketing(), &person, now()).outcome.code(), "NOT_INFORMED");
}

#[test]
fn a_partner_is_decided_like_a_prospect() {
    for regime in regimes::all() {
        for kind in CampaignKind::ALL {
            let mut person = professional(regime.id);
            let prospect = decide(&rules(), &terms(*kind), &person, now());
            person.relationship = Relationship::Partner;
            assert_eq!(decide(&rules(), &terms(*kind), &person, now()), prospect);
        }
    }
}

#[test]
fn a_yes_without_an_instant_proves_nothing() {
    let mut person = professional("EU_DEFAULT");
    person.consents = vec![event(ConsentState::Granted, None, Proof::Doi)];
    assert_eq!(decide(&rules(), &marketing(), &person, now()).outcome.code(), "CONSENT_UNPROVEN");
    person.consents.push(event(ConsentState::Refused, Some("2020-01-01T00:00:00Z"), Proof::None));
    assert_eq!(decide(&rules(), &marketing(), &person, now()).outcome.code(), "CONSENT_WITHDRAWN");
}

#[test]
fn what_a_regime_says_it_asks_is_what_its_permissions_do() {
    for regime in regimes::all() {
        let asks = |kind, address_kind| {
            let mut person = professional(regime.id);
            (person.kind, person.address_kind) = (kind, address_kind);
            if decide(&rules(), &marketing(), &person, now()).outcome.is_send() {
                Choice::OptOut
            } else {
                Choice::OptIn
            }
        };
        assert_eq!(asks(ContactKind::Consumer, AddressKind::Personal), regime.consumer, "{}", regime.id);
        assert_eq!(asks(ContactKind::Business, AddressKind::Personal), regime.business_named, "{}", regime.id);
        assert_eq!(asks(ContactKind::Business, AddressKind::Generic), regime.business_generic, "{}", regime.id);
    }
}

#[test]
fn the_rules_cited_are_those_of_the_regime_and_the_kind_of_campaign() {
    let cited = |regime: &str, terms: &Terms| decide(&rules(), terms, &professional(regime), now()).rule_ids;
    assert_eq!(cited("FR", &marketing()), ["FR-5", "GD-1"]);
    assert_eq!(cited("FR", &terms(CampaignKind::Repermission)), ["RP-3", "FR-5", "GD-1"]);
    assert_eq!(cited("GB", &marketing()), ["GB-2", "GB-3"]);
    assert_eq!(cited("DE", &marketing()), ["DE-1"]);
    assert_eq!(cited("US", &marketing()), ["US-1"]);
    assert_eq!(cited("CA", &marketing()), ["CA-3"]);
    assert_eq!(cited("CA", &terms(CampaignKind::Service)), ["SVC-3"]);
    assert_eq!(cited("ZZ", &marketing()), ["REG-1"]);
}

/// The properties below are worth what their people are: every code must meet some of them.
#[test]
fn the_people_drawn_meet_every_code() {
    let mut runner = TestRunner::deterministic();
    let drawn = (any_person(), any_terms(), any_now());
    let decided: HashSet<&str> = (0..20_000)
        .map(|_| drawn.new_tree(&mut runner).expect("nothing is filtered out").current())
        .flat_map(|(person, terms, now)| {
            [rules(), with_sunset()].map(|rules| decide(&rules, &terms, &person, now).outcome.code())
        })
        .collect();
    let codes = Basis::ALL.iter().map(|b| b.as_str()).chain(Reason::ALL.iter().map(|r| r.as_str()));
    assert_eq!(codes.filter(|code| !decided.contains(code)).collect::<Vec<_>>(), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn deciding_never_panics_and_always_says_why(
        person in any_person(),
        terms in any_terms(),
        settings in any_settings(),
        now in any_now(),
    ) {
        let decision = decide(&Rules { settings, ..rules() }, &terms, &person, now);
        prop_assert!(!decision.rule_ids.is_empty());
        prop_assert!(!decision.sentence(Lang::Fr).is_empty());
        prop_assert!(decision.outcome.is_send() || decision.tracking == Tracking::None);
    }

    #[test]
    fn a_standing_global_unsubscribe_always_blocks_marketing(
        mut person in any_person(),
        terms in any_terms(),
        now in any_now(),
    ) {
        prop_assume!(terms.kind != CampaignKind::Service);
        let refused_at = person.consents.iter().filter_map(|event| event.at).max().unwrap_or(now).min(now);
        person.consents.retain(|event| event.at.is_none_or(|at| at <= refused_at || at > now));
        let unsubscribe = suppression(Scope::Global, SuppressionReason::Unsubscribe, NOW);
        person.suppressions.push(Suppression { at: Some(refused_at), ..unsubscribe });
        prop_assert!(!decide(&rules(), &terms, &person, now).outcome.is_send());
    }

    #[test]
    fn adding_a_suppression_never_turns_a_block_into_a_send(
        mut person in any_person(),
        terms in any_terms(),
        entry in any_suppression(),
        now in any_now(),
    ) {
        let before = decide(&rules(), &terms, &person, now).outcome;
        person.suppressions.push(entry);
        let after = decide(&rules(), &terms, &person, now).outcome;
        prop_assert!(before.is_send() || !after.is_send());
        prop_assert!(before == after || !after.is_send());
    }

    #[test]
    fn adding_a_refusal_never_turns_a_block_into_a_send(
        mut person in any_person(),
        terms in any_terms(),
        event in any_event(),
        withdrawn in any::<bool>(),
        now in any_now(),
    ) {
        let state = if withdrawn { ConsentState::Withdrawn } else { ConsentState::Refused };
        let event = ConsentEvent { state, ..event };
        let before = decide(&rules(), &terms, &person, now).outcome;
        person.consents.push(event);
        let after = decide(&rules(), &terms, &person, now).outcome;
        prop_assert!(before.is_send() || !after.is_send());
    }

    #[test]
    fn nothing_but_a_double_opt_in_of_the_person_undoes_a_refusal(
        mut person in any_person(),
        terms in any_terms(),
        event in any_event(),
        pending in any::<bool>(),
        now in any_now(),
    ) {
        let state = if pending { ConsentState::Pending } else { ConsentState::Granted };
        let event = ConsentEvent { state, ..event };
        let proof = if event.lifts() { Proof::Full } else { event.proof };
        let event = ConsentEvent { proof, ..event };
        let refused = |outcome: Outcome| {
            outcome == Outcome::Block(Reason::ConsentWithdrawn) || outcome.code().starts_with("SUPPRESSED_")
        };
        let before = decide(&rules(), &terms, &person, now).outcome;
        person.consents.push(event);
        prop_assert!(!refused(before) || decide(&rules(), &terms, &person, now).outcome == before);
    }

    #[test]
    fn the_order_of_events_and_entries_changes_nothing(person in any_person(), terms in any_terms(), now in any_now()) {
        let mut turned = person.clone();
        turned.consents.reverse();
        turned.suppressions.reverse();
        let (one, other) = (decide(&rules(), &terms, &person, now), decide(&rules(), &terms, &turned, now));
        // Two grants at one instant have no order that means anything.
        let ties = person.consents.iter().enumerate().any(|(i, a)| person.consents[..i].iter().any(|b| a.at == b.at));
        prop_assert!(ties || one == other);
        prop_assert_eq!(one.outcome.is_send(), other.outcome.is_send());
    }

    #[test]
    fn no_tracking_is_ever_allowed_that_nobody_asked_for_or_that_was_withdrawn(
        person in any_person(),
        terms in any_terms(),
        now in any_now(),
    ) {
        let tracking = decide(&rules(), &terms, &person, now).tracking;
        let unasked = terms.tracking == TrackingRequest::None || terms.kind == CampaignKind::Repermission;
        if unasked || person.tracking == TrackingConsent::Withdrawn {
            prop_assert_eq!(tracking, Tracking::None);
        }
        if tracking == Tracking::Individual {
            prop_assert_eq!(person.tracking, TrackingConsent::Granted);
            prop_assert_eq!(terms.tracking, TrackingRequest::Individual);
        }
    }

    /// RP-5, RP-4: where the law asks for consent, a consumer gets the question with a proven one or as a
    /// customer inside the soft opt-in, and in no other way.
    #[test]
    fn a_consumer_without_proven_consent_is_never_asked(
        mut person in any_person(), mut terms in any_terms(), now in any_now(), settings in any_settings(),
    ) {
        terms.kind = CampaignKind::Repermission;
        person.kind = ContactKind::Consumer;
        let rules = Rules { settings, ..rules() };
        let Outcome::Send(basis) = decide(&rules, &terms, &person, now).outcome else { return Ok(()) };
        let proves = |event: &ConsentEvent| {
            event.state == ConsentState::Granted && event.product.as_deref() == Some(terms.product.as_str())
                && event.at.is_some_and(|at| at <= now) && matches!(event.proof, Proof::Full | Proof::Doi | Proof::PartnerNamed)
        };
        let customer = matches!(person.relationship, Relationship::Customer | Relationship::FormerCustomer)
            || (person.regime == "GB" && person.relationship == Relationship::Negotiation);
        let inside = customer && person.similar && person.same_entity && person.refusal_offered && !person.source.is_indirect();
        match basis {
            Basis::Consent => prop_assert!(person.consents.iter().any(proves)),
            Basis::SoftOptIn => prop_assert!(inside),
            basis => prop_assert!(
                (basis == Basis::OptOutUs && person.regime == "US") || (basis == Basis::ImpliedConsent && person.regime == "CA"),
                "{basis} in {}", person.regime
            ),
        }
    }
}

const NOW: &str = "2026-11-18T09:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn rules() -> Rules {
    let tz = TimeZone::get("Europe/Paris").unwrap();
    Rules { tz, suppression_key: SuppressionKey::new("key"), settings: Settings::default() }
}

fn with_sunset() -> Rules {
    Rules { settings: Settings { sunset_months: Some(8), ..Settings::default() }, ..rules() }
}

/// An informed professional of a British company, who filled in a form this year.
fn professional(regime: &str) -> Person {
    Person {
        address: Address::parse("paul.martin@societe.example").ok(),
        regime: regime.to_owned(),
        kind: ContactKind::Business,
        address_kind: AddressKind::Personal,
        legal_form: LegalForm::Corporate,
        relationship: Relationship::Prospect,
        similar: false,
        same_entity: false,
        refusal_offered: false,
        source: SourceKind::DirectForm,
        informed: true,
        collected_at: Dated::read("2026-03-10"),
        relationship_end: Dated::Unknown,
        last_activity: None,
        last_activity_at: Dated::Unknown,
        consents: Vec::new(),
        suppressions: Vec::new(),
        tracking: TrackingConsent::None,
        repermission_last_at: Dated::Unknown,
        paused_until: None,
        last_open: None,
    }
}

fn marketing() -> Terms {
    terms(CampaignKind::Marketing)
}

fn terms(kind: CampaignKind) -> Terms {
    Terms {
        kind,
        product: "crm".to_owned(),
        profession_related: true,
        sector: Sector::None,
        has_promo: kind != CampaignKind::Service,
        art14_notice: false,
        elements: Elements { identity: true, optout: true, postal: true },
        tracking: TrackingRequest::None,
    }
}

fn event(state: ConsentState, at: Option<&str>, proof: Proof) -> ConsentEvent {
    ConsentEvent {
        product: Some("crm".to_owned()),
        state,
        at: at.map(|at| at.parse().unwrap()),
        proof,
        imported: false,
    }
}

fn suppression(scope: Scope, reason: SuppressionReason, at: &str) -> Suppression {
    Suppression { scope, value: None, reason, at: Some(at.parse().unwrap()) }
}

/// Around the same few instants, so that equal ones meet; and now and then any at all.
fn any_instant() -> impl Strategy<Value = Timestamp> {
    let near = (0i64..6, -1i64..2).prop_map(|(months, seconds)| 1_795_000_000 - months * 30 * 86_400 + seconds);
    let any = -377_705_023_201i64..253_402_207_200;
    prop_oneof![19 => near, 1 => any].prop_map(|second| Timestamp::from_second(second).unwrap())
}

/// Mostly the latest of them, so that most dates lie in the past.
fn any_now() -> impl Strategy<Value = Timestamp> {
    prop_oneof![9 => Just(Timestamp::from_second(1_795_000_000).unwrap()), 1 => any_instant()]
}

fn any_dated() -> impl Strategy<Value = Dated> {
    prop_oneof![
        8 => Just(Dated::Unknown),
        1 => Just(Dated::Invalid),
        20 => any_instant().prop_map(|at| Dated::At(When::Instant(at))),
        20 => any_instant().prop_map(|at| Dated::At(When::Date(at.to_zoned(TimeZone::UTC).date()))),
    ]
}

fn any_event() -> impl Strategy<Value = ConsentEvent> {
    let product = option::weighted(0.9, select(PRODUCTS.to_vec()).prop_map(str::to_owned));
    let state = select(ConsentState::ALL.to_vec());
    (product, state, option::weighted(0.9, any_instant()), select(Proof::ALL.to_vec()), any::<bool>())
        .prop_map(|(product, state, at, proof, imported)| ConsentEvent { product, state, at, proof, imported })
}

fn any_suppression() -> impl Strategy<Value = Suppression> {
    let value =
        option::of(select(vec!["crm", "hosting", "societe.example", "example", "paul.martin@societe.example", "?"]));
    let reason = select(SuppressionReason::ALL.to_vec());
    (select(Scope::ALL.to_vec()), value, reason, option::weighted(0.9, any_instant()))
        .prop_map(|(scope, value, reason, at)| Suppression { scope, value: value.map(str::to_owned), reason, at })
}

fn any_settings() -> impl Strategy<Value = Settings> {
    (option::of(any::<u32>()), any::<u32>(), any::<u32>(), option::weighted(0.2, any::<u32>())).prop_map(
        |(retention_months, end_of_term_recontact_days, repermission_cooldown_months, sunset_months)| Settings {
            retention_months,
            end_of_term_recontact_days,
            repermission_cooldown_months,
            sunset_months,
        },
    )
}

prop_compose! {
    fn any_terms()(
        kind in select(CampaignKind::ALL.to_vec()),
        product in select(PRODUCTS.to_vec()),
        sector in prop_oneof![9 => Just(Sector::None), 1 => select(Sector::ALL.to_vec())],
        tracking in select(TrackingRequest::ALL.to_vec()),
        (profession_related, has_promo, art14_notice) in any::<(bool, bool, bool)>(),
        (identity, optout, postal) in (weighted(0.95), weighted(0.95), weighted(0.9)),
    ) -> Terms {
        let elements = Elements { identity, optout, postal };
        let product = product.to_owned();
        Terms { kind, product, profession_related, sector, has_promo, art14_notice, elements, tracking }
    }
}

prop_compose! {
    fn any_person()(
        (address, regime) in (
            prop_oneof![
                12 => Just("paul.martin@societe.example"),
                6 => Just("marie@example.net"),
                1 => Just("nobody"),
            ],
            select(vec!["FR", "FR", "EU_DEFAULT", "GB", "GB", "DE", "US", "CA", "CA", "FR", "ZZ"]),
        ),
        (kind, address_kind, legal_form) in (
            select(ContactKind::ALL.to_vec()),
            select(AddressKind::ALL.to_vec()),
            select(LegalForm::ALL.to_vec()),
        ),
        (relationship, source) in (select(Relationship::ALL.to_vec()), select(SourceKind::ALL.to_vec())),
        (similar, same_entity, refusal_offered, informed) in any::<(bool, bool, bool, bool)>(),
        last_open in option::weighted(0.2, any_instant().prop_map(|at| at.to_zoned(TimeZone::UTC).date())),
        (collected_at, relationship_end) in (any_dated(), any_dated()),
        (last_activity_at, repermission_last_at) in (any_dated(), any_dated()),
        last_activity in option::of(select(ActivityKind::ALL.to_vec())),
        consents in vec(any_event(), 0..4),
        suppressions in prop_oneof![3 => Just(Vec::new()), 1 => vec(any_suppression(), 1..3)],
        tracking in select(TrackingConsent::ALL.to_vec()),
        paused_until in option::weighted(0.1, any_instant().prop_map(|at| at.to_zoned(TimeZone::UTC).date())),
    ) -> Person {
        Person {
            address: Address::parse(address).ok(),
            regime: regime.to_owned(),
            kind, address_kind, legal_form, relationship, similar, same_entity, refusal_offered, source, informed,
            collected_at, relationship_end, last_activity, last_activity_at, consents, suppressions, tracking,
            repermission_last_at, paused_until, last_open,
        }
    }
}
