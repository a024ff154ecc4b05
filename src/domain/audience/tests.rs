use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::domain::{
    contacts::{ActivityKind, AddressKind, ContactKind, LegalForm, Relationship, SourceKind, TrackingConsent},
    dates::{Dated, When},
};

fn marie() -> ContactView<'static> {
    ContactView {
        email: "marie.durand@atelier.example",
        kind: ContactKind::Business,
        address_kind: AddressKind::Personal,
        legal_form: LegalForm::Unknown,
        relationship: Relationship::Customer,
        first_name: Some("Marie"),
        last_name: Some("Durand"),
        company: Some("L'Atelier Électrique"),
        job_title: None,
        country: Some("FR"),
        language: Some("fr"),
        source: Some("Salon de Lyon 2025"),
        source_kind: SourceKind::Event,
        informed: true,
        similar: false,
        same_entity: true,
        refusal_offered: true,
        tracking: TrackingConsent::None,
        collected_at: Dated::At(When::Date(date(2025, 3, 18))),
        relationship_end: Dated::Unknown,
        last_activity: Some(ActivityKind::Click),
        // Half past eleven in the evening of 31 December in UTC is the new year in Paris.
        last_activity_at: "2025-12-31T23:30:00Z".parse().map(Dated::At).unwrap(),
    }
}

fn paris() -> TimeZone {
    TimeZone::get("Europe/Paris").unwrap()
}

fn asks_marie(expression: &str) -> bool {
    expression.parse::<Audience>().unwrap_or_else(|e| panic!("{expression}: {e}")).matches(&marie(), &paris())
}

#[test]
fn the_audience_of_the_manual_reads_as_it_says() {
    assert!(asks_marie("relationship in ['customer','prospect'] and country = 'FR'"));
    assert!(!asks_marie("relationship in ['prospect'] and country = 'FR'"));
    assert!(!asks_marie("relationship in ['customer','prospect'] and country != 'fr'"));
}

#[test]
fn every_operator_does_what_its_name_says() {
    for yes in [
        "kind = 'business'",
        "kind = 'B2B'",
        "kind == \"business\"",
        "kind <> 'consumer'",
        "source_kind not in ('partner', 'purchased_list',)",
        "company = 'l''atelier électrique'",
        "company = \"L'Atelier Électrique\"",
        "company contains 'ÉLECTR'",
        "company starts with 'l'",
        "email ends with '@atelier.example'",
        "domain = 'atelier.example'",
        "job_title is empty",
        "company is not empty",
        "not job_title = 'Directrice'",
        "job_title != 'Directrice'",
        "informed and not similar",
        "informed = yes AND similar = false",
        "similar != true",
        "collected_at >= '2025-03-18' and collected_at < 2025-03-19",
        "collected_at = '2025-03-18'",
        "relationship_end is empty",
        "relationship_end != '2025-01-01'",
        "last_activity_at = '2026-01-01'",
        "last_activity in ['click','reply']",
        "contact.country = 'FR'",
        "country = 'DE' or country = 'FR' and kind = 'business'",
        "((country = 'FR'))",
    ] {
        assert!(asks_marie(yes), "{yes}");
    }
    for no in [
        "relationship_end < '2099-01-01'",
        "relationship_end >= '1900-01-01'",
        "job_title = 'x'",
        "job_title in ['x', 'y']",
        "domain = 'example'",
        "(country = 'DE' or country = 'FR') and kind = 'consumer'",
        "not (informed and same_entity)",
    ] {
        assert!(!asks_marie(no), "{no}");
    }
}

#[test]
fn a_mistake_is_refused_where_it_stands_with_the_way_out() {
    for (expression, column, message) in [
        ("relationship = 'custmer'", 16, "did you mean \"customer\"?"),
        ("relationship = 'custmer'", 16, "prospect, negotiation, account_only, customer, former_customer, partner"),
        ("country = 'FR' and kund = 'business'", 20, "\"kund\" is no field (did you mean \"kind\"?)"),
        ("country = FR", 11, "expected a text between quotes, found \"FR\""),
        ("country = 'FR", 11, "no closing '"),
        ("country = ‘FR’", 11, "texts stand between ' and '"),
        ("(country = 'FR'", 16, "expected `)`, found the end"),
        ("country = 'FR' country = 'DE'", 16, "expected `and`, `or` or the end"),
        ("collected_at >= '18/03/2025'", 17, "a date like '2025-03-18'"),
        ("collected_at contains '2025'", 14, "a date"),
        ("kind contains 'b'", 6, "expected =, !=, in, not in, is empty"),
        ("informed = 'peut-être'", 12, "true or false"),
        ("company = ''", 11, "company is empty"),
        ("", 1, "the expression is empty"),
        ("country in ['FR' 'DE']", 18, "`,` or `]`"),
        ("country in []", 13, "a text between quotes"),
        ("1=1; drop table contact", 4, "means nothing here"),
        ("état = 'x'; x", 11, "means nothing here"),
    ] {
        let error = expression.parse::<Audience>().unwrap_err();
        assert_eq!(error.column, column, "{expression}: {error}");
        assert!(error.message.contains(message), "{expression}: {error}");
    }
}

#[test]
fn a_tower_of_parentheses_is_refused_rather_than_climbed() {
    let tower = format!("{}country = 'FR'{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(tower.parse::<Audience>().unwrap_err().message.contains("levels"));
    assert!("not ".repeat(20_000).parse::<Audience>().is_err());
    let long = format!("email in [{}]", vec!["'a@b.example'"; 20_000].join(","));
    assert!(long.parse::<Audience>().unwrap_err().message.contains("longer than"));
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "(company|first_name|domain) (=|!=|contains|starts with) '[a-zÉ'']{0,3}[a-z]'",
        "(kind|relationship) (in|not in) \\['(customer|business|prospect)'(, 'consumer')?\\]",
        "(collected_at|last_activity_at) (<|<=|=|!=|>|>=) '20[0-9]{2}-0[1-9]-1[0-9]'",
        "(informed|similar)( = (true|no))?",
        "(job_title|relationship_end) is( not)? empty",
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|v| format!("({})", v.join(" and "))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|v| v.join(" or ")),
            inner.prop_map(|e| format!("not ({e})")),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,80}") {
        let _ = text.parse::<Audience>();
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_audience(text in expression()) {
        if let Ok(audience) = text.parse::<Audience>() {
            prop_assert_eq!(audience.to_string().parse::<Audience>(), Ok(audience));
        }
    }

    #[test]
    fn most_of_what_the_grammar_makes_is_understood(word in "(customer|prospect|partner)") {
        let expression = format!("relationship = '{word}'");
        let audience = expression.parse::<Audience>().unwrap();
        prop_assert_eq!(audience.to_string(), expression);
    }
}
